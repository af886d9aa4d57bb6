// What the mutations of tools/mutate.ts found untested in the language: statistics over an axis whose extent is known at
// run time only, and the exact threshold of dropout.

import assert from 'node:assert/strict'
import { float32 } from '../../compiler/graph/float32.ts'
import { randomUniform } from '../../compiler/graph/random.ts'
import { axis, dropout, positionEmbedding, rmsNorm, seq } from '../../dsl/index.ts'
import { runPiece, sampleValues, tracePiece } from '../dsl/tracing.ts'

describe('the language at run-time extents', () => {
  it('a norm over a sequence divides by its length, not by its bound', () => {
    const length = 5
    // A table with a row for each place up to the bound, of which the first `length` are read.
    const x = sampleValues(7 * 3, 4)
    const piece = tracePiece((p) => {
      const row = axis('row', 3)
      const position = axis('position', 7)
      const placed = positionEmbedding(p.param('x', [position, row]), position, seq)
      return rmsNorm(placed, p.param('weight', [row]), { over: seq, eps: 1e-3 })
    })
    const got = runPiece(piece, { x, weight: [1, -2, 0.5] }, length)
    const { axes, extents } = got
    assert.deepEqual(
      [...extents].sort((a, b) => a - b),
      [3, length].sort((a, b) => a - b),
    )
    const rowFirst = axes[0]?.name === 'row'
    for (const [row, scale] of [1, -2, 0.5].entries()) {
      const values = Array.from({ length }, (_, place) => x[place * 3 + row] as number)
      const square = values.reduce((sum, value) => sum + value * value, 0) / length
      for (const [place, value] of values.entries()) {
        const expected = (value / Math.sqrt(square + 1e-3)) * scale
        const actual = got.data[rowFirst ? row * length + place : place * 3 + row] ?? NaN
        assert.ok(Math.abs(actual - expected) < 1e-6, `${actual} is not ${expected}`)
      }
    }
  })
})

describe('dropout at its threshold', () => {
  it('drops an element whose number is exactly 1 − p, so that p is the share that goes', () => {
    const [seed, width, chosen] = [3, 40, 17]
    const draws = Array.from({ length: width }, (_, index) => randomUniform(float32, seed, 0, index))
    const threshold = draws[chosen] as number
    assert.ok(threshold > 0 && threshold < 1)
    const piece = tracePiece((scope) => dropout(scope.param('x', [axis('a', width)]), 1 - threshold), true)
    const { data } = runPiece(piece, { x: Array.from({ length: width }, () => 1), seed: [seed] })
    assert.deepEqual(
      [...data].map((value) => value !== 0),
      draws.map((draw) => draw < threshold),
    )
    assert.equal(data[chosen], 0)
  })
})
