// One layer of a real model at its real width with made-up weights, and a made-up batch of 16 tokens. Only for tests.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { narrowBf16 } from '../../compiler/kernel/halves.ts'
import { writeSafetensors } from '../../formats/safetensors.ts'
import { modelFor } from '../../models/index.ts'
import { oracleCase } from './oracle.ts'
import type { TrainingOracle } from './oracle.ts'
import type { TrainCase } from './trainCase.ts'

const vocabulary = 1003
const length = 16
const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

interface Wide {
  readonly config: Readonly<Record<string, unknown>>
  readonly dtype: 'F32' | 'BF16'
  /** Modules that get an adapter. */
  readonly targets: readonly string[]
}

/** GPT-2 124M, Qwen2.5 0.5B and Gemma 3 270M. */
const models = {
  gpt2: {
    dtype: 'F32',
    targets: ['c_attn', 'c_proj', 'c_fc'],
    config: { model_type: 'gpt2', vocab_size: vocabulary, n_positions: length, n_embd: 768, n_layer: 1, n_head: 12 },
  },
  qwen2: {
    dtype: 'BF16',
    targets: projections,
    config: {
      model_type: 'qwen2',
      vocab_size: vocabulary,
      hidden_size: 896,
      intermediate_size: 4864,
      num_hidden_layers: 1,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      max_position_embeddings: 32768,
      rms_norm_eps: 1e-6,
      hidden_act: 'silu',
      rope_parameters: { rope_theta: 1e6, rope_type: 'default' },
      use_sliding_window: false,
      tie_word_embeddings: true,
    },
  },
  gemma3: {
    dtype: 'BF16',
    targets: projections,
    config: {
      model_type: 'gemma3_text',
      vocab_size: vocabulary,
      hidden_size: 640,
      intermediate_size: 2048,
      num_hidden_layers: 1,
      num_attention_heads: 4,
      num_key_value_heads: 1,
      head_dim: 256,
      query_pre_attn_scalar: 256,
      max_position_embeddings: 32768,
      rms_norm_eps: 1e-6,
      hidden_activation: 'gelu_pytorch_tanh',
      layer_types: ['sliding_attention'],
      sliding_window: 512,
      rope_parameters: {
        full_attention: { rope_theta: 1e6, rope_type: 'default' },
        sliding_attention: { rope_theta: 1e4, rope_type: 'default' },
      },
      tie_word_embeddings: true,
    },
  },
} as const satisfies Record<string, Wide>

export type WideModel = keyof typeof models
export const wideModels = Object.keys(models) as WideModel[]

/** Numbers in −1 … 1, the same every time. */
function noise(): () => number {
  let state = 1
  return () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31
}

function bytesOf(dtype: Wide['dtype'], count: number, next: () => number): Uint8Array {
  const data =
    dtype === 'F32'
      ? Float32Array.from({ length: count }, next)
      : Uint16Array.from({ length: count }, () => narrowBf16(Math.fround(next())))
  return new Uint8Array(data.buffer)
}

/** Writes the model into a folder; the case has no expected numbers. */
export function wideLayer(parent: string, name: WideModel, mode: 'full' | 'lora'): TrainingOracle {
  const { config, dtype, targets }: Wide = models[name]
  const folder = join(parent, `${name}-${mode}`)
  mkdirSync(folder)
  const definition = modelFor(config, 'config.json')
  const { graph } = definition.trace(definition.readConfig(config, 'config.json'), { sequences: 1, length })
  const next = noise()
  const tensors = [...graph.declarations.values()]
    .filter(({ role }) => role === 'frozen')
    .map((declared) => {
      const shape = declared.stored.map((axes) => axes.reduce((product, axis) => product * axis.size, 1))
      const count = shape.reduce((product, size) => product * size, 1)
      return { name: declared.name, dtype, shape, data: bytesOf(dtype, count, () => next() * 0.05) } as const
    })
  writeSafetensors(join(folder, 'model.safetensors'), tensors)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const row = (value: (place: number) => number): number[][] => [Array.from({ length }, (_, place) => value(place))]
  return {
    ...oracleCase('gpt2-small/full'),
    name: `one layer of ${name}, ${mode}`,
    mode,
    modelDirectory: folder,
    lora: mode === 'lora' ? { rank: 8, alpha: 16, targets } : undefined,
    batch: {
      lengths: [length],
      tokens: row((place) => (place * 61) % vocabulary),
      targets: row((place) => (place * 61 + 61) % vocabulary),
      weights: row((place) => (place % 5 === 4 ? 0 : 1)),
    },
  }
}

/** Gives a new adapter's second halves, which begin as zeros, numbers: both halves then have gradients. */
export async function writeAdapterNoise({ compiled, session }: Pick<TrainCase, 'compiled' | 'session'>): Promise<void> {
  const next = noise()
  for (const { name, role, shape } of compiled.program.values) {
    if (role !== 'trainable' || !name.includes('lora_B')) continue
    const count = shape.reduce((product, size) => product * size, 1)
    await session.write(name, Float32Array.from({ length: count }, () => next() * 0.05)) // prettier-ignore
  }
}
