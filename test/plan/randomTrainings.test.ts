// Random models with all that is trained in storage, by very small ranges: the interpreter's bits, and plans that the simulation
// of memory and storage finds no fault with.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Provenance } from '../../compiler/graph/node.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { cutLaunch } from '../../compiler/plan/parts.ts'
import type { CutPart } from '../../compiler/plan/parts.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import { deferred } from '../../compiler/transform/deferUpdates.ts'
import { withAdvance } from '../../compiler/schedule/advance.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { withGradients } from '../schedule/differentiated.ts'
import { expected, firstDifference, launch, roundNarrow, smallProfile } from '../schedule/launch.ts'
import { growGraph } from '../support/randomGraph.ts'
import type { RandomGraph } from '../support/randomGraph.ts'
import { randomTraining } from './randomTrainings.ts'
import { checkPlanned, storageOf, streamedOf, sumsOf } from './streaming.ts'

const MODELS = 14
const GRAPHS = 8
const seen = { named: 0, fresh: 0, written: 0, next: 0, kept: 0, between: 0 }
const cut = { read: 0, written: 0, named: 0 }

function sample(count: number, seed: number): number[][] {
  const numbers = fc.array(fc.nat(2 ** 20), { minLength: 40, maxLength: 100, size: 'max' })
  return fc.sample(numbers, { numRuns: count, seed })
}

function check({ graph, values, extents }: RandomGraph, shardBytes: number, turn: number): void {
  const profile = { ...smallProfile(turn % 2 === 0 ? 4 : 8, 1 + (turn % 3)), shardBytes, shardsState: true }
  const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
  const parts = (region: LoweredRegion): CutPart[] | undefined => {
    if (region.references.some(({ kind }) => kind === 'named')) cut.named++
    const streamed = streamedOf(region, graph, storageOf(shardBytes, true))
    if (streamed.length === 0) return undefined
    const made = cutLaunch(region.kernel, streamed, shardBytes)
    if (made.length > 1) cut[made.some(({ uses }) => uses.some((use) => use.isWritten)) ? 'written' : 'read']++
    return made
  }
  for (const scheduled of functions) {
    const run = { graph, scheduled, values, extents, stage: 'kernel' as const, parts }
    const difference = firstDifference(launch(run), expected(graph, scheduled.fn, values, extents))
    if (difference !== undefined) assert.fail(`'${scheduled.fn.name}': ${difference}\n${printGraph(graph)}`)
  }
  for (const limit of [1, 20_000, 200_000]) {
    const options = { storage: storageOf(shardBytes, true, limit), sums: sumsOf(graph) }
    const all = withAdvance(functions, deferred, 'accumulate')
    checkPlanned(planProgram('random', graph, all, new Provenance(), options), all, seen)
  }
}

describe('random training that moves through storage', () => {
  for (const [turn, one] of sample(MODELS, 31).entries()) {
    it(`model ${turn + 1} of ${MODELS}`, () => {
      const shardBytes = [96, 700, 4000][turn % 3] ?? 96
      check(randomTraining(one, storageOf(shardBytes, true)), shardBytes, turn)
    })
  }

  it(`${GRAPHS} graphs of any operations, with their gradients`, () => {
    for (const [turn, one] of sample(GRAPHS, 32).entries()) {
      const grown = growGraph(one, { steps: 24, elements: 4000, trainedViews: turn % 2 === 0 })
      const graph = withGradients(grown, turn % 2 === 0 ? [] : [simplify()])
      roundNarrow(graph.graph, graph.values)
      check(graph, turn % 3 === 0 ? 96 : 700, turn)
    }
  })

  it('had everything that can be moved', () => {
    for (const [what, times] of Object.entries({ ...seen, ...cut })) assert.ok(times >= 10, `${what}: ${times}`)
  })
})
