// A planned function as computing and transfers: which bytes of which tensors each of its moments finds in the arena, by what
// the program itself says, for the simulation of memory and storage. Only for tests.

import assert from 'node:assert/strict'
import { dtypeBytes } from '../../compiler/graph/axis.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { Footprint } from '../../compiler/plan/footprint.ts'
import type { ArenaUse, PlannedProgram, StorageUse } from '../../compiler/plan/place.ts'
import type { Launch, NamedRows, Part, Place, Program, ProgramFunction, TensorPlace, Transfer } from '../../compiler/plan/program.ts' // prettier-ignore
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import type { MovedRange, MovedTransfer, MovedUse, MovedValue, Moves } from './moves.ts'

/** What occurred in the functions that were looked at. */
export interface MovesSeen {
  named: number
  fresh: number
  written: number
  /** Sums that are not read, since they count as zero, and what was just updated. */
  next: number
  /** Transfers of what is carried over in memory, and those that are made before the last other one. */
  kept: number
  between: number
}

/** What is carried over in memory, as a tensor. */
const CARRIED = 'carried'

export function programMoves(
  { program, arenas }: PlannedProgram,
  scheduled: ScheduledFunction,
  seen: MovesSeen,
): Moves {
  const { name } = scheduled.fn
  const fn = program.functions.find((one) => one.name === name) as ProgramFunction
  const use = arenas.find((one) => one.fn === name) as ArenaUse
  return new FunctionMoves(program, fn, use, scheduled, seen).moves()
}

class FunctionMoves {
  readonly #program: Program
  readonly #fn: ProgramFunction
  readonly #use: ArenaUse
  readonly #scheduled: ScheduledFunction
  readonly #seen: MovesSeen
  readonly #values: readonly MovedValue[]
  readonly #footprints = new Map<Kernel, Footprint>()

