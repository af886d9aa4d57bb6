// Where values lie in the state file, by the rules of `runtime/heddle_stored.h`: two slots, each with the session's state and
// every stored value that has versions. Knows offsets, reads nothing.

import { InternalError } from '../../../compiler/diagnostic.ts'
import { carriedValues } from '../../../compiler/plan/carried.ts'
import type { Program, ProgramValue } from '../../../compiler/plan/program.ts'
import type { KeptValue } from './session.ts'

const BLOCK = 4096

/** What a slot holds of the values that a step carries over to the next. */
export function keptValues(program: Program, slot: 0 | 1): KeptValue[] {
  const { slotBytes, offsets } = slotLayout(program)
  const begin = BLOCK + slot * slotBytes
  return carriedValues(program).map((value) => {
    const { name, dtype, shape } = value
    return { name, dtype, shape, offset: begin + offsetIn(value, offsets) }
  })
}

/** Bytes of the whole file; 0 for a program that has none. */
export function stateFileBytes(program: Program): number {
  if (program.storedCount === 0) return 0
  const sums = program.values.filter(({ place, versions }) => place.space === 'stored' && !versions)
  return sums.reduce((sum, { bytes }) => sum + wholeBlocks(bytes), BLOCK + 2 * slotLayout(program).slotBytes)
}

/** Bytes of a slot, and where in one each stored value with versions begins. */
function slotLayout(program: Program): { slotBytes: number; offsets: ReadonlyMap<number, number> } {
  let slotBytes = wholeBlocks(program.carriedBytes ?? 0)
  const offsets = new Map<number, number>()
  const stored = program.values.flatMap(({ place, bytes, versions }) => {
    return place.space === 'stored' && versions ? [{ index: place.index, bytes }] : []
  })
  for (const { index, bytes } of stored.sort((a, b) => a.index - b.index)) {
    offsets.set(index, slotBytes)
    slotBytes += wholeBlocks(bytes)
  }
  return { slotBytes, offsets }
}

function offsetIn({ name, place }: ProgramValue, offsets: ReadonlyMap<number, number>): number {
  if (place.space === 'state') return place.offset
  const offset = place.space === 'stored' ? offsets.get(place.index) : undefined
  if (offset === undefined) throw new InternalError(`'${name}' is carried over, but no version of it is kept`)
  return offset
}

function wholeBlocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK) * BLOCK
}
