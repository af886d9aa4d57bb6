// Recomputation and weights that stay, chosen together, against all choices: for several sizes of ranges, on chains of six and
// seven layers.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { relaxedBound, solveJoint } from '../../../compiler/plan/checkpoints/joint.ts'
import { jointPeak, longer, timesOf } from '../../../compiler/plan/checkpoints/jointStates.ts'
import type { JointChain, JointChoice } from '../../../compiler/plan/checkpoints/jointStates.ts'

const SHARDS = [64, 128, 256, 512].map((units) => 64 * units)
const LATENCY = 0.002

interface DrawnWay {
  readonly kept: number
  readonly need: number
  readonly compute: number
  readonly reads: number
}

interface DrawnLayer {
  readonly ways: readonly DrawnWay[]
  readonly weights: number
}

interface Drawn {
  readonly layers: readonly DrawnLayer[]
  readonly middle: number
  readonly compute: number
  readonly storage: number
  readonly bandwidth: number
  /** Where the budget lies between the least and all that could be held. */
  readonly share: number
}

const layer: fc.Arbitrary<DrawnLayer> = fc.record({
  ways: fc.array(
    fc.record({
      kept: fc.integer({ min: 0, max: 200 }),
      need: fc.integer({ min: 0, max: 150 }),
      compute: fc.integer({ min: 0, max: 2000 }).map((time) => time / 1000),
      reads: fc.integer({ min: 20, max: 30 }).map((times) => times / 10),
    }),
    { minLength: 3, maxLength: 5 },
  ),
  weights: fc.integer({ min: 60, max: 500 }),
})

const instances: fc.Arbitrary<Drawn> = fc.record({
  layers: fc.array(layer, { minLength: 6, maxLength: 7 }),
  middle: fc.integer({ min: 0, max: 80 }),
  compute: fc.integer({ min: 1, max: 10 }),
  storage: fc.integer({ min: 0, max: 2 }),
  bandwidth: fc.constantFrom(50, 200, 400, 1000).map((units) => 64 * units),
  share: fc.double({ min: 0.3, max: 0.9, noNaN: true }),
})

/** The problem for one size of ranges: three of them have memory, and the smaller they are the more requests are made. */
function chainOf({ layers, middle, compute, storage, bandwidth, share }: Drawn, shard: number): JointChain {
  const choices = layers.map(({ ways, weights }) =>
    ways.flatMap(({ kept, need, compute: seconds, reads }): JointChoice[] => {
      const bytes = 64 * weights
      const once = bytes / bandwidth + LATENCY * Math.ceil(bytes / shard)
      const common = { kept: 64 * kept, need: 64 * (kept + need), compute: seconds }
      return [
        { ...common, resident: 0, storage: reads * once },
        { ...common, resident: bytes, storage: 0 },
      ]
    }),
  )
  const most = (of: (choice: JointChoice) => number): number =>
    choices.reduce((sum, list) => sum + Math.max(...list.map(of)), 0)
  const all = most(({ kept }) => kept) + most(({ resident }) => resident) + 64 * 300
  return { budget: 64 * Math.floor((share * all) / 64) - 3 * shard, middle: 64 * middle, compute, storage, layers: choices } // prettier-ignore
}

interface Label {
  readonly total: number
  readonly resident: number
  readonly compute: number
  readonly storage: number
}

/** Every way through the layers, but for those that another one is no worse than in all four respects. */
function optimum({ budget, middle, compute, storage, layers }: JointChain): number | undefined {
  let labels: readonly Label[] = middle <= budget ? [{ total: middle, resident: 0, compute, storage }] : []
  for (const choices of layers.toReversed()) {
    const next = labels.flatMap((label) =>
      choices.map((choice): Label => ({
        total: choice.resident + Math.max(choice.kept + label.total, choice.need + label.resident),
        resident: label.resident + choice.resident,
        compute: label.compute + choice.compute,
        storage: label.storage + choice.storage,
      })),
    )
    const ordered = next.filter(({ total }) => total <= budget).sort((a, b) => a.compute - b.compute || a.total - b.total) // prettier-ignore
    const left: Label[] = []
    for (const one of ordered) {
      const isBeaten = left.some((other) => other.total <= one.total && other.storage <= one.storage && other.resident <= one.resident) // prettier-ignore
      if (!isBeaten) left.push(one)
    }
    labels = left
  }
  return labels.length === 0 ? undefined : labels.reduce((least, label) => Math.min(least, longer(label)), Infinity)
}

