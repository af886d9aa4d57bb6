// What the truth tests of every tool chain share: an open case held against the oracle's numbers at the tolerances of the
// issue. Knows no tool chain.

import assert from 'node:assert/strict'
import type { Session } from '../../backends/neon/driver/index.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { gradientError } from '../support/oracle.ts'
import type { LogitFingerprint, OracleCase, TrainingOracle } from '../support/oracle.ts'
import { lengthOf } from '../support/trainCase.ts'
import type { TrainCase } from '../support/trainCase.ts'

const lossTolerance = 1e-5
const gradientTolerance = 1e-4
const curveTolerance = 1e-4
export const logitTolerance = 1e-4

/** What `checkGradients` and the other checks need compiled. */
export const trainingFunctions = ['accumulate', 'measure', 'apply', 'predict']

/** Of the plain model, `predict` is the adapted one's with B = 0: not worth compiling twice where compiling is slow. */
export function functionsIn(oracle: OracleCase, toolchain: string): readonly string[] {
  return oracle.lora || toolchain !== 'wasm' ? trainingFunctions : trainingFunctions.filter((fn) => fn !== 'predict')
}

export function relative(actual: number, expected: number): number {
  return Math.abs(actual - expected) / Math.abs(expected)
}

/** Names of declared values that are trained. */
export function trainedNames({ values }: Program): string[] {
  return values.filter(({ role }) => role === 'trainable').map(({ name }) => name)
}

/** One accumulation of the batch on a fresh session: the loss and every gradient, none of them missing or zero. */
export async function checkGradients(oracle: TrainingOracle, open: TrainCase): Promise<void> {
  const { session } = open
  await open.accumulate()
  const weight = await scalar(session, 'sum/weight')
  const loss = relative((await scalar(session, 'sum/loss')) / weight, oracle.loss)
  assert.ok(loss < lossTolerance, `the loss is off by ${loss}`)
  const trained = trainedNames(open.compiled.program)
  assert.equal(trained.length, oracle.gradients.size)
  for (const name of trained) {
    const expected = oracle.gradients.get(name) ?? oracle.gradients.get(`base_model.model.${name}`)
    assert.ok(expected, `the oracle trains no '${name}'`)
    const gradient = (await session.read(`grad/${name}`)).map((sum) => sum / weight)
    assert.ok(
      gradient.some((value) => value !== 0),
      `the gradient of ${name} is zero`,
    )
    const error = gradientError(gradient, expected)
    assert.ok(error < gradientTolerance, `the gradient of ${name} is off by ${error}`)
  }
}

/** Forgets what was accumulated, so that a first step starts from nothing. */
export async function forgetGradients({ compiled, session }: TrainCase): Promise<void> {
  for (const { name, bytes } of compiled.program.values) {
    if (/^(?:grad|sum)\//.test(name)) await session.write(name, new Float32Array(bytes / 4))
  }
}

/** Thirty AdamW steps on a session that has made none: each loss and gradient norm. */
export async function checkCurve(oracle: TrainingOracle, open: TrainCase): Promise<void> {
  const { losses, gradientNorms, rates } = oracle.curve
  assert.equal(losses.length, 30)
  for (const [step, expected] of losses.entries()) {
    const error = relative(await open.step(), expected)
    assert.ok(error < curveTolerance, `the loss of step ${step + 1} is off by ${error}`)
    const norm = relative(await scalar(open.session, 'report/gradient_norm'), gradientNorms[step] ?? NaN)
    assert.ok(norm < 1e-3, `the gradient norm of step ${step + 1} is off by ${norm}`)
    const rate = Math.abs((await scalar(open.session, 'report/rate')) - (rates[step] ?? NaN))
    assert.ok(rate < 1e-9, `the rate of step ${step + 1} is off by ${rate}`)
  }
}

/** The logits of every position that is not padding, by calling `predict` at one position after another. */
export async function predictedLogits(oracle: OracleCase, session: Session): Promise<Float32Array[][]> {
  const { tokens, lengths } = oracle.batch
  const length = lengthOf(oracle)
  await session.write('tokens', Int32Array.from(tokens.flat()), [tokens.length, length])
  const rows = lengths.map((): Float32Array[] => [])
  for (let position = 0; position < length; position++) {
    await session.write('position', new Int32Array(tokens.length).fill(position))
    await session.call('predict', { seq: length })
    const logits = await session.output('predict', 'logits')
    assert.ok(logits instanceof Float32Array)
    const vocabulary = logits.length / tokens.length
    lengths.forEach((count, sequence) => {
      if (position < count) rows[sequence]?.push(logits.slice(sequence * vocabulary, (sequence + 1) * vocabulary))
    })
  }
  return rows
}

/** Samples, sum and norm of logits against those that PyTorch gave. */
export function checkLogits(rows: readonly (readonly Float32Array[])[], expected: LogitFingerprint): void {
  let sum = 0
  let squares = 0
  for (const row of rows.flat()) {
    for (const logit of row) {
      sum += logit
      squares += logit ** 2
    }
  }
  const norm = Math.sqrt(squares)
  assert.ok(expected.samples.length >= 40)
  for (const [sequence, position, token, logit] of expected.samples) {
    const got = rows[sequence]?.[position]?.[token] ?? NaN
    const at = `logit ${token} at position ${position} of sequence ${sequence}`
    assert.ok(Math.abs(got - logit) < logitTolerance * Math.max(1, Math.abs(logit)), `${at} is ${got}, not ${logit}`)
  }
  assert.ok(relative(norm, expected.norm) < logitTolerance, `the norm of all logits is ${norm}, not ${expected.norm}`)
  // The sum may cancel: it is held against the norm.
  assert.ok(
    Math.abs(sum - expected.sum) < logitTolerance * norm,
    `the sum of all logits is ${sum}, not ${expected.sum}`,
  )
}

/** Zero in every adapter's B: the base model alone. */
export async function clearAdapters({ compiled, session }: TrainCase): Promise<void> {
  for (const { name, bytes } of compiled.program.values) {
    if (name.endsWith('.lora_B.weight') && !name.includes('/')) await session.write(name, new Float32Array(bytes / 4))
  }
}

export async function scalar(session: Session, name: string): Promise<number> {
  return (await session.read(name))[0] ?? NaN
}
