// Which parameters a recipe trains and how. Data only: the transforms know what it means.

import { callPlace, writtenAt } from './place.ts'
import { frozen, GivenValues } from './validation.ts'

/** Low-rank adaptation (Hu et al. 2021): W + scale · B·A, A and B trained. */
export interface LoraAdaptation<Target extends string = string> {
  readonly kind: 'lora'
  readonly rank: number
  readonly alpha: number
  readonly dropout: number
  /** Module paths, or their ends on whole components, as PEFT's `target_modules`. */
  readonly targets: readonly Target[]
  /** Scale by alpha/√rank instead of alpha/rank (Kalajdzievski 2023). */
  readonly rslora: boolean
}

/** Every parameter of the model is trained. */
export interface FullFineTuning {
  readonly kind: 'full'
}

export type Adaptation<Target extends string = string> = LoraAdaptation<Target> | FullFineTuning

export interface LoraOptions<Target extends string> {
  /** Columns of A and rows of B. */
  readonly rank: number
  /** Numerator of the scale. */
  readonly alpha: number
  /** Probability of dropping an element of the adapter's input; 0 unless stated. */
  readonly dropout?: number
  readonly targets: readonly Target[]
  readonly rslora?: boolean
}

/**
 * Adapts the linear modules whose path is a target or ends in `.` and a target.
 *
 * @throws UserError HD301 for an unknown key, HD302 for a wrong value, HD304 for a missing one
 */
export function lora<const Target extends string>(options: LoraOptions<Target>): LoraAdaptation<Target> {
  const place = callPlace()
  const given = new GivenValues(options, 'lora', ['rank', 'alpha', 'dropout', 'targets', 'rslora'], place)
  const { targets, rslora = false } = options
  const named = Array.isArray(targets) && targets.every((target) => typeof target === 'string' && target !== '')
  if (!named || targets.length === 0) given.fail('targets', 'a list of at least one module name')
  if (new Set(targets).size !== targets.length) given.refuse('a target stands twice')
  if (typeof rslora !== 'boolean') given.fail('rslora', 'true or false')
  const made = frozen({
    kind: 'lora' as const,
    rank: given.number(
      'rank',
      'an integer from 1 to 4096',
      (rank) => Number.isInteger(rank) && rank >= 1 && rank <= 4096,
    ),
    alpha: given.number('alpha', 'a positive number', (alpha) => alpha > 0),
    dropout: given.number('dropout', 'a probability below 1', (p) => p >= 0 && p < 1, 0),
    targets: [...targets],
    rslora,
  })
  return writtenAt(made, place)
}

/** Trains every parameter. */
export function fullFineTuning(): FullFineTuning {
  return frozen({ kind: 'full' })
}
