// The C++ tokenizer as a WebAssembly module, in Node or in a browser: gives it memory, hands text and ids over. The
// algorithm is in runtime/; this knows no token.

import { UserError } from '../../compiler/diagnostic.ts'

const PAGE = 65536
const MOST_PAGES = 65536
/** Code's own data and stack; a module of some ten kilobytes needs no more. */
const STATIC_BYTES = 2 << 20

/** `runtime/heddle_tokenizer_wasm.h`. Pointers are numbers, negative ones from 2 GiB on. */
interface Exports {
  heddle_tokenizer_wasm_memory(table: number, tableBytes: number, longest: number): number
  heddle_tokenizer_wasm_open(table: number, tableBytes: number, memory: number, memoryBytes: number): number
  heddle_tokenizer_wasm_size(tokenizer: number): number
  heddle_tokenizer_wasm_id(tokenizer: number, name: number, bytes: number): number
  heddle_tokenizer_wasm_encode(
    tokenizer: number,
    text: number,
    bytes: number,
    flags: number,
    ids: number,
    capacity: number,
  ): number
  heddle_tokenizer_wasm_decode(
    tokenizer: number,
    ids: number,
    count: number,
    flags: number,
    text: number,
    capacity: number,
  ): number
  heddle_tokenizer_wasm_sentence(result: number): number
}

export interface WasmTokenizerOptions {
  /** Bytes of the longest text as UTF-8, 65536 by default; decides how much memory is taken. */
  readonly longest?: number
}

const ENCODE_FRAME = 1
const DECODE_PLAIN = 1

/** A tokenizer that runs in WebAssembly. Ids are those of Hugging Face's tokenizers. */
export class WasmTokenizer {
  readonly #exports: Exports
  readonly #memory: WebAssembly.Memory
  readonly #tokenizer: number
  /** Where texts and ids are handed over: room for `#longest` bytes, then as many ids. */
  readonly #exchange: number
  readonly #longest: number

  private constructor(
    exports: Exports,
    memory: WebAssembly.Memory,
    places: { tokenizer: number; exchange: number; longest: number },
  ) {
    this.#exports = exports
    this.#memory = memory
    this.#tokenizer = places.tokenizer
    this.#exchange = places.exchange
    this.#longest = places.longest
  }

  /**
   * Opens a table (`tokenizerTable`) with the module that a tool chain made of `tokenizerSources`.
   * UserError HD433 when the table is damaged, HD715 when the system does not give the memory.
   */
  static async open(module: Uint8Array, table: Uint8Array, options: WasmTokenizerOptions = {}): Promise<WasmTokenizer> {
    const longest = aligned(options.longest ?? 65536)
    const memory = memoryOf(Math.ceil((STATIC_BYTES + 2 * module.length + table.length) / PAGE))
    const compiled = await WebAssembly.compile(module as Uint8Array<ArrayBuffer>)
    const instance = new WebAssembly.Instance(compiled, { env: { memory } })
    const exports = instance.exports as unknown as Exports
    const base = aligned((instance.exports['__heap_base'] as { value: number }).value)
    const state = base + aligned(table.length)
    grow(memory, state)
    new Uint8Array(memory.buffer).set(table, base)
    const bytes = exports.heddle_tokenizer_wasm_memory(base, table.length, longest)
    if (bytes >= 0) grow(memory, state + aligned(bytes) + 5 * longest)
    const result = bytes < 0 ? bytes : exports.heddle_tokenizer_wasm_open(base, table.length, state, bytes)
    const places = { tokenizer: state, exchange: state + aligned(Math.max(0, bytes)), longest }
    const opened = new WasmTokenizer(exports, memory, places)
    if (result < 0) throw opened.#refusal(result)
    return opened
  }

  /** One more than the largest token id. */
  get vocabSize(): number {
    return this.#exports.heddle_tokenizer_wasm_size(this.#tokenizer)
  }

  /** The id of an added token by its spelling. */
  idOf(token: string): number | undefined {
    const bytes = this.#put(new TextEncoder().encode(token))
    const id = this.#exports.heddle_tokenizer_wasm_id(this.#tokenizer, this.#exchange, bytes)
    return id < 0 ? undefined : id
  }

  /**
   * Token ids of a text; `specials: 'add'` also puts what belongs around it. UserError HD433 for a text that is too long
   * for the memory, or that the vocabulary cannot express.
   */
  encode(text: string, options: { readonly specials?: 'add' | 'omit' } = {}): number[] {
    const bytes = this.#put(new TextEncoder().encode(text))
    const out = this.#exchange + this.#longest
    const flags = options.specials === 'add' ? ENCODE_FRAME : 0
    const count = this.#exports.heddle_tokenizer_wasm_encode(
      this.#tokenizer,
      this.#exchange,
      bytes,
      flags,
      out,
      this.#longest,
    )
    if (count < 0) throw this.#refusal(count)
    if (count > this.#longest) throw tooLong(this.#longest)
    return [...new Int32Array(this.#memory.buffer, out, count)]
  }

  /** The text of token ids; `specials: 'omit'` leaves special tokens out. UserError HD433 for an id without token. */
  decode(ids: readonly number[], options: { readonly specials?: 'keep' | 'omit' } = {}): string {
    const given = this.#exchange + this.#longest
    if (ids.length > this.#longest) throw tooLong(this.#longest)
    new Int32Array(this.#memory.buffer).set(ids, given / 4)
    const flags = options.specials === 'omit' ? DECODE_PLAIN : 0
    const bytes = this.#exports.heddle_tokenizer_wasm_decode(
      this.#tokenizer,
      given,
      ids.length,
      flags,
      this.#exchange,
      this.#longest,
    )
    if (bytes < 0) throw this.#refusal(bytes)
    if (bytes > this.#longest) throw tooLong(this.#longest)
    // A decoder refuses shared memory: decode a copy.
    const copy = new Uint8Array(this.#memory.buffer, this.#exchange, bytes).slice()
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(copy)
  }

  #put(bytes: Uint8Array): number {
    if (bytes.length > this.#longest) throw tooLong(this.#longest)
    new Uint8Array(this.#memory.buffer).set(bytes, this.#exchange)
    return bytes.length
  }

  #refusal(result: number): UserError {
    const bytes = new Uint8Array(this.#memory.buffer)
    const begin = this.#exports.heddle_tokenizer_wasm_sentence(result) >>> 0
    return new UserError('HD433', new TextDecoder().decode(bytes.slice(begin, bytes.indexOf(0, begin))))
  }
}

function aligned(value: number): number {
  return Math.ceil(value / 8) * 8
}

function tooLong(longest: number): UserError {
  return new UserError('HD433', `the text is longer than the ${longest} bytes that the tokenizer was opened for`)
}

function memoryOf(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: MOST_PAGES, shared: true })
  } catch (cause) {
    throw new UserError('HD715', 'the system does not give the address space for a wasm memory (4 GiB)', { cause })
  }
}

function grow(memory: WebAssembly.Memory, bytes: number): void {
  const missing = Math.ceil(bytes / PAGE) - memory.buffer.byteLength / PAGE
  if (missing <= 0) return
  try {
    memory.grow(missing)
  } catch (cause) {
    throw new UserError('HD715', `the system refuses ${(bytes / 2 ** 20).toFixed(0)} MiB of memory`, { cause })
  }
}
