// Programs whose tensors are moved while they run, at very small ranges, and what has to be true of any plan for one. Only for
// tests.

import assert from 'node:assert/strict'
import type { Graph } from '../../compiler/graph/node.ts'
import { align } from '../../compiler/plan/arena.ts'
import type { StreamedArgument } from '../../compiler/plan/parts.ts'
import type { PlannedProgram, StorageOptions } from '../../compiler/plan/place.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { declaredBytes } from '../../compiler/schedule/shards.ts'
import { sums } from '../../compiler/transform/states.ts'
import { fastest, problemOf, slowest, uneven } from './moves.ts'
import { programMoves } from './programMoves.ts'
import type { MovesSeen } from './programMoves.ts'

/** Everything above 64 bytes may lie in storage; `state`: what is trained as well. */
export function storageOf(shardBytes: number, state: boolean = false, limit = 1): StorageOptions {
  return {
    shardBytes,
    residentBytes: 64,
    limit: () => limit,
    state,
    read: { bytesPerSecond: 1e8, latencySeconds: 1e-5 },
    write: { bytesPerSecond: 5e7, latencySeconds: 2e-5 },
    compute: { flopsPerSecond: 1e9, bytesPerSecond: 1e9 },
  }
}

/** Arguments of a kernel that may lie in storage and are above the limit. */
export function streamedOf(
  { references }: LoweredRegion,
  graph: Graph,
  { residentBytes, state = false }: StorageOptions,
): StreamedArgument[] {
  const names = [...graph.declarations.keys()]
  return references.flatMap((reference, argument) => {
    const declared = reference.kind === 'declared' ? graph.declarations.get(reference.name) : undefined
    if (!declared || declared.role === 'input' || declaredBytes(declared) <= residentBytes) return []
    if (declared.role !== 'frozen' && !state) return []
    const space = declared.role === 'frozen' ? 'frozen' : 'stored'
    return [{ argument, tensor: { space, index: names.indexOf(declared.name) }, bytes: declaredBytes(declared) }]
  })
}

/** Values that are zero between two steps. */
export function sumsOf(graph: Graph): Set<string> {
  return sums(graph)
}

/** Nothing in the arena lies where something else of its time does, and the simulation of memory and storage finds no fault. */
export function checkPlanned(planned: PlannedProgram, functions: readonly ScheduledFunction[], seen: MovesSeen): void {
  checkArena(planned)
  for (const [place, scheduled] of functions.entries()) {
    // An update apart from its step has a purpose only where what it writes has versions.
    if (scheduled.forVersions && !planned.program.values.some(({ versions }) => versions)) continue
    const moves = programMoves(planned, scheduled, seen)
    for (const pace of [slowest, fastest, uneven(place + 1)]) {
      assert.equal(problemOf(moves, pace), undefined, scheduled.fn.name)
    }
  }
}

/** Ranges are there from the moment at which reading may begin to the one by which writing is done. */
function checkArena({ arenas, program }: PlannedProgram): void {
  for (const { fn, buffers, storage, launchOf, peak } of arenas) {
    const ranges = (storage?.ranges ?? []).map(({ start, end, ...range }) => ({ ...range, first: start, last: end }))
    const all = [...buffers, ...ranges].map((one) => ({ ...one, end: one.offset + align(one.bytes) }))
    for (const [place, one] of all.entries()) {
      assert.ok(one.end <= peak)
      for (const other of all.slice(place + 1)) {
        const apart = one.last < other.first || other.last < one.first
        assert.ok(apart || one.end <= other.offset || other.end <= one.offset, `${fn}: ${one.label} and ${other.label}`)
      }
    }
    const planned = program.functions.find(({ name }) => name === fn)
    const transfers = planned?.transfers ?? []
    transfers.forEach(({ after }, place) =>
      assert.ok(after >= (transfers[place - 1]?.after ?? 0), `${fn}: a transfer is overtaken`),
    )
    const kept = transfers.flatMap(({ kind, bytes }) => (kind === 'keep' ? [bytes] : []))
    const ends = planned?.updates === 'whole' || planned?.updates === 'end'
    assert.equal(kept.reduce((sum, bytes) => sum + bytes, 0), ends ? program.carriedBytes : 0) // prettier-ignore
    const moments = (planned?.launches ?? []).flatMap(({ parts }, launched) => (parts ?? [0]).map(() => launched))
    assert.deepEqual(launchOf, moments)
    assert.equal(transfers.filter(({ kind }) => kind === 'read' || kind === 'readNext').length, storage?.reads ?? 0)
    assert.equal(transfers.filter(({ kind }) => kind === 'write' || kind === 'keep').length, storage?.writes ?? 0)
  }
}
