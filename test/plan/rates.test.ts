// Predicted times, in numbers that can be checked by hand.

import assert from 'node:assert/strict'
import { kernelSeconds, requestSeconds } from '../../compiler/plan/rates.ts'

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
})
