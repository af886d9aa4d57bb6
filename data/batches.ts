// From examples to padded micro-batches of token numbers in a seeded order. Knows nothing of models or devices: a batch
// is a few arrays of sequences × length.

import { UserError } from '../compiler/diagnostic.ts'
import { bucketOrder, checkBounds } from './buckets.ts'
import type { Example } from './examples.ts'
import { Random } from './random.ts'

/** `sequences × length` values each, row by row; padding is token 0, target 0, weight 0. */
export interface MicroBatch {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  readonly weights: Float32Array
  /** Of packed examples: the number of each position's document in its row; padding is one more document. */
  readonly segments?: Int32Array
  /** Of packed examples: each position's index within its document. */
  readonly positions?: Int32Array
  readonly sequences: number
  readonly length: number
}

/** Where an iteration stands; plain numbers, to be saved beside the weights. */
export interface BatchState {
  /** Passes over the examples that are complete. */
  readonly epoch: number
  /** Examples of this pass already given out. */
  readonly position: number
  /** Optimizer steps already given out. */
  readonly step: number
}

export interface BatchOptions {
  readonly examples: readonly Example[]
  /** Sequences of one micro-batch. */
  readonly sequences: number
  /** Bound of a micro-batch's length; an example beyond it is an error here (`buildExamples` cuts). */
  readonly length: number
  /** Micro-batches of one optimizer step. */
  readonly accumulate: number
  readonly seed: number
  /**
   * Upper ends of the ranges of length from which a micro-batch takes its examples, ascending. Without, any length may
   * come with any other.
   */
  readonly buckets?: readonly number[]
  /** How long to go on: whole passes or optimizer steps. */
  readonly until: { readonly epochs: number } | { readonly steps: number }
}

/** An iterator over optimizer steps, each `accumulate` micro-batches; `state` after a step resumes behind it. */
export interface Batches extends Iterable<MicroBatch[]> {
  /** Optimizer steps from the very beginning to the end, those before a restored state included. */
  readonly steps: number
  readonly state: BatchState
}

/**
 * Batches in an order that depends on `seed` and the number of examples only, with `buckets` on their lengths and
 * `sequences` too. Each pass visits every example once;
 * a step that begins at the end of one pass is filled from the next. With `epochs`, the last step may therefore hold
 * fewer micro-batches, and its last micro-batch fewer sequences. `from` resumes where another iteration's state was
 * taken. Raises HD512 for sizes that are no positive integers and HD513 for a state of other data.
 */
export function batches(options: BatchOptions, from?: BatchState): Batches {
  const { examples, sequences, length, accumulate, seed, buckets } = options
  positive('sequences', sequences)
  positive('length', length)
  positive('accumulate', accumulate)
  const perStep = sequences * accumulate
  positive('sequences × accumulate', perStep)
  const bound = 'epochs' in options.until ? options.until.epochs : options.until.steps
  positive('epochs' in options.until ? 'epochs' : 'steps', bound)
  if (!Number.isSafeInteger(seed)) throw new UserError('HD512', `the seed ${seed} is not an integer`)
  if (examples.length === 0) throw new UserError('HD512', 'there is no example to make batches of')
  const total = 'epochs' in options.until ? bound * examples.length : bound * perStep
  if (!Number.isSafeInteger(total))
    throw new UserError('HD512', `${bound} passes or steps are more than can be counted`)
  for (const example of examples) {
    if (example.tokens.length > length || example.tokens.length === 0) {
      throw new UserError('HD512', `an example of ${example.tokens.length} tokens is not within 1 and ${length}`)
    }
  }

  if (buckets !== undefined) checkBounds(buckets)
  const lengths = examples.map((example) => example.tokens.length)
  const orderOf = (pass: number): number[] => {
    const random = new Random(seed, pass)
    if (buckets === undefined) return random.shuffle(Array.from(examples, (_, index) => index))
    // Micro-batches go on over the end of a pass: the first one may lack a few.
    const begun = (pass * examples.length) % sequences
    const head = Math.min(examples.length, begun === 0 ? 0 : sequences - begun)
    return bucketOrder(lengths, buckets, sequences, head, random)
  }

  const steps = Math.ceil(total / perStep)
  let given = from === undefined ? 0 : restoredCount(from, examples.length, perStep, total)
  let step = from?.step ?? 0
  let epoch = -1
  let order: number[] = []

  // Orders are made when their pass begins: a state is two numbers, not a permutation.
  const next = (): Example => {
    const wanted = Math.floor(given / examples.length)
    if (wanted !== epoch) {
      epoch = wanted
      order = orderOf(epoch)
    }
    return examples[order[given++ % examples.length] as number] as Example
  }

  function* iterate(): Generator<MicroBatch[]> {
    while (given < total) {
      const micro: MicroBatch[] = []
      while (micro.length < accumulate && given < total) {
        const chosen: Example[] = []
        while (chosen.length < sequences && given < total) chosen.push(next())
        micro.push(padTogether(chosen))
      }
      step++
      yield micro
    }
  }

  return {
    steps,
    get state(): BatchState {
      return { epoch: Math.floor(given / examples.length), position: given % examples.length, step }
    },
    [Symbol.iterator]: iterate,
  }
}

/** One micro-batch as long as the longest of `examples`, which must not be empty. */
export function padTogether(examples: readonly Example[]): MicroBatch {
  const length = Math.max(...examples.map((example) => example.tokens.length))
  const sequences = examples.length
  const tokens = new Int32Array(sequences * length)
  const targets = new Int32Array(sequences * length)
  const weights = new Float32Array(sequences * length)
  examples.forEach((example, row) => {
    tokens.set(example.tokens, row * length)
    targets.set(example.targets, row * length)
    weights.set(example.weights, row * length)
  })
  const isPacked = examples.some((example) => example.segments !== undefined)
  return { tokens, targets, weights, ...(isPacked ? documentsOf(examples, length) : {}), sequences, length }
}

/** Documents of each row; an example that is not packed is one document. */
function documentsOf(
  examples: readonly Example[],
  length: number,
): { readonly segments: Int32Array; readonly positions: Int32Array } {
  const segments = new Int32Array(examples.length * length)
  const positions = new Int32Array(examples.length * length)
  examples.forEach((example, row) => {
    const used = example.tokens.length
    const padding = (example.segments?.[used - 1] ?? 0) + 1
    for (let position = 0; position < length; position++) {
      const isPadding = position >= used
      segments[row * length + position] = isPadding ? padding : (example.segments?.[position] ?? 0)
      positions[row * length + position] = isPadding ? position - used : (example.positions?.[position] ?? position)
    }
  })
  return { segments, positions }
}

function restoredCount(state: BatchState, examples: number, perStep: number, total: number): number {
  const given = state.epoch * examples + state.position
  const whole = [state.epoch, state.position, state.step].every((part) => Number.isSafeInteger(part) && part >= 0)
  // Every step but the last gives out `perStep` examples, so the three numbers must agree.
  if (!whole || state.position >= examples || given !== Math.min(state.step * perStep, total)) {
    throw new UserError('HD513', 'the saved position does not belong to these records and this batch size', {
      mend: 'resume with the records and the batch of the run that saved it, or start anew',
    })
  }
  return given
}

function positive(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new UserError('HD512', `${name} must be a positive integer, not ${value}`)
  }
}
