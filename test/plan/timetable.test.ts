// What a plan looks like over time: the sums of the plan itself, one transfer at a time, and nothing computed before what it
// needs is there.

import assert from 'node:assert/strict'
import { Provenance } from '../../compiler/graph/node.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import { requestSeconds } from '../../compiler/plan/rates.ts'
import { timetables } from '../../compiler/plan/timetable.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { smallProfile } from '../schedule/launch.ts'
import { training } from '../schedule/trainings.ts'
import { storageOf, sumsOf } from './streaming.ts'

const near = (one: number, other: number): boolean => Math.abs(one - other) <= 1e-9 * Math.max(1, Math.abs(other))

describe('a timetable', () => {
  const shardBytes = 333
  for (const adaptation of ['lora', 'full'] as const) {
    it(`has the seconds of the plan, ${adaptation === 'full' ? 'with trained values' : 'with frozen tensors'} in storage`, () => {
      const state = adaptation === 'full'
      const storage = storageOf(shardBytes, state)
      const { graph } = training({ model: 'gpt2', adaptation, dtype: 'f32', checkpoints: 'every', storage })
      const profile = { ...smallProfile(4, 1), shardBytes, shardsState: state }
      const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
      const planned = planProgram('program', graph, functions, new Provenance(), { storage, sums: sumsOf(graph) })
      const { read, write = read, compute } = storage
      const tables = timetables(planned, { read, write, compute })
      assert.deepEqual([...tables.keys()], graph.functions.map(({ name }) => name)) // prettier-ignore
      let moved = 0
      for (const { fn, launchOf, storage: use } of planned.arenas) {
        const table = tables.get(fn)
        assert.ok(table)
        const { begins, seconds, end, stallSeconds, moves } = table
        assert.deepEqual([begins.length, seconds.length], [launchOf.length, launchOf.length])
        const computing = seconds.reduce((sum, length) => sum + length, 0)
        assert.ok(near(end, computing + stallSeconds))
        assert.ok(near(computing, use?.computeSeconds ?? computing) && near(stallSeconds, use?.stallSeconds ?? 0))
        begins.forEach((begin, moment) => {
          assert.ok(moment === 0 || begin >= (begins[moment - 1] ?? 0) + (seconds[moment - 1] ?? 0) - 1e-12)
        })
        moves.forEach(({ kind, bytes, begin, end: done, moment }, place) => {
          assert.ok(begin >= (moves[place - 1]?.end ?? 0))
          assert.ok(done - begin >= requestSeconds(bytes, kind === 'read' ? read : write) - 1e-12)
          assert.ok(done <= (begins[moment] ?? end) + 1e-12, `${kind} ${place} of ${fn}`)
        })
        const bytes = (kind: string): number => moves.reduce((sum, move) => sum + (move.kind === kind ? move.bytes : 0), 0) // prettier-ignore
        assert.deepEqual([bytes('read'), bytes('write')], [use?.readBytes ?? 0, use?.writtenBytes ?? 0])
        moved += moves.length
      }
      assert.ok(moved > 20, String(moved))
    })
  }
})
