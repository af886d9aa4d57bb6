// `heddle bench`: how fast a recipe's step is, as shares of what the machine was measured to do in the same run, kernel by
// kernel; beside PyTorch, and beside an earlier result. The measuring is `evaluate/speed`.

import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { benchRecipe, subjectOf } from '../../evaluate/speed/run.ts'
import { compareResults, refuseOther } from '../../evaluate/speed/result.ts'
import { readResult, writeResult } from '../../evaluate/speed/resultFile.ts'
import { refuseUnwritable } from '../../formats/files.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { comparisonLines, resultLines, threadCount } from '../benchView.ts'
import { exitCodes, outputOf, shownPath } from '../output.ts'
import { Progress } from '../progress.ts'
import { RoundsInterruption } from '../roundsInterruption.ts'
import { search } from './search.ts'
import { measuringOptions, note } from '../measuring.ts'

export interface BenchCommandOptions {
  readonly steps: number
  readonly threads: readonly number[]
  readonly toolchain: ToolChainPreference
  readonly torch: boolean
  readonly against?: string
  readonly out?: string
  /** Look for schedules, for so many seconds, instead. */
  readonly search?: boolean
  readonly seconds: number
  readonly candidates: number
  readonly optimise: 'full' | 'light'
  readonly json?: boolean
}

export async function bench(recipePath: string, options: BenchCommandOptions): Promise<number> {
  if (options.search === true) return search(recipePath, options)
  const output = outputOf(options)
  // Before minutes of measuring: a file that cannot be written, one that cannot be compared with.
  if (options.out !== undefined) refuseUnwritable(options.out, 'nothing was measured')
  const then = options.against === undefined ? undefined : readResult(options.against)
  const interruption = new RoundsInterruption()
  const progress = new Progress(output)
  try {
    const loaded = await loadRecipe(recipePath)
    if (then) refuseOther(subjectOf(loaded.recipe), options.threads, then, options.against ?? '')
    const running = benchRecipe(
      loaded,
      {
        ...measuringOptions(options, output, interruption),
        rounds: options.steps,
        torch: options.torch,
      },
      {
        note: (sentence) => note(output, sentence),
        compiling: (toolchain, threads) => {
          output.say(`compiling for ${threadCount(threads)} with ${toolchain} …`)
          output.event('compiling', { toolchain, threads })
        },
        round: (threads, done, all) => {
          interruption.roundsBegin()
          progress.update(`rounds with ${threadCount(threads)}`, done, all)
        },
        measured: (result) => {
          progress.end()
          output.event('result', result)
          output.say('')
          for (const line of resultLines(result)) output.say(line)
        },
      },
    )
    const result = await running.finally(() => progress.end())
    if (!result) return interruption.exitCode
    if (options.out !== undefined) {
      writeResult(options.out, result)
      output.say(`\nwritten to ${shownPath(options.out)}`)
    }
    const comparisons = then ? compareResults(result, then, options.against ?? '') : []
    for (const comparison of comparisons) {
      output.event('comparison', comparison)
      output.say('')
      for (const line of comparisonLines(comparison)) output.say(line)
    }
    const { subject, toolchain, isa } = result
    output.event('end', { subject, toolchain, isa, out: options.out ?? null })
    return interruption.stop.aborted ? interruption.exitCode : exitCodes.ok
  } finally {
    interruption.end()
  }
}
