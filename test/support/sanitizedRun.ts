// Builds whose reports are files in a folder: what sanitizers see in a program, also at its end, when nobody listens to it
// any more. Only for tests.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CompileCache, ToolChain } from '../../backends/neon/toolchain/index.ts'
import { hostChain } from './nativeChains.ts'

export type Sanitizer = 'address' | 'thread'

/** Whatever is found ends the program. Optimising what checks for undefined behaviour takes four times as long. */
const sanitizerFlags: Readonly<Record<Sanitizer, readonly string[]>> = {
  address: ['-O0', '-g1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
  thread: ['-g1', '-fsanitize=thread'],
}

/** A folder for reports, and what stands in front of a program so that they come there. */
export class Reports {
  readonly #folder = mkdtempSync(join(tmpdir(), 'heddle-reports-'))

  get launcher(): readonly string[] {
    const options = `log_path=${join(this.#folder, 'report')} halt_on_error=1`
    const environment = ['ASAN', 'UBSAN', 'TSAN', 'LSAN'].map((name) => `${name}_OPTIONS=${options}`)
    // Undefined behaviour is reported on standard error whatever the options say.
    return ['env', ...environment, 'sh', '-c', 'exec "$@" 2>>"$0"', join(this.#folder, 'standard-error')]
  }

  /** What was reported since it was last asked. */
  take(): string {
    const files = readdirSync(this.#folder).map((name) => join(this.#folder, name))
    const text = files.map((file) => readFileSync(file, 'utf8')).join('')
    files.forEach((file) => rmSync(file))
    return text
  }

  /** Fails with what was reported, if anything was. */
  assertNone(): void {
    const text = this.take()
    assert.equal(text, '', text.slice(0, 6000))
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Clang, which takes two thirds of the time of g++ for them, with AVX2, which every runner has. */
export function sanitizedChain(cache: CompileCache, sanitizer: Sanitizer, reports: Reports): Promise<ToolChain> {
  const flags = sanitizerFlags[sanitizer]
  return hostChain(cache, { command: 'clang++-22', isa: 'avx2', flags, launcher: reports.launcher })
}
