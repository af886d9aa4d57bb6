// Rates as ratios in one run: everything is measured in turns with the machine's peak, and the best of many turns is
// kept of each, because these machines are shared.

import { openSession } from '../../backends/neon/driver/index.ts'
import type { Session, SessionOptions } from '../../backends/neon/driver/index.ts'
import type { Measured } from './machine.ts'

export interface Runner {
  readonly name: string
  /** Floating-point operations of one run, or bytes that it moves. */
  readonly operations: number
  run(): Promise<void>
  close(): Promise<void>
}

export async function runnerOf(name: string, measured: Measured, options: SessionOptions): Promise<Runner> {
  const session: Session = await openSession(measured.program, options)
  for (const value of measured.program.values) {
    if (value.dtype === 'f32') await session.write(value.name, smallNumbers(value.bytes / 4))
  }
  return {
    name,
    operations: measured.operations,
    run: () => session.call(measured.fn, {}),
    close: () => session.close(),
  }
}

/** Numbers without a pattern, of magnitude below 0.05. */
export function smallNumbers(length: number): Float32Array {
  let state = 1
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state / 2 ** 31) * 0.05
  })
}

/** Seconds of one run. */
export async function secondsOf(runner: Pick<Runner, 'run'>): Promise<number> {
  const start = performance.now()
  await runner.run()
  return (performance.now() - start) / 1000
}

/** Best rate of each runner in GFLOP/s over `turns` rounds in which all take their turn. */
export async function bestRates(runners: readonly Runner[], turns: number): Promise<Map<string, number>> {
  const best = new Map<string, number>()
  for (let turn = 0; turn < turns; turn++) {
    for (const runner of runners) {
      const rate = runner.operations / (await secondsOf(runner)) / 1e9
      best.set(runner.name, Math.max(best.get(runner.name) ?? 0, rate))
    }
  }
  return best
}
