// A compiled program as a wasm module in worker threads that share one memory. The thread that opened it stays free: it
// writes and reads the memory while nothing runs. Knows the module's exports, not what any function computes.

import { readFile } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { InternalError, UserError } from '../../../compiler/diagnostic.ts'
import { dtypeBytes } from '../../../compiler/graph/axis.ts'
import type { Program } from '../../../compiler/plan/program.ts'
import type { Device, DeviceOptions, Run, RunResult } from './device.ts'
import type { EnergyUse, GovernorPolicy } from './governor.ts'
import type { SessionStats } from './session.ts'
import { clock, compileModule, growTo, makeMemory, requireFusedMultiplyAdd, textAt } from './wasmModule.ts'
import type { Exports } from './wasmModule.ts'

const ALIGNMENT = 64

/** Codes of `heddle_code`. */
const code = { ok: 0, paused: 1, notFinite: 2 } as const
/** What `heddle_wasm_run` is told; programs without storage owe no update. */
const stepCodes = { more: -1, last: -2, later: -2, end: -3 } as const
const spaceNumbers = { arena: 0, state: 1, inputs: 2 } as const

/** What thread 0 answers. */
interface Answer {
  /** Of a run. */
  readonly code?: number
  readonly trap?: string
  /** Of loading: which range failed, and why. */
  readonly index?: number
  readonly problem?: string
}

/**
 * Compiles a module for this engine, gives it memory, loads the frozen tensors into it and starts its threads.
 * UserError HD710 when the engine has no fused multiply-add, HD711 when a frozen file cannot be read, HD715 when memory
 * is refused.
 */
export async function openWasmDevice(path: string, program: Program, options: DeviceOptions): Promise<Device> {
  options.signal?.throwIfAborted()
  const bytes = await readFile(path)
  const module = await compileModule(bytes)
  const memory = makeMemory(bytes.byteLength)
  const instance = new WebAssembly.Instance(module, { env: { memory }, heddle: clock })
  const exports = instance.exports as unknown as Exports
  requireFusedMultiplyAdd(exports)

  const sessionEnd = exports.heddle_wasm_bytes(options.threads)
  if (sessionEnd < 0)
    throw new InternalError(`the wasm module refuses ${options.threads} threads, or its table is damaged`)
  const addresses: number[] = []
  let end = sessionEnd
  for (const range of options.frozen) {
    end = Math.ceil(end / ALIGNMENT) * ALIGNMENT
    addresses.push(end)
    end += range.bytes
  }
  growTo(memory, end)
  options.frozen.forEach((range, index) => exports.heddle_wasm_set_frozen(index, addresses[index] ?? 0, range.bytes))
  const session = exports.heddle_wasm_open(options.threads, options.profile ? 1 : 0)
  if (session === 0) {
    throw new InternalError(`the wasm module did not open: ${textAt(memory, exports.heddle_wasm_message())}`)
  }
  const device = new WasmDevice(program, { module, memory, exports, session }, options, sessionEnd)
  try {
    await device.load(options.frozen.map((range, index) => ({ ...range, address: addresses[index] ?? 0 })))
  } catch (error) {
    await device.close()
    throw error
  }
  return device
}

interface Loaded {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  /** Of the opening thread's own instance, which runs no kernel. */
  readonly exports: Exports
  readonly session: number
}

interface Place {
  readonly address: number
  readonly bytes: number
}

class WasmDevice implements Device {
  readonly memoryBytes: number
  readonly #program: Program
  readonly #loaded: Loaded
  readonly #workers: readonly Worker[]
  readonly #places: Map<string, Place> = new Map()
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined
  #failure: Error | undefined
  #lastRun = 0
  #computed: string | undefined

