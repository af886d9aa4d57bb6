// Tables that lie: every number that is an offset, an id, a state or a count is made wrong, the checksum made right again,
// and opening must refuse it. Random changes under sanitizers are for the full run.

import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { tokenizerTable } from '../../backends/tokenizer/index.ts'
import { WasmTokenizer } from '../../backends/tokenizer/wasmTokenizer.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { changed, characterTokenizer, wasmModule, written } from './deviceTokenizer.ts'

// As in runtime/heddle_tokenizer_table.h.
const scalars = ['size', 'traits', 'normalizer', 'classes', 'mergeProbes', 'characterProbes', 'wordProbes', 'writtenRoot', 'normalizedRoot'] // prettier-ignore
const sections = ['tokenOffsets', 'tokenBytes', 'tokenFlags', 'byteIds', 'merges', 'characters', 'words', 'stages', 'transitions', 'classIndex', 'classBlocks', 'nodes', 'edges', 'names', 'nameText', 'before', 'after', 'replaceFrom', 'replaceTo', 'composeIndex', 'composeBlocks', 'decompositions', 'parts', 'pairs'] // prettier-ignore

/** A table that can be written to by the names of its parts. */
class Open {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly #words: Uint32Array

  constructor(table: Uint8Array) {
    this.bytes = table.slice()
    this.#words = new Uint32Array(this.bytes.buffer)
  }

  #number(list: readonly string[], name: string): number {
    assert.ok(list.includes(name), name)
    return list.indexOf(name)
  }

  #place(section: string): number {
    return 4 + scalars.length + 2 * this.#number(sections, section)
  }

  sizeOf(section: string): number {
    return this.#words[this.#place(section) + 1] ?? 0
  }

  scalar(name: string, value: number): this {
    this.#words[4 + this.#number(scalars, name)] = value
    return this
  }

  /** Moves or resizes a section. */
  section(name: string, change: { readonly offset?: number; readonly size?: number }): this {
    const place = this.#place(name)
    this.#words[place] = change.offset ?? this.#words[place] ?? 0
    this.#words[place + 1] = change.size ?? this.#words[place + 1] ?? 0
    return this
  }

  /** Writes a word, half a word or a byte of a section; an index below 0 counts from the end. */
  put(name: string, width: 1 | 2 | 4, index: number, value: number): this {
    const begin = this.#words[this.#place(name)] ?? 0
    const at = begin + (index < 0 ? this.sizeOf(name) + index * width : index * width)
    assert.ok(this.sizeOf(name) > 0 && at < begin + this.sizeOf(name), `${name} has no element ${index}`)
    const view = new DataView(this.bytes.buffer)
    if (width === 1) view.setUint8(at, value)
    else if (width === 2) view.setUint16(at, value, true)
    else view.setUint32(at, value, true)
    return this
  }

  sealed(): Uint8Array {
    this.#words[3] = crc32(this.bytes.subarray(16))
    return this.bytes
  }
}

