// The traced models mean what transformers' models mean: loss and logits of the graphs, run by the reference
// interpreter, against PyTorch in float64; and their parameters are the checkpoints' own.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { elementCount } from '../../compiler/graph/axis.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import type { Scalars } from '../../compiler/graph/scalars.ts'
import { fromStored } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import type { TracedModel } from '../../dsl/index.ts'
import { rotaryTable } from '../../dsl/frequencies.ts'
import { modelFor, readLlamaConfig } from '../../models/index.ts'
import { float32Steps, oracleCases, oracleRotaries, readOracleSafetensors } from '../support/oracle.ts'
import type { OracleCase, OracleTensor } from '../support/oracle.ts'

/**
 * torch computes powers eight at a time to one unit in the last place, and inverts them; rounding the exponent elsewhere
 * than transformers does would be off by up to four.
 */
const mostSteps = 2

const decoder = { vocab_size: 3, hidden_size: 2, intermediate_size: 1, num_hidden_layers: 1, num_attention_heads: 1 }

function traceCase(oracle: OracleCase, length: number): TracedModel {
  const file = join(oracle.modelDirectory, 'config.json')
  const json: unknown = JSON.parse(readFileSync(file, 'utf8'))
  const model = modelFor(json, file)
  return model.trace(model.readConfig(json, file), { sequences: 2, length })
}

/** All tensors of a checkpoint, under the names transformers gives the parameters of the whole model. */
function checkpointOf(oracle: OracleCase): Map<string, OracleTensor> {
  const tensors = new Map<string, OracleTensor>()
  for (const name of readdirSync(oracle.modelDirectory)) {
    if (!name.endsWith('.safetensors')) continue
    for (const [key, tensor] of readOracleSafetensors(join(oracle.modelDirectory, name))) {
      // The causal masks that old GPT-2 files carry are no parameters.
      if (key.endsWith('.attn.bias')) continue
      tensors.set(oracle.family === 'gpt2' && !key.startsWith('transformer.') ? `transformer.${key}` : key, tensor)
    }
  }
  return tensors
}

function run(oracle: OracleCase, graph: Graph, fn: string, arithmetic: Scalars<number>): Map<string, Tensor> {
  const checkpoint = checkpointOf(oracle)
  const { tokens, targets, weights, lengths } = oracle.batch
  const length = tokens[0]?.length ?? 0
  const inputs: Record<string, Int32Array | Float32Array> = {
    tokens: Int32Array.from(tokens.flat()),
    targets: Int32Array.from(targets.flat()),
    weights: Float32Array.from(weights.flat()),
    position: Int32Array.from(lengths, (count) => count - 1),
    seed: Int32Array.of(7),
  }
  const values = new Map<string, Tensor>()
  for (const declaration of graph.declarations.values()) {
    const stored = inputs[declaration.name] ?? checkpoint.get(declaration.name)?.values
    assert.ok(stored, `the checkpoint has no '${declaration.name}'`)
    values.set(declaration.name, fromStored(declaration, stored, { seq: length }))
  }
  return interpret(graph, fn, { values, extents: { seq: length }, arithmetic }).outputs
}

const scalar = (outputs: Map<string, Tensor>, name: string): number => outputs.get(name)?.data[0] ?? Number.NaN

