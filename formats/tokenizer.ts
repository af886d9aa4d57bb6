// Text to token ids and back, from a Hugging Face tokenizer.json. The algorithm is @huggingface/tokenizers'; here the
// files are checked before it sees them. Knows no model.

import fs from 'node:fs'
import path from 'node:path'
import { Tokenizer as Implementation } from '@huggingface/tokenizers'
import { UserError } from '../compiler/diagnostic.ts'
import { quote, readBounded } from './files.ts'
import { isObject, readJsonObject } from './json.ts'
import type { JsonObject } from './json.ts'

const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024
const MAX_CONFIG_BYTES = 16 * 1024 * 1024
/** Above every vocabulary in use; ids index tables, so a hostile id must not choose their size. */
const MAX_IDS = 1 << 22

export interface Tokenizer {
  /**
   * Token ids of a text. Special tokens written in the text (`<|im_end|>`) become their ids. `specials: 'add'` also puts
   * what the tokenizer's post-processor asks for (a beginning-of-text token, say) around it; the default leaves it out.
   * Errors: HD431 when the text holds something the vocabulary cannot express.
   */
  encode(text: string, options?: { readonly specials?: 'add' | 'omit' }): number[]
  /** The text of token ids; `specials: 'omit'` leaves special tokens out of it. Errors: HD431 for an id without token. */
  decode(ids: readonly number[], options?: { readonly specials?: 'keep' | 'omit' }): string
  /** The id of a token by its exact spelling. */
  idOf(token: string): number | undefined
  /** One more than the largest id, added tokens included: the rows an embedding needs at least. */
  readonly vocabSize: number
  readonly eosId: number | undefined
  readonly bosId: number | undefined
  readonly padId: number | undefined
  /** The chat template of tokenizer_config.json or chat_template.jinja, when there is one. */
  readonly chatTemplate: string | undefined
}

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
  const tokens = {
    eos: tokenText(config, 'eos_token'),
    bos: tokenText(config, 'bos_token'),
    pad: tokenText(config, 'pad_token'),
  }
  const implementation = construct(definition, { ...config, eos_token: tokens.eos, bos_token: tokens.bos }, file)

  const missingBytes = bytesThatVanish(definition)
  const inexpressible = (text: string): UserError =>
    new UserError('HD431', `the vocabulary cannot express a part of ${quote(text)}`, { place: { file } })
  const idOf = (token: string): number | undefined => implementation.token_to_id(token)
  return {
    vocabSize,
    idOf,
    eosId: tokens.eos === undefined ? undefined : idOf(tokens.eos),
    bosId: tokens.bos === undefined ? undefined : idOf(tokens.bos),
    padId: tokens.pad === undefined ? undefined : idOf(tokens.pad),
    chatTemplate: chatTemplate(config, path.dirname(file)),
    encode(text, options = {}) {
      if (missingBytes.size > 0 && Buffer.from(text).some((byte) => missingBytes.has(byte))) throw inexpressible(text)
      const ids: (number | undefined)[] = implementation.encode(text, {
        add_special_tokens: options.specials === 'add',
      }).ids
      if (ids.includes(undefined)) throw inexpressible(text)
      return ids as number[]
    },
    decode(ids, options = {}) {
      for (const id of ids) {
        if (implementation.id_to_token(id) === undefined) {
          throw new UserError('HD431', `there is no token with the id ${id}`, { place: { file } })
        }
      }
      if (ids.length === 0) return ''
      return implementation.decode([...ids], {
        skip_special_tokens: options.specials === 'omit',
        // "Cleaning up" removes spaces before punctuation: the text would not be the one that was encoded.
        clean_up_tokenization_spaces: false,
      })
    },
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

function chatTemplate(config: JsonObject, dir: string): string | undefined {
  if (typeof config.chat_template === 'string') return config.chat_template
  const file = path.join(dir, 'chat_template.jinja')
  return fs.existsSync(file) ? new TextDecoder().decode(readBounded(file, MAX_CONFIG_BYTES)) : undefined
}

/**
 * Bytes that a byte-level vocabulary without an unknown token lacks: the algorithm drops them in silence, which would
 * train on text that nobody wrote. (A byte is spelled as the character of its code when that is visible in Latin-1, and
 * otherwise as the next character from U+0100 on.)
 */
function bytesThatVanish(definition: JsonObject): Set<number> {
  const missing = new Set<number>()
  const { model, pre_tokenizer: preTokenizer } = definition
  const isByteLevel = JSON.stringify(preTokenizer ?? null).includes('"ByteLevel"')
  if (!isByteLevel || !isObject(model) || model.type !== 'BPE' || !isObject(model.vocab)) return missing
  if (typeof model.unk_token === 'string') return missing
  let invisible = 0
  for (let byte = 0; byte < 256; byte++) {
    const isVisible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
    const symbol = String.fromCharCode(isVisible ? byte : 256 + invisible++)
    if (!Object.hasOwn(model.vocab, symbol)) missing.add(byte)
  }
  return missing
}

/** Refuses what the implementation would take silently or allocate by; returns one more than the largest id. */
function checkDefinition(definition: JsonObject, file: string): number {
  const wrong = (at: string, reason: string): UserError => new UserError('HD430', reason, { place: { file, at } })
  const { model, added_tokens: added = [] } = definition
  if (!isObject(model)) throw wrong('model', 'the tokenizer has no model')
  // The oldest files leave the type out.
  if (model.type === undefined && Array.isArray(model.merges)) model.type = 'BPE'
  if (!['BPE', 'Unigram', 'WordPiece'].includes(String(model.type))) {
    throw wrong('model.type', `the tokenizer model ${quote(String(model.type))} is not known`)
  }
  const ids = new Map<number, string>()
  const claim = (at: string, token: unknown, id: unknown): void => {
    if (typeof token !== 'string') throw wrong(at, 'a token is not a string')
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0 || id >= MAX_IDS) {
      throw wrong(at, `the token ${quote(token)} has the id ${quote(String(id))}, not a number below ${MAX_IDS}`)
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
  if (model.type === 'BPE') checkMerges(model.merges, wrong)
  if (ids.size === 0) throw wrong('model.vocab', 'the vocabulary is empty')
  definition.added_tokens = added
  let largest = 0
  for (const id of ids.keys()) largest = Math.max(largest, id)
  return largest + 1
}

function checkMerges(merges: unknown, wrong: (at: string, reason: string) => UserError): void {
  if (!Array.isArray(merges)) throw wrong('model.merges', 'the merges are not a list')
  const asPairs = Array.isArray(merges[0])
  for (const [rank, merge] of merges.entries()) {
    const parts: unknown[] = Array.isArray(merge) ? merge : typeof merge === 'string' ? merge.split(' ') : []
    if (Array.isArray(merge) !== asPairs || parts.length !== 2 || !parts.every((part) => typeof part === 'string')) {
      throw wrong('model.merges', `merge ${rank} is not a pair of tokens`)
    }
  }
}