describe('a table that lies', () => {
  let bytes = new Uint8Array(0)
  let characters = new Uint8Array(0)
  before(() => {
    const frame = {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: 'x' } }, { Sequence: { id: 'A' } }, { SpecialToken: { id: 'x' } }],
      special_tokens: { x: { ids: [0] } },
    }
    const parts = { normalizer: { type: 'NFC' }, post_processor: frame }
    bytes = tokenizerTable(written(changed(parts, { ignore_merges: true })))
    characters = tokenizerTable(written(characterTokenizer([['a', 'b']], 'ab▁')))
  })

  async function opens(table: Uint8Array): Promise<boolean> {
    try {
      await WasmTokenizer.open(await wasmModule(), table, { longest: 64 })
      return true
    } catch (error) {
      assert.ok(error instanceof UserError && error.code === 'HD433', String(error))
      return false
    }
  }

  async function refused(what: string, table: Open): Promise<void> {
    assert.equal(await opens(table.sealed()), false, what)
  }

  it('opens when it does not', async () => {
    assert.equal(await opens(new Open(bytes).sealed()), true)
    assert.equal(await opens(new Open(characters).sealed()), true)
    // What is empty may be: a change that leaves a table is no damage.
    assert.equal(await opens(new Open(bytes).scalar('traits', 0).sealed()), true)
  })

  it('is refused when a section is not where it says', async () => {
    for (const name of sections) {
      for (const offset of [4, 0xfffffff8, bytes.length + 8, bytes.length]) {
        const table = new Open(bytes)
        // An empty section may stand anywhere inside of the table, its end included.
        if (offset === bytes.length && table.sizeOf(name) === 0) continue
        await refused(`${name} at ${offset}`, table.section(name, { offset }))
      }
      for (const size of [0xffffffff, bytes.length, 0x7ffffff8]) {
        await refused(`${name} of ${size} bytes`, new Open(bytes).section(name, { size }))
      }
    }
  })

  it('is refused when a section is missing or has an odd end', async () => {
    for (const name of [
      'tokenOffsets',
      'tokenBytes',
      'tokenFlags',
      'byteIds',
      'classIndex',
      'classBlocks',
      'nodes',
      'composeIndex',
      'composeBlocks',
      'parts',
      'transitions',
      'merges',
      'words',
    ]) {
      // prettier-ignore
      await refused(`no ${name}`, new Open(bytes).section(name, { size: 0 }))
    }
    for (const name of ['tokenOffsets', 'byteIds', 'merges', 'stages', 'nodes', 'names', 'decompositions', 'pairs']) {
      const size = new Open(bytes).sizeOf(name) - 1
      await refused(`${name} of ${size} bytes`, new Open(bytes).section(name, { size }))
    }
  })

  it('is refused when a number is out of bounds', async () => {
    const size = new DataView(bytes.buffer).getUint32(16, true)
    const nodes = new Open(bytes).sizeOf('nodes') / 8 - 1
    const wrong: Readonly<Record<string, (table: Open) => Open>> = {
      'no tokens': (table) => table.scalar('size', 0),
      'more tokens': (table) => table.scalar('size', size + 1),
      'an unknown normalizer': (table) => table.scalar('normalizer', 3),
      'a replacement of nothing': (table) => table.scalar('normalizer', 2),
      'no classes': (table) => table.scalar('classes', 0),
      'too many classes': (table) => table.scalar('classes', 256),
      'other classes': (table) => table.scalar('classes', 200),
      'no probes of merges': (table) => table.scalar('mergeProbes', 0),
      'probes beyond the merges': (table) => table.scalar('mergeProbes', 1 << 20),
      'probes of no characters': (table) => table.scalar('characterProbes', 1),
      'probes beyond the words': (table) => table.scalar('wordProbes', 1 << 20),
      'a root beyond the nodes': (table) => table.scalar('writtenRoot', nodes),
      'the other root beyond the nodes': (table) => table.scalar('normalizedRoot', 0xffffffff),
      'a first token that does not begin': (table) => table.put('tokenOffsets', 4, 0, 1),
      'a token that ends before it begins': (table) => table.put('tokenOffsets', 4, 5, 0),
      'a last token beyond the text': (table) => table.put('tokenOffsets', 4, -1, 0x7fffffff),
      'a token that is no byte': (table) => table.put('tokenFlags', 1, -1, 5),
      'a byte without token': (table) => table.put('byteIds', 4, 65, size),
      'a word without token': (table) => table.put('words', 4, 0, size),
      'an unknown id before the text': (table) => table.put('before', 4, 0, size),
      'an unknown id behind the text': (table) => table.put('after', 4, 0, size),
      'an automaton beyond the transitions': (table) => table.put('stages', 4, 0, 0x7fffffff),
      'an automaton with more states': (table) => table.put('stages', 4, -2, 0x7000),
      'an automaton with states without end': (table) => table.put('stages', 4, 1, 0xffffffff),
      'an automaton without a start': (table) => table.put('stages', 4, 1, 1),
      'a way of matching': (table) => table.put('stages', 4, 2, 2),
      'a state beyond the states': (table) => table.put('transitions', 2, 20, 0x7fff),
      'a matching state beyond the states': (table) => table.put('transitions', 2, -1, 0xffff),
      'a block beyond the classes': (table) => table.put('classIndex', 2, 17, 0xffff),
      'a class beyond the classes': (table) => table.put('classBlocks', 1, 300, 255),
      'edges that go back': (table) => table.put('nodes', 4, 4, 0xffff),
      'a last edge beyond the edges': (table) => table.put('nodes', 4, -2, 0xffff),
      'an added token without id': (table) => table.put('nodes', 4, -3, size),
      'an edge to nowhere': (table) => table.put('edges', 4, 0, nodes * 256),
      'a name without token': (table) => table.put('names', 4, 0, size),
      'a name beyond the text': (table) => table.put('names', 4, 1, 0x7fffffff),
      'a name longer than the text': (table) => table.put('names', 4, 2, 0x7fffffff),
      'a block beyond the properties': (table) => table.put('composeIndex', 2, 3, 0xffff),
      'a decomposition into nothing': (table) => table.put('decompositions', 4, 2, 0),
      'a decomposition without end': (table) => table.put('decompositions', 4, 2, 9),
      'a decomposition beyond the parts': (table) => table.put('decompositions', 4, -2, 0x7fffffff),
      'a last decomposition that is longer': (table) => table.put('decompositions', 4, -1, 8),
      'a part beyond Unicode': (table) => table.put('parts', 4, 7, 0x110000),
      'a part that is a surrogate': (table) => table.put('parts', 4, 7, 0xd800),
      'a pair that makes no character': (table) => table.put('pairs', 4, 2, 0xffffffff),
    }
    for (const [what, change] of Object.entries(wrong)) await refused(what, change(new Open(bytes)))
  })

  it('is refused when a slot holds an unknown id', async () => {
    for (const [table, name, words, id] of [
      [bytes, 'merges', 4, 2],
      [characters, 'characters', 2, 1],
    ] as const) {
      const last = new Open(table).sizeOf(name) / 4 - words
      for (const slot of [0, last]) {
        const lying = new Open(table).put(name, 4, slot, 1).put(name, 4, slot + id, 0x7fffffff)
        await refused(`${name} ${slot}`, lying)
      }
    }
  })
})
