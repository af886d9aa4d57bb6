// The ways to treat a layer against all sets of its values tried one by one.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Choice } from '../../../compiler/plan/checkpoints/chain.ts'
import { frontier } from '../../../compiler/plan/checkpoints/frontier.ts'
import { configuration } from '../../../compiler/plan/checkpoints/layer.ts'
import type { Configuration, Layer } from '../../../compiler/plan/checkpoints/layer.ts'

/** Layers whose values are made of earlier ones and read in any order by the backward pass. */
function layers(sizes: readonly number[]): fc.Arbitrary<Layer> {
  return fc.integer({ min: 1, max: 8 }).chain((count) => {
    const places = [...Array(count).keys()]
    const subset = (of: readonly number[]): fc.Arbitrary<number[]> => fc.subarray([...of])
    const values = fc.tuple(
      ...places.map((place) =>
        fc.record({
          bytes: fc.constantFrom(...sizes),
          operands: subset(places.slice(Math.max(0, place - 3), place)),
          outside: subset([0, 1]),
          joins: fc.boolean(),
          alone: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
          lastForward: fc.integer({ min: place, max: count - 1 }),
        }),
      ),
    )
    const steps = fc.array(
      fc.record({
        during: fc.integer({ min: 0, max: 8 }),
        before: fc.integer({ min: 0, max: 4 }),
        reads: subset(places),
      }),
      { minLength: 1, maxLength: 6 },
    )
    return fc
      .record({ values, steps, seconds: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 8, maxLength: 8 }) })
      .map(({ values: drawn, steps: backward, seconds }): Layer => {
        let kernel = -1
        const read = new Set(backward.flatMap(({ reads }) => reads))
        const made = drawn.map(({ joins, alone, ...value }, place) => {
          if (place === 0 || !joins) kernel++
          // Eight of them at most: together no more than their kernel.
          const most = (seconds[kernel] ?? 0) / 8
          return { ...value, kernel, born: place, wanted: read.has(place), ...(alone === undefined ? {} : { alone: Math.min(alone / 4, most) }) } // prettier-ignore
        })
        return {
          values: made,
          seconds,
          multiplyAdds: seconds,
          outside: [
            { bytes: 3 * 64, lastStep: -1 },
            { bytes: 5 * 64, lastStep: 0 },
          ],
          forward: places.map(() => ({ during: 64, before: 0, reads: [] })),
          backward: backward.map(({ during, before, reads }) => ({
            during: 64 * Math.max(during, before),
            before: 64 * before,
            reads,
          })),
        }
      })
  })
}

function everyConfiguration(layer: Layer): Configuration[] {
  const wanted = [...layer.values.keys()].filter((place) => layer.values[place]?.wanted)
  return Array.from({ length: 2 ** wanted.length }, (_, bits) =>
    configuration(
      layer,
      wanted.filter((_value, place) => (bits >> place) & 1),
    ),
  )
}

const isNoWorse = (one: Choice, other: Choice): boolean =>
  one.kept <= other.kept && one.need <= other.need && one.seconds <= other.seconds

describe('ways to treat a layer', () => {
  it('are those that no set of kept values beats', () => {
    fc.assert(
      fc.property(layers([64, 128, 320, 640]), (layer) => {
        const { configurations, relaxed, closer } = frontier(layer)
        assert.equal(relaxed, configurations)
        assert.equal(closer(), configurations)
        for (const one of everyConfiguration(layer)) {
          assert.ok(
            configurations.some((known) => isNoWorse(known, one)),
            `nothing is as good as ${JSON.stringify(one)}`,
          )
        }
        for (const one of configurations) {
          const { kept, need, seconds } = configuration(layer, one.keeps)
          assert.deepEqual([one.kept, one.need, one.seconds], [kept, need, seconds])
        }
      }),
      { numRuns: 300 },
    )
  })

  it('have a lower bound where small values are decided together', () => {
    let closely = 0
    fc.assert(
      fc.property(layers([64, 64, 64, 640_000]), (layer) => {
        const { relaxed, closer } = frontier(layer)
        if (closer() !== relaxed) closely++
        for (const one of everyConfiguration(layer)) {
          for (const bounds of [relaxed, closer()])
            assert.ok(
              bounds.some((known) => isNoWorse(known, one)),
              `nothing is as good as ${JSON.stringify(one)}`,
            )
        }
        // Looked at closely each is a way that there is, but for bytes, which are rounded.
        const unit = 64 * Math.ceil(layer.values.reduce((sum, { bytes, wanted }) => sum + (wanted ? bytes : 0), 0) / 8192 / 64) // prettier-ignore
        if (closer() === relaxed) return
        const all = everyConfiguration(layer)
        for (const { kept, need, seconds } of closer())
          assert.ok(all.some((one) => one.seconds === seconds && one.kept - kept < unit && one.need - need < unit))
      }),
      { numRuns: 300 },
    )
    assert.ok(closely > 50, `only ${closely}`)
  })

  it('keep what they keep from the start of the backward pass, and the rest from where it is made', () => {
    // x → a (10) → b (20); the backward pass reads b, then a.
    const layer: Layer = {
      values: [
        { bytes: 640, kernel: 0, operands: [], outside: [0], born: 0, lastForward: 1, wanted: true },
        { bytes: 1280, kernel: 1, operands: [0], outside: [], born: 1, lastForward: 1, wanted: true },
      ],
      seconds: [1, 2],
      multiplyAdds: [10, 20],
      outside: [{ bytes: 64, lastStep: 1 }],
      forward: [0, 0].map(() => ({ during: 0, before: 0, reads: [] })),
      backward: [
        { during: 100, before: 0, reads: [1] },
        { during: 200, before: 50, reads: [0] },
      ],
    }
    const outcome = (...keeps: number[]): unknown[] => {
      const { kept, need, seconds, again } = configuration(layer, keeps)
      return [kept, need, seconds, [...again]]
    }
    assert.deepEqual(outcome(0, 1), [1920, 2020, 0, []])
    assert.deepEqual(outcome(0), [640, 2020, 2, [1]])
    assert.deepEqual(outcome(1), [1280, 1920, 1, [0]])
    assert.deepEqual(outcome(), [0, 2020, 3, [0, 1]])
  })

  it('run a kernel again for its contraction, not for what is fused behind a result that is there', () => {
    // One kernel makes a (a contraction) and b of a; the backward pass reads a, then b.
    const value = { kernel: 0, outside: [], born: 0, lastForward: 0, wanted: true }
    const layer: Layer = {
      values: [
        { ...value, bytes: 640, operands: [] },
        { ...value, bytes: 1280, operands: [0], alone: 0.25 },
      ],
      seconds: [2],
      multiplyAdds: [20],
      outside: [],
      forward: [{ during: 0, before: 0, reads: [] }],
      backward: [0, 1].map((read) => ({ during: 0, before: 0, reads: [read] })),
    }
    const outcome = (...keeps: number[]): unknown[] => {
      const { kept, need, seconds, multiplyAdds, runs } = configuration(layer, keeps)
      return [kept, need, seconds, multiplyAdds, [...runs]]
    }
    assert.deepEqual(outcome(0), [640, 1920, 0.25, 0, []])
    assert.deepEqual(outcome(1), [1280, 1920, 2, 20, [0]])
    // The run that makes a makes b as well: it lives from there on.
    assert.deepEqual(outcome(), [0, 1920, 2, 20, [0]])
    const readLater = { ...layer, backward: [1, 0].map((read) => ({ during: 0, before: 0, reads: [read] })) }
    assert.deepEqual(configuration(readLater, []).seconds, 2)
  })
})
