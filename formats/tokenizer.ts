// Text to token ids and back, from a Hugging Face tokenizer.json. The algorithm is @huggingface/tokenizers'; here the
// files are checked before it sees them. Knows no model.

import fs from 'node:fs'
import path from 'node:path'
import { Tokenizer as Implementation } from '@huggingface/tokenizers'
import { UserError } from '../compiler/diagnostic.ts'
import { quote, quoteValue, readBounded } from './files.ts'
import { isObject, readJsonObject } from './json.ts'
import type { JsonObject } from './json.ts'
import { locateTokens, symbolOfByte } from './tokenSpans.ts'
import type { SpelledToken, Spelling, TokenSpans } from './tokenSpans.ts'

const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024
const MAX_CONFIG_BYTES = 16 * 1024 * 1024
/** More than any template in use; what reads them has its own bound. */
const MAX_TEMPLATE_BYTES = 1024 * 1024
const MAX_TEMPLATES = 64
/** Above every vocabulary in use; ids index tables, so a hostile id must not choose their size. */
const MAX_IDS = 1 << 22

export interface Tokenizer {
  /** Path of tokenizer.json. */
  readonly file: string
  /**
   * Token ids of a text. Special tokens written in the text (`<|im_end|>`) become their ids. `specials: 'add'` also puts
   * what the tokenizer's post-processor asks for (a beginning-of-text token, say) around it; the default leaves it out.
   * Errors: HD431 when the text holds something the vocabulary cannot express.
   */
  encode(text: string, options?: { readonly specials?: 'add' | 'omit' }): number[]
  /**
   * The text of token ids; `specials: 'omit'` leaves special tokens out of it. An id without a token, such as the rows that
   * pad an embedding have, is no text.
   */
  decode(ids: readonly number[], options?: { readonly specials?: 'keep' | 'omit' }): string
  /**
   * As `encode` without specials, with a way back to the text: `tokenAt(i)` is the first token that holds the character
   * at index `i`, undefined where there is none. Errors: HD431; HD432 when the tokens do not spell the text, as with a
   * tokenizer that drops or changes characters.
   */
  encodeLocated(text: string): LocatedTokens
  /** Whether an id is a special or otherwise added token: one that is spelled as itself. */
  isAdded(id: number): boolean
  /** The id of a token by its exact spelling. */
  idOf(token: string): number | undefined
  /** One more than the largest id, added tokens included: the rows an embedding needs at least. */
  readonly vocabSize: number
  readonly eosId: number | undefined
  readonly bosId: number | undefined
  readonly padId: number | undefined
  /** What `specials: 'add'` puts in front of a text: a beginning-of-text token, or nothing. */
  readonly prefix: readonly number[]
  /**
   * Chat templates by name: that of chat_template.jinja, else those of tokenizer_config.json. The only one is `default`.
   */
  readonly chatTemplates: ReadonlyMap<string, string>
  /** `bos_token` and its like with their spelling, as transformers hands them to a chat template. */
  readonly specialTokens: Readonly<Record<string, string>>
}

export interface LocatedTokens {
  readonly ids: readonly number[]
  tokenAt(index: number): number | undefined
}

/** What transformers calls a tokenizer's named special tokens. */
const SPECIAL_NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token']

/**
 * Loads tokenizer.json, and tokenizer_config.json and chat_template.jinja beside it when they are there.
 * Errors: HD401, HD402 (unreadable, no JSON), HD430 (no tokenizer that can be used).
 */
