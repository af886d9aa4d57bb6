// Trains a byte-level BPE vocabulary and writes it as a Hugging Face `tokenizer.json`. Encoding is the business of
// `@huggingface/tokenizers`; nothing here knows a model or a recipe.

import { UserError } from '../compiler/diagnostic.ts'

export interface ByteBpeOptions {
  /** Entries in the finished vocabulary, special tokens included; fewer come out when the texts hold fewer pairs. */
  readonly vocabulary: number
  /** Tokens that no text can spell; they take the first identifiers, in this order. */
  readonly special?: readonly string[]
  /** 'single' keeps every digit a token of its own, so that a number's tokens show its places. */
  readonly digits?: 'single' | 'merged'
}

export interface ByteBpe {
  /** The content of `tokenizer.json`, line feed included. */
  readonly json: string
  /** Number of entries, special tokens included: the model's `vocab_size`. */
  readonly size: number
}

// GPT-2's pattern (Radford et al. 2019), the one that `ByteLevel` with `use_regex` applies.
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu
const LONGEST_WORD = 1 << 16

/**
 * Trains on `texts` (Sennrich et al. 2016, over bytes as in GPT-2): merges the most frequent adjacent pair until the
 * vocabulary is full or no pair occurs twice. Equal counts are broken by the pair's spelling in code-unit order, so the
 * result depends on the texts and options alone. Raises HD520 for options that leave no room for the 256 bytes.
 */
export function trainByteBpe(texts: Iterable<string>, options: ByteBpeOptions): ByteBpe {
  const special = options.special ?? []
  const digits = options.digits ?? 'merged'
  const alphabet = byteAlphabet()
  if (!Number.isInteger(options.vocabulary) || options.vocabulary < special.length + 256) {
    throw new UserError(
      'HD520',
      `a byte-level vocabulary of ${options.vocabulary} has no room for 256 bytes and ${special.length} special tokens`,
    )
  }

  // The order of the base alphabet is that of GPT-2's own vocabulary: sorted by character.
  const spelling: string[] = [...special, ...[...alphabet].sort(byCodeUnit)]
  const identifier = new Map(spelling.map((token, index) => [token, index]))
  const merges = learnMerges(countWords(texts, alphabet, digits), spelling, identifier, options.vocabulary)
  return { json: tokenizerJson(special, digits, identifier, merges), size: spelling.length }
}

interface Word {
  /** Identifiers of the word's present tokens. */
  tokens: number[]
  readonly count: number
}

function countWords(
  texts: Iterable<string>,
  alphabet: readonly string[],
  digits: 'single' | 'merged',
): [string, number][] {
  const encoder = new TextEncoder()
  const raw = new Map<string, number>()
  for (const text of texts) {
    // Splitting at each number character first is what the `Split` pre-tokenizer in the file does.
    const pieces = digits === 'single' ? text.split(/(\p{N})/u) : [text]
    for (const piece of pieces) {
      for (const [word] of piece.matchAll(WORDS)) raw.set(word, (raw.get(word) ?? 0) + 1)
    }
  }
  const counted: [string, number][] = []
  for (const [word, count] of raw) {
    const bytes = encoder.encode(word)
    // A "word" of 64 KiB is data, not language; learning from it would make one pass quadratic.
    if (bytes.length > LONGEST_WORD) continue
    let spelled = ''
    for (const byte of bytes) spelled += alphabet[byte]
    counted.push([spelled, count])
  }
  return counted
}

