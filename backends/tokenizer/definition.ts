// Reads a Hugging Face tokenizer.json into what a table is made of, and refuses in one sentence whatever the device could
// not do exactly as Hugging Face does it. Knows neither the table's layout nor any model's name.

import { UserError } from '../../compiler/diagnostic.ts'
import type { Place } from '../../compiler/diagnostic.ts'
import { quote } from '../../formats/files.ts'
import { isObject, readJsonObject } from '../../formats/json.ts'
import type { JsonObject } from '../../formats/json.ts'
import { normalized, readDecoder, readNormalizer, readPostProcessor, readSplits } from './components.ts'
import type { Frame, Normalizer, Refuse, Replacement, Split } from './components.ts'

export interface AddedToken {
  readonly content: string
  readonly id: number
  readonly isSpecial: boolean
  /** Whether it is looked for in the text as written or behind the normalizer. */
  readonly matches: 'written' | 'normalized'
  /** What is looked for, and what it is decoded to: its content, normalized in the second case. */
  readonly sought: string
}

export interface Merge {
  readonly left: number
  readonly right: number
  readonly made: number
}

export interface Definition {
  /** What a word is made of before merging: bytes, or characters with bytes for those that the vocabulary lacks. */
  readonly symbols: 'bytes' | 'characters'
  /** The vocabulary's own tokens, added ones that are not in it left out. */
  readonly vocabulary: ReadonlyMap<string, number>
  /** In the order of preference. */
  readonly merges: readonly Merge[]
  /** Whether a word that is a token is that token, whatever merging would make of it. */
  readonly wholeWords: boolean
  readonly added: readonly AddedToken[]
  readonly normalizer: Normalizer | undefined
  readonly splits: readonly Split[]
  /** What stands around a text when special tokens are asked for. */
  readonly frame: Frame
  /** Applied to each token when text is made of ids. */
  readonly decoding: readonly Replacement[]
  /** One more than the largest id. */
  readonly size: number
}

const MOST_BYTES = 256 * 1024 * 1024
/** As in formats/tokenizer.ts: above every vocabulary in use. */
const MOST_IDS = 1 << 22
/** Above what any tokenizer in use has; the table's arithmetic is exact below it. */
const MOST_MERGES = 1 << 20
const MOST_ADDED = 1 << 16
const LONGEST_TOKEN = 1024

/**
 * Reads a tokenizer.json. UserError HD401, HD402 (unreadable, no JSON), HD432 (not a tokenizer that runs on a device).
 */
export function readDefinition(file: string): Definition {
  return definitionOf(readJsonObject(file, MOST_BYTES), file)
}

/** As `readDefinition`, of a file that has been parsed. */
export function definitionOf(json: JsonObject, file: string): Definition {
  const refuse: Refuse = (at, sentence) => {
    throw new UserError('HD432', sentence, { place: { file, at } })
  }
  const place = (at: string): Place => ({ file, at })
  const { model } = json
  if (!isObject(model)) return refuse('model', 'the tokenizer has no model')
  // The oldest files leave the type out.
  const type = model.type ?? (Array.isArray(model.merges) ? 'BPE' : undefined)
  if (type !== 'BPE')
    return refuse('model.type', `a device encodes with BPE, not with ${quote(JSON.stringify(type) ?? 'nothing')}`)
  refuseUnusual(model, refuse)

  const splits = readSplits(json.pre_tokenizer, place, refuse)
  const symbols = splits.byteLevel ? 'bytes' : 'characters'
  const vocabulary = readVocabulary(model.vocab, refuse)
  checkFallback(model, symbols, vocabulary, refuse)
  const normalizer = readNormalizer(json.normalizer, refuse)
  const added = readAdded(json.added_tokens, vocabulary, normalizer, refuse)
  const ids = [...vocabulary.values(), ...added.map(({ id }) => id)]
  const wholeWords = model.ignore_merges === true
  if (wholeWords && symbols === 'characters') {
    refuse('model.ignore_merges', 'whole words are looked up in byte-level vocabularies only')
  }
  const frame = readPostProcessor(json.post_processor, refuse)
  const known = new Set(ids)
  if (![...frame.before, ...frame.after].every((id) => known.has(id))) {
    refuse('post_processor', 'a special token around the text has an id that no token has')
  }
  return {
    symbols,
    vocabulary,
    merges: readMerges(model.merges, vocabulary, refuse),
    wholeWords,
    added,
    normalizer,
    splits: splits.list,
    frame,
    decoding: readDecoder(json.decoder, symbols, refuse),
    size: ids.reduce((largest, id) => Math.max(largest, id + 1), 0),
  }
}

function refuseUnusual(model: JsonObject, refuse: Refuse): void {
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    if (model[key] !== undefined && model[key] !== null && model[key] !== '') {
      refuse(`model.${key}`, `words are merged without ${key}, which is ${quote(JSON.stringify(model[key]))} here`)
    }
  }
  if (typeof model.dropout === 'number' && model.dropout > 0)
    refuse('model.dropout', 'merges are never dropped at random')
}

