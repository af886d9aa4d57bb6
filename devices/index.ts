// The device profiles that come with the compiler, and finding one.

import type { InstructionSetName } from '../backends/neon/isa/index.ts'
import { deviceNamed } from './device.ts'
import type { DeviceProfile } from './device.ts'
import { hostDevice, wasmDevice } from './host.ts'
import { phone8gb } from './phones.ts'

export { scheduleProfile } from './device.ts'
export type { DeviceProfile, FoundChoices } from './device.ts'
export { fasterThanRule, readFound, storeFound } from './found.ts'
export type { FoundTile, MachineKey } from './found.ts'
export { hostDevice, wasmDevice } from './host.ts'

/** Profiles that are data, of devices that are elsewhere; the host and WebAssembly here are asked what they are. */
export const shippedDevices: readonly DeviceProfile[] = [phone8gb]

/** The profile of a name; `hostIsa` is what the host's tool chain found. UserError HD820 when there is none. */
export function findDevice(name: string, hostIsa: InstructionSetName): DeviceProfile {
  const host = hostIsa === 'wasmRelaxed' ? { ...wasmDevice(), name: 'host' } : hostDevice(hostIsa)
  return deviceNamed(name, [host, wasmDevice(), ...shippedDevices])
}
