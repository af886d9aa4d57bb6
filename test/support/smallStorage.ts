// Storage options so small that even tiny models are read by ranges. Only for tests.

import type { StorageOptions } from '../../compiler/plan/place.ts'

/** `limit`: bytes for the arena and the tensors that stay; by default as little as there can be. */
export function smallStorage(shardBytes: number, limit = 0): StorageOptions {
  return {
    shardBytes,
    residentBytes: Math.min(1024, shardBytes),
    limit: () => limit,
    read: { bytesPerSecond: 1e8, latencySeconds: 1e-5 },
    compute: { flopsPerSecond: 1e10, bytesPerSecond: 1e10 },
  }
}