function learnMerges(
  counted: readonly [string, number][],
  spelling: string[],
  identifier: Map<string, number>,
  vocabulary: number,
): [string, string][] {
  const words: Word[] = counted.map(([word, count]) => ({
    tokens: Array.from(word, (character) => identifier.get(character) as number),
    count,
  }))
  // A pair (a, b) is the number a * room + b: exact, since both are below the vocabulary's size.
  const room = vocabulary
  const counts = new Map<number, number>()
  const holders = new Map<number, Set<number>>()
  const change = (pair: number, by: number, word: number): void => {
    const count = (counts.get(pair) ?? 0) + by
    if (count === 0) counts.delete(pair)
    else counts.set(pair, count)
    if (by > 0) {
      const held = holders.get(pair)
      if (held) held.add(word)
      else holders.set(pair, new Set([word]))
    }
  }
  words.forEach((word, index) => forEachPair(word.tokens, room, (pair) => change(pair, word.count, index)))

  const merges: [string, string][] = []
  while (spelling.length < vocabulary) {
    const best = mostFrequent(counts, room, spelling)
    if (best === undefined) break
    const left = Math.floor(best / room)
    const right = best % room
    const leftSpelling = spelling[left] as string
    const rightSpelling = spelling[right] as string
    merges.push([leftSpelling, rightSpelling])
    // Two different merges can spell the same token; it keeps its first identifier.
    let merged = identifier.get(leftSpelling + rightSpelling)
    if (merged === undefined) {
      merged = spelling.length
      spelling.push(leftSpelling + rightSpelling)
      identifier.set(leftSpelling + rightSpelling, merged)
    }
    for (const index of holders.get(best) ?? []) {
      const word = words[index] as Word
      forEachPair(word.tokens, room, (pair) => change(pair, -word.count, index))
      word.tokens = mergePair(word.tokens, left, right, merged)
      forEachPair(word.tokens, room, (pair) => change(pair, word.count, index))
    }
    holders.delete(best)
  }
  return merges
}

function forEachPair(tokens: readonly number[], room: number, visit: (pair: number) => void): void {
  for (let index = 0; index + 1 < tokens.length; index++) {
    visit((tokens[index] as number) * room + (tokens[index + 1] as number))
  }
}

function mergePair(tokens: readonly number[], left: number, right: number, merged: number): number[] {
  const result: number[] = []
  for (let index = 0; index < tokens.length; index++) {
    if (tokens[index] === left && tokens[index + 1] === right) {
      result.push(merged)
      index++
    } else {
      result.push(tokens[index] as number)
    }
  }
  return result
}

function mostFrequent(
  counts: ReadonlyMap<number, number>,
  room: number,
  spelling: readonly string[],
): number | undefined {
  let best: number | undefined
  let most = 1
  for (const [pair, count] of counts) {
    if (count < most || count < 2) continue
    if (count > most || best === undefined || comparePairs(pair, best, room, spelling) < 0) {
      best = pair
      most = count
    }
  }
  return best
}

function comparePairs(one: number, other: number, room: number, spelling: readonly string[]): number {
  const left = byCodeUnit(spelling[Math.floor(one / room)] as string, spelling[Math.floor(other / room)] as string)
  return left !== 0 ? left : byCodeUnit(spelling[one % room] as string, spelling[other % room] as string)
}

// Never localeCompare: its order depends on the machine.
function byCodeUnit(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}

/** GPT-2's printable stand-in for each of the 256 bytes: itself where it prints, else the next character from U+0100. */
export function byteAlphabet(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
  let extra = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : extra++))
}

function tokenizerJson(
  special: readonly string[],
  digits: 'single' | 'merged',
  identifier: ReadonlyMap<string, number>,
  merges: readonly [string, string][],
): string {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  // `Digits` would say the same, but its two implementations differ outside ASCII; `\p{N}` is one set in both.
  const digit = { type: 'Split', pattern: { Regex: '\\p{N}' }, behavior: 'Isolated', invert: false }
  const content = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((token, id) => ({
      id,
      content: token,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: digits === 'single' ? { type: 'Sequence', pretokenizers: [digit, byteLevel] } : byteLevel,
    post_processor: { ...byteLevel, trim_offsets: false },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(identifier),
      // One string a merge: readable by every release of both libraries, and no byte's stand-in is a space.
      merges: merges.map(([left, right]) => `${left} ${right}`),
    },
  }
  return `${JSON.stringify(content, null, 1)}\n`
}
