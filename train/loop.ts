// From a session that is ready to the results on the disk: steps, figures, evaluations, states, and at the end the adapter
// or model and the curve. Knows nothing of how the program was made; handles no signal and prints nothing.

import { Abandoned } from '../backends/neon/driver/index.ts'
import type { Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import type { Recipe } from '../dsl/index.ts'
import type { BatchState } from '../data/batches.ts'
import { removeLeftovers } from '../formats/staging.ts'
import type { SnapshotPart } from '../formats/snapshots.ts'
import { GovernedSession } from './energy.ts'
import type { DecisionFigures, EnergyFigures, EnergySettings } from './energy.ts'
import { heldOutBatches } from './heldOut.ts'
import type { RunIdentity } from './identity.ts'
import { MetricsFile } from './metrics.ts'
import type { PreparedData } from './prepare.ts'
import type { RunState, RunStates, SavedState } from './runState.ts'
import { writeResults } from './results.ts'
import type { LoopResult, ResultSettings } from './results.ts'
import { resultDirectory } from './save.ts'
import { endsRun, withWayOn } from './lostFile.ts'
import { Trainer } from './trainer.ts'
import type { StepFigures } from './trainer.ts'
import { Watch } from './watch.ts'
import type { HeldOutFigures } from './watch.ts'
import type { WeightFiles } from './weightFiles.ts'

/** Between two saved states where the recipe does not say. */
const SAVE_MILLISECONDS = 5 * 60 * 1000
/** Decisions that are kept until there is a file for them; there is one after the first step. */
const MOST_EARLY_DECISIONS = 10_000
/** How a step ends behind the update that was owed of the one before. */
const LATE_CODES: ReadonlySet<string> = new Set(['HD810', 'HD836'])

/** What a run tells whoever watches its steps. */
export interface LoopObserver {
  /** Something the user should know; one sentence. */
  note?(sentence: string): void
  step?(figures: StepFigures, total: number): void
  evaluated?(figures: HeldOutFigures): void
  /** The run begins to rest, to hold, or to compute again, also in the middle of a step. */
  decided?(figures: DecisionFigures): void
  measured?(figures: EnergyFigures): void
  /** The state after a step is on the disk. */
  stateSaved?(step: number): void
  /** All steps were made before, up to this one, and only the result is written. */
  finishing?(step: number): void
  /** What was trained is on the disk, in this directory; the curve beside it is not yet. */
  resultSaved?(directory: string): void
}

export interface LoopSettings extends ResultSettings {
  readonly recipe: Pick<Recipe, 'adapt' | 'batch' | 'seed' | 'save' | 'evaluate'>
  readonly data: Pick<PreparedData, 'batches' | 'batchesFrom' | 'heldOut' | 'steps'>
  readonly identity: RunIdentity
  /** Its values are those of `from`, or the first ones. */
  readonly session: Session
  /** Where states go. */
  readonly states: RunStates
  /** Where the program keeps what it trains, if it does not in memory: every step saves the state then, at no cost. */
  readonly stateFile?: string
  /** What the program reads meanwhile. */
  readonly weightFiles: WeightFiles
  /** The state to go on from, which `states` found; the session has its values. */
  readonly from?: SavedState
  /** The recipe's limits on energy; without, nothing governs the session. */
  readonly energy?: EnergySettings
  /** No further step begins once it is aborted; one that is held is given up. */
  readonly stop?: AbortSignal
  /** Called before the result is saved, when the run was not stopped; the session holds what will be saved. */
  readonly finished?: () => Promise<void>
}

/**
 * Trains to the end, or until `stop`.
 *
 * @throws UserError HD810 when a number is not finite, HD405 when something cannot be written, HD717 and HD836 when a file that is read
 * meanwhile fails or has changed; the state that was saved last is whole then
 */
export async function trainToTheEnd(settings: LoopSettings, observer: LoopObserver = {}): Promise<LoopResult> {
  const loop = new Loop(settings, observer)
  try {
    await loop.run()
    return await loop.finish()
  } finally {
    loop.close()
  }
}

class Loop {
  readonly #settings: LoopSettings
  readonly #observer: LoopObserver
  readonly #batches: PreparedData['batches']
  readonly #trainer: Trainer
  readonly #watch: Watch | undefined
  readonly #governed: GovernedSession | undefined
  /** Before anything that was computed from the weights counts. */
  readonly #verify = (): void => this.#settings.weightFiles.refuseChanged()
  #metrics: MetricsFile | undefined
  /** Decisions from before there was a file. */
  readonly #early: DecisionFigures[] = []
  #earlyDropped = 0
  /** Where the data stand, when it is not behind all that was given out. */
  #rewound: BatchState | undefined
  #bestValues: SnapshotPart | undefined
  /** Step and evaluation of the newest state on the disk. */
  #saved: { readonly step: number; readonly evaluated: number; readonly at: number }

  constructor(settings: LoopSettings, observer: LoopObserver) {
    const { recipe, data, session, from, out } = settings
    this.#settings = settings
    this.#observer = observer
    this.#batches = from ? data.batchesFrom(from.batches) : data.batches
    this.#trainer = new Trainer(session, this.#batches, recipe.seed, from?.progress)
    if (recipe.evaluate) {
      const heldOut = heldOutBatches(data.heldOut, recipe.batch.sequences)
      this.#watch = new Watch(recipe.evaluate, heldOut, from?.watch ?? undefined)
    }
    if (settings.energy) {
      const energyObserver = {
        note: (sentence: string) => observer.note?.(sentence),
        decided: (figures: DecisionFigures) => this.#decided(figures),
      }
      this.#governed = new GovernedSession(session, settings.energy, energyObserver, from?.progress.step ?? 0)
    }
    this.#bestValues = from?.bestValues
    this.#saved = {
      step: from?.progress.step ?? 0,
      evaluated: from?.watch?.evaluated ?? 0,
      at: performance.now(),
    }
    for (const directory of [out, resultDirectory(out, recipe)]) removeLeftovers(directory)
  }

  /** Steps until there are no more, or the run is stopped; the state is saved then. */
  async run(): Promise<void> {
    const { stop, from, out, files, session } = this.#settings
    if (from) this.#metrics = new MetricsFile(out, files, from.progress.step)
    const finish = (): void => session.finish()
    if (this.#governed) {
      await this.#governed.begin()
      stop?.addEventListener('abort', finish)
    }
    try {
      await this.#steps()
    } catch (error) {
      if (endsRun(error)) throw await this.#rescued(error)
      if (!(error instanceof Abandoned)) throw error
    } finally {
      stop?.removeEventListener('abort', finish)
    }
    await this.#measure(true)
    await this.#governed?.end()
    if (!this.#isSaved) await this.#save()
  }

  get #isSaved(): boolean {
    const { step } = this.#trainer.progress
    return step === this.#saved.step && (this.#watch?.state.evaluated ?? 0) === this.#saved.evaluated
  }

  async #steps(): Promise<void> {
    const { stop, data, session } = this.#settings
    for (;;) {
      await this.#evaluateIfDue()
      if (stop?.aborted || this.#watch?.isOver) return
      // With an update owed, what this state names comes about beside the next step.
      const isDue = this.#isSavingDue()
      const late = isDue && (await session.owes()) ? this.#state() : undefined
      if (isDue && !late) await this.#save()
      const before = this.#batches.state
      const figures = await this.#trainer.next(this.#verify).catch(async (error: unknown) => {
        if (error instanceof Abandoned || endsRun(error)) this.#rewound = before
        // The step before is over all the same.
        if (late && error instanceof UserError && LATE_CODES.has(error.code)) await this.#save(late)
        throw error
      })
      if (!figures) return
      // Before figures of this step are beside it.
      if (late) await this.#save(late)
      this.#metrics ??= this.#begin()
      this.#metrics.step(figures)
      this.#observer.step?.(figures, data.steps)
      await this.#measure(false)
    }
  }

  /**
   * A file that the run needs has failed it: saves the last whole step if the session still has it, and tells the way on. It has
   * it where all that is trained is in memory: weights are looked at before an update and read by none, so nothing was updated,
   * and the step before was of the weights as they were. What is trained in a file is saved step by step as it comes about.
   */
  async #rescued(error: UserError): Promise<UserError> {
    const { stateFile } = this.#settings
    if (stateFile === undefined && !this.#isSaved) {
      try {
        await this.#trainer.forget()
        await this.#save()
      } catch {
        // A program that dies with its file, a disk that is full: the reason of the end is the first one.
      }
    }
    return withWayOn(error, this.#saved.step, this.#trainer.progress.step, stateFile)
  }

  async #measure(isLast: boolean): Promise<void> {
    const figures = await this.#governed?.measured(this.#trainer.progress.step, isLast)
    if (!figures) return
    this.#metrics?.energy(figures)
    this.#observer.measured?.(figures)
  }

  #decided(figures: DecisionFigures): void {
    this.#observer.decided?.(figures)
    if (this.#metrics) this.#metrics.energy(figures)
    else if (this.#early.length < MOST_EARLY_DECISIONS) this.#early.push(figures)
    else this.#earlyDropped++
  }

  /** Saves what was trained: the best of it where records were held out. */
  async finish(): Promise<LoopResult> {
    const { program, session, data } = this.#settings
    const { step } = this.#trainer.progress
    const outcome = step >= data.steps ? 'finished' : this.#watch?.isOver ? 'early' : 'stopped'
    const best = this.#watch?.state.best ?? undefined
    const ending = { outcome, steps: step, total: data.steps, best, metrics: this.#metrics } as const
    if (step === 0)
      return { ...ending, figures: [], heldOut: [], saved: undefined, metrics: undefined, curve: undefined }
    if (best && best.step !== step && this.#bestValues) {
      await this.#settings.states.restoreBest(this.#bestValues, program, session)
    }
    if (outcome !== 'stopped') await this.#settings.finished?.()
    return writeResults(this.#settings, ending, session, (directory) => this.#observer.resultSaved?.(directory))
  }

  close(): void {
    this.#metrics?.close()
  }

  /** Only now: a run that fails before its first step leaves the figures and states of an earlier one as they are. */
  #begin(): MetricsFile {
    const { out, files } = this.#settings
    // States first: they must never be younger than the figures beside them.
    if (this.#settings.states.putAside(this.#settings.stateFile)) {
      this.#observer.note?.('the state of the run before is in state.previous now; --resume would have gone on from it')
    }
    const metrics = new MetricsFile(out, files)
    for (const figures of this.#early.splice(0)) metrics.energy(figures)
    if (this.#earlyDropped > 0) {
      this.#observer.note?.(`${this.#earlyDropped} decisions before the first step are not in ${metrics.path}`)
    }
    return metrics
  }

  async #evaluateIfDue(): Promise<void> {
    const { session, program, data, stop } = this.#settings
    const { step } = this.#trainer.progress
    if (!this.#watch?.isDue(step, data.steps)) return
    const figures = await this.#watch.evaluate(session, step, stop, this.#verify)
    if (!figures) return
    if (figures.best) this.#bestValues = await this.#settings.states.saveBest(step, program, session)
    this.#metrics?.heldOut(figures)
    this.#observer.evaluated?.(figures)
  }

  #isSavingDue(): boolean {
    const { step } = this.#trainer.progress
    if (step === this.#saved.step) return false
    const { recipe, stateFile } = this.#settings
    const { save } = recipe
    // The step after the next would overwrite what an older state names.
    if (stateFile !== undefined) return true
    return save ? step % save.every === 0 : performance.now() - this.#saved.at >= SAVE_MILLISECONDS
  }

  /** Where the run stands. */
  #state(): RunState {
    const batches = this.#rewound ?? this.#batches.state
    return {
      progress: this.#trainer.progress,
      batches,
      watch: this.#watch?.state ?? null,
      identity: this.#settings.identity,
    }
  }

  /** `late`: where the run stood before an update that was owed then, and is made now. */
  async #save(late?: RunState): Promise<void> {
    const { program, session, states } = this.#settings
    const state = late ?? this.#state()
    const { progress, watch } = state
    this.#metrics?.sync()
    await states.save(state, this.#bestValues, program, session, late !== undefined)
    this.#saved = { step: progress.step, evaluated: watch?.evaluated ?? 0, at: performance.now() }
    this.#observer.stateSaved?.(progress.step)
  }
}
