// What a device's figures make of reading: how much at once, and what is left for it.

import assert from 'node:assert/strict'
import { findDevice, readRateOf } from '../../devices/index.ts'
import { canStream, shardBytesOf, storageOf } from '../../train/storage.ts'

const phone = findDevice('phone-8gb', 'neon')
const MEBIBYTE = 2 ** 20

describe('how storage is read', () => {
  it('asks for enough that a request is not mostly waiting, within a share of the memory', () => {
    const plenty = 1024 * MEBIBYTE
    // 15 parts of reading to one of waiting, in whole KiB.
    assert.equal(
      shardBytesOf({ bytesPerSecond: 1e9, latencySeconds: 1.5e-4 }, plenty),
      Math.floor(2.25e6 / 1024) * 1024,
    )
    assert.equal(shardBytesOf({ bytesPerSecond: 1e9, latencySeconds: 0 }, plenty), MEBIBYTE)
    assert.equal(shardBytesOf({ bytesPerSecond: 1e9, latencySeconds: 1 }, plenty), 4 * MEBIBYTE)
    assert.equal(shardBytesOf({ bytesPerSecond: 1e9, latencySeconds: 1 }, 64 * MEBIBYTE), 2 * MEBIBYTE)
    assert.equal(shardBytesOf({ bytesPerSecond: 1e9, latencySeconds: 1 }, MEBIBYTE), 32 * 1024)
  })

  it('has what the rest of the program leaves of the memory', () => {
    const { limit, read, compute } = storageOf(phone, 2, 100 * MEBIBYTE)
    const needs = { inputBytes: MEBIBYTE, kernels: [] }
    assert.equal(limit(needs), 99 * MEBIBYTE - phone.runtimeBytes)
    assert.deepEqual(read, readRateOf(phone))
    assert.equal(compute.flopsPerSecond, 2 * (phone.figures.compute?.flopsPerCore ?? NaN))
  })

  it('is of small ranges where there is least memory, whatever the budget', () => {
    for (const budget of [1, 100 * MEBIBYTE]) {
      const { shardBytes, residentBytes, state } = storageOf(phone, 2, budget, { state: true, least: true })
      assert.deepEqual([shardBytes, residentBytes, state], [32 * 1024, 2048, true])
    }
    const { shardBytes, residentBytes } = storageOf(phone, 2, 100 * MEBIBYTE)
    assert.ok(residentBytes <= shardBytes && shardBytes > 32 * 1024)
  })

  it('is nothing for WebAssembly', () => {
    assert.deepEqual([canStream(phone), canStream({ isa: 'wasmRelaxed' })], [true, false])
  })
})