  constructor(program: Program, loaded: Loaded, options: DeviceOptions, memoryBytes: number) {
    this.#program = program
    this.#loaded = loaded
    this.memoryBytes = memoryBytes
    for (const value of program.values) {
      if (value.place.space !== 'frozen') this.#places.set(value.name, this.#place(value.place, value.bytes))
    }
    const { module, memory, exports, session } = loaded
    this.#workers = Array.from({ length: options.threads }, (_, thread) => {
      const worker = new Worker(new URL('./wasm-worker.mjs', import.meta.url), {
        execArgv: [],
        workerData: { module, memory, session, thread, stack: exports.heddle_wasm_stack(thread) },
      })
      worker.on('error', (error) =>
        this.#fail(new InternalError(`a thread of the wasm program failed: ${error.message}`)),
      )
      // Only a run that is under way keeps the process alive.
      worker.unref()
      return worker
    })
    this.#workers[0]?.on('message', (answer: Answer) => {
      const waiting = this.#waiting
      this.#waiting = undefined
      this.#workers[0]?.unref()
      waiting?.resolve(answer)
    })
    const abort = (): void =>
      this.#fail(options.signal?.reason instanceof Error ? options.signal.reason : new Error('aborted'))
    options.signal?.addEventListener('abort', abort, { once: true })
  }

  async load(ranges: readonly { path: string; offset: number; bytes: number; address: number }[]): Promise<void> {
    if (ranges.length === 0) return
    const { index, problem } = await this.#ask({ frozen: ranges })
    if (problem === undefined) return
    const file = ranges[index ?? 0]?.path ?? ''
    const sentence = problem === 'ENOENT' ? 'the file does not exist' : problem
    throw new UserError('HD711', sentence, { place: { file } })
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    this.#view(this.#places.get(name)).set(bytes)
  }

  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    return copyOf(this.#view(this.#places.get(name)))
  }

  async output(fn: string, name: string): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#computed !== fn) throw new InternalError(`the last finished call was not of '${fn}'`)
    const output = this.#program.functions.find((one) => one.name === fn)?.outputs.find((one) => one.name === name)
    if (!output) throw new InternalError(`function '${fn}' has no output '${name}'`)
    const bytes = output.shape.reduce((product, extent) => product * extent, dtypeBytes[output.dtype])
    return copyOf(this.#view(this.#place(output.place, bytes)))
  }

  run(run: Run, sizes: readonly number[]): Promise<RunResult> {
    const { memory, exports } = this.#loaded
    new Int32Array(memory.buffer, exports.heddle_wasm_sizes() >>> 0, sizes.length).set(sizes)
    const functions = this.#program.functions
    if ('settle' in run) throw new InternalError('nothing is owed where nothing is in storage')
    this.#lastRun = 'call' in run ? functions.findIndex((fn) => fn.name === run.call) : stepCodes[run.step]
    return this.resume()
  }

  async resume(): Promise<RunResult> {
    this.#computed = undefined
    const answer = await this.#ask({ run: this.#lastRun })
    const { memory, exports, session } = this.#loaded
    switch (answer.code) {
      case code.ok:
        this.#computed = this.#program.functions[this.#lastRun]?.name
        return { status: 'ok' }
      case code.paused:
        return { status: 'paused' }
      case code.notFinite:
        return { status: 'notFinite', value: textAt(memory, exports.heddle_wasm_not_finite(session)) }
      case undefined: {
        const failure = new InternalError(`the wasm program stopped: ${answer.trap}`)
        this.#fail(failure)
        throw failure
      }
      default:
        return { status: 'refused', message: textAt(memory, exports.heddle_wasm_message()) }
    }
  }

  pauseAfter(launches: number): void {
    const { memory, exports } = this.#loaded
    Atomics.store(new Int32Array(memory.buffer, exports.heddle_wasm_pause_word() >>> 0, 1), 0, launches)
  }

  async govern(policy: GovernorPolicy | undefined): Promise<void> {
    if (policy === undefined) return
    throw new UserError('HD716', 'a program in WebAssembly cannot be governed: it sees no battery and no sensor', {
      mend: 'install g++ or clang++ for the host, or leave energy out of the recipe',
    })
  }

  energy(): Promise<EnergyUse> {
    return Promise.reject(new InternalError('a program in WebAssembly measures no energy'))
  }

  /** Nothing holds it. */
  finish(): void {}

  keep(): Promise<never> {
    return Promise.reject(new InternalError('a program in WebAssembly keeps nothing'))
  }

  async stats(): Promise<SessionStats> {
    if (this.#failure) throw this.#failure
    const { memory, exports, session } = this.#loaded
    const view = new DataView(memory.buffer, exports.heddle_wasm_profile(session) >>> 0)
    return {
      residentBytes: process.memoryUsage.rss(),
      // Linear memory never shrinks. The process's own peak would be clang's, which ran in it.
      peakBytes: memory.buffer.byteLength,
      allocations: undefined,
      // heddle_kernel_profile: an int64 and a double.
      kernels: this.#program.kernels.map(({ name }, index) => ({
        name,
        launches: Number(view.getBigInt64(16 * index, true)),
        microseconds: view.getFloat64(16 * index + 8, true),
      })),
    }
  }

  async close(): Promise<void> {
    const { exports, session } = this.#loaded
    this.#fail(new InternalError('the session is closed'))
    exports.heddle_wasm_close(session)
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }

  #ask(message: object): Promise<Answer> {
    if (this.#failure) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#workers[0]?.ref()
      this.#workers[0]?.postMessage(message)
    })
  }

  /** Ends all threads: one that failed leaves the others waiting for it. */
  #fail(reason: Error): void {
    if (this.#failure) return
    this.#failure = reason
    this.#waiting?.reject(reason)
    this.#waiting = undefined
    for (const worker of this.#workers) void worker.terminate()
  }

  #place(place: Program['values'][number]['place'], bytes: number): Place {
    if ('index' in place) throw new InternalError('what is streamed has no memory')
    const { exports, session } = this.#loaded
    return { address: (exports.heddle_wasm_space(session, spaceNumbers[place.space]) >>> 0) + place.offset, bytes }
  }

  #view(place: Place | undefined): Uint8Array {
    if (this.#failure) throw this.#failure
    if (!place) throw new InternalError('the value has no place')
    return new Uint8Array(this.#loaded.memory.buffer, place.address, place.bytes)
  }
}

function copyOf(view: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(view.length)
  copy.set(view)
  return copy
}