describe('recomputation and weights that stay', function () {
  this.timeout(600_000)

  it('are chosen within the budget, with a bound, and as near the joint optimum as that says', () => {
    const told: number[] = []
    const real: number[] = []
    for (const drawn of fc.sample(instances, { numRuns: 75, seed: 11 })) {
      for (const shard of SHARDS) {
        const chain = chainOf(drawn, shard)
        const expected = optimum(chain)
        const solved = solveJoint(chain)
        assert.equal(solved === undefined, expected === undefined)
        if (!solved || expected === undefined) continue
        const { picks, compute, storage, peak, seconds, lowerBound } = solved
        assert.deepEqual(timesOf(chain, picks), { picks, compute, storage })
        assert.equal(seconds, Math.max(compute, storage))
        assert.equal(peak, jointPeak(chain, picks))
        assert.ok(peak <= chain.budget, `${peak} of ${chain.budget} bytes`)
        assert.ok(lowerBound <= expected + 1e-9, `a bound of ${lowerBound}, and ${expected} is possible`)
        assert.ok(seconds >= expected - 1e-9, `${seconds} where ${expected} is the least`)
        told.push(seconds / lowerBound - 1)
        real.push(seconds / expected - 1)
      }
    }
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
    assert.ok(told.length > 200, `only ${told.length} instances have a plan`)
    assert.ok(mean(real) <= 0.0005 && Math.max(...real) <= 0.005, `${mean(real)} from the optimum, at most ${Math.max(...real)}`) // prettier-ignore
    assert.ok(mean(told) <= 0.001 && Math.max(...told) <= 0.02, `a gap of ${mean(told)}, at most ${Math.max(...told)}`)
  })

  it('have bounds that hold where sums are counted in coarse units and all choices are mixed', () => {
    for (const drawn of fc.sample(instances, { numRuns: 12, seed: 12 })) {
      // So many layers that weights are looked for coarsely.
      const twice = { ...drawn, layers: [...drawn.layers, ...drawn.layers, ...drawn.layers, ...drawn.layers] }
      const chain = chainOf(twice, SHARDS[1] as number)
      const coarse = solveJoint(chain, { coarse: 24, fine: 40 })
      const fine = solveJoint(chain, { coarse: 128, fine: 1024 })
      if (!fine || !coarse) continue
      for (const { peak, seconds, lowerBound } of [coarse, fine]) {
        assert.ok(peak <= chain.budget)
        assert.ok(lowerBound <= fine.seconds + 1e-9 && lowerBound <= coarse.seconds + 1e-9)
        assert.ok(lowerBound <= seconds)
      }
      assert.ok(relaxedBound(chain, fine.weight) <= fine.seconds + 1e-9)
      assert.ok(fine.seconds <= 1.03 * fine.lowerBound, `${fine.seconds}, ${fine.lowerBound} at least`)
    }
  })

  it('take no less than their bound, whatever the budget', () => {
    for (const drawn of fc.sample(instances, { numRuns: 20, seed: 13 })) {
      for (const share of [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.2]) {
        const solved = solveJoint(chainOf({ ...drawn, share }, SHARDS[0] as number))
        if (solved)
          assert.ok(solved.lowerBound <= solved.seconds, `${solved.seconds} s, ${solved.lowerBound} s at least`)
      }
    }
  })

  it('recompute more where that lets weights stay which take long to read, and nothing where storage is fast', () => {
    const layers = (seconds: number): JointChoice[][] =>
      Array.from({ length: 6 }, () => [
        { kept: 6400, need: 8000, resident: 0, compute: 0, storage: seconds },
        { kept: 6400, need: 8000, resident: 6400, compute: 0, storage: 0 },
        { kept: 640, need: 8000, resident: 0, compute: 0.1, storage: 1.5 * seconds },
        { kept: 640, need: 8000, resident: 6400, compute: 0.1, storage: 0 },
      ])
    const common = { budget: 50_000, middle: 640, compute: 1, storage: 0 }
    const slow = solveJoint({ ...common, layers: layers(1) })
    const fast = solveJoint({ ...common, layers: layers(0.01) })
    // Four layers computed again make room for the weights of five.
    assert.deepEqual([slow?.compute.toFixed(1), slow?.storage], ['1.4', 1])
    assert.deepEqual([fast?.compute, fast?.lowerBound.toFixed(5)], [1, '1.00000'])
  })

  it('are none where nothing fits', () => {
    const choice = { kept: 64, need: 640, resident: 0, compute: 0, storage: 1 }
    assert.equal(solveJoint({ budget: 600, middle: 0, compute: 0, storage: 0, layers: [[choice]] }), undefined)
  })
})
