// Qwen2 and Qwen2.5 (Yang et al. 2024) of any size, under the names and layouts of transformers' Qwen2ForCausalLM.
// Grouped queries are one more axis. Knows no file.

import { z } from 'zod'
import { add, attend, axis, causal, causalLM, defineModel, embedding, key, layer, linear } from '../dsl/index.ts'
import { mul, rename, rmsNorm, rope, seq, silu, tied, untied } from '../dsl/index.ts'
import type { Tensor } from '../dsl/index.ts'
import { checkConfig, flag, layerCount, positiveNumber, refuseUnless, requireFit, size, word } from './config.ts'

/** Rotary tables have half as many entries; no model comes near. */
const headSize = z.int().min(1).max(8192)

const ropeSchema = z.looseObject({
  rope_theta: positiveNumber.optional(),
  rope_type: word.optional(),
  type: word.optional(),
})

const schema = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: layerCount,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: headSize.nullish(),
  hidden_act: word.default('silu'),
  rms_norm_eps: positiveNumber.default(1e-6),
  rope_theta: positiveNumber.nullish(),
  rope_parameters: ropeSchema.nullish(),
  rope_scaling: ropeSchema.nullish(),
  tie_word_embeddings: flag.default(false),
  use_sliding_window: flag.default(false),
  layer_types: z.array(word).nullish(),
})

/** What of a Qwen2's config.json its graph depends on. */
export interface Qwen2Config {
  readonly vocab_size: number
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly num_hidden_layers: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly head_dim: number
  readonly rms_norm_eps: number
  readonly rope_theta: number
  readonly tie_word_embeddings: boolean
}

/** Checks a parsed config.json. UserError HD107 for a wrong key, HD108 for a setting this model does not have. */
export function readQwen2Config(json: unknown, file: string): Qwen2Config {
  const c = checkConfig(schema, json, file)
  refuseUnless(
    c.hidden_act === 'silu',
    file,
    'hidden_act',
    `Qwen2 with the activation '${c.hidden_act}' is not supported`,
  )
  refuseUnless(!c.use_sliding_window, file, 'use_sliding_window', 'Qwen2 with a sliding window is not supported')
  const window = c.layer_types?.find((type) => type !== 'full_attention')
  refuseUnless(window === undefined, file, 'layer_types', `Qwen2 with layers of '${window}' is not supported`)
  for (const name of ['rope_parameters', 'rope_scaling'] as const) {
    const kind = c[name]?.rope_type ?? c[name]?.type ?? 'default'
    refuseUnless(kind === 'default', file, name, `rotary scaling '${kind}' is not supported`)
  }
  const heads = c.num_attention_heads
  const groups = c.num_key_value_heads ?? heads
  const fits = (whole: number, part: number, key: string) =>
    requireFit(whole % part === 0, file, key, `${whole} places do not divide among ${part}`)
  fits(heads, groups, 'num_key_value_heads')
  if (c.head_dim == null) fits(c.hidden_size, heads, 'num_attention_heads')
  const dim = c.head_dim ?? c.hidden_size / heads
  requireFit(dim % 2 === 0, file, 'head_dim', `heads of ${dim} cannot be rotated by halves`)
  const theta = c.rope_parameters?.rope_theta ?? c.rope_theta ?? 10_000
  return { ...c, num_key_value_heads: groups, head_dim: dim, rope_theta: theta }
}

export const qwen2 = defineModel(
  'qwen2',
  (c: Qwen2Config, p) => {
    const embed = axis('embed', c.hidden_size)
    const vocab = axis('vocab', c.vocab_size)
    const mlp = axis('mlp', c.intermediate_size)
    const kv = axis('kv_head', c.num_key_value_heads)
    const group = axis('group', c.num_attention_heads / c.num_key_value_heads)
    const dim = axis('head_dim', c.head_dim)
    const rotary = { over: dim, at: seq, theta: c.rope_theta }
    const normal = { over: embed, eps: c.rms_norm_eps }

    const blocks = layer(c.num_hidden_layers, 'model.layers', (x: Tensor<'batch' | 'seq' | 'embed'>, p) => {
      const h = rmsNorm(x, p.param('input_layernorm.weight', [embed]), normal)
      const q = rope(linear(h, p, 'self_attn.q_proj', [[kv, group, dim], embed], { bias: true }), rotary)
      const k = rope(linear(h, p, 'self_attn.k_proj', [[kv, dim], embed], { bias: true }), rotary)
      const v = linear(h, p, 'self_attn.v_proj', [[kv, dim], embed], { bias: true })
      const attended = attend(q, rename(k, seq, key), rename(v, seq, key), {
        over: dim,
        keys: key,
        mask: causal(),
        scale: 1 / Math.sqrt(c.head_dim),
      })
      const y = add(x, linear(attended, p, 'self_attn.o_proj', [embed, [kv, group, dim]]))
      const z = rmsNorm(y, p.param('post_attention_layernorm.weight', [embed]), normal)
      const gate = silu(linear(z, p, 'mlp.gate_proj', [mlp, embed]))
      const up = linear(z, p, 'mlp.up_proj', [mlp, embed])
      return add(y, linear(mul(gate, up), p, 'mlp.down_proj', [embed, mlp]))
    })

    const words = p.param('model.embed_tokens.weight', [vocab, embed])
    return causalLM({
      vocabulary: vocab,
      embed: (tokens) => embedding(words, tokens, vocab),
      blocks,
      norm: (x) => rmsNorm(x, p.param('model.norm.weight', [embed]), normal),
      head: c.tie_word_embeddings ? tied(words, embed) : untied(p, 'lm_head', vocab, embed),
    })
  },
  {
    readConfig: readQwen2Config,
    targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  },
)
