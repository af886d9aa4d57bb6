// The rates by which plans predict, as a device's profile states them. Numbers only: what a plan makes of them is its own
// business.

import { storageRate } from '../compiler/plan/rates.ts'
import type { Rates, StorageRate } from '../compiler/plan/rates.ts'
import type { DeviceProfile } from './device.ts'

/** A device's rates with so many cores, all that a run uses unless stated; undefined where its profile does not state them. */
export function ratesOf(
  { figures, cores: all }: Pick<DeviceProfile, 'figures' | 'cores'>,
  cores: number = all,
): Rates | undefined {
  const { compute, bandwidth } = figures
  if (!compute || !bandwidth) return undefined
  return { flopsPerSecond: compute.flopsPerCore * cores, bytesPerSecond: bandwidth.bytesPerSecond }
}

/** What reading from a device's storage takes; undefined where its profile does not state it. */
export function readRateOf({ figures: { storage } }: Pick<DeviceProfile, 'figures'>): StorageRate | undefined {
  return storage && storageRate(storage.readBytesPerSecond, storage.latencySeconds)
}

/** The same for writing. */
export function writeRateOf({ figures: { storage } }: Pick<DeviceProfile, 'figures'>): StorageRate | undefined {
  return storage && storageRate(storage.writeBytesPerSecond, storage.latencySeconds)
}
