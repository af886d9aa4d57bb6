// The binary table that a device tokenizes with. Its layout, its checks and what each section means are in
// runtime/heddle_tokenizer_table.h; both sides state it, and the version changes with it. Knows no JSON.

import { endianness } from 'node:os'
import { crc32 } from 'node:zlib'
import { InternalError, UserError } from '../../compiler/diagnostic.ts'
import type { Place } from '../../compiler/diagnostic.ts'
import { addedTrie } from './addedTrie.ts'
import { compilePatterns } from './automaton.ts'
import { compositionData } from './composition.ts'
import { byteToken } from './definition.ts'
import type { Definition } from './definition.ts'
import { EMPTY, hashedBytes, hashTable, mixed } from './hashing.ts'
import { spelledBytes } from './spelling.ts'

const MAGIC = 0x4b544448
const VERSION = 1
const MOST_BYTES = 2 ** 31 - 1
/** Code points of a block of the two-step maps. */
const BLOCK = 256

const traits = { characters: 1, wholeWords: 2 } as const
const normalizers = { none: 0, nfc: 1, replace: 2 } as const
const matches = { isolated: 0, withPrevious: 1 } as const
const tokenFlags = { exists: 1, special: 2, byte: 4 } as const

type Section = Uint8Array | Uint16Array | Uint32Array

/** The table of a tokenizer. UserError HD432 when it does not fit into one. */
export function makeTable(definition: Definition, place: Place): Uint8Array<ArrayBuffer> {
  if (endianness() !== 'LE') throw new InternalError('tables are written on little-endian machines only')
  const { symbols, normalizer } = definition
  const merges = mergeTable(definition)
  const characters = characterTable(definition)
  const words = wordTable(definition)
  const trie = addedTrie(definition, place)
  const text = tokenText(definition)
  const splitting = splitSections(definition)
  const composition =
    normalizer?.kind === 'nfc' ? compositionSections() : Array.from({ length: 5 }, () => new Uint8Array(0))
  const replacement = normalizer?.kind === 'replace' ? normalizer : { from: '', to: '' }
  const scalars = [
    definition.size,
    (symbols === 'characters' ? traits.characters : 0) | (definition.wholeWords ? traits.wholeWords : 0),
    normalizers[normalizer?.kind ?? 'none'],
    splitting.classes,
    merges.probes,
    characters.probes,
    words.probes,
    trie.roots.written,
    trie.roots.normalized,
  ]
  const sections: Section[] = [
    text.offsets,
    text.bytes,
    text.flags,
    byteIds(definition),
    merges.words,
    characters.words,
    words.words,
    splitting.stages,
    splitting.transitions,
    splitting.index,
    splitting.blocks,
    trie.nodes,
    trie.edges,
    trie.names,
    trie.text,
    Uint32Array.from(definition.frame.before),
    Uint32Array.from(definition.frame.after),
    utf8(replacement.from),
    utf8(replacement.to),
    ...composition,
  ]
  return assemble(scalars, sections, place)
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Header (magic, version, bytes, checksum of what follows), scalars, an offset and a size per section, sections. */
function assemble(scalars: readonly number[], sections: readonly Section[], place: Place): Uint8Array<ArrayBuffer> {
  const head = 4 * (4 + scalars.length + 2 * sections.length)
  const aligned = (bytes: number): number => Math.ceil(bytes / 8) * 8
  let end = aligned(head)
  const places = sections.map(({ byteLength }) => {
    const offset = end
    end = aligned(end + byteLength)
    return { offset, byteLength }
  })
  if (end > MOST_BYTES) throw new UserError('HD432', `the tokenizer's table would have ${end} bytes`, { place })
  const table = new Uint8Array(end)
  const words = new Uint32Array(table.buffer, 0, head / 4)
  words.set([MAGIC, VERSION, end, 0, ...scalars, ...places.flatMap(({ offset, byteLength }) => [offset, byteLength])])
  for (const [index, section] of sections.entries()) {
    table.set(new Uint8Array(section.buffer, section.byteOffset, section.byteLength), places[index]?.offset)
  }
  words[3] = crc32(table.subarray(16))
  return table
}

function mergeTable({ merges }: Definition): ReturnType<typeof hashTable> {
  // Of a pair that is merged twice the later rank counts, as in Hugging Face's map.
  const ranks = new Map<number, number>()
  for (const [rank, { left, right }] of merges.entries()) ranks.set(left * 2 ** 22 + right, rank)
  const entries = [...ranks.values()].map((rank) => {
    const { left, right, made } = merges[rank] as Definition['merges'][number]
    return { hash: mixed(left, right), words: [left, right, made, rank] }
  })
  return hashTable(4, entries)
}

/** The ids of single bytes: of the byte itself, or of the token that stands for it. */
function byteIds({ symbols, vocabulary }: Definition): Uint32Array {
  const ids = new Uint32Array(256).fill(EMPTY)
  if (symbols === 'characters') {
    for (let byte = 0; byte < 256; byte++) ids[byte] = vocabulary.get(byteToken(byte)) ?? EMPTY
    return ids
  }
  for (const [token, id] of vocabulary) {
    const bytes = spelledBytes(token)
    if (bytes?.length === 1) ids[bytes[0] ?? 0] = id
  }
  return ids
}

/** The ids of single characters, for words that are made of characters. */
function characterTable({ symbols, vocabulary }: Definition): ReturnType<typeof hashTable> {
  if (symbols === 'bytes') return hashTable(2, [])
  const entries = [...vocabulary].flatMap(([token, id]) => {
    const code = token.codePointAt(0) ?? 0
    return token === String.fromCodePoint(code) ? [{ hash: mixed(code, 0), words: [code, id] }] : []
  })
  return hashTable(2, entries)
}

/** The ids of whole words, by their bytes, for tokenizers that look those up before they merge. */
function wordTable({ wholeWords, vocabulary }: Definition): ReturnType<typeof hashTable> {
  if (!wholeWords) return hashTable(1, [])
  const entries = [...vocabulary].flatMap(([token, id]) => {
    const bytes = spelledBytes(token)
    return bytes ? [{ hash: hashedBytes(bytes), words: [id] }] : []
  })
  return hashTable(1, entries)
}

/** What each token is decoded to. */
function tokenText(definition: Definition): { offsets: Uint32Array; bytes: Uint8Array; flags: Uint8Array } {
  const { symbols, vocabulary, added, decoding, size } = definition
  const flags = new Uint8Array(size)
  const texts: (Uint8Array | undefined)[] = Array.from({ length: size })
  const put = (token: string, id: number): void => {
    flags[id] = tokenFlags.exists
    if (symbols === 'bytes') {
      texts[id] = spelledBytes(token) ?? utf8(token)
      return
    }
    const text = decoding.reduce((before, { from, to }) => before.replaceAll(from, () => to), token)
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1]
    if (byte !== undefined) flags[id] = tokenFlags.exists | tokenFlags.byte
    texts[id] = byte === undefined ? utf8(text) : Uint8Array.of(Number.parseInt(byte, 16))
  }
  for (const [token, id] of vocabulary) put(token, id)
  for (const { sought, id, isSpecial } of added) {
    put(sought, id)
    if (isSpecial) flags[id] = (flags[id] ?? 0) | tokenFlags.special
  }
  const offsets = new Uint32Array(size + 1)
  let end = 0
  for (const [id, text] of texts.entries()) {
    end += text?.length ?? 0
    offsets[id + 1] = end
  }
  const bytes = new Uint8Array(end)
  for (const [id, text] of texts.entries()) if (text) bytes.set(text, offsets[id])
  return { offsets, bytes, flags }
}

