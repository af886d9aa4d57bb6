// `heddle plan`: the certificate of a recipe on a device.

import { compileRecipe } from '../../train/compileRecipe.ts'
import type { Certificate } from '../../train/certificate.ts'
import { deviceFor } from '../../train/hostDevice.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { prepareData, prepareModel } from '../../train/prepare.ts'
import { trainingFunctions } from '../../train/run.ts'
import { downloadProgress } from '../download.ts'
import { exitCodes, mebibytes, outputOf } from '../output.ts'

export interface PlanOptions {
  readonly device?: string
  readonly threads?: number
  readonly memory?: number
  readonly json?: boolean
}

export async function plan(recipePath: string, options: PlanOptions): Promise<number> {
  const output = outputOf(options)
  const loaded = await loadRecipe(recipePath)
  const { recipe } = loaded
  const device = await deviceFor(options.device, loaded)
  const model = await prepareModel(loaded, { onProgress: downloadProgress(output) })
  const { steps } = prepareData(loaded, model)
  const threads = options.threads ?? device.cores
  const memoryBudget = options.memory ?? device.memoryBudget
  const settings = { device, threads, steps, memoryBudget, functions: trainingFunctions(recipe) }
  const compiled = compileRecipe(recipe, model.traced, settings)
  const { certificate, checkpoints, reports } = compiled
  const milliseconds = reports.reduce((sum, report) => sum + report.milliseconds, 0)
  output.event('plan', { certificate, checkpoints, threads, steps, source: device.source, milliseconds })
  const { sequences, length } = recipe.batch
  const adapt = recipe.adapt.kind === 'lora' ? `lora r${recipe.adapt.rank}` : 'full fine-tuning'
  output.say(
    `${recipe.model.source} · ${adapt} · ${sequences}×${length} · ${device.title} (budget ${mebibytes(memoryBudget)} MiB)`,
  )
  for (const line of certificateLines(certificate, threads)) output.say(line)
  output.say(
    `${checkpoints === 'none' ? 'every value is kept' : 'layers are computed again'} for the backward pass; compiled in ${(milliseconds / 1000).toFixed(1)} s`,
  )
  output.say(`device: ${device.source}`)
  return certificate.fits ? exitCodes.ok : exitCodes.mistake
}

function certificateLines(
  { fits, peakBytes, budgetBytes, parts, functions, kernels, storage }: Certificate,
  threads: number,
): string[] {
  const verdict = fits ? 'fits' : `does not fit, by ${mebibytes(peakBytes - budgetBytes)} MiB`
  const rows: [string, number][] = [
    [storage ? 'weights in memory, as stored' : 'weights as stored', parts.weights],
    ['trained values, gradients, moments', parts.state],
    [storage ? 'intermediate values and weights as read' : 'intermediate values', parts.arena],
    ['inputs', parts.inputs],
    [`scratch of ${threads} ${threads === 1 ? 'thread' : 'threads'}`, parts.scratch],
    ['run-time', parts.runtime],
  ]
  const launches = functions.reduce((sum, fn) => sum + fn.launches, 0)
  return [
    `${verdict}: peak ${mebibytes(peakBytes)} MiB`,
    ...rows.map(([label, bytes]) => `  ${label.padEnd(36)}${mebibytes(bytes).padStart(12)} MiB`),
    ...(storage ? storageLines(storage) : []),
    `${kernels} kernels, ${launches} launches`,
    ...functions.map((fn) => {
      const gap = fn.lowerBound === 0 ? 0 : (fn.arenaBytes / fn.lowerBound - 1) * 100
      return `  ${fn.name.padEnd(12)}${String(fn.launches).padStart(6)} launches   arena ${mebibytes(fn.arenaBytes)} MiB, ${gap.toFixed(2)} % above the lower bound`
    }),
    ...(fits ? [] : ['a shorter batch.length, fewer sequences, a lower rank or another device would make it fit']),
  ]
}

function storageLines(storage: NonNullable<Certificate['storage']>): string[] {
  const { tensorBytes, windowBytes, reads, readBytes, computeSeconds, stallSeconds } = storage
  const seconds = computeSeconds + stallSeconds
  return [
    `${mebibytes(tensorBytes)} MiB of weights stay in their files: ${reads} reads of ${mebibytes(readBytes)} MiB a micro-batch, at most ${mebibytes(windowBytes)} MiB in memory at once`,
    `predicted: ${seconds.toFixed(1)} s a micro-batch, ${computeSeconds.toFixed(1)} computing and ${stallSeconds.toFixed(1)} waiting for storage`,
  ]
}
