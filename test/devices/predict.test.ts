// The rates of a device, as its profile states them.

import assert from 'node:assert/strict'
import { storageRate } from '../../compiler/plan/rates.ts'
import { hostDevice, ratesOf, readRateOf, shippedDevice, writeRateOf } from '../../devices/index.ts'

describe('rates by which plans predict', () => {
  it("are a device's, where its profile states them", () => {
    const phone = shippedDevice('phone-8gb')
    assert.deepEqual(ratesOf(phone, 2), { flopsPerSecond: 48e9, bytesPerSecond: 25e9 })
    assert.equal(ratesOf(phone)?.flopsPerSecond, 24e9 * phone.cores)
    assert.equal(ratesOf(hostDevice('avx2')), undefined)
    const { storage } = phone.figures
    assert.ok(storage)
    assert.deepEqual(readRateOf(phone), storageRate(storage.readBytesPerSecond, storage.latencySeconds))
    assert.deepEqual(writeRateOf(phone), storageRate(storage.writeBytesPerSecond, storage.latencySeconds))
    assert.equal(readRateOf(hostDevice('avx2')), undefined)
  })
})
