// What a recipe says about a run under way: how often its state is saved, and which records it is held against. Data
// only; no file is opened here.

import type { Place } from '../compiler/diagnostic.ts'
import { GivenValues } from './validation.ts'

/** When the state of a run is saved, besides its end. */
export interface Saving {
  /** Optimizer steps between two states. */
  readonly every: number
}

interface Rhythm {
  /** Optimizer steps between two evaluations; the last step is always followed by one. */
  readonly every: number
  /** So many evaluations in a row without improvement end the run; absent: none does. */
  readonly patience?: number
}

/** Held-out records: their loss, without dropout, is measured as the run goes, and the best result is kept. */
export interface Evaluation extends Rhythm {
  /** A file of records of the same kind as `data`; as written in the recipe, relative to the recipe's file. Or… */
  readonly data?: string
  /** …the share of the recipe's own records that is held out of training, above 0 and below 1. */
  readonly share?: number
}

/** Held-out records are a file or a share, not both. */
export type EvaluationOfFileOrShare =
  | (Rhythm & {
      readonly data: string
      readonly share?: "(Error) 'evaluate' has data or a share: one of them, not both"
    })
  | (Rhythm & { readonly share: number; readonly data?: never })

/** The recipe's `save`. @throws UserError HD301, HD302, HD304 */
export function savingOf(value: unknown, place: Place): Saving {
  return { every: new GivenValues(value, 'save', ['every'], place).count('every') }
}

/** The recipe's `evaluate`. @throws UserError HD301 to HD304 */
export function evaluationOf(value: unknown, place: Place): Evaluation {
  const given = new GivenValues(value, 'evaluate', ['data', 'share', 'every', 'patience'], place)
  if (given.has('data') && given.has('share')) given.refuse("'data' and 'share' are given; one of them decides")
  if (!given.has('data') && !given.has('share')) given.fail('data', 'the path of a JSONL file, unless share is given')
  const source = given.has('data')
    ? { data: given.text('data', 'the path of a JSONL file') }
    : { share: given.number('share', 'a number above 0 and below 1', (share) => share > 0 && share < 1) }
  const patience = given.has('patience') ? { patience: given.count('patience') } : {}
  return { ...source, every: given.count('every'), ...patience }
}
