// A whole run, from a recipe to what it leaves on the disk: prepare, compile, open or resume, train. Tells an observer
// what happens; prints nothing and handles no signal.

import path from 'node:path'
import type { Session } from '../backends/neon/driver/index.ts'
import { chooseToolChain } from '../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { findDevice } from '../devices/index.ts'
import { deviceOf } from './hostDevice.ts'
import type { DeviceProfile } from '../devices/index.ts'
import type { Recipe } from '../dsl/index.ts'
import { makeDirectory } from '../formats/files.ts'
import type { WriteOptions } from '../formats/files.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { compileRecipe } from './compileRecipe.ts'
import type { Attempt } from './compileRecipe.ts'
import type { CompiledRecipe } from './compileRecipe.ts'
import { enoughFor } from './certificate.ts'
import type { Certificate } from './certificate.ts'
import { energySettings, refuseUngoverned } from './energy.ts'
import type { EnergyChoices } from './energy.ts'
import { identityOf, refuseOther } from './identity.ts'
import type { RunIdentity } from './identity.ts'
import type { LoadedRecipe } from './loadRecipe.ts'
import { trainToTheEnd } from './loop.ts'
import type { LoopObserver } from './loop.ts'
import { endsRun, withWayOn } from './lostFile.ts'
import { frozenRanges, openTraining } from './openTraining.ts'
import { nothingLeft, writeFinished } from './finishedRun.ts'
import { withCulprit } from './notFinite.ts'
import type { PredictionSize } from './predict.ts'
import { largestNeed } from './planDetails.ts'
import { memoryBudgetOf } from './memoryBudget.ts'
import { endOfText, prepareData, prepareModel } from './prepare.ts'
import { holdDirectory } from './runLock.ts'
import type { LoopResult } from './results.ts'
import { RunStates } from './runState.ts'
import type { SavedState } from './runState.ts'
import { copiedBytes } from './save.ts'
import { refuseWithoutRoom } from './diskRoom.ts'
import { WeightFiles } from './weightFiles.ts'

/** What a run tells whoever watches it. */
export interface RunObserver extends LoopObserver {
  prepared?(about: PreparedRun): void
  /** One of the programs that the recipe may become is planned now. */
  planning?(attempt: Attempt): void
  planned?(certificate: Certificate, microBatches: number): void
  /** C++ compilation begins, by this tool chain. */
  compiling?(toolchain: string): void
  /** Steps begin. */
  opened?(about: OpenedRun): void
}

export interface PreparedRun {
  /** As an adapter's file calls it. */
  readonly model: string
  /** Examples to learn from. */
  readonly examples: number
  /** Examples that are only measured. */
  readonly heldOut: number
  readonly truncated: number
  readonly dropped: number
  readonly steps: number
}

export interface OpenedRun {
  readonly toolchain: string
  readonly threads: number
  /** Steps made before a resumption; 0 for a run that begins. */
  readonly step: number
}

export interface RunOptions extends PlanChoices {
  readonly toolchain: ToolChainPreference
  /** One per core unless stated. */
  readonly threads?: number
  readonly out: string
  /** Optimizer steps, instead of the recipe's. */
  readonly steps?: number
  readonly optimise?: 'full' | 'light'
  readonly resolving?: ResolveOptions
  /** Goes on from the state that was saved last in `out`; begins where there is none. */
  readonly resume?: boolean
  /** Ends the run after the step under way; what was trained is saved. */
  readonly stop?: AbortSignal
  /** Looks at the model through `predict` before the first step and after the last. */
  readonly inspect?: (moment: 'before' | 'after', session: Session, about: InspectedModel) => Promise<void>
  /** Added to the recipe's `energy`: another duty cycle, the device's watts, where the system's files are. */
  readonly energy?: EnergyChoices
  /** Kills the run. */
  readonly kill?: AbortSignal
  /** Operations of saving that stand in for the system's. */
  readonly files?: WriteOptions
}

/** What `predict` and its tokens need. */
export interface InspectedModel {
  readonly tokenizer: Tokenizer
  readonly size: PredictionSize
  /** The token that ends a text. */
  readonly end: number | undefined
}

export type RunResult = LoopResult

/** The functions of a program that a run calls. */
export function trainingFunctions({ evaluate }: Recipe): readonly string[] {
  return ['accumulate', 'measure', 'apply', ...(evaluate ? ['evaluate'] : [])]
}

/** What a command may say of a program that runs here: instead of the recipe's device, and of what a device may hold. */
export interface PlanChoices {
  /** A name, or a file meant from the working directory. */
  readonly device?: string
  /** Bytes that the process may hold. */
  readonly memoryBudget?: number
}

/**
 * The running device with the memory, rates and storage of the one that a command names or else a recipe states, so that a
 * run here is planned as `heddle plan` plans it for there. UserError as `findDevice` and `memoryBudgetOf` state.
 */
export function plannedAs(
  { recipe, folder }: LoadedRecipe,
  running: DeviceProfile,
  choices: PlanChoices = {},
): DeviceProfile {
  const name = choices.device ?? recipe.device
  const meant = name === undefined ? running : findDevice(name, running.isa, choices.device === undefined ? folder : '')
  return { ...running, memoryBudget: memoryBudgetOf(meant, choices.memoryBudget), figures: meant.figures }
}

/**
 * Trains a recipe.
 *
 * @throws UserError for whatever the user can mend; states that were saved are whole then, and nothing else has changed
 */
export async function runTraining(
  loaded: LoadedRecipe,
  options: RunOptions,
  observer: RunObserver = {},
): Promise<RunResult> {
  // Before the hours of work: a place that cannot be written.
  makeDirectory(options.out)
  const free = holdDirectory(options.out)
  try {
    return await runHere(loaded, options, observer)
  } finally {
    free()
  }
}