export function loadTokenizer(tokenizerPath: string): Tokenizer {
  const file = tokenizerPath
  const definition = readJsonObject(file, MAX_TOKENIZER_BYTES)
  const configPath = path.join(path.dirname(file), 'tokenizer_config.json')
  const config = fs.existsSync(configPath) ? readJsonObject(configPath, MAX_CONFIG_BYTES) : {}
  const vocabSize = checkDefinition(definition, file)
  const specialTokens = specialTokensOf(config, path.dirname(file))
  const { eos_token: eos, bos_token: bos, pad_token: pad } = specialTokens
  const implementation = construct(definition, { ...config, eos_token: eos, bos_token: bos }, file)
  const added = addedTokens(definition)

  const missingBytes = bytesThatVanish(definition)
  const inexpressible = (text: string): UserError =>
    new UserError('HD431', `the vocabulary cannot express a part of ${quote(text)}`, { place: { file } })
  const idOf = (token: string): number | undefined => implementation.token_to_id(token)
  const spellingOf = (id: number): string => implementation.id_to_token(id) ?? ''
  const encode = (text: string, options: { readonly specials?: 'add' | 'omit' } = {}): number[] => {
    if (missingBytes.size > 0 && Buffer.from(text).some((byte) => missingBytes.has(byte))) throw inexpressible(text)
    const ids = guarded(file, () => implementation.encode(text, { add_special_tokens: options.specials === 'add' }).ids)
    if ((ids as readonly (number | undefined)[]).includes(undefined)) throw inexpressible(text)
    return ids
  }
  return {
    file,
    vocabSize,
    idOf,
    eosId: eos === undefined ? undefined : idOf(eos),
    bosId: bos === undefined ? undefined : idOf(bos),
    padId: pad === undefined ? undefined : idOf(pad),
    prefix: prefixOf(encode),
    chatTemplates: chatTemplates(config, configPath),
    specialTokens,
    encode,
    encodeLocated(text) {
      const ids = encode(text)
      const spelled = ids.map((id): SpelledToken => added.get(id) ?? { spelling: spellingOf(id), isAdded: false })
      const spellings: readonly Spelling[] = isByteLevel(definition)
        ? ['bytes as characters']
        : ['spaces as marks', 'spaces as marks, one in front']
      // A tokenizer may compose characters before it looks at them.
      for (const form of [undefined, 'NFC', 'NFKC'] as const) {
        const seen = form === undefined ? text : text.normalize(form)
        for (const spelling of spellings) {
          const spans = locateTokens(seen, spelled, spelling)
          if (spans) return { ids, tokenAt: (index) => tokenAt(spans, composedIndex(text, index, form)) }
        }
      }
      throw new UserError('HD432', `the tokens of ${quote(text)} do not spell it`, { place: { file } })
    },
    isAdded: (id) => added.has(id),
    decode(ids, options = {}) {
      const known = ids.filter((id) => implementation.id_to_token(id) !== undefined)
      if (known.length === 0) return ''
      return implementation.decode(known, {
        skip_special_tokens: options.specials === 'omit',
        // "Cleaning up" removes spaces before punctuation: the text would not be the one that was encoded.
        clean_up_tokenization_spaces: false,
      })
    },
  }
}

/** The library takes a definition's parts as they come; what it stumbles over is the definition's fault. */
/** What post-processing puts in front: up to where a text's own first token stands. */
function prefixOf(encode: Tokenizer['encode']): number[] {
  const [own] = encode('a')
  const whole = encode('a', { specials: 'add' })
  return own === undefined ? [] : whole.slice(0, Math.max(0, whole.indexOf(own)))
}

function guarded<Result>(file: string, use: () => Result): Result {
  try {
    return use()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.replace(/[^\x20-\x7e]+/g, ' ') : 'no reason given'
    throw new UserError('HD430', `the tokenizer does not work: ${reason.slice(0, 200)}`, { place: { file }, cause })
  }
}

function construct(definition: JsonObject, config: JsonObject, file: string): Implementation {
  try {
    return new Implementation(definition, config)
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/[^\x20-\x7e]+/g, ' ') : String(error)
    throw new UserError('HD430', `the tokenizer cannot be built: ${reason.slice(0, 200)}`, {
      place: { file },
      cause: error,
    })
  }
}

function tokenText(config: JsonObject, key: string): string | undefined {
  const value = config[key]
  if (typeof value === 'string') return value
  return isObject(value) && typeof value.content === 'string' ? value.content : undefined
}

/** Named special tokens of tokenizer_config.json, or of the older special_tokens_map.json beside it. */
function specialTokensOf(config: JsonObject, dir: string): Record<string, string> {
  const mapPath = path.join(dir, 'special_tokens_map.json')
  const older = fs.existsSync(mapPath) ? readJsonObject(mapPath, MAX_CONFIG_BYTES) : {}
  const tokens: Record<string, string> = {}
  for (const name of SPECIAL_NAMES) {
    const text = Object.hasOwn(config, name) ? tokenText(config, name) : tokenText(older, name)
    if (text !== undefined) tokens[name] = text
  }
  return tokens
}

/** A file of its own goes before tokenizer_config.json, as in transformers. */
function chatTemplates(config: JsonObject, configPath: string): ReadonlyMap<string, string> {
  const file = path.join(path.dirname(configPath), 'chat_template.jinja')
  if (fs.existsSync(file)) {
    const bytes = readBounded(file, MAX_TEMPLATE_BYTES)
    try {
      return new Map([['default', new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)]])
    } catch (cause) {
      throw new UserError('HD430', 'the chat template is not UTF-8', { place: { file }, cause })
    }
  }
  const given = config.chat_template
  if (given === undefined || given === null) return new Map()
  if (typeof given === 'string') return new Map([['default', given]])
  const place = { file: configPath, at: 'chat_template' }
  if (!Array.isArray(given) || given.length > MAX_TEMPLATES) {
    throw new UserError('HD430', 'the chat template is neither a text nor a list of named ones', { place })
  }
  const named = new Map<string, string>()
  for (const one of given as readonly unknown[]) {
    if (!isObject(one) || typeof one.name !== 'string' || typeof one.template !== 'string') {
      throw new UserError('HD430', 'a chat template of the list has no name or no text', { place })
    }
    named.set(one.name, one.template)
  }
  return named
}

