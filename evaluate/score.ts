// How likely a model finds continuations: sums of log-probabilities of given tokens, many sequences at a time, through the
// function `score` of an open session. Knows tokens only; no text, no benchmark.

import type { Session } from '../backends/neon/driver/index.ts'
import { InternalError, UserError } from '../compiler/diagnostic.ts'

/** Tokens of which those from `from` on are to be predicted, each from all that stand before it. */
export interface Scored {
  readonly tokens: readonly number[]
  /** At least 1: nothing stands before the first token. */
  readonly from: number
}

export interface ScoreSize {
  /** Sequences that a call takes: the program's own number. */
  readonly sequences: number
  /** Most tokens that a sequence reads, the last one, which is only predicted, excluded. */
  readonly length: number
}

/**
 * Σ log p(tokens[i] | tokens[0 … i−1]) over i = from …, in nats, for each sequence, in their order.
 *
 * @throws UserError HD810 for a sum that is not a number, HD812 for a sequence that is too long
 */
export async function* logLikelihoods(
  session: Session,
  scored: readonly Scored[],
  size: ScoreSize,
): AsyncGenerator<{ readonly index: number; readonly logLikelihood: number }, void, undefined> {
  for (const { tokens, from } of scored) {
    if (from < 1 || from >= tokens.length)
      throw new InternalError(`token ${from} of ${tokens.length} is to be predicted`)
    if (tokens.length - 1 > size.length) {
      throw new UserError('HD812', `a text has ${tokens.length} tokens, more than the ${size.length + 1} that fit`)
    }
  }
  // Sequences of like length together: a call costs what its longest one costs. The longest first, so that what does not
  // fit shows at once.
  const order = scored.map((_, index) => index).sort((a, b) => lengthOf(scored, b) - lengthOf(scored, a) || a - b)
  for (let first = 0; first < order.length; first += size.sequences) {
    const rows = order.slice(first, first + size.sequences)
    const losses = await lossesOf(
      session,
      rows.map((index) => scored[index] as Scored),
      size.sequences,
    )
    for (const [row, index] of rows.entries()) {
      const loss = losses[row] as number
      if (!Number.isFinite(loss))
        throw new UserError('HD810', 'a log-probability is not a number; the weights are damaged')
      yield { index, logLikelihood: -loss }
    }
  }
}

function lengthOf(scored: readonly Scored[], index: number): number {
  return scored[index]?.tokens.length ?? 0
}

async function lossesOf(session: Session, rows: readonly Scored[], sequences: number): Promise<ArrayLike<number>> {
  const length = Math.max(...rows.map(({ tokens }) => tokens.length)) - 1
  const tokens = new Int32Array(sequences * length)
  const targets = new Int32Array(sequences * length)
  const weights = new Float32Array(sequences * length)
  rows.forEach(({ tokens: given, from }, row) => {
    const start = row * length
    tokens.set(given.slice(0, -1), start)
    targets.set(given.slice(1), start)
    weights.fill(1, start + from - 1, start + given.length - 1)
  })
  await session.write('tokens', tokens, [sequences, length])
  await session.write('targets', targets, [sequences, length])
  await session.write('weights', weights, [sequences, length])
  await session.call('score', { seq: length })
  return await session.output('score', 'losses')
}
