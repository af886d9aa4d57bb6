// Which token comes next, given the logits: the likeliest, or one drawn from what temperature, top-k and top-p leave, as
// transformers' logits processors do it and in their order. Knows tokens only; no session and no text.

import { float64 } from '../compiler/graph/float64.ts'
import { randomUniform } from '../compiler/graph/random.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { likeliest } from '../train/predict.ts'

export interface Sampling {
  /** Divides the logits; 0 takes the likeliest token. */
  readonly temperature: number
  /** Only so many of the likeliest tokens, and those as likely as the last of them. */
  readonly topK?: number | undefined
  /** Only the likeliest tokens that together have this probability; always one. */
  readonly topP?: number | undefined
  /** Divides positive logits of tokens that are in the text already, and multiplies negative ones (Keskar et al. 2019). */
  readonly repetitionPenalty?: number | undefined
  /** Where the random numbers start: the same seed draws the same text. */
  readonly seed: number
}

/** Always the likeliest token. */
export const greedy: Sampling = { temperature: 0, seed: 0 }

/** Two independent streams give a number its high and its low bits. */
const streams = [0, 1] as const

/**
 * The token that follows `text`, prompt included; `step` counts the tokens drawn before. Of equally likely ones the
 * smallest.
 *
 * @throws UserError HD810 for a logit that is not a number
 */
export function chooseToken(logits: Float32Array, text: readonly number[], sampling: Sampling, step: number): number {
  const scores = penalised(logits, text, sampling.repetitionPenalty)
  if (sampling.temperature === 0) return likeliest(scores)
  const kept = probabilities(scores, sampling)
  const [high, low] = streams.map((stream) => randomUniform(float64, sampling.seed | 0, stream, step))
  const drawn = (high as number) + (low as number) * 2 ** -24
  // The probabilities add up to 1 but for rounding: the last has what is left.
  const last = kept.pop() as Candidate
  let sum = 0
  for (const { token, probability } of kept) {
    sum += probability
    if (drawn < sum) return token
  }
  return last.token
}

export interface Candidate {
  readonly token: number
  readonly probability: number
}

/** The logits with the repetition penalty. HD810 for one that is not a number. */
export function penalised(logits: Float32Array, text: readonly number[], penalty = 1): Float64Array {
  const scores = Float64Array.from(logits)
  if (scores.some(Number.isNaN)) throw new UserError('HD810', 'a logit is not a number; the weights are damaged')
  if (penalty === 1) return scores
  for (const token of new Set(text)) {
    const score = scores[token]
    if (score !== undefined) scores[token] = score < 0 ? score * penalty : score / penalty
  }
  return scores
}

/**
 * What may be drawn with which probability; they add up to 1. Top-k keeps what is as likely as the last of its tokens,
 * top-p the likeliest tokens up to and with the one that makes their sum reach p.
 */
export function probabilities(scores: Float64Array, { temperature, topK, topP }: Sampling): Candidate[] {
  const best = scores.reduce((most, score) => Math.max(most, score), -Infinity)
  const least = topK === undefined ? -Infinity : (scores.toSorted().at(-topK) ?? -Infinity)
  const weights: Candidate[] = []
  let all = 0
  scores.forEach((score, token) => {
    // Infinite logits: the likeliest are certain, and those ruled out stay so.
    const probability = score === best ? 1 : Math.exp((score - best) / temperature)
    if (score < least || probability === 0) return
    weights.push({ token, probability })
    all += probability
  })
  const kept = topP === undefined || topP >= 1 ? weights : nucleus(weights, topP * all, all)
  const sum = kept.reduce((total, { probability }) => total + probability, 0)
  return kept.map(({ token, probability }) => ({ token, probability: probability / sum }))
}

/** The likeliest candidates, up to and with the one that makes their sum reach `wanted`. */
function nucleus(weights: readonly Candidate[], wanted: number, all: number): Candidate[] {
  // All candidates below this together are less than what may be left out, so a long tail need not be sorted.
  const negligible = (all - wanted) / weights.length
  // Sorting is stable: of equally likely ones the smallest comes first.
  const sorted = weights
    .filter(({ probability }) => probability >= negligible)
    .sort((a, b) => b.probability - a.probability)
  let sum = 0
  const beyond = sorted.findIndex(({ probability }) => {
    if (sum >= wanted) return true
    sum += probability
    return false
  })
  return beyond < 0 ? sorted : sorted.slice(0, Math.max(1, beyond))
}
