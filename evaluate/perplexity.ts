// Perplexity of a long text by windows that overlap, as in transformers' own procedure: every token but the first is predicted
// once, from at least `window − stride` tokens before it where the text has them. Knows tokens only.

import type { Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { logLikelihoods } from './score.ts'
import type { Scored, ScoreSize } from './score.ts'

export interface Perplexity {
  /** exp of the mean of −log p in nats. */
  readonly perplexity: number
  /** Σ −log p. */
  readonly loss: number
  /** Tokens that were predicted. */
  readonly tokens: number
}

/**
 * Windows of at most `length` tokens that begin every `stride` tokens; in each, the tokens that no window before it
 * predicted. At a stride as long as the window nobody predicts a window's first token.
 *
 * @throws UserError HD604 for a text without a token to predict, HD605 for a window or a stride that makes no sense
 */
export function windows(tokens: readonly number[], length: number, stride: number): Scored[] {
  refuseShortText(tokens)
  if (length < 2) throw new UserError('HD605', `a window of ${length} predicts nothing`, { mend: 'give one from 2 on' })
  if (stride < 1 || stride > length) {
    throw new UserError('HD605', `the stride is ${stride}`, { mend: `give one from 1 to the window's ${length}` })
  }
  const made: Scored[] = []
  // Tokens before this one have been predicted, or are the first.
  let next = 1
  for (let start = 0; next < tokens.length; start += stride) {
    const end = Math.min(start + length, tokens.length)
    const from = Math.max(1, next - start)
    if (start + from < end) made.push({ tokens: tokens.slice(start, end), from })
    next = end
  }
  return made
}

/** UserError HD604 for a text whose tokens leave nothing to predict. */
export function refuseShortText(tokens: readonly number[], file?: string): void {
  if (tokens.length >= 2) return
  const count = tokens.length === 1 ? '1 token' : 'no token'
  const place = file === undefined ? undefined : { file }
  throw new UserError('HD604', `the text has ${count}, so nothing can be predicted`, { place })
}

/** Perplexity of a text by windows of `length` tokens. `onProgress` is told how many of all tokens have been predicted. Errors as for `logLikelihoods`. */
export async function perplexityOf(
  session: Session,
  tokens: readonly number[],
  size: ScoreSize,
  { length, stride }: { readonly length: number; readonly stride: number },
  onProgress: (predicted: number, all: number) => void = () => {},
): Promise<Perplexity> {
  const parts = windows(tokens, length, stride)
  const all = parts.reduce((sum, { tokens: window, from }) => sum + window.length - from, 0)
  // Sums of one window each, added in the text's order: the same number whatever the order of the calls.
  const losses = new Float64Array(parts.length)
  let predicted = 0
  for await (const { index, logLikelihood } of logLikelihoods(session, parts, size)) {
    losses[index] = -logLikelihood
    const { tokens: window, from } = parts[index] as Scored
    predicted += window.length - from
    onProgress(predicted, all)
  }
  const loss = losses.reduce((sum, one) => sum + one, 0)
  return { perplexity: Math.exp(loss / all), loss, tokens: all }
}
