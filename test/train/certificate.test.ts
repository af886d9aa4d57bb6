// The certificate's sums on a program written by hand, whose every part can be counted on paper.

import assert from 'node:assert/strict'
import { tableBytes } from '../../backends/neon/emit/index.ts'
import { findDevice } from '../../devices/index.ts'
import { certify } from '../../train/certificate.ts'
import { bound, lineProgram, tableSize } from '../neon/runtimeProgram.ts'

const device = findDevice('phone-8gb', 'avx2')

describe('the memory certificate', () => {
  const vector = Math.ceil((4 * bound) / 64) * 64
  const arena = 3 * vector
  const certified = (threads: number, memoryBudget = 2 ** 30) =>
    certify({ program: lineProgram, arenas: [] }, { device, threads, memoryBudget })

  it('counts every part once, and scratch once for every thread', () => {
    // `blockProduct` keeps 512 products for itself; its 16 sums are registers.
    const scratch = 512 * 4
    const runtime = device.runtimeBytes + tableBytes(lineProgram)
    // The table of 80 bytes for every value is the largest part of it.
    assert.ok(tableBytes(lineProgram) > 80 * lineProgram.values.length)
    for (const threads of [1, 2, 7]) {
      const { parts, peakBytes } = certified(threads)
      assert.deepEqual(parts, {
        weights: 4 * tableSize,
        // Nine scalars, each on a cache line of its own.
        state: 9 * 64,
        arena,
        // Three vectors of floats and one of ids.
        inputs: 4 * vector,
        scratch: threads * scratch,
        runtime,
      })
      assert.equal(peakBytes, 4 * tableSize + 9 * 64 + arena + 4 * vector + threads * scratch + runtime)
    }
  })

  it('fits to the byte', () => {
    const { peakBytes } = certified(3)
    assert.deepEqual(
      [peakBytes - 1, peakBytes].map((budget) => certified(3, budget).fits),
      [false, true],
    )
  })
})
