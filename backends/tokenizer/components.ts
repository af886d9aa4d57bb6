// The parts of tokenizer.json around its model: normalizer, pre-tokenizer, post-processor and decoder, as data for a table.
// What a device would do otherwise than Hugging Face is refused. Knows no vocabulary.

import type { Place } from '../../compiler/diagnostic.ts'
import { quote } from '../../formats/files.ts'
import { isObject } from '../../formats/json.ts'
import type { JsonObject } from '../../formats/json.ts'
import { literalPattern, parsePattern } from './pattern.ts'
import type { Pattern } from './pattern.ts'

/** Raises the refusal of a tokenizer: HD432 with the key it is about. */
export type Refuse = (at: string, sentence: string) => never

/** Every occurrence of a text becomes another one. */
export interface Replacement {
  readonly from: string
  readonly to: string
}

export type Normalizer = { readonly kind: 'nfc' } | ({ readonly kind: 'replace' } & Replacement)

export interface Split {
  readonly pattern: Pattern
  readonly place: Place
  /** `isolated`: matches are pieces of their own; `withPrevious`: a match belongs to the piece before it. */
  readonly matches: 'isolated' | 'withPrevious'
}

/** Token ids before and behind a text. */
export interface Frame {
  readonly before: readonly number[]
  readonly after: readonly number[]
}

const MOST_SPLITS = 8
const LONGEST_REPLACEMENT = 64
const LONGEST_FRAME = 64

/** The pattern that `ByteLevel` splits by; it is part of that type's definition, not of the file. */
const BYTE_LEVEL = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/** The components of a sequence, or the one there is. */
function listOf(component: unknown, key: string, at: string, refuse: Refuse): JsonObject[] {
  if (component === undefined || component === null) return []
  const isSequence = isObject(component) && component.type === 'Sequence'
  const list: unknown = isSequence ? component[key] : [component]
  if (!Array.isArray(list) || !list.every(isObject)) return refuse(at, 'this is not a list of components')
  return list
}

function typeOf(component: JsonObject): string {
  return quote(String(component.type))
}

export function readNormalizer(component: unknown, refuse: Refuse): Normalizer | undefined {
  const at = 'normalizer'
  const [only, ...more] = listOf(component, 'normalizers', at, refuse)
  if (!only) return undefined
  if (more.length > 0) return refuse(at, 'a device normalizes in one step, not in several')
  if (only.type === 'NFC') return { kind: 'nfc' }
  if (only.type !== 'Replace') return refuse(at, `a device does not normalize by ${typeOf(only)}`)
  return { kind: 'replace', ...replacement(only, at, refuse) }
}

/** A text behind the normalizer. */
export function normalized(text: string, normalizer: Normalizer | undefined): string {
  if (!normalizer) return text
  return normalizer.kind === 'nfc' ? text.normalize('NFC') : text.replaceAll(normalizer.from, () => normalizer.to)
}

function replacement(component: JsonObject, at: string, refuse: Refuse): Replacement {
  const from = isObject(component.pattern) ? component.pattern.String : undefined
  const to = component.content
  if (typeof from !== 'string' || typeof to !== 'string')
    return refuse(at, 'only plain text is replaced, by plain text')
  const isSound = (text: string): boolean => text.length <= LONGEST_REPLACEMENT && !/\p{Surrogate}/u.test(text)
  if (from === '' || !isSound(from) || !isSound(to)) return refuse(at, 'this text cannot be replaced')
  return { from, to }
}

/** The steps of the pre-tokenizer, and whether what they find is taken as bytes. */
export function readSplits(
  component: unknown,
  place: (at: string) => Place,
  refuse: Refuse,
): { readonly list: readonly Split[]; readonly byteLevel: boolean } {
  const at = 'pre_tokenizer'
  const list: Split[] = []
  let byteLevel = false
  for (const step of listOf(component, 'pretokenizers', at, refuse)) {
    // Behind it the text would be its own spelling of bytes.
    if (byteLevel) return refuse(at, 'nothing may follow ByteLevel')
    if (step.type === 'ByteLevel') {
      byteLevel = true
      if (step.add_prefix_space !== false) refuse(at, 'a device puts no space before a text')
      if (step.use_regex !== false) {
        list.push({ pattern: parsePattern(BYTE_LEVEL, place(at)), place: place(at), matches: 'isolated' })
      }
    } else if (step.type === 'Split') {
      list.push(readSplit(step, place(at), refuse))
    } else if (step.type === 'Digits') {
      const source = step.individual_digits === true ? '\\p{N}' : '\\p{N}+'
      list.push({ pattern: parsePattern(source, place(at)), place: place(at), matches: 'isolated' })
    } else {
      return refuse(at, `a device does not split by ${typeOf(step)}`)
    }
  }
  if (list.length > MOST_SPLITS) refuse(at, `there are more than ${MOST_SPLITS} steps`)
  return { list, byteLevel }
}

