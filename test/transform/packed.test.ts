// Packed rows against transformers, which ran each document on its own and agreed with itself on whole rows: loss and every
// gradient of every architecture, by the interpreter in float64. Documents are shorter, as long as and longer than Gemma's
// window, and longer than the positions that Llama's rotation is stretched from.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { float64 } from '../../compiler/graph/float64.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import type { ModelDefinition } from '../../dsl/index.ts'
import { modelFor } from '../../models/index.ts'
import type { OracleBatch, TrainingOracle } from '../support/oracle.ts'
import { packedCase, packedNames, unpacked } from '../support/packedOracle.ts'
import type { PackedCase } from '../support/packedOracle.ts'
import { relative } from '../truth/comparing.ts'
import { checkGraph } from './graphTruth.ts'
import { session, traceCase } from './oracleModel.ts'

type Json = Readonly<Record<string, unknown>>

function configOf(oracle: PackedCase): Json {
  return JSON.parse(readFileSync(join(oracle.modelDirectory, 'config.json'), 'utf8')) as Json
}

/** The case's architecture, told another configuration than its own. */
function misread(oracle: PackedCase, change: Json): ModelDefinition<unknown> {
  const model = modelFor(configOf(oracle), 'config.json')
  return { ...model, readConfig: (json, file) => model.readConfig({ ...(json as Json), ...change }, file) }
}

/** How far the loss of each document, alone in its row, is from what transformers gives for it. */
function documentErrors(oracle: PackedCase, definition?: ModelDefinition<unknown>): number[] {
  const apart = unpacked(oracle)
  const one = traceCase(apart, 1, definition)
  const run = session(one, one.traced.graph, float64, 1)
  return oracle.documents.map(({ lossSum }, index) => {
    run.setBatch(apart.batch, [index])
    return relative(run.run('loss').get('loss')?.data[0] ?? NaN, lossSum)
  })
}

/** Every document as a micro-batch that is as long as itself. */
function oneByOne({ batch }: TrainingOracle): OracleBatch[] {
  return batch.lengths.map((length, index) => {
    const row = (rows: readonly (readonly number[])[]) => [(rows[index] ?? []).slice(0, length)]
    return {
      lengths: [length],
      tokens: row(batch.tokens),
      targets: row(batch.targets),
      weights: row(batch.weights),
    }
  })
}

describe('packed rows against transformers', () => {
  for (const name of packedNames()) {
    it(`${name}: loss and every gradient`, () => checkGraph(traceCase(packedCase(name)), [simplify()]))
  }

  it('would be seen read as one document', () => {
    const { batch, ...oracle } = packedCase('gemma3-small/lora')
    const { segments: _segments, positions: _positions, ...merged } = batch
    assert.throws(() => checkGraph(traceCase({ ...oracle, batch: merged }), [simplify()]), /the loss is off by/)
    const ones = batch.segments?.map((row) => row.map(() => 0)) ?? []
    const seen = { ...oracle, batch: { ...batch, segments: ones } }
    assert.throws(() => checkGraph(traceCase(seen), [simplify()]), /the loss is off by/)
  })
})

describe('documents one after the other against transformers', () => {
  for (const name of ['gpt2-small/lora', 'gemma3-small/full']) {
    it(`${name}: accumulated by their targets, they give the loss and every gradient of all together`, () => {
      const oracle = unpacked(packedCase(name))
      const weights = oracle.batch.weights.map((row) => row.reduce((sum, weight) => sum + weight, 0))
      assert.ok(new Set(weights).size > 3 && new Set(oracle.batch.lengths).size > 3)
      checkGraph(traceCase(oracle, 1), [simplify()], oneByOne(oracle))
      // A mean of the micro-batches' means is something else.
      const means = packedCase(name).documents.map(({ lossSum, weightSum }) => lossSum / weightSum)
      assert.ok(relative(means.reduce((sum, mean) => sum + mean, 0) / means.length, oracle.loss) > 1e-3)
    })
  }
})

describe('documents alone against transformers', () => {
  const tolerance = 1e-7

  for (const name of packedNames().filter((one) => one.endsWith('/full'))) {
    it(name, () => {
      for (const error of documentErrors(packedCase(name))) assert.ok(error < tolerance, `off by ${error}`)
    })
  }

  it("tell Gemma's window from one that is longer or shorter by one", () => {
    const oracle = packedCase('gemma3-small/full')
    const { sliding_window: window, layer_types: kinds } = configOf(oracle)
    assert.equal(window, 8)
    assert.deepEqual(new Set(kinds as string[]), new Set(['sliding_attention', 'full_attention']))
    const sizes = oracle.documents.map(({ tokens }) => tokens.length)
    for (const size of [7, 8, 9]) assert.ok(sizes.includes(size))
    for (const other of [7, 9]) {
      const errors = documentErrors(oracle, misread(oracle, { sliding_window: other }))
      // Who is no longer than both windows cannot tell.
      const shorter = Math.min(other, 8)
      for (const [index, error] of errors.entries()) {
        const isWithin = (sizes[index] ?? 0) <= shorter
        assert.equal(error < tolerance, isWithin, `${sizes[index]} positions, window ${other}: off by ${error}`)
      }
    }
  })

  it("tell Llama's stretched rotation from any other", () => {
    const oracle = packedCase('llama-small/full')
    const parameters = configOf(oracle)['rope_parameters'] as Json
    const original = parameters['original_max_position_embeddings'] as number
    assert.deepEqual([parameters['rope_type'], original], ['llama3', 64])
    assert.ok(oracle.documents.some(({ tokens }) => tokens.length > original))
    for (const change of [
      { rope_type: 'default' },
      { factor: 7.5 },
      { low_freq_factor: 1.5 },
      { high_freq_factor: 3.5 },
      { original_max_position_embeddings: 72 },
    ]) {
      const errors = documentErrors(oracle, misread(oracle, { rope_parameters: { ...parameters, ...change } }))
      assert.ok(Math.max(...errors) > 10 * tolerance, `${JSON.stringify(change)} was not noticed`)
    }
  })
})
