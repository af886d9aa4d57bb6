// The real shapes that are measured, as their config.json states them, and what a step of them computes.

import type { Graph } from '../compiler/graph/node.ts'

export interface Shape {
  /** For people. */
  readonly title: string
  readonly config: Readonly<Record<string, unknown>>
  /** Layers that get an adapter. */
  readonly targets: readonly string[]
  /** All linear layers of a block. */
  readonly linear: readonly string[]
  readonly vocabulary: number
  readonly layers: number
  /** Queries' heads times their width. */
  readonly attended: number
}

export const gpt2Config = {
  model_type: 'gpt2',
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_positions: 1024,
  vocab_size: 50257,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
}

const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj']
/** Of a block of Llama's kin. */
const linear = [...projections, 'gate_proj', 'up_proj', 'down_proj']
const gpt2Linear = ['c_attn', 'c_proj', 'c_fc']

const gemma3Config = {
  model_type: 'gemma3_text',
  vocab_size: 262144,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 256,
  query_pre_attn_scalar: 256,
  sliding_window: 512,
  rope_theta: 1e6,
  rope_local_base_freq: 1e4,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 32768,
  hidden_activation: 'gelu_pytorch_tanh',
}

const gemma3Layers = (count: number): object => ({
  num_hidden_layers: count,
  layer_types: Array.from({ length: count }, (_, layer) => (layer % 6 === 5 ? 'full_attention' : 'sliding_attention')),
})

export const shapes: Readonly<Record<string, Shape>> = {
  gpt2: {
    title: 'GPT-2 124M',
    config: gpt2Config,
    targets: gpt2Linear,
    linear: gpt2Linear,
    vocabulary: 50257,
    layers: 12,
    attended: 768,
  },
  qwen2: {
    title: 'Qwen2.5-0.5B',
    config: {
      model_type: 'qwen2',
      vocab_size: 151936,
      hidden_size: 896,
      intermediate_size: 4864,
      num_hidden_layers: 24,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      tie_word_embeddings: true,
      rope_theta: 1e6,
      rms_norm_eps: 1e-6,
      max_position_embeddings: 32768,
      hidden_act: 'silu',
    },
    targets: projections,
    linear,
    vocabulary: 151936,
    layers: 24,
    attended: 896,
  },
  gemma3: {
    title: 'Gemma-3-270M',
    config: { ...gemma3Config, hidden_size: 640, intermediate_size: 2048, ...gemma3Layers(18) },
    targets: projections,
    linear,
    vocabulary: 262144,
    layers: 18,
    attended: 1024,
  },
  'gemma3-1b': {
    title: 'Gemma-3-1B',
    config: { ...gemma3Config, hidden_size: 1152, intermediate_size: 6912, ...gemma3Layers(26) },
    targets: projections,
    linear,
    vocabulary: 262144,
    layers: 26,
    attended: 1024,
  },
  'qwen3-4b': {
    title: 'Qwen3-4B',
    config: {
      model_type: 'qwen3',
      vocab_size: 151936,
      hidden_size: 2560,
      intermediate_size: 9728,
      num_hidden_layers: 36,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 128,
      tie_word_embeddings: true,
      rope_theta: 1e6,
      rms_norm_eps: 1e-6,
      max_position_embeddings: 40960,
      hidden_act: 'silu',
    },
    targets: projections,
    linear,
    vocabulary: 151936,
    layers: 36,
    attended: 4096,
  },
}

/**
 * Floating-point operations of a step as `shared/reference/peers.md` counts them: 2F + 3A + 3R with adapters, 3F + 3A for all
 * weights, with F the products with weights (the head among them), A attention's as a whole square, R the adapters'. What a
 * plan recomputes is not counted.
 */
export function stepOperations(
  shape: Shape,
  traced: Graph,
  trained: Graph,
  tokens: number,
  adapt: 'lora' | 'full',
): number {
  const elements = (graph: Graph, wanted: (name: string) => boolean): number =>
    [...graph.declarations.values()]
      .filter(({ name, stored, role }) => role !== 'input' && stored.length > 1 && wanted(name))
      .reduce((sum, { stored }) => sum + stored.flat().reduce((product, axis) => product * axis.size, 1), 0)
  const weights = 2 * tokens * elements(traced, (name) => !name.includes('wpe'))
  const attention = 4 * tokens * tokens * shape.attended * shape.layers
  if (adapt === 'full') return 3 * weights + 3 * attention
  const adapters = 2 * tokens * elements(trained, (name) => /^[^/]*lora_[AB]\.weight$/.test(name))
  return 2 * weights + 3 * attention + 3 * adapters
}