/** The token that stands for a byte where a vocabulary of characters lacks the character. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
}

function checkFallback(
  model: JsonObject,
  symbols: Definition['symbols'],
  vocabulary: ReadonlyMap<string, number>,
  refuse: Refuse,
): void {
  const fallsBack = model.byte_fallback === true
  if (symbols === 'bytes') {
    if (fallsBack) refuse('model.byte_fallback', 'a byte-level vocabulary has no use for byte fallback')
    if (typeof model.unk_token === 'string') {
      refuse('model.unk_token', 'a byte-level vocabulary has no use for an unknown token')
    }
    return
  }
  if (!fallsBack) refuse('model', 'the vocabulary is neither byte-level nor has it byte fallback')
  for (let byte = 0; byte < 256; byte++) {
    if (!vocabulary.has(byteToken(byte))) {
      refuse('model.vocab', `the vocabulary has byte fallback without the token ${byteToken(byte)}`)
    }
  }
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < MOST_IDS
}

function readVocabulary(vocab: unknown, refuse: Refuse): Map<string, number> {
  if (!isObject(vocab)) return refuse('model.vocab', 'the tokenizer has no vocabulary')
  const vocabulary = new Map<string, number>()
  const owners = new Map<number, string>()
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) return refuse('model.vocab', `the token ${quote(token)} has no id below ${MOST_IDS}`)
    checkText('model.vocab', token, refuse)
    const owner = owners.get(id)
    if (owner !== undefined) refuse('model.vocab', `the id ${id} belongs to ${quote(owner)} and ${quote(token)}`)
    owners.set(id, token)
    vocabulary.set(token, id)
  }
  if (vocabulary.size === 0) refuse('model.vocab', 'the vocabulary is empty')
  return vocabulary
}

function checkText(at: string, text: string, refuse: Refuse): void {
  if (text.length > LONGEST_TOKEN) refuse(at, `a token has ${text.length} characters, more than ${LONGEST_TOKEN}`)
  if (!isWellFormed(text)) refuse(at, `the token ${quote(text)} is no Unicode text`)
}

function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

function readMerges(merges: unknown, vocabulary: ReadonlyMap<string, number>, refuse: Refuse): Merge[] {
  if (!Array.isArray(merges)) return refuse('model.merges', 'the merges are not a list')
  if (merges.length > MOST_MERGES) refuse('model.merges', `there are more than ${MOST_MERGES} merges`)
  return merges.map((merge: unknown, rank): Merge => {
    const parts: unknown[] = Array.isArray(merge) ? merge : typeof merge === 'string' ? merge.split(' ') : []
    const [left, right] = parts
    if (parts.length !== 2 || typeof left !== 'string' || typeof right !== 'string') {
      return refuse('model.merges', `merge ${rank} is not a pair of tokens`)
    }
    const ids = [left, right, left + right].map((token) => {
      return vocabulary.get(token) ?? refuse('model.merges', `merge ${rank} needs ${quote(token)}, which is no token`)
    })
    return { left: ids[0] as number, right: ids[1] as number, made: ids[2] as number }
  })
}

function readAdded(
  list: unknown,
  vocabulary: ReadonlyMap<string, number>,
  normalizer: Normalizer | undefined,
  refuse: Refuse,
): AddedToken[] {
  const at = 'added_tokens'
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) return refuse(at, 'the added tokens are not a list')
  if (list.length > MOST_ADDED) refuse(at, `there are more than ${MOST_ADDED} added tokens`)
  const contents = new Set<string>()
  const ids = new Map([...vocabulary].map(([token, id]) => [id, token]))
  // Hugging Face's library numbers tokens that the vocabulary lacks by itself, whatever the file says.
  let next = vocabulary.size
  return list.map((entry: unknown): AddedToken => {
    if (!isObject(entry)) return refuse(at, 'an added token is not an object')
    const { content, id } = entry
    if (typeof content !== 'string' || content === '') return refuse(at, 'an added token has no text')
    checkText(at, content, refuse)
    if (!isId(id)) return refuse(at, `the token ${quote(content)} has no id below ${MOST_IDS}`)
    const owner = ids.get(id)
    const other = vocabulary.get(content)
    if (owner !== undefined && owner !== content) {
      refuse(at, `the id ${id} belongs to ${quote(owner)} and ${quote(content)}`)
    }
    if (other !== undefined && other !== id) refuse(at, `the token ${quote(content)} has two ids, ${other} and ${id}`)
    if (other === undefined && id !== next) {
      refuse(at, `the token ${quote(content)} has the id ${id} where Hugging Face's library counts ${next}`)
    }
    next = Math.max(next, id + 1)
    if (contents.has(content)) refuse(at, `the token ${quote(content)} is added twice`)
    for (const flag of ['lstrip', 'rstrip', 'single_word']) {
      if (entry[flag] === true) refuse(at, `the added token ${quote(content)} asks for ${flag}`)
    }
    contents.add(content)
    ids.set(id, content)
    return {
      content,
      id,
      isSpecial: entry.special === true,
      matches: entry.normalized === true ? 'normalized' : 'written',
      sought: entry.normalized === true ? normalized(content, normalizer) : content,
    }
  })
}
