// Every architecture of `models/` at small sizes with everything that tells it apart, and some at their real ones, through
// the whole compiler: what a plan is judged on. No weights, no C++. Only for tests.

import { valueNamer } from '../../compiler/frontend/names.ts'
import type { DType } from '../../compiler/graph/axis.ts'
import { compile } from '../../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../../compiler/pipeline.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { shapes } from '../../bench/shapes.ts'
import { modelFor } from '../../models/index.ts'
import { usualOptimizer } from './usualOptimizer.ts'

type Config = Readonly<Record<string, unknown>>

export interface Architecture {
  readonly name: string
  readonly config: Config
  readonly targets: readonly string[]
}

const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

/** No size is a multiple of a tile; queries are grouped; layers differ wherever the architecture lets them. */
const decoder: Config = {
  hidden_size: 40,
  intermediate_size: 104,
  num_hidden_layers: 4,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 12,
  vocab_size: 331,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 512,
  tie_word_embeddings: true,
}

export const smallArchitectures: readonly Architecture[] = [
  {
    name: 'gpt2',
    config: { model_type: 'gpt2', n_embd: 36, n_layer: 5, n_head: 3, n_positions: 160, vocab_size: 331 },
    targets: ['c_attn', 'c_proj', 'c_fc'],
  },
  { name: 'llama', config: { ...decoder, model_type: 'llama', attention_bias: true }, targets: projections },
  { name: 'llama, untied', config: { ...decoder, model_type: 'llama', tie_word_embeddings: false }, targets: projections },
  { name: 'qwen2', config: { ...decoder, model_type: 'qwen2', hidden_size: 72 }, targets: projections },
  { name: 'qwen3', config: { ...decoder, model_type: 'qwen3' }, targets: projections },
  { name: 'smollm3', config: { ...decoder, model_type: 'smollm3', hidden_size: 72, num_hidden_layers: 5 }, targets: projections },
  {
    name: 'gemma3',
    config: {
      ...decoder,
      model_type: 'gemma3_text',
      num_hidden_layers: 7,
      query_pre_attn_scalar: 12,
      sliding_window: 23,
      rope_theta: 1e6,
      rope_local_base_freq: 1e4,
      hidden_activation: 'gelu_pytorch_tanh',
    },
    targets: projections,
  },
] // prettier-ignore

export const realArchitectures: readonly Architecture[] = Object.values(shapes).map(({ title, config, targets }) => {
  return { name: title, config, targets }
})

export interface CompiledHow {
  readonly adapt: 'lora' | 'full'
  readonly checkpoints: CompileOptions['checkpoints']
  readonly sequences: number
  readonly length: number
  /** How frozen weights are stored; bf16 unless given. */
  readonly dtype?: DType
  readonly profile: ScheduleProfile
  /** Values have the researcher's names, which costs reading the model's file. */
  readonly named?: boolean
}

export function compileArchitecture({ name, config, targets }: Architecture, how: CompiledHow): Compiled {
  const definition = modelFor(config, 'config.json')
  const traced = definition.trace(definition.readConfig(config, 'config.json'), {
    sequences: how.sequences,
    length: how.length,
    storedDType: () => (how.adapt === 'full' ? 'f32' : (how.dtype ?? 'bf16')),
    ...(how.named ? { names: valueNamer() } : {}),
  })
  return compile(traced.graph, traced.provenance, {
    name,
    adaptation:
      how.adapt === 'lora'
        ? { kind: 'lora', options: { rank: 8, alpha: 16, targets, modules: traced.modules } }
        : { kind: 'trainable', names: 'all' },
    optimizer: usualOptimizer,
    checkpoints: how.checkpoints,
    profile: how.profile,
  })
}
