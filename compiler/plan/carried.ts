// Which values a step carries over to the next: what a saved state holds.

import type { Program, ProgramValue } from './program.ts'

/** Everything that is trained and all state but tables, which never change, and sums that are zero between two steps. */
export function carriedValues({ values }: Pick<Program, 'values'>): ProgramValue[] {
  return values.filter(isCarried)
}

export function isCarried({ role, initial, sum }: Pick<ProgramValue, 'role' | 'initial' | 'sum'>): boolean {
  return role === 'trainable' || (role === 'state' && initial?.kind !== 'values' && !sum)
}
