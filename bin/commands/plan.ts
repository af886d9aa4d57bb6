// `heddle plan`: the certificate of a recipe on a device, or on all of them; what would make it fit; the plan as a page.

import path from 'node:path'
import { explainProgram } from '../../compiler/plan/explain.ts'
import { timetables } from '../../compiler/plan/timetable.ts'
import type { CheckpointReport } from '../../compiler/pipeline.ts'
import { ratesOf, shippedDevices } from '../../devices/index.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import { refuseUnwritable, writeOutput } from '../../formats/files.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import { changesThatFit, fitDevices } from '../../train/fitting.ts'
import type { DeviceFit, FittingChange, FittingOptions } from '../../train/fitting.ts'
import { deviceByName, deviceFor } from '../../train/hostDevice.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import type { LoadedRecipe } from '../../train/loadRecipe.ts'
import { memoryBudgetOf } from '../../train/memoryBudget.ts'
import { functionDetails, kernelSeconds, largestNeed, layerDetails } from '../../train/planDetails.ts'
import { prepareData, prepareModel, recordsWithin } from '../../train/prepare.ts'
import type { PreparedModel } from '../../train/prepare.ts'
import { trainingFunctions } from '../../train/run.ts'
import { copiedBytes } from '../../train/save.ts'
import { predictionRates } from '../../train/storage.ts'
import { CompilingProgress } from '../compilingProgress.ts'
import { downloadProgress } from '../download.ts'
import { checkpointLines } from '../checkpointView.ts'
import { exitCodes, mebibytes, outputOf, shownPath } from '../output.ts'
import { PlanInterruption } from '../planInterruption.ts'
import { planPage } from '../planPage/page.ts'
import { certificateLines, changeLines, deviceLines, needText, usualFiguresText } from '../planView.ts'

export interface PlanOptions {
  readonly device?: string
  readonly threads?: number
  readonly memory?: number
  readonly all?: boolean
  readonly html?: string
  readonly json?: boolean
}

