// Training graphs of very small models, through the passes of the pipeline, with values for everything they read: what
// real programs ask of the scheduler, at sizes that the interpreters can run. Only for tests.

import { sortAxes } from '../../compiler/graph/axis.ts'
import type { DType } from '../../compiler/graph/axis.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'
import { trainingPasses } from '../../compiler/pipeline.ts'
import type { StorageOptions } from '../../compiler/plan/place.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { modelFor } from '../../models/index.ts'
import { usualOptimizer } from '../support/usualOptimizer.ts'
import { roundNarrow } from './launch.ts'

export interface Training {
  readonly name: string
  readonly graph: Graph
  readonly values: ReadonlyMap<string, Tensor>
  readonly extents: Extents
}

const configs = {
  gpt2: { model_type: 'gpt2', n_embd: 12, n_layer: 1, n_head: 2, n_positions: 80, vocab_size: 37, n_inner: 17 },
  qwen2: {
    model_type: 'qwen2', hidden_size: 16, intermediate_size: 19, num_hidden_layers: 1, num_attention_heads: 4,
    num_key_value_heads: 2, vocab_size: 41, rms_norm_eps: 1e-6, rope_theta: 10000, tie_word_embeddings: false,
  },
  gemma3: {
    model_type: 'gemma3_text', hidden_size: 12, intermediate_size: 19, num_hidden_layers: 2, num_attention_heads: 2,
    num_key_value_heads: 1, head_dim: 6, vocab_size: 41, sliding_window: 9, sliding_window_pattern: 2,
  },
} as const // prettier-ignore

export interface TrainingOptions {
  readonly model: keyof typeof configs
  readonly adaptation: 'lora' | 'full'
  readonly checkpoints?: 'none' | 'every'
  readonly storage?: StorageOptions
  /** Bound of the sequence; a step is a little shorter. */
  readonly length?: number
  /** Tokens there are; few unless given. */
  readonly vocabulary?: number
  /** How frozen weights are stored. */
  readonly dtype?: DType
}

/** Token numbers are below every vocabulary. */
const TOKENS = 31

const targets = ['c_attn', 'c_proj', 'c_fc', 'q_proj', 'v_proj', 'up_proj', 'down_proj']

export function training(options: TrainingOptions): Training {
  const { model, adaptation, checkpoints = 'none', length = 70, dtype = 'f32' } = options
  const json = { ...configs[model], vocab_size: options.vocabulary ?? configs[model].vocab_size }
  const definition = modelFor(json, 'config.json')
  const config = definition.readConfig(json, 'config.json')
  const traced = definition.trace(config, { sequences: 2, length, storedDType: () => dtype })
  const passes = trainingPasses({
    adaptation:
      adaptation === 'lora'
        ? {
            kind: 'lora',
            options: { rank: 3, alpha: 6, dropout: 0.1, targets: targets.filter(has), modules: traced.modules },
          }
        : { kind: 'trainable', names: 'all' },
    optimizer: { ...usualOptimizer, schedule: { kind: 'cosine', peak: 1e-3, warmup: 2, total: 30 } },
    checkpoints,
    ...(options.storage ? { storage: options.storage } : {}),
  })
  const { graph } = runPasses(traced.graph, passes, { provenance: traced.provenance })
  const extents = Object.fromEntries(
    graph.axes.flatMap(({ extent, size }) =>
      extent === undefined ? [] : [[extent, extent === 'seq' ? size - 3 : size]],
    ),
  )
  const values = valuesOf(graph, extents, TOKENS)
  roundNarrow(graph, values)
  return { name: `${model} ${adaptation}${checkpoints === 'none' ? '' : ', recomputed'}`, graph, values, extents }

  function has(name: string): boolean {
    return traced.modules.some((module) => JSON.stringify(module).includes(name))
  }
}

/** Numbers for everything that a graph declares; integers are below `below`. */
export function valuesOf(graph: Graph, extents: Extents, below: number): Map<string, Tensor> {
  const values = new Map<string, Tensor>()
  for (const { name, stored, dtype } of graph.declarations.values()) {
    const axes = sortAxes(stored.flat())
    const sizes = axes.map((axis) => extentOf(axis, extents))
    const count = countElements(sizes)
    const phase = values.size + 1
    const isInteger = dtype === 'i32' || dtype === 'bool'
    // Zero or one for conditions.
    const data = isInteger
      ? Int32Array.from({ length: count }, (_, i) => (dtype === 'bool' ? i % 2 : (i * 7 + phase) % below))
      : Float64Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i * 0.7 * phase + phase) * 0.3 + 0.01))
    values.set(name, makeTensor(axes, sizes, data))
  }
  return values
}
