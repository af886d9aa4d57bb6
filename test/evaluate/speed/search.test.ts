// What a search measures and how it decides: nests with their share of a training step, trials that hold every schedule
// once over enough memory, and the fastest of several under disturbance. Nothing here is timed.

import assert from 'node:assert/strict'
import { isaOf } from '../../../backends/neon/isa/index.ts'
import { emitProgram } from '../../../backends/neon/emit/index.ts'
import { nestLines } from '../../../bin/searchView.ts'
import { countKernel } from '../../../compiler/kernel/traffic.ts'
import { scheduleFunction } from '../../../compiler/schedule/schedule.ts'
import { ruledTile } from '../../../compiler/schedule/tileChoice.ts'
import { tileCandidates } from '../../../compiler/schedule/tileCandidates.ts'
import { fastest, measurements } from '../../../evaluate/speed/search/fastest.ts'
import { searchSites } from '../../../evaluate/speed/search/sites.ts'
import type { SearchSite } from '../../../evaluate/speed/search/sites.ts'
import { trialKernels, trialProgram } from '../../../evaluate/speed/search/trial.ts'
import { smallProfile } from '../../schedule/launch.ts'
import { training } from '../../schedule/trainings.ts'

const profile = smallProfile(16)
const stepFunctions = ['accumulate', 'measure', 'apply']
const { graph } = training({ model: 'gpt2', adaptation: 'lora', length: 19, dtype: 'bf16' })
const scheduled = graph.functions
  .filter(({ name }) => stepFunctions.includes(name))
  .map((fn) => scheduleFunction(graph, fn, profile))

describe('the nests of a step', () => {
  it('are named, have their share of the multiply-adds, and come with the kernels that hold most of them', () => {
    const sites = searchSites(scheduled, 3, 0)
    assert.ok(sites.length > 8)
    assert.equal(new Set(sites.map(({ name }) => name)).size, sites.length)
    const shares = sites.map(({ share }) => share)
    assert.deepEqual(
      shares,
      shares.toSorted((a, b) => b - a),
    )
    const total = shares.reduce((sum, share) => sum + share, 0)
    assert.ok(total > 0.8 && total <= 1 + 1e-9, String(total))
    for (const { kernels } of sites) {
      assert.ok(kernels.length === 1 || kernels.length === 2)
      for (const { launches } of kernels) assert.ok(launches > 0)
    }
    // The heads of attention are in one kernel with two nests, the vocabulary in another.
    const kinds = new Set(sites.flatMap(({ kernels }) => kernels.map(({ lowered }) => lowered.region.kind)))
    assert.ok(kinds.has('contraction') && kinds.has('stream') && kinds.has('softmax'))
  })

  it('leave out those of little work', () => {
    const all = searchSites(scheduled, 3, 0)
    const some = searchSites(scheduled, 3, 0.05)
    assert.deepEqual(
      some,
      all.filter(({ share }) => share >= 0.05),
    )
  })

  it('count the launches of a whole step', () => {
    const launchesOf = (accumulate: number, at: SearchSite | undefined): number =>
      searchSites(scheduled, accumulate, 0).find(({ name }) => name === at?.name)?.kernels[0]?.launches ?? 0
    const [first] = searchSites(scheduled, 1, 0)
    assert.equal(launchesOf(5, first), 5 * launchesOf(1, first))
  })
})

