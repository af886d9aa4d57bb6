// Several texts in one row are trained as if each stood alone: the same loss, whatever stands beside a text, for every kind
// of position and mask the models have.

import assert from 'node:assert/strict'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { sortAxes } from '../../compiler/graph/axis.ts'
import { attend, axis, causalLM, defineModel, embedding, key, rename, seq, tied } from '../../dsl/index.ts'
import type { ModelDefinition } from '../../dsl/index.ts'
import { modelFor } from '../../models/index.ts'

/** Everybody sees everybody: only the texts' boundaries keep tokens apart. */
const unmasked = defineModel('unmasked', (_: object, p) => {
  const [vocab, embed] = [axis('vocab', 17), axis('embed', 6)]
  const words = p.param('words', [vocab, embed])
  return causalLM({
    vocabulary: vocab,
    embed: (tokens) => embedding(words, tokens, vocab),
    blocks: (x) => attend(x, rename(x, seq, key), rename(x, seq, key), { over: embed, keys: key, scale: 1 }),
    norm: (x) => x,
    head: tied(words, embed),
  })
})

const sizes = { vocab_size: 17, hidden_size: 12, intermediate_size: 14, num_attention_heads: 2, num_hidden_layers: 2 }
const noConfig = {}
const configs: Record<string, object> = {
  unmasked: noConfig,
  gpt2: { model_type: 'gpt2', vocab_size: 17, n_positions: 40, n_embd: 12, n_layer: 2, n_head: 2 },
  qwen2: { model_type: 'qwen2', ...sizes, num_key_value_heads: 1 },
  gemma3: {
    model_type: 'gemma3_text',
    ...sizes,
    num_key_value_heads: 1,
    head_dim: 6,
    query_pre_attn_scalar: 6,
    sliding_window: 3,
    layer_types: ['sliding_attention', 'full_attention'],
    rope_theta: 1e4,
    rope_local_base_freq: 1e3,
  },
}

/** Lengths of the texts of each row. */
const rows = [
  [7, 1, 5],
  [4, 9],
]
const length = 16

interface Batch {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  readonly weights: Float64Array
  readonly segments: Int32Array
  readonly positions: Int32Array
}

/** Rows of texts; each text has the tokens of its number, wherever it stands. */
function batchOf(texts: readonly (readonly { readonly text: number; readonly size: number }[])[]): Batch {
  const count = texts.length * length
  const batch = {
    tokens: new Int32Array(count),
    targets: new Int32Array(count),
    weights: new Float64Array(count),
    segments: new Int32Array(count),
    positions: new Int32Array(count),
  }
  texts.forEach((row, index) => {
    let place = index * length
    row.forEach(({ text, size }, segment) => {
      for (let i = 0; i < size; i++, place++) {
        batch.tokens[place] = (text * 5 + i * 3) % 17
        batch.targets[place] = (text * 5 + i * 3 + 3) % 17
        batch.weights[place] = i % 3 === 2 ? 0 : 1
        batch.segments[place] = segment
        batch.positions[place] = i
      }
    })
    batch.segments.fill(row.length, place, (index + 1) * length)
  })
  return batch
}

function lossOf(config: object, sequences: number, packed: boolean, batch: Batch): number {
  const model = config === noConfig ? unmasked : (modelFor(config, 'config.json') as ModelDefinition<object>)
  const traced = model.trace(model.readConfig(config, 'config.json'), { sequences, length, packed })
  const inputs: Record<string, Int32Array | Float64Array> = {
    ...batch,
    position: new Int32Array(sequences),
    seed: Int32Array.of(1),
  }
  const values = new Map<string, Tensor>()
  for (const { name, stored } of traced.graph.declarations.values()) {
    const axes = sortAxes(stored.flat())
    const count = axes.reduce((product, axis) => product * axis.size, 1)
    const phase = Array.from(name).reduce((sum, character) => sum + character.charCodeAt(0), 0)
    const made = Float64Array.from({ length: count }, (_, i) => Math.sin(i * 1.7 + phase) * 0.6)
    values.set(
      name,
      makeTensor(
        axes,
        axes.map((axis) => axis.size),
        inputs[name] ?? made,
      ),
    )
  }
  const { outputs } = interpret(traced.graph, 'loss', { values, extents: { seq: length }, arithmetic: float64 })
  return outputs.get('loss')?.data[0] ?? NaN
}

describe('several texts in a row', () => {
  const numbered = (() => {
    let text = 0
    return rows.map((row) => row.map((size) => ({ text: text++, size })))
  })()
  const apart = numbered.flat().map((one) => [one])

  for (const [name, config] of Object.entries(configs)) {
    it(`have the loss they have apart: ${name}`, () => {
      // Without a mask nothing but its segment hides a row's padding.
      const alone = lossOf(config, apart.length, config === noConfig, batchOf(apart))
      const together = lossOf(config, rows.length, true, batchOf(numbered))
      assert.ok(Number.isFinite(alone) && alone > 1)
      assert.ok(Math.abs(together / alone - 1) < 1e-12, `${together} is not ${alone}`)
      // The check can fail: read as one text, the same rows have another loss.
      const merged = lossOf(config, rows.length, false, batchOf(numbered))
      assert.ok(Math.abs(merged / alone - 1) > 1e-6)
    })
  }
})
