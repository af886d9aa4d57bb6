// Holds a run against records it does not learn from: when to measure, what was best, and when waiting for better has
// lasted long enough. Knows a session and batches; no file, no terminal.

import type { Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import type { MicroBatch } from '../data/batches.ts'
import type { Evaluation } from '../dsl/index.ts'
import { writeBatch } from './trainer.ts'

/** What one evaluation showed. */
export interface HeldOutFigures {
  /** Optimizer steps made before it. */
  readonly step: number
  /** Mean over the weighted held-out tokens, in nats, without dropout. */
  readonly heldout_loss: number
  /** Whether it is lower than all before. */
  readonly best: boolean
  /** Wall-clock time of the evaluation. */
  readonly seconds: number
}

export interface Best {
  readonly step: number
  readonly loss: number
}

/** Plain numbers, to be saved with the weights. */
export interface WatchState {
  /** The step after which the last evaluation was; 0 before the first. */
  readonly evaluated: number
  /** Evaluations since the best one. */
  readonly waited: number
  readonly best: Best | null
}

export class Watch {
  readonly #settings: Evaluation
  readonly #batches: readonly MicroBatch[]
  #state: WatchState

  constructor(
    settings: Evaluation,
    heldOut: readonly MicroBatch[],
    state: WatchState = { evaluated: 0, waited: 0, best: null },
  ) {
    this.#settings = settings
    this.#batches = heldOut
    this.#state = state
  }

  get state(): WatchState {
    return this.#state
  }

  /** Whether an evaluation belongs after this step of so many, and has not been made. */
  isDue(step: number, steps: number): boolean {
    if (step === 0 || step === this.#state.evaluated) return false
    return step % this.#settings.every === 0 || step >= steps
  }

  /** Whether so many evaluations brought nothing that the run should end. */
  get isOver(): boolean {
    const { patience } = this.#settings
    return patience !== undefined && this.#state.waited >= patience
  }

  /**
   * Measures the held-out loss; undefined when `stop` was aborted meanwhile, and then nothing has changed. The inputs of
   * the program are overwritten, its state is not. `verify` is called before what was measured counts; nothing has changed
   * where it throws.
   *
   * @throws UserError HD810 when the loss is not finite
   */
  async evaluate(
    session: Session,
    step: number,
    stop?: AbortSignal,
    verify?: () => void,
  ): Promise<HeldOutFigures | undefined> {
    const start = performance.now()
    let sum = 0
    let weight = 0
    for (const batch of this.#batches) {
      if (stop?.aborted) return undefined
      await writeBatch(session, batch, 0)
      await session.call('evaluate', { seq: batch.length })
      sum += (await session.output('evaluate', 'loss'))[0] ?? NaN
      weight += (await session.output('evaluate', 'weight'))[0] ?? NaN
    }
    verify?.()
    const loss = sum / weight
    if (!Number.isFinite(loss)) throw new UserError('HD810', `step ${step}: the held-out loss is not finite`)
    const before = this.#state.best
    const isBest = before === null || loss < before.loss
    this.#state = {
      evaluated: step,
      waited: isBest ? 0 : this.#state.waited + 1,
      best: isBest ? { step, loss } : before,
    }
    return { step, heldout_loss: loss, best: isBest, seconds: (performance.now() - start) / 1000 }
  }
}
