// The governor alone in a process (test/neon/governor.cpp), with a clock that the test turns. Only for tests.

import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { governCommand } from '../../backends/neon/driver/governor.ts'
import type { GovernorPolicy } from '../../backends/neon/driver/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'

const runtime = fileURLToPath(new URL('../../backends/neon/runtime/', import.meta.url))
const program = new URL('../neon/governor.cpp', import.meta.url)

/** How long to stand still, and what was decided on the way. */
export interface Stood {
  readonly wait: number
  readonly decisions: readonly string[]
}

export interface Measured {
  readonly computing: number
  readonly resting: number
  readonly held: number
  readonly joules: number
  readonly unmeasured: number
  readonly by: number
}

export class GovernorProcess {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>

  constructor(command: readonly string[]) {
    this.#child = spawn(command[0] ?? '', command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  static async start(chain: ToolChain): Promise<GovernorProcess> {
    const headers = readdirSync(runtime).map((name) => ({ name, text: readFileSync(`${runtime}${name}`, 'utf8') }))
    const sources = [...headers, { name: 'governor.cpp', text: readFileSync(program, 'utf8') }]
    const path = await chain.compile(sources, { output: 'executable', optimise: 'light' })
    return new GovernorProcess([...chain.launcher, path])
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`)
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error(`the governor died at '${line}'`)
    return value
  }

  set(policy: GovernorPolicy): Promise<string> {
    return this.ask(governCommand(policy).trimEnd().replace('govern', 'set'))
  }

  async stand(now: number, own = 0): Promise<Stood> {
    const parts = (await this.ask(`stand ${now} ${own}`)).split(' | ')
    return { wait: Number(parts.at(-1)), decisions: parts.slice(0, -1) }
  }

  async measure(now: number, own = 0): Promise<Measured> {
    const [computing = NaN, resting = NaN, held = NaN, joules = NaN, unmeasured = NaN, by = NaN] = (
      await this.ask(`measure ${now} ${own}`)
    )
      .split(' ')
      .map(Number)
    return { computing, resting, held, joules, unmeasured, by }
  }

  /** The figures under a root, each as `known value`, `absent` or `unreadable`. */
  async read(root: string): Promise<Readonly<Record<string, string>>> {
    const words = (await this.ask(`read ${root}`)).trim().split(' ')
    return Object.fromEntries(words.map((word) => word.split('=') as [string, string]))
  }

  end(): Promise<number | null> {
    this.#child.stdin.end()
    return new Promise((resolve) => this.#child.on('close', resolve))
  }
}