export async function plan(recipePath: string, options: PlanOptions): Promise<number> {
  const output = outputOf(options)
  if (options.html !== undefined) refuseUnwritable(options.html, 'nothing was planned')
  const loaded = await loadRecipe(recipePath)
  const { recipe } = loaded
  const device = await deviceFor(options.device, loaded)
  const memoryBudget = memoryBudgetOf(device, options.memory)
  const model = await prepareModel(loaded, { onProgress: downloadProgress(output) })
  const { steps } = prepareData(loaded, model)
  const threads = options.threads ?? device.cores
  const functions = trainingFunctions(recipe)
  const copied = copiedBytes(recipe, model.checkpoint)
  const settings = { device, threads, steps, memoryBudget, functions, copiedBytes: copied }
  const begun = performance.now()
  const progress = new CompilingProgress(output, begun)
  const compiled = compileRecipe(recipe, model.traced, { ...settings, onAttempt: (one) => progress.planning(one) })
  progress.end()
  const { certificate, checkpoints } = compiled
  const milliseconds = performance.now() - begun
  const { sequences, length } = recipe.batch
  const adapt = recipe.adapt.kind === 'lora' ? `lora r${recipe.adapt.rank}` : 'full fine-tuning'
  const subject = `${recipe.model.source} · ${adapt} · ${sequences}×${length}`
  output.say(`${subject} · ${device.title} (budget ${mebibytes(memoryBudget)} MiB)`)
  for (const line of certificateLines(certificate, threads, recipe.batch.accumulate)) output.say(line)
  const usual = usualFiguresText(certificate, device, threads)
  if (usual !== undefined) output.say(usual)
  for (const line of checkpointLines(compiled, model.traced.provenance)) output.say(line)
  output.say(`compiled in ${(milliseconds / 1000).toFixed(1)} s`)
  const need = largestNeed(compiled)
  if (need && !certificate.fits) output.say(needText(need))
  output.say(`device: ${device.source}`)

  const isAsked = options.all === true || !certificate.fits
  const interruption = isAsked ? new PlanInterruption() : undefined
  const fitting: FittingOptions = {
    recipe,
    traced: model.traced,
    retrace: retraced(loaded, model),
    recordsWithin: (length) => recordsWithin(loaded, model, length),
    settings,
    onProgress: (what, done) => progress.tell(what, done),
    ...(interruption ? { stop: interruption.stop } : {}),
  }
  const devices: readonly DeviceFit[] = options.all
    ? await fitDevices(await allDevices(), fitting, { threads: options.threads, memoryBudget: options.memory })
    : []
  const changes: readonly FittingChange[] = certificate.fits
    ? []
    : await changesThatFit(compiled, shippedDevices, fitting)
  progress.end()
  interruption?.end()
  const isStopped = interruption?.stop.aborted === true
  if (options.all) for (const line of deviceLines(devices)) output.say(line)
  if (!certificate.fits && (changes.length > 0 || !isStopped)) for (const line of changeLines(changes)) output.say(line)
  if (isStopped) output.say('stopped before everything was tried')

  const details = functionDetails(compiled)
  const layers = layerDetails(details)
  output.event('plan', {
    subject: { model: recipe.model.source, adapt, sequences, length },
    certificate,
    checkpoints,
    ...(compiled.checkpointing ? { checkpointing: shownReport(compiled.checkpointing) } : {}),
    ...(compiled.joint ? { joint: compiled.joint } : {}),
    layers: layers.map(({ layer, kept, again }) => ({ layer, keptBytes: kept, againBytes: again })),
    threads,
    steps,
    largestNeed: need ?? null,
    ...(certificate.fits ? {} : { changes }),
    ...(isStopped ? { isStopped } : {}),
    ...(options.all
      ? { devices: devices.map((fit) => ({ threads: fit.threads, checkpoints: fit.checkpoints, certificate: fit.certificate })) }
      : {}),
    title: device.title,
    source: device.source,
    milliseconds,
  }) // prettier-ignore
  if (options.html !== undefined) {
    const kernels = explainProgram(compiled, device.privateCache)
    const tables = timetables(compiled, predictionRates(device, threads))
    const predictedBy = ratesOf(device, threads)
      ? "the device's own figures"
      : 'usual figures, as this profile states none (`heddle profile` measures)'
    const times = { timetables: tables, kernelSeconds: kernelSeconds(compiled, tables), predictedBy }
    const page = planPage({ subject, microBatches: recipe.batch.accumulate, device, threads, certificate, checkpoints, joint: compiled.joint, functions: details, layers, need, changes, devices, kernels, ...times }) // prettier-ignore
    writeOutput(options.html, page)
    output.say(`the plan as a page: ${shownPath(path.resolve(options.html))}`)
  }
  if (interruption && isStopped) return interruption.exitCode
  return certificate.fits ? exitCodes.ok : exitCodes.mistake
}

/** The recipe's model as a graph for another batch. Nothing is named: only sizes are asked of it. */
function retraced({ recipe }: LoadedRecipe, { checkpoint, binding }: PreparedModel): FittingOptions['retrace'] {
  const { model, data, adapt } = recipe
  const config = model.definition.readConfig(checkpoint.config, path.join(checkpoint.dir, 'config.json'))
  return (size) =>
    model.definition.trace(config, {
      ...size,
      packed: data.pack,
      storedDType: (name) => (adapt.kind === 'full' ? 'f32' : binding.storedDType(name)),
    })
}

/** This machine both ways, then those that come as data. */
async function allDevices(): Promise<DeviceProfile[]> {
  const here = [await deviceByName('host'), await deviceByName('wasm')]
  return [...here, ...shippedDevices.filter(({ name }) => here.every((one) => one.name !== name))]
}

/** The report without nodes of the graph. */
function shownReport({ layers, ...report }: CheckpointReport): object {
  return {
    ...report,
    layers: layers.map(({ layer, kept, keptBytes, multiplyAdds }) => ({ layer, whole: kept === undefined, keptBytes, multiplyAdds })), // prettier-ignore
  }
}