describe('a trial', () => {
  it('holds each schedule of the same kernels once, and launches it over copies of what is declared', () => {
    for (const site of searchSites(scheduled, 1, 0.03)) {
      const candidates = tileCandidates(site.nest, profile, 6)
      // The rule by two names, and one that does not fit.
      const tall = { ...ruledTile(site.nest, profile), rows: 100_000 }
      const kernels = trialKernels(site, [undefined, ...candidates, tall], profile)
      assert.ok(kernels.candidates.length <= candidates.length)
      assert.equal(kernels.candidates[0]?.choice, undefined)
      assert.deepEqual(
        kernels.candidates[0]?.kernels,
        site.kernels.map(({ lowered }) => lowered.kernel),
      )
      const { program, copies, stored } = trialProgram(kernels)
      assert.equal(program.kernels.length, kernels.candidates.length * site.kernels.length)
      assert.equal(program.functions.length, kernels.candidates.length * copies)
      const places = program.functions.slice(0, copies).map(({ launches }) => JSON.stringify(launches[0]?.arguments))
      const isDeclared = site.kernels[0]?.lowered.references.some(({ kind }) => kind === 'declared')
      assert.equal(new Set(places).size, isDeclared ? copies : 1)
      // What is meant stays the same work.
      for (const { kernels: made } of kernels.candidates) {
        for (const [place, kernel] of made.entries()) {
          const { nest } = site.kernels[place]?.lowered ?? {}
          assert.ok(nest && countKernel(kernel).multiplyAdds >= countKernel(nest).chained)
        }
      }
      assert.deepEqual(
        [...stored.keys()],
        program.values.map(({ name }) => name),
      )
      // Every place is bound as the backend demands it.
      assert.match(emitProgram(program, isaOf('avx512')), /c0_0/)
    }
  })
})

describe('the fastest of several', () => {
  /** Each measurement is up to as much slower as a busy machine makes it. */
  const noisy = (seconds: readonly number[]) => {
    let state = 7
    const taken: number[] = []
    const measure = async (place: number): Promise<number> => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      taken.push(place)
      return (seconds[place] ?? Infinity) * (1 + (state / 2 ** 32) * 0.1)
    }
    return { measure, taken }
  }

  it('is found, with its ratio to the first', async () => {
    for (const count of [1, 2, 3, 4, 7, 20]) {
      const seconds = Array.from({ length: count }, (_, place) => 1 + ((place * 5) % 7) / 4)
      seconds[count - 1] = 0.7
      const { measure, taken } = noisy(seconds)
      const found = await fastest(count, measure)
      assert.equal(found?.best, count - 1)
      assert.equal(taken.length, measurements(count))
      assert.ok(Math.abs((found?.timesAsFast ?? 0) / ((seconds[0] ?? 0) / 0.7) - 1) < 0.1)
    }
  })

  it('is the first where none is faster', async () => {
    const { measure } = noisy([1, 1.5, 1.2, 3, 2, 2, 2, 2])
    assert.equal((await fastest(8, measure))?.best, 0)
  })

  it('takes turns, and forgets early times at the end', async () => {
    const { measure, taken } = noisy([1, 2, 3, 4, 5, 6, 7])
    // Lucky once.
    let calls = 0
    await fastest(7, (place) => (place === 6 && calls++ === 0 ? Promise.resolve(0.01) : measure(place)))
    assert.deepEqual(taken.slice(0, 6), [0, 1, 2, 3, 4, 5])
    const found = await fastest(7, (place) => (place === 6 && calls++ === 1 ? Promise.resolve(0.01) : measure(place)))
    assert.equal(found?.best, 0)
  })

  it('is not taken for much faster after one calm moment', async () => {
    let turn = 0
    const found = await fastest(2, (place) => Promise.resolve(place === 1 && turn++ === 3 ? 0.5 : 1))
    assert.deepEqual([found?.best, found?.seconds, found?.firstSeconds, found?.timesAsFast], [1, 0.5, 1, 1])
  })

  it('is unknown when it was stopped', async () => {
    const { measure, taken } = noisy([1, 2, 3, 4])
    assert.equal(await fastest(4, measure, () => taken.length < 5), undefined)
    assert.equal(taken.length, 5)
  })
})

describe('what a search says', () => {
  it('fits a terminal', () => {
    const rule = { rows: 12, vectors: 4, panels: 128, steps: 12_288, pieces: 100 }
    const result = {
      threads: 16, nest: '1024x151936x12288 of 16 across 2 of columns', share: 0.999, tried: 20, rule, ruleSeconds: 12.3, seconds: 10,
    } // prettier-ignore
    const found = { ...rule, panels: 64, timesAsFast: 1.23 }
    for (const line of [...nestLines({ ...result, found }), ...nestLines({ ...result, found: null })]) {
      assert.ok(line.length <= 112, line)
    }
    assert.match(
      nestLines({ ...result, found })[0] ?? '',
      /99\.9 % of the multiply-adds, 20 schedules: 1\.23 times as fast/,
    )
  })
})
