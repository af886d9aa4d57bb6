// Tokenizers for devices: the binary table of a tokenizer.json, and the C++ that encodes and decodes with it.

import { readFile } from 'node:fs/promises'
import { readDefinition } from './definition.ts'
import { makeTable } from './table.ts'

/**
 * The table of a tokenizer.json, for `heddle_tokenizer_open`. UserError HD401, HD402 (unreadable, no JSON), HD432 (a
 * tokenizer that a device could not follow exactly).
 */
export function tokenizerTable(file: string): Uint8Array<ArrayBuffer> {
  return makeTable(readDefinition(file), { file })
}

const headers = ['heddle_tokenizer.h', 'heddle_tokenizer_table.h', 'heddle_tokenizer_text.h', 'heddle_tokenizer_compose.h', 'heddle_tokenizer_split.h', 'heddle_tokenizer_merge.h', 'heddle_tokenizer_decode.h', 'heddle_tokenizer_runtime.h', 'heddle_tokenizer_wasm.h'] // prettier-ignore

/** The C++ of the tokenizer: `heddle_tokenizer_runtime.h` is all of it, `heddle_tokenizer_wasm.h` exports it from wasm. */
export async function tokenizerSources(): Promise<{ readonly name: string; readonly text: string }[]> {
  return Promise.all(
    headers.map(async (name) => ({ name, text: await readFile(new URL(`runtime/${name}`, import.meta.url), 'utf8') })),
  )
}