/** Checked by `checkDefinition` before. */
function addedTokens(definition: JsonObject): ReadonlyMap<number, SpelledToken> {
  const added = Array.isArray(definition.added_tokens) ? (definition.added_tokens as readonly JsonObject[]) : []
  return new Map(
    added.map((token) => [
      Number(token.id),
      {
        spelling: String(token.content),
        isAdded: true,
        takesBefore: token.lstrip === true,
        takesBehind: token.rstrip === true,
      },
    ]),
  )
}

/** The first token that holds a character: ends never fall, so the first that ends behind it is the only candidate. */
function tokenAt({ starts, ends }: TokenSpans, index: number): number | undefined {
  let low = 0
  let high = ends.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ends[middle] ?? 0) > index) high = middle
    else low = middle + 1
  }
  return low < ends.length && (starts[low] ?? 0) <= index ? low : undefined
}

/** Where the character at `index` stands once the text is composed. */
function composedIndex(text: string, index: number, form: 'NFC' | 'NFKC' | undefined): number {
  return form === undefined ? index : text.slice(0, index).normalize(form).length
}

function isByteLevel({ pre_tokenizer: preTokenizer }: JsonObject): boolean {
  return JSON.stringify(preTokenizer ?? null).includes('"ByteLevel"')
}

/**
 * Bytes that a byte-level vocabulary without an unknown token lacks: the algorithm drops them in silence, which would
 * train on text that nobody wrote.
 */
function bytesThatVanish(definition: JsonObject): Set<number> {
  const missing = new Set<number>()
  const { model } = definition
  if (!isByteLevel(definition) || !isObject(model) || model.type !== 'BPE' || !isObject(model.vocab)) return missing
  if (typeof model.unk_token === 'string') return missing
  for (const [byte, symbol] of symbolOfByte().entries()) if (!Object.hasOwn(model.vocab, symbol)) missing.add(byte)
  return missing
}

/** Refuses what the implementation would take silently or allocate by; returns one more than the largest id. */
function checkDefinition(definition: JsonObject, file: string): number {
  const wrong = (at: string, reason: string): UserError => new UserError('HD430', reason, { place: { file, at } })
  const { model, added_tokens: added = [] } = definition
  if (!isObject(model)) throw wrong('model', 'the tokenizer has no model')
  // The oldest files leave the type out.
  if (model.type === undefined && Array.isArray(model.merges)) model.type = 'BPE'
  if (!['BPE', 'Unigram', 'WordPiece'].includes(model.type as string)) {
    throw wrong('model.type', `the tokenizer model ${quoteValue(model.type)} is not known`)
  }
  const ids = new Map<number, string>()
  const claim = (at: string, token: unknown, id: unknown): void => {
    if (typeof token !== 'string') throw wrong(at, 'a token is not a string')
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0 || id >= MAX_IDS) {
      throw wrong(at, `the token ${quote(token)} has the id ${quoteValue(id)}, not a number below ${MAX_IDS}`)
    }
    const other = ids.get(id)
    if (other !== undefined && other !== token)
      throw wrong(at, `the id ${id} belongs to ${quote(other)} and ${quote(token)}`)
    ids.set(id, token)
  }
  if (isObject(model.vocab)) {
    for (const [token, id] of Object.entries(model.vocab)) claim('model.vocab', token, id)
  } else if (Array.isArray(model.vocab)) {
    for (const [id, pair] of model.vocab.entries()) claim('model.vocab', Array.isArray(pair) ? pair[0] : undefined, id)
  } else {
    throw wrong('model.vocab', 'the tokenizer has no vocabulary')
  }
  if (!Array.isArray(added)) throw wrong('added_tokens', 'the added tokens are not a list')
  for (const token of added) {
    if (!isObject(token)) throw wrong('added_tokens', 'an added token is not an object')
    claim('added_tokens', token.content, token.id)
  }
  if (model.type === 'BPE') checkMerges(model.merges, (token) => Object.hasOwn(model.vocab as object, token), wrong)
  if (ids.size === 0) throw wrong('model.vocab', 'the vocabulary is empty')
  definition.added_tokens = added
  let largest = 0
  for (const id of ids.keys()) largest = Math.max(largest, id)
  return largest + 1
}

/** A merge into a token that is not there would lose its text without a word. */
function checkMerges(
  merges: unknown,
  isToken: (spelling: string) => boolean,
  wrong: (at: string, reason: string) => UserError,
): void {
  if (!Array.isArray(merges)) throw wrong('model.merges', 'the merges are not a list')
  const asPairs = Array.isArray(merges[0])
  for (const [rank, merge] of merges.entries()) {
    const parts: unknown[] = Array.isArray(merge) ? merge : typeof merge === 'string' ? merge.split(' ') : []
    if (Array.isArray(merge) !== asPairs || parts.length !== 2 || !parts.every((part) => typeof part === 'string')) {
      throw wrong('model.merges', `merge ${rank} is not a pair of tokens`)
    }
    const missing = [...parts, parts.join('')].find((token) => !isToken(String(token)))
    if (missing !== undefined) {
      throw wrong('model.merges', `merge ${rank} has ${quoteValue(missing)}, which is not in the vocabulary`)
    }
  }
}
