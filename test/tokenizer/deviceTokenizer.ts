// What the quick tests share: the C++ tokenizer compiled to wasm, and tokenizers made of the bundled one's vocabulary.

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { tokenizerSources, tokenizerTable } from '../../backends/tokenizer/index.ts'
import { WasmTokenizer } from '../../backends/tokenizer/wasmTokenizer.ts'
import { loadTokenizer } from '../../formats/tokenizer.ts'
import type { Tokenizer } from '../../formats/tokenizer.ts'

export const bundled = fileURLToPath(new URL('../../apps/health/model/tokenizer.json', import.meta.url))

const made: string[] = []

after(() => {
  for (const folder of made.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

let compiled: Promise<Uint8Array> | undefined

/** The wasm module, compiled once. */
export function wasmModule(): Promise<Uint8Array> {
  compiled ??= compileModule()
  return compiled
}

async function compileModule(): Promise<Uint8Array> {
  const chain = await chooseToolChain('wasm')
  const unit = { name: 'tokenizer.cpp', text: '#include "heddle_tokenizer_wasm.h"\n' }
  const module = await chain.compile([...(await tokenizerSources()), unit], { output: 'module', optimise: 'light' })
  return fs.readFileSync(module)
}

type Json = Record<string, unknown>

/** The bundled tokenizer's definition with other parts. */
export function changed(parts: Json, model: Json = {}): Json {
  const definition = JSON.parse(fs.readFileSync(bundled, 'utf8')) as Json
  return { ...definition, ...parts, model: { ...(definition.model as Json), ...model } }
}

export function written(definition: Json): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'heddle-tokenizer-'))
  made.push(folder)
  const file = path.join(folder, 'tokenizer.json')
  fs.writeFileSync(file, JSON.stringify(definition))
  return file
}

/** The same tokenizer.json on the device and in @huggingface/tokenizers. */
export async function bothOf(file: string): Promise<{ device: WasmTokenizer; reference: Tokenizer }> {
  return { device: await WasmTokenizer.open(await wasmModule(), tokenizerTable(file)), reference: loadTokenizer(file) }
}

/**
 * Whether JavaScript's regular expressions read a text as Hugging Face's do: `\s` has U+FEFF there and not U+0085, and
 * `(?i:s)` without the long s. The full run holds such texts against Hugging Face's own library.
 */
export function isCommonGround(text: string): boolean {
  return !/[\ufeff\u0085\u017f]/.test(text)
}

/** A small vocabulary of characters with byte fallback and the spaces of SentencePiece, in Gemma's form. */
export function characterTokenizer(merges: readonly (readonly [string, string])[], characters: string): Json {
  const vocab: Record<string, number> = { '<pad>': 0, '<bos>': 1, '<unk>': 2 }
  const add = (token: string): void => {
    vocab[token] ??= Object.keys(vocab).length
  }
  for (let byte = 0; byte < 256; byte++) add(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  for (const character of Array.from(characters)) add(character)
  for (const [left, right] of merges) add(left + right)
  const flags = { lstrip: false, rstrip: false, single_word: false, normalized: false, special: true }
  const added = ['<pad>', '<bos>', '<unk>'].map((content, id) => ({ id, content, ...flags }))
  return {
    version: '1.0',
    added_tokens: added,
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<bos>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<bos>': { id: '<bos>', ids: [1], tokens: ['<bos>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
      ],
    },
    model: { type: 'BPE', unk_token: '<unk>', fuse_unk: true, byte_fallback: true, vocab, merges },
  }
}
