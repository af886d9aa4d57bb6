// The training loop: micro-batches in, optimizer steps out, one line of figures per step. Knows a session and batches;
// no file, no terminal, no model.

import { Abandoned } from '../backends/neon/driver/index.ts'
import type { Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { lossSum, reportedLoss, reportedNorm, reportedRate, weightSum } from '../compiler/transform/states.ts'
import type { MicroBatch } from '../data/batches.ts'

/** What one optimizer step showed. */
export interface StepFigures {
  /** From 1. */
  readonly step: number
  /** Mean over the weighted tokens, in nats, before the update. */
  readonly loss: number
  /** Global 2-norm before clipping. */
  readonly gradient_norm: number
  readonly rate: number
  /** Positions computed, padding included. */
  readonly tokens: number
  /** Wall-clock time of the step. */
  readonly seconds: number
  /** Greatest resident memory of the program so far. */
  readonly peak_bytes: number
}

/** How far a run has come. */
export interface Progress {
  /** Optimizer steps made. */
  readonly step: number
  /** Micro-batches computed: each has a seed of its own. */
  readonly micro: number
}

/** Runs optimizer steps one at a time, so that others may look at the session, or save it, between them. */
export class Trainer {
  readonly #session: Session
  readonly #steps: Iterator<readonly MicroBatch[]>
  readonly #seed: number
  #step: number
  #micro: number

  /** `seed` is that of dropout; `from` is where the steps given begin, the very beginning unless stated. */
  constructor(
    session: Session,
    steps: Iterable<readonly MicroBatch[]>,
    seed: number,
    from: Progress = { step: 0, micro: 0 },
  ) {
    this.#session = session
    this.#steps = steps[Symbol.iterator]()
    this.#seed = seed
    this.#step = from.step
    this.#micro = from.micro
  }

  get progress(): Progress {
    return { step: this.#step, micro: this.#micro }
  }

  /**
   * Makes the next optimizer step; undefined when there is none. `verify` is called once all that the step learns from is
   * computed and before anything is updated; what it throws ends the step so.
   *
   * @throws UserError HD810 when a loss or a gradient is not finite, naming the first such value; the weights are those
   * of the step before. Abandoned when the step was held and the end is asked for: all that a saved state holds is that of
   * the step before then, and no further step may be made, since gradients are not
   */
  async next(verify?: () => void): Promise<StepFigures | undefined> {
    const given = this.#steps.next()
    if (given.done === true) return undefined
    const session = this.#session
    const microBatches = given.value
    const step = this.#step + 1
    const start = performance.now()
    let tokens = 0
    for (const [place, batch] of microBatches.entries()) {
      await writeBatch(session, batch, streamSeed(this.#seed, this.#micro + place))
      tokens += batch.sequences * batch.length
      const part = place === microBatches.length - 1 ? 'last' : 'more'
      const outcome = await session.step({ seq: batch.length }, part, verify).catch(async (error: unknown) => {
        if (error instanceof Abandoned) await this.forget()
        throw error
      })
      if (outcome.status === 'notFinite') throw new UserError('HD810', `step ${step}: ${outcome.message}`)
    }
    this.#step = step
    this.#micro += microBatches.length
    const seconds = (performance.now() - start) / 1000
    const [loss, norm, rate] = [
      await scalar(session, reportedLoss),
      await scalar(session, reportedNorm),
      await scalar(session, reportedRate),
    ]
    const { peakBytes } = await session.stats()
    return { step, loss, gradient_norm: norm, rate, tokens, seconds, peak_bytes: peakBytes }
  }

  /** After a step that failed before its update: what it added up beside gradients is zero again, as in states of a run. */
  async forget(): Promise<void> {
    for (const name of [lossSum, weightSum]) await this.#session.write(name, Float32Array.of(0))
  }
}

/** Gives the program its inputs; a batch smaller than planned leaves zeros, whose weight is zero. */
export async function writeBatch(session: Session, batch: MicroBatch, seed: number): Promise<void> {
  const shape = [batch.sequences, batch.length]
  await session.write('tokens', batch.tokens, shape)
  await session.write('targets', batch.targets, shape)
  await session.write('weights', batch.weights, shape)
  if (batch.segments && batch.positions) {
    await session.write('segments', batch.segments, shape)
    await session.write('positions', batch.positions, shape)
  }
  await session.write('seed', Int32Array.of(seed))
}

/** Another seed for every micro-batch; the generator itself does the mixing. */
function streamSeed(seed: number, micro: number): number {
  return (Math.imul(seed, 0x9e3779b9 | 0) + Math.imul(micro, 0x85ebca6b | 0)) | 0
}

async function scalar(session: Session, name: string): Promise<number> {
  return (await session.read(name))[0] ?? NaN
}
