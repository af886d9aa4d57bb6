// `heddle plan`: the certificate of a recipe on a device.

import type { CheckpointReport } from '../../compiler/pipeline.ts'
import { compileRecipe, keepFunctions } from '../../train/compileRecipe.ts'
import type { Certificate } from '../../train/certificate.ts'
import { deviceByName } from '../../train/hostDevice.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { prepareData, prepareModel } from '../../train/prepare.ts'
import { trainingFunctions } from '../../train/run.ts'
import { downloadProgress } from '../download.ts'
import { checkpointLines } from './checkpointLines.ts'
import { exitCodes, mebibytes, outputOf } from '../output.ts'

export interface PlanOptions {
  readonly device?: string
  readonly threads?: number
  readonly json?: boolean
}

export async function plan(recipePath: string, options: PlanOptions): Promise<number> {
  const output = outputOf(options)
  const loaded = await loadRecipe(recipePath)
  const { recipe } = loaded
  const name = options.device ?? recipe.device ?? 'host'
  const device = await deviceByName(name)
  const model = await prepareModel(loaded, { onProgress: downloadProgress(output) })
  const { steps } = prepareData(loaded, model)
  const threads = options.threads ?? device.cores
  const settings = { device, threads, steps, memoryBudget: device.memoryBudget }
  const compiled = keepFunctions(compileRecipe(recipe, model.traced, settings), trainingFunctions(recipe), settings)
  const { certificate, checkpoints, reports } = compiled
  const milliseconds = reports.reduce((sum, report) => sum + report.milliseconds, 0)
  output.event('plan', {
    certificate,
    checkpoints,
    ...(compiled.checkpointing ? { checkpointing: shownReport(compiled.checkpointing) } : {}),
    threads,
    steps,
    source: device.source,
    milliseconds,
  })
  const { sequences, length } = recipe.batch
  const adapt = recipe.adapt.kind === 'lora' ? `lora r${recipe.adapt.rank}` : 'full fine-tuning'
  output.say(
    `${recipe.model.source} · ${adapt} · ${sequences}×${length} · ${device.title} (budget ${mebibytes(device.memoryBudget)} MiB)`,
  )
  for (const line of certificateLines(certificate, threads)) output.say(line)
  for (const line of checkpointLines(compiled, model.traced.provenance)) output.say(line)
  output.say(`compiled in ${(milliseconds / 1000).toFixed(1)} s`)
  output.say(`device: ${device.source}`)
  return certificate.fits ? exitCodes.ok : exitCodes.mistake
}

/** The report without nodes of the graph. */
function shownReport({ layers, ...report }: CheckpointReport): object {
  return {
    ...report,
    layers: layers.map(({ layer, kept, keptBytes, multiplyAdds }) => ({ layer, whole: kept === undefined, keptBytes, multiplyAdds })), // prettier-ignore
  }
}

function certificateLines(
  { fits, peakBytes, budgetBytes, parts, functions, kernels }: Certificate,
  threads: number,
): string[] {
  const verdict = fits ? 'fits' : `does not fit, by ${mebibytes(peakBytes - budgetBytes)} MiB`
  const rows: [string, number][] = [
    ['weights as stored', parts.weights],
    ['trained values, gradients, moments', parts.state],
    ['intermediate values', parts.arena],
    ['inputs', parts.inputs],
    [`scratch of ${threads} ${threads === 1 ? 'thread' : 'threads'}`, parts.scratch],
    ['run-time', parts.runtime],
  ]
  const launches = functions.reduce((sum, fn) => sum + fn.launches, 0)
  return [
    `${verdict}: peak ${mebibytes(peakBytes)} MiB`,
    ...rows.map(([label, bytes]) => `  ${label.padEnd(36)}${mebibytes(bytes).padStart(12)} MiB`),
    `${kernels} kernels, ${launches} launches`,
    ...functions.map((fn) => {
      const gap = fn.lowerBound === 0 ? 0 : (fn.arenaBytes / fn.lowerBound - 1) * 100
      return `  ${fn.name.padEnd(12)}${String(fn.launches).padStart(6)} launches   arena ${mebibytes(fn.arenaBytes)} MiB, ${gap.toFixed(2)} % above the lower bound`
    }),
    ...(fits ? [] : ['a shorter batch.length, fewer sequences, a lower rank or another device would make it fit']),
  ]
}
