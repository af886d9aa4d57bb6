// Runs a step whose weights stay in a file: the program in a process of its own, within a limit that the system enforces where
// one is given.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSession } from '../../backends/neon/driver/index.ts'
import type { Pace, Session } from '../../backends/neon/driver/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { smallNumbers } from '../../evaluate/speed/runner.ts'
import { randomWeights, writeTokens } from '../step.ts'
import type { StoredStep } from './plan.ts'

export interface StoredRunOptions {
  readonly chain: ToolChain
  readonly threads: number
  readonly steps: number
  readonly pace?: Pace
  /** Bytes of memory that the system lets the process have. */
  readonly limit?: number
}

export interface StoredRun {
  /** Of the fastest step behind the first. */
  readonly seconds: number
  readonly losses: readonly number[]
  /** VmHWM */
  readonly peakBytes: number
}

/** RLIMIT_DATA counts what could be written, whole stacks of threads among it: 8 MiB for the one that moves and every helper. */
const STACK_BYTES = 8 * 2 ** 20

/** The same tool chain, whose programs the system gives no more than so many bytes. */
function limited(chain: ToolChain, bytes: number, threads: number): ToolChain {
  const kibibytes = Math.ceil((bytes + STACK_BYTES * threads) / 1024)
  const launcher = ['sh', '-c', `ulimit -d ${kibibytes}; exec "$0"`, ...chain.launcher]
  return { ...chain, launcher, compile: chain.compile.bind(chain), describe: chain.describe.bind(chain) }
}

/** Steps on one batch of made-up tokens, from random weights. */
export async function runStored(
  { compiled, shape, length }: StoredStep,
  options: StoredRunOptions,
): Promise<StoredRun> {
  const { program } = compiled
  const { chain, threads, steps, pace, limit } = options
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bench-state-'))
  let session: Session | undefined
  try {
    session = await openSession(program, {
      toolchain: limit === undefined ? chain : limited(chain, limit, threads),
      threads,
      frozen: randomWeights(program, 'bf16'),
      ...(program.storedCount > 0 ? { stored: { path: join(folder, 'trained.bin') } } : {}),
      ...(pace ? { pace } : {}),
    })
    for (const { name, role, initial, bytes } of program.values) {
      if (role === 'trainable' && !initial) await session.write(name, smallNumbers(bytes / 4))
    }
    await writeTokens(session, length, shape.vocabulary)
    let seconds = Number.POSITIVE_INFINITY
    const losses: number[] = []
    for (let step = 0; step < steps; step++) {
      const start = performance.now()
      const outcome = await session.step({ seq: length }, 'last')
      if (outcome.status !== 'ok') throw new Error(outcome.message)
      // The first one may have no update to make: that of each step may be made beside the next.
      if (step > 0 || steps === 1) seconds = Math.min(seconds, (performance.now() - start) / 1000)
      losses.push((await session.read('report/loss'))[0] ?? NaN)
    }
    return { seconds, losses, peakBytes: (await session.stats()).peakBytes }
  } finally {
    await session?.close()
    rmSync(folder, { recursive: true })
  }
}
