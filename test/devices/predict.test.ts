// Predicted times, in numbers that can be checked by hand.

import assert from 'node:assert/strict'
import { hostDevice, kernelSeconds, ratesOf, shippedDevice, storageSeconds } from '../../devices/index.ts'

describe('predicted times', () => {
  const rates = { flopsPerCore: 2e9, cores: 4, bytesPerSecond: 1e10 }

  it('of a kernel are those of what takes longer, computing or moving', () => {
    assert.equal(kernelSeconds({ flops: 16e9, bytes: 1e9 }, rates), 2)
    assert.equal(kernelSeconds({ flops: 16e9, bytes: 1e9 }, { ...rates, cores: 1 }), 8)
    assert.equal(kernelSeconds({ flops: 8e9, bytes: 5e10 }, rates), 5)
    assert.equal(kernelSeconds({ flops: 0, bytes: 1e10 }, rates), 1)
    assert.equal(kernelSeconds({ flops: 0, bytes: 0 }, rates), 0)
  })

  it('of a request are its latency and its bytes', () => {
    const storage = { readBytesPerSecond: 1e9, writeBytesPerSecond: 5e8, latencySeconds: 0.25, source: '' }
    assert.equal(storageSeconds(1e9, 'read', storage), 1.25)
    assert.equal(storageSeconds(1e9, 'write', storage), 2.25)
    assert.equal(storageSeconds(0, 'read', storage), 0)
  })

  it("take a device's rates, where its profile states them", () => {
    const phone = shippedDevice('phone-8gb')
    assert.deepEqual(ratesOf(phone, 2), { flopsPerCore: 24e9, cores: 2, bytesPerSecond: 25e9 })
    assert.equal(ratesOf(phone)?.cores, phone.cores)
    assert.equal(ratesOf(hostDevice('avx2')), undefined)
  })
})
