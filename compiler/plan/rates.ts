// What computing and reading take by a device's figures: one place for every plan that weighs one against the other. Numbers
// only; knows neither devices nor kernels.

/** What a device does at best, all threads of a run together. */
export interface Rates {
  /** float32 operations; a multiply-add is two. */
  readonly flopsPerSecond: number
  /** Between memory and cores, read and written together. */
  readonly bytesPerSecond: number
}

export interface StorageRate {
  /** Beyond the latency. */
  readonly bytesPerSecond: number
  /** Of one request. */
  readonly latencySeconds: number
}

/** Bytes of the requests whose bandwidth is stated of a device: 1 MiB, one after the other. */
const STATED_REQUEST = 1 << 20
/** Share of such a request's time that is left to its bytes at least, whatever the latency. */
const LEAST_MOVING = 0.5

/** From a bandwidth of requests of 1 MiB, which has their latency in it: a request of 1 MiB takes as long as that says. */
export function storageRate(bandwidth: number, latencySeconds: number): StorageRate {
  const moving = Math.max(1 - (latencySeconds * bandwidth) / STATED_REQUEST, LEAST_MOVING)
  return { bytesPerSecond: bandwidth / moving, latencySeconds }
}

/** Two x86-64 cores with AVX2 in round numbers, where a device's profile states nothing. */
export const usualRates: Rates = { flopsPerSecond: 1e11, bytesPerSecond: 1.5e10 }

/** Flash of a phone of the middle class, where a device's profile states nothing: reading, and writing. */
export const usualStorage: StorageRate = { bytesPerSecond: 5e8, latencySeconds: 2e-4 }
export const usualWriting: StorageRate = { bytesPerSecond: 3e8, latencySeconds: 2e-4 }

/**
 * Seconds of a kernel by the roofline (Williams, Waterman and Patterson 2009): max(flops / rate, bytes / bandwidth). No
 * kernel is faster; one that neither computes nor moves anything takes none.
 */
export function kernelSeconds(flops: number, bytes: number, { flopsPerSecond, bytesPerSecond }: Rates): number {
  return Math.max(flops / flopsPerSecond, bytes / bytesPerSecond)
}

/** Requests that a device has under way at once: the depth of the queue of UFS and of SATA, and less than that of NVMe. */
const UNDER_WAY = 32

/** Seconds of `requests` to storage that are made at once, for so many bytes together: a latency for all under way + bytes / rate. */
export function requestSeconds(bytes: number, { bytesPerSecond, latencySeconds }: StorageRate, requests = 1): number {
  return latencySeconds * Math.ceil(requests / UNDER_WAY) + bytes / bytesPerSecond
}