for (const oracle of oracleCases().filter(({ mode }) => mode === 'full')) {
  describe(`models: ${oracle.name}`, () => {
    // Longer than the batch, so that the run-time extent differs from the bound.
    const length = (oracle.batch.tokens[0]?.length ?? 0) + 3

    it('declares exactly the parameters of the checkpoint, in its shapes', () => {
      const { graph } = traceCase(oracle, length)
      const frozen = [...graph.declarations.values()].filter(({ role }) => role === 'frozen')
      const checkpoint = checkpointOf(oracle)
      assert.deepEqual(frozen.map((one) => one.name).sort(), [...checkpoint.keys()].sort())
      for (const declaration of frozen) {
        const shape = declaration.stored.map((dimension) => elementCount(dimension))
        assert.deepEqual(shape, checkpoint.get(declaration.name)?.shape, declaration.name)
      }
    })

    it('gives a graph that verifies', () => {
      verifyGraph(traceCase(oracle, length).graph)
    })

    if (oracle.size === 'small') {
      it("has the oracle's loss, in double and in single precision", () => {
        const { graph } = traceCase(oracle, length)
        for (const [arithmetic, tolerance] of [
          [float64, 1e-6],
          [float32, 1e-5],
        ] as const) {
          const outputs = run(oracle, graph, 'loss', arithmetic)
          const sum = oracle.microBatches.reduce((total, part) => total + part.lossSum, 0)
          assert.equal(
            scalar(outputs, 'weight'),
            oracle.batch.weights.flat().reduce((a, b) => a + b, 0),
          )
          const loss = scalar(outputs, 'loss')
          assert.ok(Math.abs(loss - sum) <= tolerance * sum, `${loss} is not ${sum}`)
        }
      })

      it("predicts the oracle's logits at the last token of each sequence", () => {
        const { graph } = traceCase(oracle, length)
        const logits = run(oracle, graph, 'predict', float64).get('logits')
        assert.ok(logits)
        const vocabulary = logits.extents[1] ?? 0
        const wanted = oracle.logits.samples.filter(
          ([sequence, at]) => at === (oracle.batch.lengths[sequence] ?? 0) - 1,
        )
        assert.ok(wanted.length > 0, 'no sample lies at a last token')
        for (const [sequence, , token, logit] of wanted) {
          const got = logits.data[sequence * vocabulary + token] ?? Number.NaN
          assert.ok(Math.abs(got - logit) < 1e-5 * Math.max(1, Math.abs(logit)), `${got} is not ${logit}`)
        }
      })
    } else {
      it("has the oracle's loss at odd sizes, in single precision", () => {
        const outputs = run(oracle, traceCase(oracle, length).graph, 'loss', float32)
        const loss = scalar(outputs, 'loss') / scalar(outputs, 'weight')
        assert.ok(Math.abs(loss - oracle.loss) <= 1e-5 * oracle.loss, `${loss} is not ${oracle.loss}`)
      }).timeout(120_000)
    }

    it("has transformers' rotary frequencies, to what torch's own power is off", () => {
      const [loss] = traceCase(oracle, length).graph.functions
      assert.ok(loss)
      const tables = topological(rootsOf(loss)).flatMap((node) => (isOp(node, 'table') ? [node.attrs.values] : []))
      const wanted = oracle.ropeInverseFrequencies
      assert.deepEqual(
        tables.map((table) => table.length),
        wanted.map((table) => table.length),
      )
      for (const [kind, table] of tables.entries()) {
        const steps = float32Steps(table, wanted[kind] ?? [])
        assert.ok(Math.max(...steps) <= mostSteps, `off by ${steps.join(', ')} float32 steps`)
      }
    })
  })
}

describe('rotary parameters of published models', () => {
  for (const { width, parameters, inverseFrequencies, attentionScaling } of oracleRotaries()) {
    it(`mean what transformers makes of them: ${JSON.stringify(parameters)}`, () => {
      const json = { ...decoder, head_dim: width, rope_parameters: parameters, max_position_embeddings: 131_072 }
      const { theta, scaling } = readLlamaConfig(json, 'config.json').rotary
      const { frequencies, amplitude } = rotaryTable(theta, width, scaling)
      const steps = float32Steps(frequencies, inverseFrequencies)
      assert.equal(steps.length, width / 2)
      assert.ok(Math.max(...steps) <= mostSteps, `off by ${steps.join(', ')} float32 steps`)
      assert.ok(Math.abs(amplitude - attentionScaling) <= 1e-15 * attentionScaling, `${amplitude}`)
    })
  }
})