async function runHere(loaded: LoadedRecipe, options: RunOptions, observer: RunObserver): Promise<RunResult> {
  const { recipe } = loaded
  const states = new RunStates(options.out, options.files)
  const from = options.resume ? savedState(states, observer) : undefined
  const model = await prepareModel(loaded, options.resolving)
  if (model.note !== undefined) observer.note?.(model.note)
  const data = prepareData(loaded, model, options.steps)
  for (const note of data.notes) observer.note?.(note)
  const { truncated, dropped, examples } = data.examples
  observer.prepared?.({
    model: model.baseName,
    examples: examples.length,
    heldOut: data.heldOut.length,
    truncated,
    dropped,
    steps: data.steps,
  })
  const identity = identityOf(recipe, model, data)
  if (from) refuseUnlessContinues(from, identity, data.steps)
  const chain = await chooseToolChain(options.toolchain)
  const device = plannedAs(loaded, deviceOf(chain), options)
  const watts = device.figures.power?.computingWatts
  const energy = energySettings(recipe.energy, { ...(watts === undefined ? {} : { watts }), ...options.energy })
  if (energy) refuseUngoverned(recipe, chain.name)
  const threads = options.threads ?? device.cores
  const functions = [...trainingFunctions(recipe), ...(options.inspect ? ['predict'] : [])]
  const settings = {
    device,
    threads,
    steps: data.steps,
    memoryBudget: device.memoryBudget,
    functions,
    copiedBytes: copiedBytes(recipe, model.checkpoint),
    onAttempt: (attempt: Attempt): void => observer.planning?.(attempt),
  }
  const compiled = compileRecipe(recipe, model.traced, settings)
  observer.planned?.(compiled.certificate, loaded.recipe.batch.accumulate)
  refuseUnlessFits(compiled)
  const { program, certificate } = compiled
  const result = {
    recipe,
    model,
    program,
    states,
    out: options.out,
    title: path.basename(loaded.file),
    ...(options.files ? { files: options.files } : {}),
  }
  if (from && !options.inspect && nothingLeft(from, recipe.evaluate, data.steps)) {
    return await writeFinished({ ...result, total: data.steps }, from, observer)
  }
  refuseWithoutRoom(options.out, certificate.storage?.state, data.steps, from)
  observer.compiling?.(chain.describe())
  const stateFile = program.storedCount > 0 ? states.stateFile() : undefined
  const weightFiles = new WeightFiles(frozenRanges(program, model.binding).map((range) => range.path))
  const session = await openTraining(program, model.binding, {
    toolchain: chain,
    threads,
    seed: recipe.seed,
    optimise: options.optimise ?? 'full',
    ...(stateFile === undefined ? {} : { stored: { path: stateFile } }),
    ...(options.kill ? { signal: options.kill } : {}),
  }).catch((error: unknown) => {
    weightFiles.close()
    if (stateFile !== undefined) states.discard(stateFile)
    const saved = from?.progress.step ?? 0
    throw endsRun(error) ? withWayOn(error, saved, saved, stateFile) : error
  })
  try {
    if (from) await states.restore(from, program, session)
    observer.opened?.({ toolchain: chain.describe(), threads, step: from?.progress.step ?? 0 })
    const about = {
      tokenizer: data.tokenizer,
      size: { ...recipe.batch, vocabulary: model.vocabulary },
      end: endOfText(data.tokenizer, model.checkpoint),
    }
    await options.inspect?.('before', session, about)
    const loop = {
      ...result,
      data,
      identity,
      session,
      weightFiles,
      ...(stateFile === undefined ? {} : { stateFile }),
      ...(from ? { from } : {}),
      ...(energy ? { energy } : {}),
      ...(options.stop ? { stop: options.stop } : {}),
      finished: async () => options.inspect?.('after', session, about),
    }
    return await trainToTheEnd(loop, observer)
  } catch (error) {
    throw await withCulprit(error, session, program, model.binding)
  } finally {
    weightFiles.close()
    await session.close()
    if (stateFile !== undefined) states.discard(stateFile)
  }
}

function savedState(states: RunStates, observer: RunObserver): SavedState | undefined {
  const { state, notes } = states.newest()
  for (const sentence of notes) observer.note?.(sentence)
  if (!state) observer.note?.('no state has been saved here yet, so the run begins at its first step')
  return state
}

/** UserError HD831 for the state of another run, HD834 for one that is beyond this run's end. */
function refuseUnlessContinues({ identity, progress, file }: SavedState, now: RunIdentity, steps: number): void {
  refuseOther(identity, now, file)
  if (progress.step <= steps) return
  throw new UserError('HD834', `the state was saved after step ${progress.step}, and the run has ${steps} steps`, {
    place: { file },
    mend: 'give the run more steps, or begin anew without --resume',
  })
}

/** UserError HD811 with the least that the run can do with, and what is largest of that. */
export function refuseUnlessFits(compiled: CompiledRecipe): void {
  const { fits, peakBytes, budgetBytes, device } = compiled.certificate
  if (fits) return
  const largest = largestNeed(compiled)
  const most = largest ? `; the largest of it is ${largest.name} with ${mebibytes(largest.bytes)} MiB` : ''
  throw new UserError(
    'HD811',
    `the run needs at least ${enoughFor(peakBytes)} MiB, and may have ${mebibytes(budgetBytes)} MiB on ${device}${most}`,
    { mend: 'heddle plan says which changes would make it fit' },
  )
}

/** With as many digits as tell two amounts apart. */
function mebibytes(bytes: number): string {
  return (bytes / 1048576).toLocaleString('en', { maximumFractionDigits: bytes < 104857600 ? 2 : 1 })
}
