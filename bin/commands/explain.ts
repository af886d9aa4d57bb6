// `heddle explain`: what every kernel of a recipe's program computes, moves and was told; one of them in full, with its
// kernel IR and C++ on request. Compiles no C++ and runs nothing.

import { emitKernel } from '../../backends/neon/emit/index.ts'
import { isaOf } from '../../backends/neon/isa/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { explainProgram, kernelReport } from '../../compiler/plan/explain.ts'
import type { KernelReport } from '../../compiler/plan/explain.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import type { CompiledRecipe } from '../../train/compileRecipe.ts'
import { deviceFor } from '../../train/hostDevice.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { prepareData, prepareModel } from '../../train/prepare.ts'
import { trainingFunctions } from '../../train/run.ts'
import { CompilingProgress } from '../compilingProgress.ts'
import { downloadProgress } from '../download.ts'
import { functionLines, kernelLines } from '../explainView.ts'
import { exitCodes, mebibytes, outputOf, shownPlace } from '../output.ts'
import type { Output } from '../output.ts'

export interface ExplainOptions {
  readonly device?: string
  readonly kernel?: string
  readonly source?: boolean
  readonly json?: boolean
}

export async function explain(recipePath: string, options: ExplainOptions): Promise<number> {
  const output = outputOf(options)
  if (options.source === true && options.kernel === undefined) {
    throw new UserError('HD814', '--source shows one kernel', { mend: 'name it with --kernel' })
  }
  const loaded = await loadRecipe(recipePath)
  const { recipe } = loaded
  const device = await deviceFor(options.device, loaded)
  const model = await prepareModel(loaded, { onProgress: downloadProgress(output) })
  const { steps } = prepareData(loaded, model)
  const settings = {
    device,
    threads: device.cores,
    steps,
    memoryBudget: device.memoryBudget,
    functions: trainingFunctions(recipe),
  }
  const progress = new CompilingProgress(output, performance.now())
  const compiled = compileRecipe(recipe, model.traced, { ...settings, onAttempt: (one) => progress.planning(one) })
  progress.end()
  if (options.kernel === undefined) explainAll(compiled, device, output)
  else explainOne(compiled, options.kernel, device, output, options.source === true)
  return exitCodes.ok
}

function explainAll(compiled: CompiledRecipe, device: DeviceProfile, output: Output): void {
  const { program, checkpoints } = compiled
  const functions = explainProgram(compiled, device.privateCache)
  output.event('explain', {
    program: program.name,
    device: device.name,
    isa: device.isa,
    cacheBytes: device.privateCache,
    checkpoints,
    sizes: program.sizes,
    functions: functions.map((fn) => ({ ...fn, kernels: fn.kernels.map(shownReport) })),
  })
  const sizes = program.sizes.map(({ name, bound }) => `${name} ${bound}`).join(', ')
  output.say(`${program.name} for ${device.title} (${device.isa})${sizes === '' ? '' : `, ${sizes}`}`)
  output.say(`modelled: one thread with ${mebibytes(device.privateCache)} MiB of cache that keeps what was used last`)
  for (const fn of functions) {
    output.say('')
    for (const line of functionLines(fn)) output.say(line)
  }
  output.say('')
  output.say('--kernel NAME shows one in full, and with --source its kernel IR and C++')
}

function explainOne(
  { program, origins }: CompiledRecipe,
  wanted: string,
  device: DeviceProfile,
  output: Output,
  withSource: boolean,
): void {
  const kernel = program.kernels.find(({ name }) => name === wanted)
  const origin = kernel && origins.get(kernel.name)
  if (!kernel || !origin) {
    throw new UserError('HD815', `the program has no kernel '${wanted.slice(0, 64)}'`, {
      mend: 'heddle explain without --kernel lists them',
    })
  }
  const report = kernelReport(kernel, origin, device.privateCache)
  const kernelText = printKernel(kernel)
  const cpp = emitKernel(kernel, isaOf(device.isa))
  output.event('kernel', {
    device: device.name,
    isa: device.isa,
    cacheBytes: device.privateCache,
    ...shownReport(report),
    ...(withSource ? { nest: printKernel(origin.nest), source: kernelText, cpp } : {}),
  })
  for (const line of kernelLines(report)) output.say(line)
  if (!withSource) return
  for (const [title, text] of [
    ['the nest before its directives', printKernel(origin.nest)],
    ['the kernel', kernelText],
    ['C++', cpp],
  ] as const) {
    output.say(`\n// ${title}\n${text.trim()}`)
  }
}

/** Places as the user would type them here. */
function shownReport(report: KernelReport): object {
  return {
    ...report,
    tile: report.tile ?? null,
    results: report.results.map((result) => ({
      ...result,
      layer: result.layer ?? null,
      places: result.places.map(shownPlace),
    })),
  }
}
