// A copy of the repository in which sources may be wrong for a while: the checkout itself is never touched.

import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { applyEdit } from './mutation.ts'
import type { Mutation } from './mutation.ts'

/** What the unchanged code is given. */
const MOST_SECONDS = 600
/** A loop that never ends must not take the machine's memory with it. */
const MOST_MEBIBYTES = 2048
const LONGEST_OUTPUT = 1 << 20

const leftOut = new Set(['node_modules', '.git', '.venv', 'runs', 'bench', 'docs', '.ci'])

export interface Trial {
  readonly isKilled: boolean
  readonly seconds: number
  /** What failed first, or the end of the output. */
  readonly because: string
}

export class Workspace {
  /** The copy. */
  readonly folder: string
  readonly #modules: string

  /** Copies the repository, or another workspace's copy of it. */
  constructor(from: string | Workspace) {
    const root = typeof from === 'string' ? from : from.folder
    this.#modules = typeof from === 'string' ? join(root, 'node_modules') : from.#modules
    this.folder = mkdtempSync(join(tmpdir(), 'heddle-mutate-'))
    const isLeftOut = (path: string): boolean => dirname(path) === root && leftOut.has(basename(path))
    cpSync(root, this.folder, { recursive: true, filter: (path) => !isLeftOut(path) })
    symlinkSync(this.#modules, join(this.folder, 'node_modules'))
  }

  /** Runs a mutation's tests, for so many seconds at most, on the mutated copy, which is whole again afterwards. */
  async try(mutation: Mutation, seconds: number): Promise<Trial> {
    const path = join(this.folder, mutation.file)
    const original = readFileSync(path, 'utf8')
    writeFileSync(path, applyEdit(original, mutation))
    try {
      return await this.test(mutation.tests, seconds)
    } finally {
      writeFileSync(path, original)
    }
  }

  /** Runs test files until one test fails. */
  async test(files: readonly string[], most = MOST_SECONDS): Promise<Trial> {
    const start = performance.now()
    const mocha = join(this.#modules, 'mocha/bin/mocha.js')
    const options = [
      'import=./test/support/typescript.mjs',
      'max-semi-space-size=64',
      `max-old-space-size=${MOST_MEBIBYTES}`,
    ]
    const nodeOptions = options.join()
    const operands = [mocha, '--no-config', '--node-option', nodeOptions, '--bail', '--timeout', '120000', ...files]
    // A group of its own, so that mocha's child ends as well.
    const child = spawn(process.execPath, operands, {
      cwd: this.folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const collect = (chunk: Buffer): void => {
      if (output.length < LONGEST_OUTPUT) output += chunk.toString('utf8')
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }, 1000 * most)
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
    clearTimeout(timer)
    const seconds = (performance.now() - start) / 1000
    return { isKilled: code !== 0, seconds, because: isLate ? 'it did not end' : reasonIn(output) }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** The title of the first failure, or the first error. */
function reasonIn(output: string): string {
  const failed = /^\s+1\) (.+)$/m.exec(output)?.[1]
  const error = /^\s*(?:\w*Error\b.*)$/m.exec(output)?.[0].trim()
  return failed ?? error ?? output.trim().split('\n').at(-1) ?? ''
}