/** A map from code points to bytes in two steps: a block's number, then the byte in the block. Equal blocks are one. */
function twoSteps(values: Uint8Array): { index: Uint16Array; blocks: Uint8Array } {
  const numbers = new Map<string, number>()
  const blocks: Uint8Array[] = []
  const index = new Uint16Array(values.length / BLOCK)
  for (let block = 0; block < index.length; block++) {
    const content = values.subarray(block * BLOCK, (block + 1) * BLOCK)
    const key = Buffer.from(content).toString('latin1')
    const number = numbers.get(key) ?? blocks.push(content) - 1
    numbers.set(key, number)
    index[block] = number
  }
  return { index, blocks: Buffer.concat(blocks) }
}

/** The pre-tokenizer: an automaton per step over common classes of characters. */
function splitSections({ splits }: Definition) {
  const { classes, classOf, automata } = compilePatterns(splits)
  const stages: number[] = []
  let offset = 0
  for (const [position, { states, transitions }] of automata.entries()) {
    stages.push(offset, states, matches[splits[position]?.matches ?? 'isolated'])
    offset += transitions.length
  }
  const all = new Uint16Array(offset)
  for (const [position, { transitions }] of automata.entries()) all.set(transitions, stages[3 * position])
  return { classes, stages: Uint32Array.from(stages), transitions: all, ...twoSteps(classOf) }
}

function compositionSections(): Section[] {
  const { properties, decompositions, pairs } = compositionData()
  const map = twoSteps(properties)
  const parts: number[] = []
  const rows = decompositions.flatMap(([code, list]) => {
    const first = parts.length
    parts.push(...list)
    return [code, first, list.length]
  })
  return [map.index, map.blocks, Uint32Array.from(rows), Uint32Array.from(parts), Uint32Array.from(pairs.flat())]
}
