// A whole run, from a recipe to what it leaves on the disk: prepare, compile, train, save. Tells an observer what
// happens; prints nothing and handles no signal.

import path from 'node:path'
import type { Session } from '../backends/neon/driver/index.ts'
import { chooseToolChain } from '../backends/neon/toolchain/index.ts'
import type { ToolChain, ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { findDevice, hostDevice, wasmDevice } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import { makeDirectory, writeFiles } from '../formats/files.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { compileRecipe, keepFunctions } from './compileRecipe.ts'
import type { Certificate } from './certificate.ts'
import type { LoadedRecipe } from './loadRecipe.ts'
import { lossCurveSvg } from './lossCurve.ts'
import { MetricsFile } from './metrics.ts'
import { openTraining } from './openTraining.ts'
import type { PredictionSize } from './predict.ts'
import { endOfText, prepareData, prepareModel } from './prepare.ts'
import { saveTrained } from './save.ts'
import { trainSteps } from './trainer.ts'
import type { StepFigures } from './trainer.ts'

/** What a run tells whoever watches it. */
export interface RunObserver {
  /** Something the user should know; one sentence. */
  note?(sentence: string): void
  prepared?(about: { model: string; examples: number; truncated: number; dropped: number; steps: number }): void
  planned?(certificate: Certificate): void
  /** C++ compilation begins, by this tool chain. */
  compiling?(toolchain: string): void
  /** Steps begin. */
  opened?(about: { toolchain: string; threads: number }): void
  step?(figures: StepFigures, total: number): void
}

export interface RunOptions {
  readonly toolchain: ToolChainPreference
  /** One per core unless stated. */
  readonly threads?: number
  readonly out: string
  /** Optimizer steps, instead of the recipe's. */
  readonly steps?: number
  readonly optimise?: 'full' | 'light'
  readonly resolving?: ResolveOptions
  /** Ends the run after the step under way; what was trained is saved. */
  readonly stop?: AbortSignal
  /** Looks at the model through `predict` before the first step and after the last. */
  readonly inspect?: (moment: 'before' | 'after', session: Session, about: InspectedModel) => Promise<void>
  /** Kills the run. */
  readonly kill?: AbortSignal
}

/** What `predict` and its tokens need. */
export interface InspectedModel {
  readonly tokenizer: Tokenizer
  readonly size: PredictionSize
  /** The token that ends a text. */
  readonly end: number | undefined
}

export interface RunResult {
  readonly outcome: 'finished' | 'stopped'
  readonly figures: readonly StepFigures[]
  readonly total: number
  /** Directory of the adapter or model; undefined when the run was stopped before its first step. */
  readonly saved: string | undefined
  readonly metrics: string | undefined
  readonly curve: string | undefined
}

/** The functions of a program that a run calls. */
export const trainingFunctions: readonly string[] = ['accumulate', 'measure', 'apply']

/** What a tool chain's programs run on here: the host, or WebAssembly in this process. */
export function deviceOf(chain: ToolChain): DeviceProfile {
  return chain.name === 'wasm' ? wasmDevice() : hostDevice(chain.isa.name)
}

/** The bytes that a recipe's device allows; the running one's without. UserError HD820 for an unknown device. */
export function budgetOf({ recipe }: LoadedRecipe, running: DeviceProfile): number {
  return recipe.device === undefined ? running.memoryBudget : findDevice(recipe.device, running.isa).memoryBudget
}

/** Trains a recipe. @throws UserError for whatever the user can mend; nothing is saved then */
export async function runTraining(
  loaded: LoadedRecipe,
  options: RunOptions,
  observer: RunObserver = {},
): Promise<RunResult> {
  const { recipe } = loaded
  // Before the hours of work: a place that cannot be written.
  makeDirectory(options.out)
  const model = await prepareModel(loaded, options.resolving)
  if (model.note !== undefined) observer.note?.(model.note)
  const data = prepareData(loaded, model, options.steps)
  for (const note of data.notes) observer.note?.(note)
  const { truncated, dropped, examples } = data.examples
  observer.prepared?.({ model: model.baseName, examples: examples.length, truncated, dropped, steps: data.steps })
  const chain = await chooseToolChain(options.toolchain)
  const device = deviceOf(chain)
  const threads = options.threads ?? device.cores
  const settings = { device, threads, steps: data.steps, memoryBudget: budgetOf(loaded, device) }
  const functions = options.inspect ? [...trainingFunctions, 'predict'] : trainingFunctions
  const compiled = keepFunctions(compileRecipe(recipe, model.traced, settings), functions, settings)
  observer.planned?.(compiled.certificate)
  refuseUnlessFits(compiled.certificate)
  observer.compiling?.(chain.describe())
  const { program } = compiled
  const session = await openTraining(program, model.binding, {
    toolchain: chain,
    threads,
    seed: recipe.seed,
    optimise: options.optimise ?? 'full',
    ...(options.kill ? { signal: options.kill } : {}),
  })
  const figures: StepFigures[] = []
  let metrics: MetricsFile | undefined
  try {
    observer.opened?.({ toolchain: chain.describe(), threads })
    const about = {
      tokenizer: data.tokenizer,
      size: { ...recipe.batch, vocabulary: model.vocabulary },
      end: endOfText(data.tokenizer, model.checkpoint),
    }
    await options.inspect?.('before', session, about)
    const steps = trainSteps(session, data.batches, {
      seed: recipe.seed,
      ...(options.stop ? { stop: options.stop } : {}),
    })
    for await (const figure of steps) {
      // Only now: a run that fails before its first step leaves an earlier run's metrics as they are.
      metrics ??= new MetricsFile(options.out)
      metrics.append(figure)
      figures.push(figure)
      observer.step?.(figure, data.steps)
    }
    const outcome = figures.length < data.steps ? 'stopped' : 'finished'
    if (figures.length === 0)
      return { outcome, figures, total: data.steps, saved: undefined, metrics: undefined, curve: undefined }
    if (outcome === 'finished') await options.inspect?.('after', session, about)
    const saved = await saveTrained(options.out, recipe, model, program, session)
    const curve = path.join(options.out, 'loss.svg')
    const title = `${path.basename(loaded.file)}: loss over ${figures.length} steps`
    writeFiles([{ path: curve, chunks: [Buffer.from(lossCurveSvg(figures, title))] }])
    return { outcome, figures, total: data.steps, saved, metrics: metrics?.path, curve }
  } finally {
    metrics?.close()
    await session.close()
  }
}

function refuseUnlessFits({ fits, peakBytes, budgetBytes, device }: Certificate): void {
  if (fits) return
  throw new UserError(
    'HD811',
    `the run needs ${mebibytes(peakBytes)} MiB, more than the ${mebibytes(budgetBytes)} MiB it may have on ${device}`,
    {
      mend: 'shorten batch.length, take fewer sequences, or set checkpoints to every layer',
    },
  )
}

function mebibytes(bytes: number): string {
  return Math.ceil(bytes / 1048576).toLocaleString('en')
}
