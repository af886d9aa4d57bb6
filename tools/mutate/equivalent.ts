// Mutations that change no result, each with the reason why no test can notice. Whoever adds one argues for it.

import { idOf } from './mutation.ts'
import type { Mutation } from './mutation.ts'

const reasons: ReadonlyMap<string, string> = new Map<string, string>([])

/** Why a mutation is no mistake; undefined where it is one. */
export function equivalence(mutation: Mutation): string | undefined {
  return reasons.get(idOf(mutation))
}

/** Entries whose code is no longer there. */
export function staleEquivalences(mutations: readonly Mutation[]): string[] {
  const known = new Set(mutations.map(idOf))
  return [...reasons.keys()].filter((id) => !known.has(id))
}
