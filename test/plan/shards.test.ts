// Kernels that read frozen tensors by ranges of their rows: the interpreter's bits with nothing in memory but the ranges
// that the plan says, for any size of range; and plans in which no two things share memory while both are needed.

import assert from 'node:assert/strict'
import { dtypeBytes } from '../../compiler/graph/axis.ts'
import { gridOf } from '../../compiler/kernel/ir.ts'
import { align } from '../../compiler/plan/arena.ts'
import { PartCutter } from '../../compiler/plan/parts.ts'
import type { CutPart, StreamedArgument } from '../../compiler/plan/parts.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import type { PlannedProgram, StorageOptions } from '../../compiler/plan/place.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import { declaredBytes } from '../../compiler/schedule/shards.ts'
import { backwards, expected, firstDifference, launch, smallProfile, verifyScheduled } from '../schedule/launch.ts'
import { training } from '../schedule/trainings.ts'
import type { TrainingOptions } from '../schedule/trainings.ts'

function storageOf(shardBytes: number, limit = 1): StorageOptions {
  return {
    shardBytes,
    residentBytes: 64,
    limit: () => limit,
    read: { bytesPerSecond: 1e8, latencySeconds: 1e-5 },
    compute: { flopsPerSecond: 1e9, bytesPerSecond: 1e9 },
  }
}

/** Arguments of a kernel that are frozen tensors above the limit. */
function streamedOf(
  { references }: LoweredRegion,
  graph: Graph,
  { residentBytes }: StorageOptions,
): StreamedArgument[] {
  return references.flatMap((reference, argument) => {
    const declared = reference.kind === 'declared' ? graph.declarations.get(reference.name) : undefined
    if (declared?.role !== 'frozen' || declaredBytes(declared) <= residentBytes) return []
    return [{ argument, index: 0, bytes: declaredBytes(declared) }]
  })
}

const cases: readonly TrainingOptions[] = [
  { model: 'gpt2', adaptation: 'lora', dtype: 'f16' },
  { model: 'gpt2', adaptation: 'lora', dtype: 'f32', checkpoints: 'every' },
  { model: 'qwen2', adaptation: 'lora', dtype: 'bf16', checkpoints: 'every' },
  { model: 'qwen2', adaptation: 'lora', dtype: 'f32' },
]

describe('kernels that read ranges of frozen tensors', () => {
  for (const [turn, options] of cases.entries()) {
    it(`${options.model} ${options.dtype}: the same bits with only those ranges in memory`, () => {
      const phased = new Set<string>()
      let cut = 0
      for (const [place, shardBytes] of [96, 333, 1024].entries()) {
        const storage = storageOf(shardBytes)
        const { graph, values, extents } = training({ ...options, storage })
        for (const fn of graph.functions) {
          const wanted = expected(graph, fn, values, extents)
          const lanes = place === 1 ? 16 : 4
          const scheduled = scheduleFunction(graph, fn, {
            ...smallProfile(lanes, 1 + ((turn + place) % 2)),
            shardBytes,
          })
          verifyScheduled(scheduled)
          const cutter = new PartCutter(shardBytes)
          const parts = (region: LoweredRegion): CutPart[] | undefined => {
            const streamed = streamedOf(region, graph, storage)
            if (streamed.length === 0) return undefined
            const made = cutter.cut(region.kernel, streamed)
            if (made.length > 1) cut++
            if (gridOf(region.kernel.body).phase) phased.add(region.region.kind)
            return made
          }
          const gridOrder = (turn + place) % 2 === 0 ? { gridOrder: backwards } : {}
          const run = { graph, scheduled, values, extents, stage: 'kernel' as const, parts, ...gridOrder }
          assert.equal(firstDifference(launch(run), wanted), undefined, `'${fn.name}' by ${shardBytes} bytes`)
        }
      }
      assert.ok(cut > 5, `only ${cut} launches were cut`)
      assert.deepEqual([...phased].sort(), ['contraction', 'softmax'])
    })
  }
})

/** Everything in the arena of a function: what it computes, and ranges from the moment at which reading may begin. */
function checkArena({ arenas, program }: PlannedProgram): void {
  for (const { fn, buffers, storage, launchOf, peak } of arenas) {
    const ranges = (storage?.reads ?? []).map(({ start, last, ...range }) => ({ ...range, first: start, last }))
    const all = [...buffers, ...ranges].map((one) => ({ ...one, end: one.offset + align(one.bytes) }))
    for (const [place, one] of all.entries()) {
      assert.ok(one.end <= peak)
      for (const other of all.slice(place + 1)) {
        const apart = one.last < other.first || other.last < one.first
        assert.ok(apart || one.end <= other.offset || other.end <= one.offset, `${fn}: ${one.label} and ${other.label}`)
      }
    }
    const planned = program.functions.find(({ name }) => name === fn)
    const reads = planned?.reads ?? []
    reads.forEach((read, place) =>
      assert.ok(read.after >= (reads[place - 1]?.after ?? 0), `${fn}: a read is overtaken`),
    )
    let moment = 0
    planned?.launches.forEach(({ parts }, launched) => {
      for (const part of parts ?? [undefined]) {
        assert.equal(launchOf[moment], launched)
        // A read that has to wait for the part that waits for it would never come.
        if (part) reads.slice(0, part.reads).forEach(({ after }) => assert.ok(after <= moment, `${fn}: a deadlock`))
        for (const { from, offset } of part?.windows ?? []) {
          const range = storage?.reads.find((one) => one.offset === offset && one.first <= moment && moment <= one.last)
          assert.ok(range, `${fn}: nothing was read to ${offset}`)
          const read = reads[(storage?.reads ?? []).indexOf(range)]
          assert.equal(read?.from, from)
          assert.ok((part?.reads ?? 0) > (storage?.reads ?? []).indexOf(range), `${fn}: not waited for`)
        }
        moment++
      }
    })
    assert.equal(launchOf.length, moment)
  }
}

describe('plans of what is read when', () => {
  for (const options of cases) {
    it(`${options.model} ${options.dtype}: nothing shares memory with what is still needed`, () => {
      const sizes = new Set<number>()
      for (const shardBytes of [96, 1024]) {
        const { graph } = training({ ...options, storage: storageOf(shardBytes) })
        const profile = { ...smallProfile(4), shardBytes }
        const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
        const least = planProgram('test', graph, functions, new Provenance(), { storage: storageOf(shardBytes) })
        for (const limit of [1, 60_000, 80_000, 200_000]) {
          const storage = storageOf(shardBytes, limit)
          const planned = planProgram('test', graph, functions, new Provenance(), { storage })
          checkArena(planned)
          const kept = planned.program.values.reduce(
            (sum, { role, streamed, bytes }) => sum + (role === 'frozen' && !streamed ? bytes : 0),
            0,
          )
          sizes.add(planned.program.arenaBytes + kept)
          const fits = planned.program.arenaBytes + kept <= limit
          assert.ok(fits || planned.program.arenaBytes <= 1.02 * least.program.arenaBytes, `${limit}: it would fit`)
        }
      }
      assert.ok(sizes.size > 1, `the budget changes nothing: ${[...sizes].join()}`)
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
