// How a device's storage is read while a program runs: how much at once, what stays in memory, how much memory there is for
// it. Arithmetic on a device's figures; reads nothing.

import { scratchBytes, tableBytes } from '../backends/neon/emit/index.ts'
import type { StorageOptions } from '../compiler/plan/place.ts'
import type { TimetableRates } from '../compiler/plan/timetable.ts'
import { usualRates, usualStorage, usualWriting } from '../compiler/plan/rates.ts'
import { ratesOf, readRateOf, writeRateOf } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE

/** Tensors up to this size are read once and stay: norms, biases. */
const RESIDENT_BYTES = 64 * KIBIBYTE
/** Where there is very little memory, only smaller ones. */
const RESIDENT_SHARE = 1 / 512
/** Of a request at most this share is waiting for its first byte. */
const LATENCY_SHARE = 1 / 16
/** Ranges beside each other in memory must not take most of it. */
const BUDGET_SHARE = 1 / 32

/** A program in WebAssembly has no storage: its frozen tensors are in its memory. */
export function canStream({ isa }: Pick<DeviceProfile, 'isa'>): boolean {
  return isa !== 'wasmRelaxed'
}

/** Bytes that a range should have: enough that requests are not mostly waiting, few enough that several fit the budget. */
export function shardBytesOf({ bytesPerSecond, latencySeconds }: StorageOptions['read'], memoryBudget: number): number {
  const worthIt = (latencySeconds * bytesPerSecond * (1 - LATENCY_SHARE)) / LATENCY_SHARE
  const fits = Math.min(4 * MEBIBYTE, memoryBudget * BUDGET_SHARE)
  const bytes = Math.max(
    Math.min(256 * KIBIBYTE, memoryBudget * BUDGET_SHARE),
    Math.min(Math.max(worthIt, MEBIBYTE), fits),
  )
  return Math.floor(bytes / KIBIBYTE) * KIBIBYTE
}

/** Ranges of the plan that needs least. */
const LEAST_SHARD = 32 * KIBIBYTE
const LEAST_RESIDENT = 2 * KIBIBYTE

/**
 * What the planner is told of a device, of so many threads and of the bytes that the whole process may hold. `state`: what is
 * trained may lie in storage as well; `least`: in ranges as small as there can be.
 */
export function storageOf(
  device: DeviceProfile,
  threads: number,
  memoryBudget: number,
  { state = false, least = false }: { readonly state?: boolean; readonly least?: boolean } = {},
): StorageOptions {
  const rates = predictionRates(device, threads)
  return {
    shardBytes: least ? LEAST_SHARD : shardBytesOf(rates.read, memoryBudget),
    residentBytes: least ? LEAST_RESIDENT : Math.min(RESIDENT_BYTES, memoryBudget * RESIDENT_SHARE),
    limit: ({ inputBytes, kernels }) => {
      const scratch = kernels.reduce((most, kernel) => Math.max(most, scratchBytes(kernel)), 0)
      return memoryBudget - device.runtimeBytes - inputBytes - scratch * threads
    },
    tableBytes,
    state,
    ...rates,
  }
}

/** What predictions for a device are by: its own figures, or usual ones where its profile states none. */
export function predictionRates(device: DeviceProfile, threads: number): TimetableRates {
  return {
    read: readRateOf(device) ?? usualStorage,
    write: writeRateOf(device) ?? usualWriting,
    compute: ratesOf(device, threads) ?? usualRates,
  }
}
