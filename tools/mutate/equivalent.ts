// Mutations that change no result, each with the reason why no test can notice. Whoever adds one argues for it.

import { idOf } from './mutation.ts'
import type { Mutation } from './mutation.ts'

const reasons: ReadonlyMap<string, string> = new Map([
  ['generate generate/sampling.ts 0 → 1 in greedy.seed', 'nothing is drawn at a temperature of 0'],
  [
    'generate generate/sampling.ts score < 0 with <= in penalised',
    'a logit of 0 stays 0 whether it is multiplied or divided',
  ],
  [
    'plan compiler/plan/parts.ts count === 1 || wholeBytes <= shardBytes with && in cut',
    'what is not cut for one of these reasons comes out as one part where it is',
  ],
  [
    'plan compiler/plan/parts.ts wholeBytes <= shardBytes with < in cut',
    'what is not cut for this reason comes out as one part where it is',
  ],
  [
    'plan compiler/plan/moments.ts moment < moments with <= in waitsOf',
    'nothing is kept at a place behind the end of an array of numbers',
  ],
  [
    'plan compiler/plan/moments.ts moment < moments with <= in waitsOf (2)',
    'nothing is kept at a place behind the end of an array of numbers',
  ],
  [
    'plan compiler/plan/moments.ts next >= count with > in simulate.waitFor',
    'what was waited for before is done by now: there is nothing to add',
  ],
  [
    'schedule compiler/schedule/columns.ts no guard [{ left: block, right: blocks }] in lowerColumns.body',
    'a block past the end has no groups, so that its slot is combined with what partial results begin with',
  ],
  [
    'schedule compiler/schedule/lowering.ts holdsRun is always true',
    'a run that is not in one piece is walked by quotients and remainders: the same places, more slowly',
  ],
  [
    'schedule compiler/schedule/lowering.ts holdsRun is always false',
    'axes are then walked one by one instead of as one run: the same places, more slowly',
  ],
  [
    'schedule compiler/schedule/operands.ts isAlong is always true',
    'decides how an operand is copied and which memory is asked for ahead: the same elements either way, at another speed',
  ],
  [
    'schedule compiler/schedule/nest.ts 0 → 1 in declareLoop.low',
    'these ranges only simplify quotients, remainders and minima; guards are made of extents, whatever they say',
  ],
  [
    'schedule compiler/schedule/nest.ts 1 → 2 in declareLoop.high',
    'these ranges only simplify quotients, remainders and minima; guards are made of extents, whatever they say',
  ],
  [
    'schedule compiler/schedule/nest.ts 1 → 2 in axisLoops.shared',
    'decides how many loops are handed to threads, whose number changes no bit',
  ],
  [
    'schedule compiler/schedule/regions.ts Partitioner.#readsTensors is always false',
    'cheap values of tensors are then worked out again where they are used instead of being stored: the same bits',
  ],
  [
    'schedule compiler/schedule/regions.ts Partitioner.#liesAlike is always true',
    'a value then joins a kernel that walks it across its memory: the same places, more slowly',
  ],
  [
    'schedule compiler/schedule/writes.ts isComputed is always true',
    'a base that is only read or viewed is then copied by a kernel of its own before the scatter, not by the scatter',
  ],
  [
    'schedule compiler/schedule/writes.ts isComputed is always false',
    'results are then copied to their declared places instead of being computed there: the same bits, more memory',
  ],
])

/** Why a mutation is no mistake; undefined where it is one. */
export function equivalence(mutation: Mutation): string | undefined {
  return reasons.get(idOf(mutation))
}

/** Entries whose code is no longer there. */
export function staleEquivalences(mutations: readonly Mutation[]): string[] {
  const known = new Set(mutations.map(idOf))
  return [...reasons.keys()].filter((id) => !known.has(id))
}
