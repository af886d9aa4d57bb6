// A step's update and the pass after it as one function. Knows functions by the names that it is given.

import { interleave } from './interleave.ts'
import type { ScheduledFunction } from './schedule.ts'

/** The update of the step before, and the next micro-batch's pass. */
export const ADVANCE = 'advance'

/** Names of the pieces of an update: what has to be over when the pass begins, the rest, and what sets sums to zero behind both. */
export interface UpdatePieces {
  readonly tables: string
  readonly update: string
  readonly zero: string
}

/** Instead of the pieces, the function that runs them beside `pass`, and the one before it, as far as they are there. */
export function withAdvance(
  scheduled: readonly ScheduledFunction[],
  names: UpdatePieces,
  passName: string,
): ScheduledFunction[] {
  const named = (name: string): ScheduledFunction | undefined => scheduled.find(({ fn }) => fn.name === name)
  const [tables, update, zero, pass] = [names.tables, names.update, names.zero, passName].map(named)
  const others = scheduled.filter((fn) => fn !== tables && fn !== update && fn !== zero)
  if (!zero || !pass) return others
  const merged = interleave(ADVANCE, update ? [update, zero] : [zero], pass)
  const advance = { ...merged, zeroing: new Set(zero.regions), forVersions: true }
  if (!tables) return [...others, advance]
  const updated = new Set(tables.fn.writes.map(({ name }) => name))
  return [...others, { ...tables, updates: 'begin', forVersions: true }, { ...advance, updates: 'end', updated }]
}
