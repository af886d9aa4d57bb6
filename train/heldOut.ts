// Records that are not trained on: which ones they are, and their batches for the program's `evaluate`. Knows examples
// as arrays; opens no file and calls nothing.

import { UserError } from '../compiler/diagnostic.ts'
import { padTogether } from '../data/batches.ts'
import type { MicroBatch } from '../data/batches.ts'
import type { Example, Examples } from '../data/examples.ts'
import { Random } from '../data/random.ts'

/** Keeps the choice apart from the order of an epoch, which draws from the same seed. */
const STREAM = 0x68656c64

export interface HeldOut<All> {
  readonly examples: All
  readonly heldOut: readonly Example[]
}

/**
 * Takes a share of the examples away, at least one, chosen by the seed and the number of examples only; both parts keep
 * the records' order. None for a share of 0. `file` is for messages.
 *
 * @throws UserError HD830 when nothing would be left to train on
 */
export function holdOut<All extends Pick<Examples, 'examples'>>(
  all: All,
  share: number,
  seed: number,
  file: string,
): HeldOut<All> {
  if (share === 0) return { examples: all, heldOut: [] }
  const { examples } = all
  const count = Math.max(1, Math.round(share * examples.length))
  if (count >= examples.length) {
    throw new UserError(
      'HD830',
      `evaluate.share ${share} of ${examples.length} ${examples.length === 1 ? 'example' : 'examples'} leaves none to train on`,
      { place: { file } },
    )
  }
  const order = new Random(seed, STREAM).shuffle(Array.from(examples, (_, index) => index))
  const chosen = new Set(order.slice(0, count))
  return {
    examples: { ...all, examples: examples.filter((_, index) => !chosen.has(index)) },
    heldOut: examples.filter((_, index) => chosen.has(index)),
  }
}

/** Batches of at most `sequences` examples. Those of like length stand together: less padding is computed. */
export function heldOutBatches(examples: readonly Example[], sequences: number): MicroBatch[] {
  const sorted = [...examples].sort((left, right) => right.tokens.length - left.tokens.length)
  const made: MicroBatch[] = []
  for (let start = 0; start < sorted.length; start += sequences) {
    made.push(padTogether(sorted.slice(start, start + sequences)))
  }
  return made
}
