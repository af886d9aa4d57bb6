// The training loop: micro-batches in, optimizer steps out, one line of figures per step. Knows a session and batches;
// no file, no terminal, no model.

import type { Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { reportedLoss, reportedNorm, reportedRate } from '../compiler/transform/states.ts'
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

export interface TrainerOptions {
  /** Seed of dropout. */
  readonly seed: number
  /** No further step begins once it is aborted. */
  readonly stop?: AbortSignal
}

/**
 * Runs the optimizer steps of `steps`, giving each step's figures as it ends.
 *
 * @throws UserError HD810 when a loss or a gradient is not finite, naming the first such value; the weights are those of
 * the step before
 */
export async function* trainSteps(
  session: Session,
  steps: Iterable<readonly MicroBatch[]>,
  options: TrainerOptions,
): AsyncGenerator<StepFigures, void, undefined> {
  let step = 0
  let micro = 0
  for (const microBatches of steps) {
    if (options.stop?.aborted) return
    step++
    const start = performance.now()
    let tokens = 0
    for (const [place, batch] of microBatches.entries()) {
      await writeBatch(session, batch, streamSeed(options.seed, micro++))
      tokens += batch.sequences * batch.length
      const outcome = await session.step({ seq: batch.length }, place === microBatches.length - 1 ? 'last' : 'more')
      if (outcome.status === 'notFinite') throw new UserError('HD810', `step ${step}: ${outcome.message}`)
    }
    const seconds = (performance.now() - start) / 1000
    const [loss, norm, rate] = [
      await scalar(session, reportedLoss),
      await scalar(session, reportedNorm),
      await scalar(session, reportedRate),
    ]
    const { peakBytes } = await session.stats()
    yield { step, loss, gradient_norm: norm, rate, tokens, seconds, peak_bytes: peakBytes }
  }
}

/** Gives the program its inputs; a batch smaller than planned leaves zeros, whose weight is zero. */
export async function writeBatch(session: Session, batch: MicroBatch, seed: number): Promise<void> {
  const shape = [batch.sequences, batch.length]
  await session.write('tokens', batch.tokens, shape)
  await session.write('targets', batch.targets, shape)
  await session.write('weights', batch.weights, shape)
  await session.write('seed', Int32Array.of(seed))
}

/** Another seed for every micro-batch; the generator itself does the mixing. */
function streamSeed(seed: number, micro: number): number {
  return (Math.imul(seed, 0x9e3779b9 | 0) + Math.imul(micro, 0x85ebca6b | 0)) | 0
}

async function scalar(session: Session, name: string): Promise<number> {
  return (await session.read(name))[0] ?? NaN
}
