// Predicted times, in numbers that can be checked by hand.

import assert from 'node:assert/strict'
import { kernelSeconds, requestSeconds, storageRate } from '../../compiler/plan/rates.ts'

describe('predicted times', () => {
  const rates = { flopsPerSecond: 8e9, bytesPerSecond: 1e10 }

  it('of a kernel are those of what takes longer, computing or moving', () => {
    assert.equal(kernelSeconds(16e9, 1e9, rates), 2)
    assert.equal(kernelSeconds(16e9, 1e9, { ...rates, flopsPerSecond: 2e9 }), 8)
    assert.equal(kernelSeconds(8e9, 5e10, rates), 5)
    assert.equal(kernelSeconds(0, 1e10, rates), 1)
    assert.equal(kernelSeconds(0, 0, rates), 0)
  })

  it('of a request are its latency and its bytes', () => {
    assert.equal(requestSeconds(1e9, { bytesPerSecond: 1e9, latencySeconds: 0.25 }), 1.25)
    assert.equal(requestSeconds(1e9, { bytesPerSecond: 5e8, latencySeconds: 0 }), 2)
  })

  it('of several requests made at once are one latency for all that a device has under way', () => {
    const rate = { bytesPerSecond: 1e9, latencySeconds: 0.25 }
    for (const [requests, latencies] of [
      [1, 1],
      [32, 1],
      [33, 2],
      [64, 2],
      [256, 8],
    ] as const)
      // prettier-ignore
      assert.equal(requestSeconds(1e9, rate, requests), 1 + 0.25 * latencies)
  })

  it('of a request of 1 MiB are what the stated bandwidth says, of none the latency, of all others on the line through both', () => {
    const mebibyte = 1 << 20
    const rate = storageRate(1e9, 1e-4)
    assert.ok(Math.abs(requestSeconds(mebibyte, rate) - mebibyte / 1e9) < 1e-12)
    assert.equal(requestSeconds(0, rate), 1e-4)
    const [one, two] = [requestSeconds(mebibyte, rate), requestSeconds(2 * mebibyte, rate)]
    assert.ok(Math.abs(two - one - (one - 1e-4)) < 1e-12)
    assert.deepEqual(storageRate(5e8, 0), { bytesPerSecond: 5e8, latencySeconds: 0 })
    // A latency that were more than half of it is not taken off in full.
    assert.deepEqual(storageRate(1e9, 1), { bytesPerSecond: 2e9, latencySeconds: 1 })
  })
})
