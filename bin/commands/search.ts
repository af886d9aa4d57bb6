// `heddle bench --search`: schedules for a recipe's multiply-add nests, found by measuring. The measuring is
// `evaluate/speed/search`.

import { UserError } from '../../compiler/diagnostic.ts'
import { searchSchedules } from '../../evaluate/speed/search/run.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { threadCount } from '../benchView.ts'
import { exitCodes, outputOf, shownPath } from '../output.ts'
import { Progress } from '../progress.ts'
import { RoundsInterruption } from '../roundsInterruption.ts'
import { measuringOptions, note } from '../measuring.ts'
import { nestLines } from '../searchView.ts'
import type { BenchCommandOptions } from './bench.ts'

export async function search(recipePath: string, options: BenchCommandOptions): Promise<number> {
  const output = outputOf(options)
  if (options.against !== undefined || options.out !== undefined) {
    throw new UserError('HD816', '--search looks for schedules and has no result to compare or to write', {
      mend: 'run heddle bench again without it',
    })
  }
  const interruption = new RoundsInterruption('keeping what was found; once more to stop at once')
  const progress = new Progress(output)
  try {
    const loaded = await loadRecipe(recipePath)
    const running = searchSchedules(
      loaded,
      {
        ...measuringOptions(options, output, interruption),
        seconds: options.seconds,
        candidates: options.candidates,
      },
      {
        note: (sentence) => note(output, sentence),
        began: (toolchain, threads, nests) => {
          output.say(`${nests} multiply-add nests for ${threadCount(threads)} with ${toolchain}`)
          output.event('began', { toolchain, threads, nests })
        },
        compiling: ({ name, share }, schedules) => {
          output.say(`compiling ${schedules} schedules of ${name} …`)
          output.event('compiling', { nest: name, share, schedules })
        },
        measured: ({ name }, done, all) => {
          interruption.roundsBegin()
          progress.update(`measuring ${name}`, done, all)
        },
        nest: (result) => {
          progress.end()
          output.event('nest', result)
          for (const line of nestLines(result)) output.say(line)
        },
      },
    )
    const { nests, left, file, toolchain, isa } = await running.finally(() => progress.end())
    const found = nests.filter((nest) => nest.found !== null).length
    output.say(`${found} of ${nests.length} nests are faster than by the rule; kept in ${shownPath(file)}`)
    if (left > 0) output.say(`there was no time for ${left} more: --seconds gives more`)
    output.event('end', { toolchain, isa, file, nests: nests.length, found, left })
    return interruption.stop.aborted ? interruption.exitCode : exitCodes.ok
  } finally {
    interruption.end()
  }
}
