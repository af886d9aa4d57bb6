// From records to examples: tokens, the tokens that are to be learnt, and what becomes of those beyond the batch's
// length. Knows nothing of models, devices or batches.

import { UserError } from '../compiler/diagnostic.ts'
import type { ChatRecord, TrainingRecord } from './records.ts'

/** What this file needs of a tokenizer; `encode` adds no special tokens. */
export interface TextEncoding {
  encode(text: string): ArrayLike<number>
  /** Put in front of every text: what the model has seen there when it was made. A conversation begins by its template. */
  readonly prefix?: readonly number[]
  /** Appended to every example when there is one, and learnt as its last target; a conversation ends by its template. */
  readonly eosId?: number
  /** A conversation's tokens, and for each of them whether it is to be learnt. Needed for chat records only. */
  encodeChat?(record: ChatRecord): { readonly ids: ArrayLike<number>; readonly learnt: ArrayLike<number> }
}

/** One sequence: at position i the model reads tokens[i] and learns targets[i] with weights[i], 0 or 1. */
export interface Example {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  readonly weights: Float32Array
  /** Where its record begins in the file, when that is known. */
  readonly line?: number
  /** Where several documents share a row (`packing.ts`): the number of each position's document, from 0. */
  readonly segments?: Int32Array
  /** And its index within that document. */
  readonly positions?: Int32Array
}

export interface ExampleOptions {
  /** 'completion' learns only what follows the prompt (all of a text record), 'all' learns every next token. */
  readonly loss: 'completion' | 'all'
  /** Most positions of an example. */
  readonly length: number
  /** What becomes of a longer one: its end is lost, or it goes on in further examples. 'cut' unless told. */
  readonly long?: 'cut' | 'split'
}

export interface Examples {
  readonly examples: readonly Example[]
  /** How many lost their end because they were longer than `length`. */
  readonly truncated: number
  /** How many were left out because cutting them took away every token to learn. */
  readonly dropped: number
  /** Lines of the records concerned. */
  readonly lines: {
    readonly truncated: readonly number[]
    readonly dropped: readonly number[]
    /** Records that hold nothing to learn, however long a batch is; they gave no example. */
    readonly empty: readonly number[]
  }
}

interface Encoded {
  readonly ids: readonly number[]
  /** Whether a token is to be learnt when it is a target. */
  readonly isLearnt: (index: number) => boolean
  /** Whether the record itself, without what is added to it, has something to learn. */
  readonly isEmpty: boolean
}

/**
 * Examples in the records' order. Prompt and completion are encoded apart, so that the border between them is a border
 * between tokens and generation from the prompt alone meets what was trained. A record divided over several examples has
 * every one of its targets in exactly one of them.
 */
export function buildExamples(
  records: readonly TrainingRecord[],
  tokenizer: TextEncoding,
  options: ExampleOptions,
): Examples {
  const { length, long = 'cut' } = options
  if (!Number.isSafeInteger(length) || length < 1) {
    throw new UserError('HD512', `length must be a positive integer, not ${length}`)
  }
  const examples: Example[] = []
  const lines = { truncated: [] as number[], dropped: [] as number[], empty: [] as number[] }
  for (const record of records) {
    const encoded = encodeRecord(record, tokenizer, options.loss)
    // The very first token is never a target, since nothing comes before it.
    const positions = encoded.ids.length - 1
    if (encoded.isEmpty || positions < 1) {
      lines.empty.push(record.line)
      continue
    }
    const isCut = positions > length && long === 'cut'
    if (isCut) lines.truncated.push(record.line)
    const end = isCut ? length : positions
    let hasExample = false
    for (let start = 0; start < end; start += length) {
      const example = exampleOf(encoded, start, Math.min(start + length, end), record.line)
      if (!example.weights.includes(1)) continue
      examples.push(example)
      hasExample = true
    }
    if (!hasExample) lines.dropped.push(record.line)
  }
  return { examples, truncated: lines.truncated.length, dropped: lines.dropped.length, lines }
}

/**
 * Refuses what a run cannot go on with: HD510 for the first record without anything to learn, HD511 when there is no
 * example at all.
 */
export function refuseWithoutExamples({ examples, lines }: Examples, file: string, length: number): void {
  const [empty] = lines.empty
  if (empty !== undefined) {
    const others = lines.empty.length - 1
    const more = others === 0 ? '' : `, nor ${others === 1 ? 'does another one' : `do ${others} others`}`
    throw new UserError('HD510', `the record holds nothing to learn${more}`, {
      place: { file, line: empty },
      mend: 'leave it out, or give it a text, a completion or an answer',
    })
  }
  if (examples.length > 0) return
  throw new UserError('HD511', `no record has anything to learn within ${length} tokens`, {
    place: { file },
    mend: 'raise the batch length',
  })
}

function encodeRecord(record: TrainingRecord, tokenizer: TextEncoding, loss: 'completion' | 'all'): Encoded {
  if ('messages' in record) {
    const chat = tokenizer.encodeChat?.(record) ?? { ids: [], learnt: [] }
    const ids = Array.from(chat.ids)
    const isLearnt = (index: number): boolean => chat.learnt[index] === 1
    return { ids, isLearnt, isEmpty: !ids.some((_, index) => index > 0 && isLearnt(index)) }
  }
  const isText = 'text' in record
  const prompt = isText ? [] : Array.from(tokenizer.encode(record.prompt))
  const learnt = Array.from(tokenizer.encode(isText ? record.text : record.completion))
  const { prefix = [], eosId } = tokenizer
  const ids = [...prefix, ...prompt, ...learnt, ...(eosId === undefined ? [] : [eosId])]
  const first = prefix.length + (loss === 'all' ? 0 : prompt.length)
  return { ids, isLearnt: (index) => index >= first, isEmpty: learnt.length === 0 }
}

/** Positions `start` to `end` of a record, each with the token behind it as its target. */
function exampleOf({ ids, isLearnt }: Encoded, start: number, end: number, line: number): Example {
  const weights = new Float32Array(end - start)
  for (let position = start; position < end; position++) weights[position - start] = isLearnt(position + 1) ? 1 : 0
  return {
    tokens: Int32Array.from(ids.slice(start, end)),
    targets: Int32Array.from(ids.slice(start + 1, end + 1)),
    weights,
    line,
  }
}
