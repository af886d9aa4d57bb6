// The choice for a chain of layers against all choices tried one by one, and against a solver of integer programmes.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { leastPeak, lowerBound, peakOf, solveChain } from '../../../compiler/plan/checkpoints/chain.ts'
import type { Chain, Choice } from '../../../compiler/plan/checkpoints/chain.ts'
import { solveByHighs } from './highs.ts'

const choice = (most: number): fc.Arbitrary<Choice> =>
  fc.record({
    kept: fc.integer({ min: 0, max: most }).map((kept) => 64 * kept),
    need: fc.integer({ min: 0, max: 2 * most }).map((need) => 64 * need),
    seconds: fc.integer({ min: 0, max: 1000 }).map((time) => time / 1000),
  })
const resident = fc.constantFrom(0, 0, 640, 1280)

const chains = (layers: number, choices: number): fc.Arbitrary<Chain> =>
  fc.record({
    budget: fc.integer({ min: 0, max: 64 * 120 }),
    middle: fc.integer({ min: 0, max: 64 * 20 }),
    layers: fc.array(fc.array(choice(30), { minLength: 1, maxLength: choices }), { maxLength: layers }),
  })

/** Every way through the layers. */
function* everyPick(layers: Chain['layers']): Generator<number[]> {
  const [first, ...rest] = layers
  if (!first) return yield []
  for (const others of everyPick(rest)) for (const pick of first.keys()) yield [pick, ...others]
}

function bruteForce(chain: Chain): number | undefined {
  let best: number | undefined
  for (const picks of everyPick(chain.layers)) {
    if (peakOf(chain, picks) > chain.budget) continue
    const seconds = picks.reduce((sum, pick, layer) => sum + (chain.layers[layer]?.[pick]?.seconds ?? 0), 0)
    if (best === undefined || seconds < best) best = seconds
  }
  return best
}

function assertBest(chain: Chain): void {
  const expected = bruteForce(chain)
  const solved = solveChain(chain)
  assert.equal(solved === undefined, expected === undefined)
  if (!solved || expected === undefined) return
  assert.ok(Math.abs(solved.seconds - expected) < 1e-9, `${solved.seconds} instead of ${expected}`)
  assert.equal(solved.lowerBound, solved.seconds)
  assert.equal(solved.peak, peakOf(chain, solved.picks))
  assert.ok(solved.peak <= chain.budget)
}

describe('choices for a chain of layers', () => {
  it('are the best of all', () => {
    fc.assert(fc.property(chains(5, 4), assertBest), { numRuns: 400 })
  })

  it('are the best of all with weights that may stay', () => {
    const withWeights = chains(4, 3).chain((chain) =>
      fc.array(fc.array(resident, { minLength: 3, maxLength: 3 }), { minLength: 4, maxLength: 4 }).map((bytes) => ({
        ...chain,
        layers: chain.layers.map((choices, layer) =>
          choices.map((one, place) => ({ ...one, resident: bytes[layer]?.[place] ?? 0 })),
        ),
      })),
    )
    fc.assert(fc.property(withWeights, assertBest), { numRuns: 300 })
  })

  it('weigh recomputation against reading weights again, for shards of four sizes', () => {
    // Six layers, each of which keeps its values or not and its weights or not; a window of two shards is always there.
    const reread = 0.04
    for (const shard of [64, 128, 256, 512].map((units) => 64 * units)) {
      const layer: Choice[] = [
        { kept: 6400, need: 8000, seconds: reread, resident: 0 },
        { kept: 6400, need: 8000, seconds: 0, resident: shard },
        { kept: 640, need: 9000, seconds: 0.05 + 2 * reread, resident: 0 },
        { kept: 640, need: 9000, seconds: 0.05, resident: shard },
      ]
      for (const budget of [14_000, 30_000, 60_000, 120_000]) {
        assertBest({ budget, middle: 2 * shard, layers: Array.from({ length: 6 }, () => layer) })
      }
    }
  })

  it('take no longer with more memory, and need no less than the least peak', () => {
    fc.assert(
      fc.property(chains(6, 4), (chain) => {
        const least = leastPeak(chain)
        assert.ok(solveChain({ ...chain, budget: least }), `nothing fits ${least} bytes`)
        assert.equal(least === 0 ? undefined : solveChain({ ...chain, budget: least - 1 }), undefined)
        let before = Number.POSITIVE_INFINITY
        for (let budget = least; budget < least + 64 * 100; budget += 64 * 7) {
          const { seconds = NaN } = solveChain({ ...chain, budget }) ?? {}
          assert.ok(seconds <= before + 1e-12, `${seconds} with ${budget} bytes, ${before} with fewer`)
          before = seconds
        }
      }),
      { numRuns: 60 },
    )
  })

  it('have a lower bound where sums are counted in coarse units', () => {
    fc.assert(
      fc.property(chains(6, 5), (chain) => {
        const exact = solveChain(chain)
        const coarse = solveChain(chain, 16)
        if (!exact) return
        assert.ok((coarse?.lowerBound ?? 0) <= exact.seconds + 1e-9)
        assert.ok(!coarse || coarse.seconds >= exact.seconds - 1e-9)
        assert.ok(Math.abs(lowerBound(chain, exact.seconds) - exact.seconds) < 1e-9)
      }),
      { numRuns: 200 },
    )
  })

  it('are those of HiGHS', async function () {
    this.timeout(60_000)
    const drawn = fc.sample(chains(12, 8), { numRuns: 25, seed: 5 })
    for (const chain of drawn) {
      const expected = await solveByHighs(chain)
      const solved = solveChain(chain)
      assert.equal(solved === undefined, expected === undefined)
      if (solved && expected !== undefined) assert.ok(Math.abs(solved.seconds - expected) < 1e-6, `${solved.seconds}, HiGHS ${expected}`) // prettier-ignore
    }
  })
})
