// Multiple choice by log-likelihood: the answer of a model is the continuation it finds likeliest, by itself (accuracy) or
// for its length in characters (normalised accuracy). Knows no benchmark.

import type { Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { logLikelihoods } from './score.ts'
import type { Scored, ScoreSize } from './score.ts'
import type { Question } from './task.ts'

export interface ChoiceResult {
  readonly questions: number
  /** Share of questions whose right continuation is the likeliest; of equals the first counts. */
  readonly accuracy: number
  /** The same with each log-likelihood divided by the length of its answer. */
  readonly normalisedAccuracy: number
  /** Questions whose context lost its beginning because it did not fit. */
  readonly cut: number
  /** What was answered: the index of the likeliest continuation of each question, and of the likeliest for its length. */
  readonly answers: readonly number[]
  readonly normalisedAnswers: readonly number[]
}

/** What this file needs of a tokenizer. */
export interface Encoder {
  /** Tokens of a text alone, no special ones added. */
  readonly encode: (text: string) => readonly number[]
  /** What the tokenizer puts in front of every text: the beginning-of-text token, or nothing. */
  readonly prefix: readonly number[]
  /** Stands in front of a continuation that has nothing before it. */
  readonly fallback: number | undefined
}

/**
 * Context and continuation as tokens. They are encoded together, so that the text is tokenized as it would be read; what
 * the context alone has as tokens is not predicted. White space at the context's end belongs to the continuation.
 */
export function scoredOf(
  context: string,
  continuation: string,
  encoder: Encoder,
  length: number,
): Scored & { cut: boolean } {
  const kept = context.trimEnd()
  const whole = encoder.encode(kept + context.slice(kept.length) + continuation)
  const before = [...encoder.prefix, ...(kept === '' ? [] : encoder.encode(kept))]
  const tokens = [...encoder.prefix, ...whole]
  if (before.length === 0) {
    if (encoder.fallback === undefined) {
      throw new UserError('HD606', 'a question has no context, and the tokenizer no token that begins a text')
    }
    before.unshift(encoder.fallback)
    tokens.unshift(encoder.fallback)
  }
  const surplus = Math.max(0, tokens.length - (length + 1))
  const from = before.length - surplus
  if (from < 1) throw new UserError('HD812', `an answer has ${tokens.length - before.length} tokens, more than fit`)
  return { tokens: tokens.slice(surplus), from, cut: surplus > 0 }
}

/** Answers all questions. `onProgress` is told how many continuations have been scored. Errors as for `logLikelihoods`. */
export async function answerQuestions(
  session: Session,
  questions: readonly Question[],
  encoder: Encoder,
  size: ScoreSize,
  onProgress: (scored: number, all: number) => void = () => {},
): Promise<ChoiceResult> {
  const scored = questions.flatMap(({ context, continuations }) =>
    continuations.map((continuation) => scoredOf(context, continuation, encoder, size.length)),
  )
  const likelihoods = new Float64Array(scored.length)
  let done = 0
  for await (const { index, logLikelihood } of logLikelihoods(session, scored, size)) {
    likelihoods[index] = logLikelihood
    onProgress(++done, scored.length)
  }
  const answers: number[] = []
  const normalisedAnswers: number[] = []
  let cut = 0
  let first = 0
  for (const { continuations, lengths } of questions) {
    const own = likelihoods.subarray(first, first + continuations.length)
    answers.push(largest(own))
    normalisedAnswers.push(largest(own.map((value, choice) => value / (lengths[choice] as number))))
    if (scored.slice(first, first + continuations.length).some((one) => one.cut)) cut++
    first += continuations.length
  }
  const share = (given: readonly number[]): number =>
    questions.filter(({ answer }, index) => given[index] === answer).length / questions.length
  return {
    questions: questions.length,
    accuracy: share(answers),
    normalisedAccuracy: share(normalisedAnswers),
    cut,
    answers,
    normalisedAnswers,
  }
}

function largest(values: Float64Array): number {
  return values.reduce((best, value, index) => (value > (values[best] as number) ? index : best), 0)
}

/** `count` worked examples in front of each question, taken from `examples` in order, the question's own one left out. */
export function withExamples(
  questions: readonly Question[],
  examples: readonly Question[],
  count: number,
  description: string,
): Question[] {
  const worked = ({ context, continuations, answer }: Question): string =>
    `${context}${continuations[answer] ?? ''}\n\n`
  return questions.map((asked) => {
    const others = examples.filter(({ context }) => context !== asked.context)
    if (others.length < count) {
      throw new UserError('HD607', `there are ${others.length} worked examples, fewer than the ${count} wanted`)
    }
    return { ...asked, context: `${description}${others.slice(0, count).map(worked).join('')}${asked.context}` }
  })
}
