// Continuing texts with the likeliest token, through the function `predict` of an open session. The whole prefix is
// computed again for every token. Knows tokens only; no text, no model.

import type { Session } from '../backends/neon/driver/index.ts'
import { InternalError, UserError } from '../compiler/diagnostic.ts'

export interface PredictionSize {
  /** Sequences that a call takes: the program's own number. */
  readonly sequences: number
  /** Most tokens of a sequence, prompt included. */
  readonly length: number
  readonly vocabulary: number
}

export interface CompletionLimits {
  /** Most tokens to add to each prompt. */
  readonly tokens: number
  /** The token that ends a text; it is not part of the completion. */
  readonly end?: number | undefined
}

/**
 * The likeliest next token of each of at most `size.sequences` prefixes; of equals the smallest.
 *
 * @throws UserError HD812 for a prefix without tokens or with more than `size.length`
 */
export async function nextTokens(
  session: Session,
  prefixes: readonly (readonly number[])[],
  size: PredictionSize,
): Promise<number[]> {
  const longest = Math.max(...prefixes.map((prefix) => prefix.length))
  if (prefixes.length > size.sequences)
    throw new InternalError(`${prefixes.length} prefixes for ${size.sequences} sequences`)
  if (prefixes.some((prefix) => prefix.length === 0)) throw new UserError('HD812', 'the prompt has no tokens')
  if (longest > size.length)
    throw new UserError('HD812', `the prompt has ${longest} tokens, more than the ${size.length} that fit`)
  const tokens = new Int32Array(prefixes.length * longest)
  prefixes.forEach((prefix, row) => tokens.set(prefix, row * longest))
  await session.write('tokens', tokens, [prefixes.length, longest])
  await session.write(
    'position',
    Int32Array.from({ length: size.sequences }, (_, row) => (prefixes[row]?.length ?? 1) - 1),
  )
  await session.call('predict', { seq: longest })
  const logits = await session.output('predict', 'logits')
  return prefixes.map((_, row) => likeliest(logits.subarray(row * size.vocabulary, (row + 1) * size.vocabulary)))
}

/** The token with the greatest logit; of equals the smallest. HD810 for a logit that is not a number. */
export function likeliest(logits: ArrayLike<number>): number {
  let best = 0
  for (let token = 0; token < logits.length; token++) {
    const value = logits[token] as number
    if (Number.isNaN(value)) throw new UserError('HD810', 'a logit is not a number; the weights are damaged')
    if (value > (logits[best] as number)) best = token
  }
  return best
}

/** Completes many prompts, as many at a time as the program takes; completions in the prompts' order. */
export async function completePrompts(
  session: Session,
  prompts: readonly (readonly number[])[],
  size: PredictionSize,
  limits: CompletionLimits,
): Promise<number[][]> {
  const completions = prompts.map((): number[] => [])
  // Prompts of like length together: a call costs what its longest prefix costs.
  const order = prompts
    .map((_, index) => index)
    .sort((a, b) => (prompts[a]?.length ?? 0) - (prompts[b]?.length ?? 0) || a - b)
  for (let first = 0; first < order.length; first += size.sequences) {
    let open = order.slice(first, first + size.sequences)
    for (let added = 0; added < limits.tokens && open.length > 0; added++) {
      const prefixes = open.map((index) => [...(prompts[index] ?? []), ...(completions[index] ?? [])])
      const next = await nextTokens(session, prefixes, size)
      const going: number[] = []
      open.forEach((index, row) => {
        const token = next[row] as number
        if (token === limits.end) return
        completions[index]?.push(token)
        if ((prefixes[row]?.length ?? 0) + 1 <= size.length) going.push(index)
      })
      open = going
    }
  }
  return completions
}
