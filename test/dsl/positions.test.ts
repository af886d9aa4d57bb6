// Rotary positions and their scalings, windows, and constants held in the type of the weights, against formulas written
// independently here.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { DType } from '../../compiler/graph/axis.ts'
import { narrowBf16, narrowF16, widenBf16, widenF16 } from '../../compiler/kernel/halves.ts'
import { exponential, naturalLog } from '../../dsl/frequencies.ts'
import {
  attend,
  axis,
  causalLM,
  defineModel,
  embedding,
  float,
  mul,
  rope,
  roundedAs,
  sliding,
  tied,
} from '../../dsl/index.ts'
import type { RopeScaling, Tensor } from '../../dsl/index.ts'
import { close, rows, runPiece, sampleValues, tracePiece } from './tracing.ts'

describe('positions', () => {
  it('rotates halves by the position', () => {
    const x = sampleValues(7 * 6, 11)
    const rotated = runPiece(
      tracePiece((p) => {
        const place = axis('place', 7)
        const dim = axis('dim', 6)
        return rope(p.param('x', [place, dim]), { over: dim, at: place, theta: 1000 })
      }),
      { x },
    )
    const expected = rows(x, 6).flatMap((row, position) => {
      const angle = (index: number) => position * Math.fround(1 / Math.fround(1000 ** Math.fround(index / 3)))
      const at = (index: number) => row[index] ?? 0
      const low = [0, 1, 2].map((i) => at(i) * Math.cos(angle(i)) - at(i + 3) * Math.sin(angle(i)))
      const high = [0, 1, 2].map((i) => at(i + 3) * Math.cos(angle(i)) + at(i) * Math.sin(angle(i)))
      return [...low, ...high]
    })
    close(rotated.data, expected)
  })

  it('stretches the frequencies as linear, llama3 and yarn scaling say', () => {
    const dims = 14
    const theta = 1000
    const plain = (index: number): number => theta ** (-index / 7)
    const wavelength = (index: number): number => (2 * Math.PI) / plain(index)
    // Llama 3.1: wavelengths up to 12.5 keep their frequency, from 100 on it is an eighth, in between a mean.
    const share = (index: number): number => Math.min(1, Math.max(0, (100 / wavelength(index) - 1) / 7))
    const llama3 = (index: number): number => plain(index) * (share(index) + (1 - share(index)) / 8)
    // YaRN: dimensions that turn 6 times in 100 positions keep theirs, those that turn once have a fifth.
    const turning = (times: number): number => (dims * Math.log(100 / (times * 2 * Math.PI))) / (2 * Math.log(theta))
    const [from, to] = [Math.floor(turning(6)), Math.ceil(turning(1))]
    const kept = (index: number): number => 1 - Math.min(1, Math.max(0, (index - from) / (to - from)))
    const yarn = (index: number): number => plain(index) * (kept(index) + (1 - kept(index)) / 5)
    assert.ok(share(1) < 1 && share(2) > 0 && kept(1) < 1 && kept(2) > 0, 'something lies in between')
    const cases: [RopeScaling, (index: number) => number, number][] = [
      [{ type: 'linear', factor: 3 }, (index) => plain(index) / 3, 1],
      [{ type: 'llama3', factor: 8, lowFrequency: 1, highFrequency: 8, originalLength: 100 }, llama3, 1],
      [{ type: 'yarn', factor: 5, originalLength: 100, betaFast: 6 }, yarn, 0.1 * Math.log(5) + 1],
      [{ type: 'yarn', factor: 5, originalLength: 100, betaFast: 6, attentionFactor: 0.9 }, yarn, 0.9],
    ]
    const x = sampleValues(7 * dims, 11)
    for (const [scaling, frequency, amplitude] of cases) {
      const rotated = runPiece(
        tracePiece((p) => {
          const [place, dim] = [axis('place', 7), axis('dim', dims)]
          return rope(p.param('x', [place, dim]), { over: dim, at: place, theta, scaling })
        }),
        { x },
      )
      const expected = rows(x, dims).flatMap((row, position) => {
        const turned = (index: number, other: number, sign: number): number => {
          const angle = position * frequency(index % 7)
          return amplitude * ((row[index] ?? 0) * Math.cos(angle) + sign * (row[other] ?? 0) * Math.sin(angle))
        }
        const places = Array.from({ length: 7 }, (_, index) => index)
        return [...places.map((i) => turned(i, i + 7, -1)), ...places.map((i) => turned(i + 7, i, 1))]
      })
      close(rotated.data, expected, 2e-6)
    }
  })

  it('refuses a scaling that makes no sense', () => {
    const scaled = (scaling: RopeScaling) => () =>
      tracePiece((p) => {
        const [place, dim] = [axis('place', 7), axis('dim', 4)]
        return rope(p.param('x', [place, dim]), { over: dim, at: place, theta: 10, scaling })
      })
    assert.throws(scaled({ type: 'linear', factor: 0 }), /rope: the scaling's factor is 0/)
    const even = { type: 'llama3', factor: 8, lowFrequency: 4, highFrequency: 4, originalLength: 100 } as const
    assert.throws(scaled(even), /rope: the scaling's highFrequency 4 is not above its lowFrequency/)
  })

  for (const window of [1, 3, 6, 7, 100]) {
    it(`attends to the last ${window} keys in a window of as many`, () => {
      const [length, dims] = [7, 3]
      const [q, k, v] = [sampleValues(21, 3), sampleValues(21, 5), sampleValues(21, 9)]
      const attended = runPiece(
        tracePiece((p) => {
          const [place, earlier, dim] = [axis('place', length), axis('earlier', length), axis('dim', dims)]
          const stored = (name: string) => p.param(name, [earlier, dim])
          const mask = sliding(window, { at: place })
          return attend(p.param('q', [place, dim]), stored('k'), stored('v'), {
            over: dim,
            keys: earlier,
            mask,
            scale: 0.5,
          })
        }),
        { q, k, v },
      )
      const [keys, values] = [rows(k, dims), rows(v, dims)]
      const expected = rows(q, dims).flatMap((query, row) => {
        const from = Math.max(0, row - window + 1)
        const seen = keys.slice(from, row + 1)
        const scores = seen.map((one) => Math.exp(0.5 * one.reduce((total, x, i) => total + x * (query[i] ?? 0), 0)))
        const total = scores.reduce((a, b) => a + b, 0)
        return query.map((_, i) =>
          scores.reduce((sum, score, at) => sum + (score / total) * (values[from + at]?.[i] ?? 0), 0),
        )
      })
      close(attended.data, expected)
    })
  }

  it('refuses a window that is no positive integer', () => {
    for (const window of [0, -1, 2.5, Number.NaN]) {
      const build = () =>
        tracePiece((p) => {
          const [place, earlier, dim] = [axis('place', 7), axis('earlier', 7), axis('dim', 3)]
          const k = p.param('k', [earlier, dim])
          const options = { over: dim, keys: earlier, mask: sliding(window, { at: place }), scale: 1 }
          return attend(p.param('q', [place, dim]), k, k, options)
        })
      assert.throws(build, new RegExp(`attend: the window is ${window}`))
    }
  })
})

describe('a constant in the type of the weights', () => {
  const held = (dtype: DType, value: number): number => {
    const options = { sequences: 1, length: 1, storedDType: () => dtype }
    let rounded = Number.NaN
    const model = defineModel('one', (_: undefined, p) => {
      const [vocab, embed] = [axis('vocab', 3), axis('embed', 2)]
      const words = p.param('words', [vocab, embed])
      rounded = roundedAs(words, value)
      const ids = (tokens: Tensor<'batch' | 'seq', 'i32'>) => embedding(words, tokens, vocab)
      return causalLM({ vocabulary: vocab, embed: ids, blocks: (x) => x, norm: (x) => x, head: tied(words, embed) })
    })
    model.trace(undefined, options)
    return rounded
  }

  it('is rounded as memory rounds it', () => {
    const formats = { bf16: [narrowBf16, widenBf16], f16: [narrowF16, widenF16] } as const
    fc.assert(
      fc.property(
        fc.constantFrom('bf16', 'f16'),
        fc.double({ min: -60000, max: 60000, noNaN: true }),
        (name, value) => {
          // Below what f16 holds with all its bits the language refuses.
          fc.pre(value === 0 || Math.abs(value) > 2 ** -13)
          const [narrow, widen] = formats[name]
          assert.equal(held(name, value), widen(narrow(Math.fround(value))))
          assert.equal(held('f32', value), Math.fround(value))
        },
      ),
    )
    // Half way between two bf16: to the even one.
    assert.deepEqual([held('bf16', 257), held('bf16', 259)], [256, 260])
  })

  it('is refused beyond what the format holds', () => {
    for (const value of [65520, 1e9, 1e-6, Infinity, Number.NaN]) {
      assert.throws(() => held('f16', value), /roundedAs: .* cannot be held in f16/)
    }
  })

  it('belongs to a parameter', () => {
    const build = () => tracePiece((p) => mul(p.param('x', [axis('a', 2)]), roundedAs(float(2), 3)))
    assert.throws(build, /roundedAs: a parameter was expected/)
  })
})

describe('frequencies', () => {
  it('exponential and naturalLog agree with the engine to a few ulp', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-12, max: 1e12, noNaN: true }), (x) => {
        assert.ok(Math.abs(naturalLog(x) - Math.log(x)) <= 4e-16 * Math.max(1, Math.abs(Math.log(x))))
      }),
    )
    fc.assert(
      fc.property(fc.double({ min: -600, max: 600, noNaN: true }), (x) => {
        assert.ok(Math.abs(exponential(x) / Math.exp(x) - 1) <= 1e-13)
      }),
    )
  })
})
