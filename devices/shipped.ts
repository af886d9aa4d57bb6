// The profiles that come with the compiler: files in `profiles/`, under their names, held to the same schema as a user's.

import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { deviceFrom } from './device.ts'
import type { DeviceProfile } from './device.ts'
import { readProfile } from './profile.ts'

const folder = fileURLToPath(new URL('profiles', import.meta.url))

export const shippedNames = [
  'phone-4gb',
  'phone-8gb',
  'phone-12gb',
  'tablet',
  'laptop',
  'raspberry-pi-5',
  'browser',
] as const
export type ShippedName = (typeof shippedNames)[number]

export function isShipped(name: string): name is ShippedName {
  return (shippedNames as readonly string[]).includes(name)
}

export function shippedDevice(name: ShippedName): DeviceProfile {
  return deviceFrom(readProfile(path.join(folder, `${name}.json`)))
}
