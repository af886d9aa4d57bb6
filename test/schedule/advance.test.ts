// An update beside the next pass: the order of its kernels, that it does what the one does and then the other, and what of it needs
// no storage.

import assert from 'node:assert/strict'
import { Provenance } from '../../compiler/graph/node.ts'
import { rangeTransfers } from '../../compiler/plan/program.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import { withAdvance } from '../../compiler/schedule/advance.ts'
import { interleave } from '../../compiler/schedule/interleave.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { deferred, pieces } from '../../compiler/transform/deferUpdates.ts'
import { storageOf, sumsOf } from '../plan/streaming.ts'
import { golden } from '../support/golden.ts'
import { expected, firstDifference, launch, smallProfile } from './launch.ts'
import { training } from './trainings.ts'

const shardBytes = 96
const profile = { ...smallProfile(4), shardBytes, shardsState: true }
const storage = storageOf(shardBytes, true)
const { graph, values, extents } = training({ model: 'qwen2', adaptation: 'full', length: 8, storage })
const scheduled = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
const named = (functions: readonly ScheduledFunction[], name: string): ScheduledFunction => {
  const found = functions.find(({ fn }) => fn.name === name)
  assert.ok(found, name)
  return found
}

function lineOf({ region, reads }: LoweredRegion, { targets }: ScheduledFunction): string {
  const writes = region.nodes.flatMap((node) => targets.get(node) ?? [])
  return `${region.kind}: ${writes.sort().join(', ') || 'values'} of ${[...reads.declared].sort().join(', ') || 'values'}`
}

describe('an update beside the next pass', () => {
  const functions = withAdvance(scheduled, deferred, 'accumulate')
  const advance = named(functions, 'advance')

  it('has each kernel as late as the pass allows', () => {
    golden('schedule/advance.txt', `${advance.regions.map((region) => lineOf(region, advance)).join('\n')}\n`)
  })

  it('is made of the pieces and of nothing else', () => {
    const left = scheduled
      .filter(({ fn }) => fn.name === deferred.tables || !pieces.has(fn.name))
      .map(({ fn }) => fn.name)
    assert.deepEqual(functions.map(({ fn }) => fn.name).sort(), [...left, 'advance'].sort())
    const parts = [deferred.update, deferred.zero, 'accumulate'].map((name) => named(scheduled, name))
    assert.deepEqual(new Set(advance.regions), new Set(parts.flatMap(({ regions }) => regions)))
    assert.equal(advance.regions.length, new Set(advance.regions).size)
    // The pass keeps its order, and so does each piece as far as it must.
    const pass = named(scheduled, 'accumulate').regions
    assert.deepEqual(
      advance.regions.filter((region) => pass.includes(region)),
      pass,
    )
    assert.deepEqual([...(advance.zeroing ?? [])], named(scheduled, deferred.zero).regions)
    const tables = named(functions, 'advanceTables')
    assert.deepEqual(
      [tables.updates, advance.updates, tables.forVersions, advance.forVersions],
      ['begin', 'end', true, true],
    )
    assert.deepEqual([...(advance.updated ?? [])], tables.fn.writes.map(({ name }) => name)) // prettier-ignore
  })

  it('does what the update does, and then what the pass does', () => {
    // One after the other, by the interpreter, on the graph's own functions.
    const held = new Map(values)
    for (const fn of ['advanceUpdate', 'advanceZero', 'accumulate'].map((name) => named(scheduled, name).fn)) {
      for (const [name, tensor] of expected(graph, fn, held, extents)) {
        if (name.startsWith('write ')) held.set(name.slice(6), tensor)
      }
    }
    const made = launch({ graph, scheduled: advance, values, extents, stage: 'kernel' })
    const wanted = new Map([...made.keys()].map((name) => [name, held.get(name.slice(6)) as never]))
    assert.ok(wanted.size > 20)
    assert.equal(firstDifference(made, wanted), undefined)
  })

  it('neither writes sums as zeros nor reads them, where what adds to them covers them', () => {
    const { program } = planProgram('test', graph, functions, new Provenance(), { storage, sums: sumsOf(graph) })
    const { transfers: all, updates } = program.functions.find(({ name }) => name === 'advance') ?? {}
    assert.equal(updates, 'end')
    const lines = program.values.flatMap(({ name, place, streamed }) => {
      const own = rangeTransfers(all).filter(
        ({ tensor }) => streamed && 'index' in place && tensor.index === place.index,
      )
      const counts = ['read', 'readNext', 'write'].map((kind) => [kind, own.filter((one) => one.kind === kind).length])
      return own.length === 0 ? [] : [`${name}: ${counts.map(([kind, count]) => `${count} ${kind}`).join(', ')}`]
    })
    golden('schedule/advance-transfers.txt', `${lines.join('\n')}\n`)
  })

  it('is left out where nothing in storage has versions', () => {
    const plenty = storageOf(shardBytes, true, 2 ** 30)
    const { program } = planProgram('test', graph, functions, new Provenance(), {
      storage: plenty,
      sums: sumsOf(graph),
    })
    assert.deepEqual(
      program.functions.map(({ name }) => name).filter((name) => name.startsWith('advance')),
      program.values.some(({ versions }) => versions) ? ['advanceTables', 'advance'] : [],
    )
  })

  it('is refused where a kernel of the pass needs what one of the update makes', () => {
    const accumulate = named(scheduled, 'accumulate')
    assert.throws(() => interleave('twice', [accumulate], accumulate), /needs what one of the function before it makes/)
  })
})
