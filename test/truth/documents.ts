// The documents of a packed case as the product arranges them: packed into rows, or padded together in micro-batches; and
// a trainer's curve on them against the oracle's. Knows no tool chain.

import assert from 'node:assert/strict'
import { padTogether } from '../../data/batches.ts'
import type { MicroBatch } from '../../data/batches.ts'
import type { Example } from '../../data/examples.ts'
import { packExamples } from '../../data/packing.ts'
import { Trainer } from '../../train/trainer.ts'
import { unpacked } from '../support/packedOracle.ts'
import type { PackedCase, PackedDocument } from '../support/packedOracle.ts'
import { openTrainCase } from '../support/trainCase.ts'
import type { TrainCase, TrainCaseOptions } from '../support/trainCase.ts'
import { relative } from './comparing.ts'

const curveTolerance = 1e-4

function exampleOf({ tokens, targets, weights }: PackedDocument): Example {
  return {
    tokens: Int32Array.from(tokens),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(weights),
  }
}

/** One micro-batch of the rows that the product packs the documents into: as many as the fixture has, in another order. */
export function repackedRows({ documents, batch }: PackedCase): MicroBatch {
  const rows = packExamples(documents.map(exampleOf), { length: batch.tokens[0]?.length ?? 0, seed: 3 })
  assert.equal(rows.length, batch.tokens.length)
  const together = padTogether(rows)
  assert.notDeepEqual([...together.tokens], batch.tokens.flat())
  return together
}

/** Micro-batches of two documents each, the longest first; each is as long as its longer document. */
export function longestFirst({ documents }: PackedCase): MicroBatch[] {
  const examples = documents.map(exampleOf).sort((one, other) => other.tokens.length - one.tokens.length)
  const pairs = Array.from({ length: Math.ceil(examples.length / 2) }, (_, i) => examples.slice(2 * i, 2 * i + 2))
  return pairs.map(padTogether)
}

/** A program for two documents at a time, each in a row of its own. */
export function openApart(oracle: PackedCase, options: TrainCaseOptions): Promise<TrainCase> {
  const { batch, ...rest } = unpacked(oracle)
  const two = {
    lengths: batch.lengths.slice(0, 2),
    tokens: batch.tokens.slice(0, 2),
    targets: batch.targets.slice(0, 2),
    weights: batch.weights.slice(0, 2),
  }
  return openTrainCase({ ...rest, batch: two }, options)
}

/** Thirty steps of the product's trainer, each over the same micro-batches, on a session that has made none. */
export async function checkTrainerCurve(
  { curve }: PackedCase,
  { session }: TrainCase,
  micro: readonly MicroBatch[],
): Promise<void> {
  const trainer = new Trainer(
    session,
    Array.from(curve.losses, () => micro),
    1,
  )
  for (const [step, expected] of curve.losses.entries()) {
    const figures = await trainer.next()
    assert.ok(figures)
    const error = relative(figures.loss, expected)
    assert.ok(error < curveTolerance, `the loss of step ${step + 1} is off by ${error}`)
    const norm = relative(figures.gradient_norm, curve.gradientNorms[step] ?? NaN)
    assert.ok(norm < 1e-3, `the gradient norm of step ${step + 1} is off by ${norm}`)
    assert.ok(Math.abs(figures.rate - (curve.rates[step] ?? NaN)) < 1e-9)
  }
}
