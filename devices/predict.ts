// How long a kernel or a transfer takes at least, by a device's figures. Numbers only: what a plan makes of them is its own
// business.

import type { DeviceProfile } from './device.ts'
import type { StorageFigures } from './profile.ts'

/** What a kernel does, all threads together. */
export interface Work {
  /** float32 operations; a multiply-add is two. */
  readonly flops: number
  /** Bytes that move between memory and cores, read and written together. */
  readonly bytes: number
}

export interface ComputeRates {
  /** float32 operations a second of one core. */
  readonly flopsPerCore: number
  readonly cores: number
  /** Bytes a second between memory and all these cores. */
  readonly bytesPerSecond: number
}

/** A device's rates with so many cores, all that a run uses unless stated; undefined where its profile does not state them. */
export function ratesOf(
  { figures, cores: all }: Pick<DeviceProfile, 'figures' | 'cores'>,
  cores: number = all,
): ComputeRates | undefined {
  const { compute, bandwidth } = figures
  if (!compute || !bandwidth) return undefined
  return { flopsPerCore: compute.flopsPerCore, cores, bytesPerSecond: bandwidth.bytesPerSecond }
}

/**
 * Seconds of a kernel by the roofline (Williams, Waterman and Patterson 2009): max(flops / (rate × cores), bytes /
 * bandwidth). No kernel is faster; one that neither computes nor moves anything takes none.
 */
export function kernelSeconds({ flops, bytes }: Work, { flopsPerCore, cores, bytesPerSecond }: ComputeRates): number {
  return Math.max(flops / (flopsPerCore * cores), bytes / bytesPerSecond)
}

/**
 * Seconds of one request to storage: latency + bytes / bandwidth; none for no bytes. The bandwidth is that of requests of
 * 1 MiB one after the other, so a profile that was measured has their latency in it already, and what comes out is rather
 * too long, by at most one latency for each request.
 */
export function storageSeconds(
  bytes: number,
  direction: 'read' | 'write',
  { readBytesPerSecond, writeBytesPerSecond, latencySeconds }: StorageFigures,
): number {
  if (bytes === 0) return 0
  return latencySeconds + bytes / (direction === 'read' ? readBytesPerSecond : writeBytesPerSecond)
}
