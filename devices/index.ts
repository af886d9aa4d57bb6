// The device profiles that come with the compiler, and finding one by its name or in a file.

import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import type { InstructionSetName } from '../backends/neon/isa/index.ts'
import { deviceFrom } from './device.ts'
import type { DeviceProfile } from './device.ts'
import { hostDevice, wasmDevice } from './host.ts'
import { readProfile } from './profile.ts'
import { isShipped, shippedDevice, shippedNames } from './shipped.ts'

export { deviceFrom, scheduleProfile } from './device.ts'
export type { DeviceFigures, DeviceProfile, FoundChoices } from './device.ts'
export { fasterThanRule, readFound, storeFound } from './found.ts'
export type { FoundTile, MachineKey } from './found.ts'
export { hostDevice, hostProfile, wasmDevice } from './host.ts'
export { ratesOf, readRateOf, writeRateOf } from './predict.ts'
export { parseProfile, readProfile, usedCores } from './profile.ts'
export type { CoreKind, GpuFigures, OptionalFigure, ProfileFile, StorageFigures } from './profile.ts'
export { shippedDevice, shippedNames } from './shipped.ts'
export type { ShippedName } from './shipped.ts'

/** Profiles that are data, of devices that are elsewhere; the host and WebAssembly here are asked what they are. */
export const shippedDevices: readonly DeviceProfile[] = shippedNames.map(shippedDevice)

/**
 * The profile of a name, or the one in a file where the name ends in `.json`; a relative path is meant from `folder`.
 * `hostIsa` is what the host's tool chain found.
 *
 * @throws UserError HD820 where nothing has the name, and as `readProfile` states
 */
export function findDevice(name: string, hostIsa: InstructionSetName, folder = ''): DeviceProfile {
  if (name.endsWith('.json')) return deviceFrom(readProfile(path.resolve(folder, name)))
  if (name === 'host') return hostDevice(hostIsa)
  if (name === 'wasm') return wasmDevice()
  if (isShipped(name)) return shippedDevice(name)
  throw new UserError('HD820', `there is no device profile '${name.slice(0, 64)}'`, {
    mend: `there are ${['host', 'wasm', ...shippedNames].join(', ')}, and files that end in .json`,
  })
}