const behaviours: ReadonlyMap<unknown, Split['matches']> = new Map([
  ['Isolated', 'isolated'],
  ['MergedWithPrevious', 'withPrevious'],
])

function readSplit(step: JsonObject, place: Place, refuse: Refuse): Split {
  const at = 'pre_tokenizer'
  const { pattern, behavior, invert } = step
  const matches = behaviours.get(behavior)
  if (matches === undefined) return refuse(at, `a device does not split with the behaviour ${quote(String(behavior))}`)
  if (invert === true) refuse(at, 'a device does not split by what does not match')
  if (isObject(pattern) && typeof pattern.Regex === 'string') {
    return { pattern: parsePattern(pattern.Regex, place), place, matches }
  }
  const text = isObject(pattern) ? pattern.String : undefined
  if (typeof text !== 'string' || text === '' || text.length > LONGEST_REPLACEMENT || /\p{Surrogate}/u.test(text)) {
    return refuse(at, 'a split has no pattern')
  }
  return { pattern: literalPattern(text), place, matches }
}

export function readPostProcessor(component: unknown, refuse: Refuse): Frame {
  const at = 'post_processor'
  let frame: Frame | undefined
  for (const step of listOf(component, 'processors', at, refuse)) {
    // It moves offsets, which ids do not have.
    if (step.type === 'ByteLevel') continue
    if (step.type !== 'TemplateProcessing') return refuse(at, `a device does not post-process by ${typeOf(step)}`)
    if (frame) return refuse(at, 'there is more than one template')
    frame = readTemplate(step, refuse)
  }
  return frame ?? { before: [], after: [] }
}

function readTemplate(step: JsonObject, refuse: Refuse): Frame {
  const at = 'post_processor'
  const before: number[] = []
  const after: number[] = []
  let side: number[] = before
  if (!Array.isArray(step.single)) return refuse(at, 'the template has no single sequence')
  for (const part of step.single as unknown[]) {
    if (isObject(part) && isObject(part.Sequence) && side === before) {
      side = after
      continue
    }
    const name = isObject(part) && isObject(part.SpecialToken) ? part.SpecialToken.id : undefined
    const tokens = isObject(step.special_tokens) ? step.special_tokens : {}
    const token = typeof name === 'string' && Object.hasOwn(tokens, name) ? tokens[name] : undefined
    const ids: unknown = isObject(token) ? token.ids : undefined
    if (!Array.isArray(ids) || !ids.every((id) => typeof id === 'number')) {
      return refuse(at, 'the template is not special tokens around one sequence')
    }
    side.push(...(ids as number[]))
  }
  if (side === before) return refuse(at, 'the template has no place for the text')
  if (before.length + after.length > LONGEST_FRAME) refuse(at, 'the template has too many special tokens')
  return { before, after }
}

/** What is replaced in each token when text is made of ids. */
export function readDecoder(component: unknown, symbols: 'bytes' | 'characters', refuse: Refuse): Replacement[] {
  const at = 'decoder'
  const steps = listOf(component, 'decoders', at, refuse)
  const types = steps.map(({ type }) => String(type))
  if (symbols === 'bytes') {
    if (types.join() !== 'ByteLevel')
      refuse(at, `a byte-level vocabulary needs the decoder "ByteLevel" and nothing else`)
    return []
  }
  if (!/^(?:Replace,){0,8}ByteFallback,Fuse$/.test(types.join())) {
    refuse(at, 'a vocabulary of characters needs replacements, "ByteFallback" and "Fuse" as decoders')
  }
  return steps.slice(0, -2).map((step) => replacement(step, at, refuse))
}
