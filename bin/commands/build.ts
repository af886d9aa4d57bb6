// `heddle build`: what `heddle train` would run, compiled, and the tokenizer's table for a device; with `--dump`, every
// stage as text.

import { createHash } from 'node:crypto'
import path from 'node:path'
import { buildProgram, programSources } from '../../backends/neon/driver/index.ts'
import { chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { tokenizerTable } from '../../backends/tokenizer/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { makeDirectory, writeFiles } from '../../formats/files.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { prepareData, prepareModel } from '../../train/prepare.ts'
import { deviceOf } from '../../train/hostDevice.ts'
import { plannedAs, refuseUnlessFits, trainingFunctions } from '../../train/run.ts'
import { CompilingProgress } from '../compilingProgress.ts'
import { downloadProgress } from '../download.ts'
import { exitCodes, outputOf, shownPath } from '../output.ts'
import { planChoices } from '../planChoices.ts'
import { plannedLines } from '../planView.ts'

export interface BuildCommandOptions {
  readonly toolchain: ToolChainPreference
  readonly device?: string
  readonly threads?: number
  readonly memory?: number
  readonly dump?: string
  readonly optimise: 'full' | 'light'
  readonly json?: boolean
}

/**
 * Compiles and says where the result is.
 *
 * @throws UserError as a run of the recipe would before it trains, HD811 where it does not fit the memory
 */
export async function build(recipePath: string, options: BuildCommandOptions): Promise<number> {
  const output = outputOf(options)
  const loaded = await loadRecipe(recipePath)
  const model = await prepareModel(loaded, { onProgress: downloadProgress(output) })
  const { steps } = prepareData(loaded, model)
  const chain = await chooseToolChain(options.toolchain)
  const device = plannedAs(loaded, deviceOf(chain), planChoices(options))
  const stages: string[] = []
  const settings = {
    device,
    threads: options.threads ?? device.cores,
    steps,
    memoryBudget: device.memoryBudget,
    functions: trainingFunctions(loaded.recipe),
    ...(options.dump === undefined ? {} : { dump: (text: string) => stages.push(text) }),
  }
  const progress = new CompilingProgress(output, performance.now())
  const compiled = compileRecipe(loaded.recipe, model.traced, {
    ...settings,
    onAttempt: (one) => progress.planning(one),
  })
  progress.end()
  const { program, certificate } = compiled
  for (const line of plannedLines(certificate, loaded.recipe.batch.accumulate)) output.say(line)
  output.event('planned', { certificate })
  refuseUnlessFits(compiled)
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
  const table = await tokenizerFile(model.checkpoint.tokenizerPath)
  output.say(table.path === null ? `no tokenizer for a device: ${table.why}` : `tokenizer: ${shownPath(table.path)}`)
  output.say(`compiling ${certificate.kernels} kernels with ${chain.describe()} …`)
  output.event('compiling', { toolchain: chain.describe(), kernels: certificate.kernels })
  const result = await buildProgram(program, chain, { optimise: options.optimise })
  output.say(shownPath(result))
  output.event('end', { toolchain: chain.name, path: result, tokenizer: table.path, dump: options.dump ?? null })
  return exitCodes.ok
}

/** Makes the tokenizer's table; a tokenizer that a device could not follow exactly is no mistake of the recipe. */
async function tokenizerFile(
  tokenizerPath: string | undefined,
): Promise<{ readonly path: string } | { readonly path: null; readonly why: string }> {
  if (tokenizerPath === undefined) return { path: null, why: 'the model has no tokenizer.json' }
  let table: Uint8Array
  try {
    table = tokenizerTable(tokenizerPath)
  } catch (error) {
    if (error instanceof UserError && error.code === 'HD432') return { path: null, why: error.sentence }
    throw error
  }
  // Named by its content: whatever goes into a table, an entry can never be an older one's.
  const text = createHash('sha256').update(table).digest('hex')
  const key = { compiler: 'tokenizer table', flags: [], sources: [{ name: 'table', text }] }
  return { path: await new CompileCache().result(key, 'tokenizer.table', () => Promise.resolve(table)) }
}
