// `heddle build`: what `heddle train` would run, compiled; with `--dump`, every stage as text.

import path from 'node:path'
import { buildProgram, programSources } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { makeDirectory, writeFiles } from '../../formats/files.ts'
import { compileRecipe, keepFunctions } from '../../train/compileRecipe.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { prepareData, prepareModel } from '../../train/prepare.ts'
import { budgetOf, deviceOf, trainingFunctions } from '../../train/run.ts'
import { downloadProgress } from '../download.ts'
import { exitCodes, outputOf, shownPath } from '../output.ts'

export interface BuildCommandOptions {
  readonly toolchain: ToolChainPreference
  readonly dump?: string
  readonly optimise: 'full' | 'light'
  readonly json?: boolean
}

export async function build(recipePath: string, options: BuildCommandOptions): Promise<number> {
  const output = outputOf(options)
  const loaded = await loadRecipe(recipePath)
  const model = await prepareModel(loaded, { onProgress: downloadProgress(output) })
  const { steps } = prepareData(loaded, model)
  const chain = await chooseToolChain(options.toolchain)
  const device = deviceOf(chain)
  const stages: string[] = []
  const settings = {
    device,
    threads: device.cores,
    steps,
    memoryBudget: budgetOf(loaded, device),
    ...(options.dump === undefined ? {} : { dump: (text: string) => stages.push(text) }),
  }
  const { program, certificate } = keepFunctions(
    compileRecipe(loaded.recipe, model.traced, settings),
    trainingFunctions(loaded.recipe),
    settings,
  )
  if (options.dump !== undefined) {
    const sources = await programSources(program, chain)
    const file = (name: string, text: string) => ({
      path: path.join(options.dump ?? '', name),
      chunks: [Buffer.from(text)],
    })
    makeDirectory(options.dump)
    writeFiles([
      file('graph.txt', stages.join('\n')),
      file('kernels.txt', program.kernels.map(printKernel).join('\n\n')),
      ...sources.map(({ name, text }) => file(name, text)),
    ])
    output.say(`graph after each pass, kernels and C++ are in ${shownPath(path.resolve(options.dump))}`)
  }
  output.say(`compiling ${certificate.kernels} kernels with ${chain.describe()} …`)
  output.event('compiling', { toolchain: chain.describe(), kernels: certificate.kernels })
  const result = await buildProgram(program, chain, { optimise: options.optimise })
  output.say(shownPath(result))
  output.event('end', { toolchain: chain.name, path: result, dump: options.dump ?? null })
  return exitCodes.ok
}
