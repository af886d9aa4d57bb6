// Kernels that find only ranges of tensors in memory, frozen ones and what is trained: the interpreter's bits with nothing in
// memory but what the plan says, for any size of range; and plans in which nothing is overwritten that is still needed.

import assert from 'node:assert/strict'
import { dtypeBytes } from '../../compiler/graph/axis.ts'
import { gridOf } from '../../compiler/kernel/ir.ts'
import { cutLaunch } from '../../compiler/plan/parts.ts'
import type { CutPart } from '../../compiler/plan/parts.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import type { PlannedProgram } from '../../compiler/plan/place.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import { deferred } from '../../compiler/transform/deferUpdates.ts'
import { withAdvance } from '../../compiler/schedule/advance.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import { backwards, expected, firstDifference, launch, smallProfile, verifyScheduled } from '../schedule/launch.ts'
import { training } from '../schedule/trainings.ts'
import type { TrainingOptions } from '../schedule/trainings.ts'
import { checkPlanned, storageOf, streamedOf, sumsOf } from './streaming.ts'

const cases: readonly TrainingOptions[] = [
  { model: 'gpt2', adaptation: 'lora', dtype: 'f16' },
  { model: 'gpt2', adaptation: 'lora', dtype: 'f32', checkpoints: 'every' },
  { model: 'qwen2', adaptation: 'lora', dtype: 'bf16', checkpoints: 'every' },
  { model: 'qwen2', adaptation: 'lora', dtype: 'f32' },
  // With a table that the update takes in several pieces.
  { model: 'gpt2', adaptation: 'full', dtype: 'f32', checkpoints: 'every', length: 20, vocabulary: 400 },
  { model: 'qwen2', adaptation: 'full', dtype: 'bf16', length: 20, vocabulary: 300 },
  { model: 'gemma3', adaptation: 'full', dtype: 'f32', length: 20, vocabulary: 400 },
]

function nameOf({ model, adaptation, dtype }: TrainingOptions): string {
  return `${model} ${adaptation} ${dtype}`
}

describe('kernels that find ranges of tensors', () => {
  for (const [turn, options] of cases.entries()) {
    it(`${nameOf(options)}: the same bits with only those ranges in memory`, () => {
      const state = options.adaptation === 'full'
      const phased = new Set<string>()
      const seen = { cut: 0, written: 0, fresh: 0, named: 0 }
      for (const [place, shardBytes] of [96, 333, 1024].entries()) {
        const storage = storageOf(shardBytes, state)
        const { graph, values, extents } = training({ ...options, storage })
        for (const fn of graph.functions) {
          const wanted = expected(graph, fn, values, extents)
          const lanes = place === 1 ? 16 : 4
          const profile = { ...smallProfile(lanes, 1 + ((turn + place) % 2)), shardBytes, shardsState: state }
          const scheduled = scheduleFunction(graph, fn, profile)
          verifyScheduled(scheduled)
          const parts = (region: LoweredRegion): CutPart[] | undefined => {
            if (region.references.some(({ kind }) => kind === 'named')) seen.named++
            const streamed = streamedOf(region, graph, storage)
            if (streamed.length === 0) return undefined
            const made = cutLaunch(region.kernel, streamed, shardBytes)
            const uses = made.flatMap((part) => part.uses)
            if (made.length > 1) seen.cut++
            if (made.length > 1 && uses.some(({ isWritten }) => isWritten)) seen.written++
            if (uses.some(({ isFresh }) => isFresh)) seen.fresh++
            if (gridOf(region.kernel.body).phase) phased.add(region.region.kind)
            return made
          }
          const gridOrder = (turn + place) % 2 === 0 ? { gridOrder: backwards } : {}
          const run = { graph, scheduled, values, extents, stage: 'kernel' as const, parts, ...gridOrder }
          assert.equal(firstDifference(launch(run), wanted), undefined, `'${fn.name}' by ${shardBytes} bytes`)
        }
      }
      assert.ok(seen.cut > 5, `only ${seen.cut} launches were cut`)
      assert.deepEqual([...phased].sort(), ['contraction', 'softmax'])
      if (!state) assert.deepEqual({ ...seen, cut: 0 }, { cut: 0, written: 0, fresh: 0, named: 0 })
      else for (const [what, times] of Object.entries(seen)) assert.ok(times >= 3, `${what}: ${times}`)
    })
  }
})

describe('plans of what moves when', () => {
  for (const options of cases) {
    it(`${nameOf(options)}: nothing overwrites what is still needed, and everything arrives`, () => {
      const state = options.adaptation === 'full'
      const sizes = new Set<number>()
      const seen = { named: 0, fresh: 0, written: 0, next: 0, kept: 0, between: 0 }
      for (const shardBytes of [96, 1024]) {
        const { graph } = training({ ...options, storage: storageOf(shardBytes, state) })
        const profile = { ...smallProfile(4), shardBytes, shardsState: state }
        const functions = withAdvance(
          graph.functions.map((fn) => scheduleFunction(graph, fn, profile)),
          deferred,
          'accumulate',
        )
        const plan = (limit: number): PlannedProgram => {
          const storage = storageOf(shardBytes, state, limit)
          return planProgram('test', graph, functions, new Provenance(), { storage, sums: sumsOf(graph) })
        }
        const least = plan(1)
        for (const share of [0, 1.05, 1.5, 3]) {
          const limit = heldBytes(least) * share
          const planned = share === 0 ? least : plan(limit)
          checkPlanned(planned, functions, seen)
          sizes.add(heldBytes(planned))
          const fits = heldBytes(planned) <= limit
          assert.ok(fits || planned.program.arenaBytes <= 1.02 * least.program.arenaBytes, `${limit}: it would fit`)
        }
      }
      assert.ok(sizes.size > 1, `the budget changes nothing: ${[...sizes].join()}`)
      for (const [what, times] of Object.entries(seen)) assert.equal(times > 3, state, `${what}: ${times}`)
    })
  }

  it('fetches rows of the bytes that a table has', () => {
    const storage = storageOf(96)
    const { graph } = training({ ...(cases[2] as TrainingOptions), storage })
    const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, { ...smallProfile(4), shardBytes: 96 }))
    const { program } = planProgram('test', graph, functions, new Provenance(), { storage })
    const accumulate = program.functions.find(({ name }) => name === 'accumulate')
    assert.equal(accumulate?.rows?.length, 2)
    for (const { rowBytes, count } of accumulate?.rows ?? []) {
      assert.equal(rowBytes, 16 * dtypeBytes.bf16)
      assert.equal(count, 2 * 70)
    }
  })
})

/** Bytes of the arena, of frozen tensors in memory and of state there. */
function heldBytes({ program }: PlannedProgram): number {
  return program.values.reduce(
    (sum, { role, streamed, bytes }) => sum + (role === 'frozen' && !streamed ? bytes : 0),
    program.arenaBytes + program.stateBytes,
  )
}
