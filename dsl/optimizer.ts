// Optimizers and learning-rate schedules as data. What a step computes is the transforms' business.

import { callPlace } from './place.ts'
import { frozen, GivenValues } from './validation.ts'

/** The same rate at every step. */
export interface ConstantRate {
  readonly kind: 'constant'
  readonly rate: number
}

/**
 * From 0 up to `peak` over the warm-up, then down along a line or half a cosine, which ends at `floor` one step after the
 * last, so that no step is lost. With a floor of 0 these are transformers' schedules of the same names.
 */
export interface DecayingRate {
  readonly kind: 'linear' | 'cosine'
  readonly peak: number
  /** Steps (an integer from 1), or the fraction of all steps (below 1). */
  readonly warmup: number
  readonly floor: number
}

export type RateSchedule = ConstantRate | DecayingRate

export interface DecayOptions {
  readonly peak: number
  /** Steps (an integer from 1), or the fraction of all steps (below 1); 0 unless stated. */
  readonly warmup?: number
  /** What the rate falls towards; 0 unless stated. */
  readonly floor?: number
}

/** The same rate at every step. @throws UserError HD302 unless it is positive */
export function constant(rate: number): ConstantRate {
  const given = new GivenValues({ rate }, 'constant', ['rate'], callPlace())
  return frozen({ kind: 'constant', rate: given.number('rate', 'a positive number', (value) => value > 0) })
}

function decaying(kind: DecayingRate['kind'], call: string, options: DecayOptions): DecayingRate {
  const given = new GivenValues(options, call, ['peak', 'warmup', 'floor'], callPlace())
  const peak = given.number('peak', 'a positive number', (value) => value > 0)
  return frozen({
    kind,
    peak,
    warmup: given.number(
      'warmup',
      'a fraction below 1 or a number of steps',
      (value) => value >= 0 && (value < 1 || Number.isSafeInteger(value)),
      0,
    ),
    floor: given.number('floor', 'a rate from 0 to the peak', (value) => value >= 0 && value <= peak, 0),
  })
}

/** Warm-up, then a straight line down to the floor, as transformers' `get_linear_schedule_with_warmup`. */
export function linearDecay(options: DecayOptions): DecayingRate {
  return decaying('linear', 'linearDecay', options)
}

/**
 * Warm-up, then half a cosine down to the floor (Loshchilov and Hutter 2017), as transformers'
 * `get_cosine_schedule_with_warmup`.
 */
export function cosine(options: DecayOptions): DecayingRate {
  return decaying('cosine', 'cosine', options)
}

/** AdamW (Loshchilov and Hutter 2019), bias-corrected, decay decoupled from the gradient. */
export interface AdamWOptimizer {
  readonly kind: 'adamW'
  readonly rate: RateSchedule
  readonly betas: readonly [number, number]
  readonly epsilon: number
  readonly weightDecay: number
  /** Greatest global 2-norm of the gradients of a step; absent: they are not clipped. */
  readonly clip?: number
}

export interface AdamWOptions {
  readonly rate: RateSchedule
  /** 0.9 and 0.999 unless stated. */
  readonly betas?: readonly [number, number]
  /** 1e-8 unless stated. */
  readonly epsilon?: number
  /** 0 unless stated. */
  readonly weightDecay?: number
  readonly clip?: number
}

/** @throws UserError HD301 for an unknown key, HD302 for a wrong value, HD304 for a missing one */
export function adamW(options: AdamWOptions): AdamWOptimizer {
  const given = new GivenValues(options, 'adamW', ['rate', 'betas', 'epsilon', 'weightDecay', 'clip'], callPlace())
  const betas: unknown = options.betas ?? [0.9, 0.999]
  const good =
    Array.isArray(betas) &&
    betas.length === 2 &&
    betas.every((beta) => typeof beta === 'number' && beta >= 0 && beta < 1)
  if (!good) given.fail('betas', 'two numbers from 0 to below 1')
  const [first, second] = betas as [number, number]
  return frozen({
    kind: 'adamW',
    rate: given.made<RateSchedule>(
      'rate',
      ['constant', 'linear', 'cosine'],
      'constant(…), linearDecay(…) or cosine(…)',
    ),
    betas: [first, second] as const,
    epsilon: given.number('epsilon', 'a positive number', (value) => value > 0, 1e-8),
    weightDecay: given.number('weightDecay', 'at least 0', (value) => value >= 0, 0),
    ...(given.has('clip') ? { clip: given.number('clip', 'a positive number', (value) => value > 0) } : {}),
  })
}
