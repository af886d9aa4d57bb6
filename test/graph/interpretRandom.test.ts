// The counter-based generator: moments, independence of neighbours, seeds and streams, avalanche, and that a value does
// not depend on the length of the step.

import assert from 'node:assert/strict'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpretNodes } from '../../compiler/graph/interpret.ts'
import { randomBits, randomUniform } from '../../compiler/graph/random.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'

const count = 1 << 16
const draw = (seed: number, stream: number, from = 0): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => randomUniform(float32, seed, stream, (from + i) | 0))

const mean = (x: Float64Array): number => x.reduce((a, c) => a + c, 0) / x.length
/** Correlation of x[i] with y[i + lag], in standard deviations of what independence would give. */
function correlation(x: Float64Array, y: Float64Array, lag: number): number {
  const [mx, my] = [mean(x), mean(y)]
  let sum = 0
  for (let i = 0; i + lag < x.length; i++) sum += ((x[i] ?? 0) - mx) * ((y[i + lag] ?? 0) - my)
  return (sum * 12) / Math.sqrt(x.length)
}

describe('randomUniform', () => {
  const seeds: [seed: number, stream: number][] = [
    [0, 0],
    [1, 0],
    [0, 1],
    [7, 3],
    [-1, 200],
    [0x7fffffff, 1],
  ]

  it('lies in [0, 1), in steps of 2^-24, with the mean, variance and spread of a uniform number', () => {
    for (const [seed, stream] of seeds) {
      const x = draw(seed, stream)
      assert.ok(x.every((v) => v >= 0 && v < 1 && Number.isInteger(v * 2 ** 24)))
      // Five standard deviations of the mean and of the variance.
      assert.ok(Math.abs(mean(x) - 0.5) < 5 * Math.sqrt(1 / 12 / count))
      const variance = mean(x.map((v) => (v - 0.5) ** 2))
      assert.ok(Math.abs(variance - 1 / 12) < 5 * Math.sqrt(1 / 180 / count))
      const buckets = new Float64Array(256)
      for (const v of x) buckets[Math.floor(v * 256)] = (buckets[Math.floor(v * 256)] ?? 0) + 1
      const chiSquare = buckets.reduce((sum, n) => sum + (n - count / 256) ** 2 / (count / 256), 0)
      assert.ok(chiSquare > 150 && chiSquare < 380, `chi-square ${chiSquare} of 255`)
      const low = x.map((v) => (v * 2 ** 24) % 2)
      assert.ok(Math.abs(mean(low) - 0.5) < 5 * Math.sqrt(0.25 / count))
    }
  })

  it('has no serial correlation', () => {
    for (const [seed, stream] of seeds) {
      const x = draw(seed, stream)
      for (const lag of [1, 2, 3, 16, 64, 768]) assert.ok(Math.abs(correlation(x, x, lag)) < 5, `lag ${lag}`)
    }
  })

  it('has independent streams and seeds, also shifted against each other', () => {
    const base = draw(5, 0)
    for (const other of [draw(5, 1), draw(5, 2), draw(6, 0), draw(6, 1), draw(4, 1), draw(5, 0, count)]) {
      for (const lag of [0, 1, 2, 3, 7]) assert.ok(Math.abs(correlation(base, other, lag)) < 5, `lag ${lag}`)
      // Of 2^16 values each among 2^24, 256 are shared by chance.
      const shared = new Set(base)
      assert.ok(other.filter((v) => shared.has(v)).length < 400)
    }
  })

  it('every bit of seed, stream and index flips every bit of the result half of the time', () => {
    const samples = 4000
    for (const which of ['seed', 'stream', 'index'] as const) {
      for (let bit = 0; bit < (which === 'stream' ? 16 : 32); bit++) {
        const flips = new Int32Array(32)
        for (let i = 0; i < samples; i++) {
          const at = { seed: Math.imul(i, 0x01000193), stream: i % 1000, index: i }
          const flipped = { ...at, [which]: at[which] ^ (1 << bit) }
          const difference =
            randomBits(float32, at.seed, at.stream, at.index) ^
            randomBits(float32, flipped.seed, flipped.stream, flipped.index)
          for (let j = 0; j < 32; j++) flips[j] = (flips[j] ?? 0) + ((difference >>> j) & 1)
        }
        for (const n of flips) assert.ok(Math.abs(n / samples - 0.5) < 0.045, `${which} bit ${bit}: ${n / samples}`)
      }
    }
  })

  it('gives pinned values: changing the hash changes every dropout mask ever drawn', () => {
    const hex = [
      [0, 0, 0],
      [0, 0, 1],
      [1, 0, 0],
      [0, 1, 0],
      [42, 3, 123456],
    ].map(([seed = 0, stream = 0, index = 0]) => {
      return (randomBits(float32, seed, stream, index) >>> 0).toString(16)
    })
    assert.deepEqual(hex, ['34b71df4', '36d4c8e5', 'ab0234f1', 'ec229a33', 'dbc95e29'])
  })
})

describe('interpret: random', () => {
  const b = new GraphBuilder()
  const batch = b.axis('batch', 4, 'batch')
  const seq = b.axis('seq', 33, 'seq')
  const embed = b.axis('embed', 5)
  b.declare({ name: 'seed', role: 'input', dtype: 'i32', stored: [] })
  const node = b.random(b.read('seed'), [embed, seq, batch], 2)
  const values = new Map([['seed', makeTensor([], [], Int32Array.of(9))]])

  it('counts over the bounds, so that a shorter step draws the same numbers', () => {
    for (const arithmetic of [float32, float64]) {
      const run = interpretNodes([node], { values, extents: { batch: 3, seq: 17 }, arithmetic }).get(node)
      assert.deepEqual(run?.extents, [3, 17, 5])
      for (let i = 0; i < 3; i++) {
        for (let t = 0; t < 17; t++) {
          for (let e = 0; e < 5; e++) {
            const expected = randomUniform(float32, 9, 2, (i * 33 + t) * 5 + e)
            assert.equal(run?.data[(i * 17 + t) * 5 + e], expected)
          }
        }
      }
    }
  })

  it('wraps its counter at 2^32', () => {
    const c = new GraphBuilder()
    // 2^33 places by bounds, of which this step has a handful.
    const [outer, inner] = [c.axis('outer', 2 ** 17, 'outer'), c.axis('inner', 2 ** 16, 'inner')]
    c.declare({ name: 'seed', role: 'input', dtype: 'i32', stored: [] })
    const [near, middle] = [c.axis('near', 3), c.axis('middle', 2)]
    const wrapped = c.random(c.read('seed'), [outer, inner, near, middle], 0)
    const run = interpretNodes([wrapped], { values, extents: { outer: 3, inner: 2 }, arithmetic: float32 }).get(wrapped)
    const flat = (2n * 65536n + 1n) * 6n + 5n
    assert.equal(run?.data.at(-1), randomUniform(float32, 9, 0, Number(BigInt.asIntN(32, flat))))
  })
})
