// `heddle train`: a progress bar on a terminal, plain lines elsewhere, JSON lines for machines; Ctrl-C ends the run in
// good order. The run itself is `train/run.ts`.

import path from 'node:path'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { runTraining } from '../../train/run.ts'
import { outputOf } from '../output.ts'
import { planChoices } from '../planChoices.ts'
import { Interruption } from '../interruption.ts'
import { downloadProgress } from '../download.ts'
import { tellResult, TrainView } from '../trainView.ts'

export interface TrainOptions {
  readonly toolchain: ToolChainPreference
  readonly threads?: number
  readonly out?: string
  readonly optimise: 'full' | 'light'
  readonly steps?: number
  readonly device?: string
  readonly memory?: number
  readonly resume?: boolean
  readonly dutyCycle?: number
  readonly systemRoot?: string
  readonly json?: boolean
}

export async function train(recipePath: string, options: TrainOptions): Promise<number> {
  const output = outputOf(options)
  const interruption = new Interruption()
  try {
    const loaded = await loadRecipe(recipePath)
    const name = path.basename(loaded.file).replace(/\.[^.]+$/, '')
    const { recipe, folder } = loaded
    const out = options.out ?? (recipe.out === undefined ? path.join('runs', name) : path.resolve(folder, recipe.out))
    const view = new TrainView(output, interruption)
    const result = await runTraining(
      loaded,
      {
        toolchain: options.toolchain,
        ...(options.threads === undefined ? {} : { threads: options.threads }),
        out: path.resolve(out),
        optimise: options.optimise,
        ...(options.steps === undefined ? {} : { steps: options.steps }),
        ...planChoices(options),
        resume: options.resume === true,
        energy: {
          ...(options.dutyCycle === undefined ? {} : { dutyCycle: options.dutyCycle }),
          ...(options.systemRoot === undefined ? {} : { root: path.resolve(options.systemRoot) }),
        },
        resolving: { onProgress: downloadProgress(output) },
        stop: interruption.stop,
        kill: interruption.kill,
      },
      view,
    ).finally(() => view.end())
    return tellResult(result, output, interruption.exitCode)
  } finally {
    interruption.end()
  }
}
