// What the commands that measure have in common: how they compile, resolve and stop, and how they remark on something.

import type { ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { downloadProgress } from './download.ts'
import type { Output } from './output.ts'
import type { RoundsInterruption } from './roundsInterruption.ts'

interface MeasuringCommandOptions {
  readonly toolchain: ToolChainPreference
  readonly threads: readonly number[]
  readonly optimise: 'full' | 'light'
}

/** Options of the measuring itself, from those of the command line. */
export function measuringOptions(
  { toolchain, threads, optimise }: MeasuringCommandOptions,
  output: Output,
  { stop, kill }: Pick<RoundsInterruption, 'stop' | 'kill'>,
) {
  return { toolchain, threads, optimise, resolving: { onProgress: downloadProgress(output) }, stop, kill }
}

/** A remark, for people and for machines. */
export function note(output: Output, sentence: string): void {
  output.say(sentence)
  output.event('note', { message: sentence })
}
