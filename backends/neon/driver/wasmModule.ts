// A wasm module before it runs: compiling it for this engine, its memory, its exports, and the probe of what the engine
// makes of a multiply-add. Knows no session.

import { setFlagsFromString } from 'node:v8'
import { UserError } from '../../../compiler/diagnostic.ts'

const PAGE = 65536
/** 4 GiB: all that 32 bits address. */
const MOST_PAGES = 65536
/** The linked-in stack, and room for tables; static data is never larger than twice its module. */
const STATIC_BYTES = 2 << 20

/** `runtime/heddle_wasm.h`. Pointers are numbers, negative ones from 2 GiB on: `>>> 0` before they are addresses. */
export interface Exports {
  heddle_wasm_multiply_add(a: number, b: number, c: number): number
  heddle_wasm_bytes(threads: number): number
  heddle_wasm_set_frozen(index: number, data: number, bytes: number): void
  heddle_wasm_open(threads: number, profile: number): number
  heddle_wasm_stack(thread: number): number
  heddle_wasm_message(): number
  heddle_wasm_pause_word(): number
  heddle_wasm_sizes(): number
  heddle_wasm_space(session: number, space: number): number
  heddle_wasm_not_finite(session: number): number
  heddle_wasm_profile(session: number): number
  heddle_wasm_close(session: number): void
}

/** What the module imports besides its memory. */
export const clock = { now: () => performance.now() * 1000 }

/** UserError HD710 when the engine does not know the instructions. */
export async function compileModule(bytes: Uint8Array): Promise<WebAssembly.Module> {
  // Off by default before Node 24; the flag must be set before the first module that needs it is compiled.
  setFlagsFromString('--experimental-wasm-relaxed-simd')
  try {
    return await WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>)
  } catch (cause) {
    throw new UserError('HD710', 'this JavaScript engine does not take relaxed SIMD, which the wasm program needs', {
      mend: 'use Node 20 or later, or the tool chain of the host',
      cause,
    })
  }
}

/** A shared memory that holds the static data of a module of so many bytes, and can grow to 4 GiB. UserError HD715. */
export function makeMemory(moduleBytes: number): WebAssembly.Memory {
  const pages = Math.ceil((STATIC_BYTES + 2 * moduleBytes) / PAGE)
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: MOST_PAGES, shared: true })
  } catch (cause) {
    throw new UserError('HD715', 'the system does not give the address space for a wasm memory (4 GiB)', { cause })
  }
}

/** Makes the memory at least so large. UserError HD715. */
export function growTo(memory: WebAssembly.Memory, bytes: number): void {
  const pages = Math.ceil(bytes / PAGE)
  const present = memory.buffer.byteLength / PAGE
  if (pages <= present) return
  const size = `${(bytes / 2 ** 30).toFixed(2)} GiB`
  if (pages > MOST_PAGES) {
    throw new UserError('HD715', `the program with its weights needs ${size}; wasm has at most 4 GiB`, {
      mend: 'use the tool chain of the host, or a shorter sequence',
    })
  }
  try {
    memory.grow(pages - present)
  } catch (cause) {
    throw new UserError('HD715', `the system refuses ${size} of memory`, { cause })
  }
}

/**
 * (1 + 2⁻¹²)² − (1 + 2⁻¹¹) is 2⁻²⁴, but 0 when the product is rounded first: an engine may do either, and every
 * promise about bits needs the former. UserError HD710.
 */
export function requireFusedMultiplyAdd(exports: Pick<Exports, 'heddle_wasm_multiply_add'>): void {
  const factor = 1 + 2 ** -12
  if (exports.heddle_wasm_multiply_add(factor, factor, -(1 + 2 ** -11)) === 2 ** -24) return
  throw new UserError('HD710', 'this engine or processor has no fused multiply-add for wasm', {
    mend: 'use the tool chain of the host',
  })
}

/** The text that ends with a zero byte at a pointer. */
export function textAt(memory: WebAssembly.Memory, pointer: number): string {
  const bytes = new Uint8Array(memory.buffer, pointer >>> 0)
  let end = 0
  while (end < bytes.length && bytes[end] !== 0) end++
  // A decoder refuses shared memory: decode a copy.
  return new TextDecoder().decode(bytes.slice(0, end))
}