  constructor(program: Program, fn: ProgramFunction, use: ArenaUse, scheduled: ScheduledFunction, seen: MovesSeen) {
    this.#program = program
    this.#fn = fn
    this.#use = use
    this.#scheduled = scheduled
    this.#seen = seen
    this.#values = use.buffers.map(({ label, offset, bytes, first, last }) => ({
      label,
      offset,
      units: bytes,
      first,
      last,
    }))
  }

  moves(): Moves {
    const streamed = this.#program.values.filter(({ streamed }) => streamed)
    const moments = this.#fn.launches.flatMap((launch, place) => {
      const region = this.#use.regions[place] as LoweredRegion
      const parts = launch.parts ?? [undefined]
      return parts.map((part, index) => ({
        waits: part?.transfers ?? launch.transfers ?? 0,
        uses: this.#uses(launch, region, part, this.#use.launchOf.indexOf(place) + index),
      }))
    })
    assert.equal(moments.length, this.#use.launchOf.length)
    const { transfers = [] } = this.#fn
    const units = this.#carriedBytes
    const last = transfers.findLastIndex(({ kind }) => kind !== 'keep')
    this.#seen.between += transfers.filter(({ kind }, place) => kind === 'keep' && place < last).length
    return {
      ...(units > 0 ? { resident: { tensor: CARRIED, offset: this.#use.peak } } : {}),
      tensors: new Map([
        ...(units > 0 ? [[CARRIED, { units, hasVersions: true, isUpdated: false }] as const] : []),
        ...streamed.map(({ name, place, bytes, versions = false }) => [keyOf(place as TensorPlace), { units: bytes, hasVersions: versions, isUpdated: this.#scheduled.updated?.has(name) ?? false }] as const), // prettier-ignore
      ]),
      memory: this.#use.peak + units,
      values: this.#values,
      transfers: transfers.map((transfer) => this.#transfer(transfer)),
      moments,
    }
  }

  /** 0 where no version stands behind the function. */
  get #carriedBytes(): number {
    const { updates } = this.#fn
    return updates === 'whole' || updates === 'end' ? (this.#program.carriedBytes ?? 0) : 0
  }

  #carried(from: number, bytes: number): MovedRange {
    return { tensor: CARRIED, units: spanOf(from, bytes), offset: this.#use.peak + from }
  }

  #transfer(transfer: Transfer): MovedTransfer {
    if (transfer.kind === 'keep') {
      this.#seen.kept++
      return { kind: 'write', range: this.#carried(transfer.from, transfer.bytes), after: transfer.after }
    }
    const { kind, tensor, from, bytes, offset, after, rows } = transfer
    if (kind === 'write') this.#seen.written++
    if (kind === 'readNext') this.#seen.next++
    if (!rows) return { kind, range: { tensor: keyOf(tensor), units: spanOf(from, bytes), offset }, after }
    const needs = this.#values.find(
      (one) => one.label.startsWith('first occurrences') && one.offset === rows.firsts && one.first === 0,
    )
    assert.ok(needs?.units === 4 * rows.count, 'rows of which nothing says which are the first')
    assert.equal(bytes, rows.count * rows.rowBytes)
    // The simulation sees only what does overwrite it; nothing may.
    const range = this.#use.storage?.ranges.find(
      (one) => one.offset === offset && one.start <= after && after <= one.end + 1,
    )
    assert.ok(range && needs.last >= range.end, `${this.#fn.name}: first occurrences go before their rows`)
    return { kind, range: this.#rows(keyOf(tensor), offset, rows), after, needs }
  }

  /** Some ids are of the same row. */
  #rows(tensor: string, offset: number, { count, rowBytes }: Pick<NamedRows, 'count' | 'rowBytes'>): MovedRange {
    const { bytes } = this.#program.values.find(
      ({ place, streamed }) => streamed && keyOf(place as TensorPlace) === tensor,
    ) as { bytes: number }
    const ids = Array.from({ length: count }, (_, place) => (place * 7 + 3) % Math.min(bytes / rowBytes, 11))
    const units = ids.flatMap((id, place) =>
      Array.from({ length: rowBytes }, (_, unit) => (ids.indexOf(id) === place ? id * rowBytes + unit : -1)),
    )
    return { tensor, units, offset }
  }

  /** What a launch or a part of it reads and changes of tensors in storage, by its windows and what its kernel can touch. */
  #uses(launch: Launch, { kernel, references }: LoweredRegion, part: Part | undefined, moment: number): MovedUse[] {
    const footprint = this.#footprints.get(kernel) ?? new Footprint(kernel)
    this.#footprints.set(kernel, footprint)
    return kernel.arguments.flatMap((buffer, argument): MovedUse[] => {
      const isWritten = buffer.access !== 'read'
      const reference = references[argument]
      const place = launch.arguments[argument] as Place
      if (reference?.kind === 'named') {
        const { ids, name } = reference
        const count = this.#program.values.find((value) => value.name === ids)?.shape.reduce((a, b) => a * b, 1) ?? 0
        const rowBytes = (bufferElements(buffer) * dtypeBytes[buffer.dtype]) / count
        const tensor = this.#program.values.find((value) => value.name === name)?.place as TensorPlace
        assert.ok('offset' in place)
        this.#seen.named++
        const range = this.#rows(keyOf(tensor), place.offset, { count, rowBytes })
        assert.equal(this.#rangeAt(moment, place.offset)?.range.bytes, count * rowBytes)
        return [{ range, isRead: true, isWritten }]
      }
      if (place.space === 'state' && isWritten && place.offset < this.#carriedBytes) {
        const range = this.#carried(place.offset, bufferElements(buffer) * dtypeBytes[buffer.dtype])
        return [{ range, isRead: false, isWritten }]
      }
      const isStreamed = this.#program.values.some((value) => value.streamed && value.place === place)
      if (!('index' in place) || !isStreamed) return []
      assert.ok(part, `${this.#fn.name}: a launch has a tensor in storage and no parts`)
      const { from, bytes } = footprint.of(buffer.name, part.begin, part.end)
      const window = part.windows.find((one) => one.argument === argument)
      if (bytes === 0) return []
      assert.ok(window && window.from <= from, `${this.#fn.name}: an argument has no window`)
      const planned = this.#rangeAt(moment, window.offset)
      assert.ok(planned, `${this.#fn.name}: nothing is planned at ${window.offset}`)
      assert.equal(planned.range.from, window.from)
      assert.ok(from + bytes <= window.from + planned.range.bytes, `${this.#fn.name}: a window is too short`)
      const isFresh = !planned.isRead && planned.first === moment
      if (isFresh && buffer.access === 'write') this.#seen.fresh++
      const range = { tensor: keyOf(place), units: spanOf(from, bytes), offset: window.offset + from - window.from }
      return [{ range, isRead: !isFresh || buffer.access !== 'write', isWritten }]
    })
  }

  #rangeAt(moment: number, offset: number): StorageUse['ranges'][number] | undefined {
    return this.#use.storage?.ranges.find((one) => one.offset === offset && one.first <= moment && moment <= one.last)
  }
}

function keyOf({ space, index }: TensorPlace): string {
  return `${space} ${index}`
}

function spanOf(from: number, bytes: number): Int32Array {
  return Int32Array.from({ length: bytes }, (_, byte) => from + byte)
}
