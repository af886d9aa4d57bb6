// clang compiled to WebAssembly, from npm: needs nothing but Node. Slow to start (seconds), so its worker is kept for a
// while and its results are kept for good. Knows flags and files, no program.

import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import { InternalError } from '../../../compiler/diagnostic.ts'
import { wasmRelaxed } from '../isa/wasm-relaxed.ts'
import type { CompileCache } from './cache.ts'
import { asUnit, commonFlags, optimiseFlag, UNIT } from './chain.ts'
import type { CompileOptions, Source, ToolChain } from './chain.ts'

const RESULT = 'program.wasm'

/** 4 GiB, the most a 32-bit memory can be; the one who makes the memory chooses its own maximum below it. */
const MOST_MEMORY = 65536 * 65536
/** The first thread's; those of other threads are given by who starts them, through `__stack_pointer`. */
const STACK_BYTES = 1 << 20

const wasmFlags: readonly string[] = [
  '-msimd128',
  '-mrelaxed-simd',
  '-matomics',
  '-mbulk-memory',
  '-mnontrapping-fptoint',
  '-fvisibility=hidden',
  // What should be vectors is written as vectors; the vectorizers replace comparison and choice by relaxed minima.
  '-fno-vectorize',
  '-fno-slp-vectorize',
  '-nostdlib',
  '-Wl,--no-entry',
  '-Wl,--import-memory',
  '-Wl,--shared-memory',
  `-Wl,--max-memory=${MOST_MEMORY}`,
  `-Wl,-z,stack-size=${STACK_BYTES}`,
  '-Wl,--stack-first',
  '-Wl,--export=__heap_base',
  '-Wl,--export=__stack_pointer',
]

/**
 * How long an idle worker, with clang compiled and 400 MB, is kept for the next compilation. Tests compile one small program
 * after another, and what the engine learns of clang takes it half a minute each time.
 */
const IDLE_MILLISECONDS = 1000 * Number(process.env['HEDDLE_CLANG_IDLE_SECONDS'] ?? 5)

interface Answer {
  readonly job: number
  readonly bytes?: Uint8Array
  readonly log: string
}

interface Waiting {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

/** One worker for the whole process; jobs queue up inside it. */
class ClangWorker {
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #lastJob = 0
  readonly #waiting: Map<number, Waiting> = new Map()

  run(flags: readonly string[], files: Readonly<Record<string, string>>, result: string): Promise<Answer> {
    const worker = this.#start()
    const job = ++this.#lastJob
    return new Promise((resolve, reject) => {
      this.#waiting.set(job, { resolve, reject })
      worker.postMessage({ job, flags, files, result })
    })
  }

  #start(): Worker {
    clearTimeout(this.#idle)
    if (this.#worker) {
      this.#worker.ref()
      return this.#worker
    }
    const worker = new Worker(new URL('./clang-worker.mjs', import.meta.url), { execArgv: [] })
    this.#worker = worker
    worker.on('message', (answer: Answer) => {
      this.#waiting.get(answer.job)?.resolve(answer)
      this.#waiting.delete(answer.job)
      if (this.#waiting.size === 0) this.#rest(worker)
    })
    worker.on('error', (error) => this.#fail(worker, error))
    worker.on('exit', () => this.#fail(worker, new Error('the worker ended')))
    return worker
  }

  /** An idle worker must not keep the process alive, nor its memory for long. */
  #rest(worker: Worker): void {
    worker.unref()
    this.#idle = setTimeout(() => {
      if (this.#worker === worker) this.#worker = undefined
      void worker.terminate()
    }, IDLE_MILLISECONDS)
    this.#idle.unref()
  }

  #fail(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    for (const { reject } of this.#waiting.values()) {
      reject(new InternalError(`clang for wasm stopped: ${error.message}`, { cause: error }))
    }
    this.#waiting.clear()
  }
}

const clang = new ClangWorker()

/** Version of the package that the compiler comes in. */
function clangVersion(): string {
  const require = createRequire(import.meta.url)
  // Its package.json is not exported; the entry lies in `gen/` beside it.
  const packageFile = new URL('../package.json', `file://${require.resolve('@yowasp/clang')}`)
  return (require(packageFile.pathname) as { version: string }).version
}

/** The wasm tool chain. `reason`: why it was chosen, for `describe`. */
export function wasmToolChain(cache: CompileCache, reason: string): ToolChain {
  const version = clangVersion()
  const name = `clang ${version} in WebAssembly, relaxed SIMD, 4 lanes`
  return {
    name: 'wasm',
    isa: wasmRelaxed,
    launcher: [],
    // The engine has the last word on registers.
    identity: `${name}, V8 ${process.versions.v8}`,
    describe: () => `${name} (${reason})`,
    async compile(sources: readonly Source[], options: CompileOptions): Promise<string> {
      const unit = asUnit(sources)
      const flags = [...commonFlags, optimiseFlag(options), ...wasmFlags]
      return cache.result({ compiler: `@yowasp/clang ${version}`, flags, sources: unit }, RESULT, async () => {
        const files = Object.fromEntries(unit.map(({ name, text }) => [name, text]))
        const answer = await clang.run([...flags, UNIT, '-o', RESULT], files, RESULT)
        if (answer.bytes) return answer.bytes
        throw new InternalError(
          `clang for wasm refused generated code; its words are in ${await cache.log(answer.log)}`,
        )
      })
    },
  }
}
