// Gemma 3 (Gemma Team 2025), its language model of any size, under the names and layouts of transformers'
// Gemma3ForCausalLM, or of the language model inside Gemma3ForConditionalGeneration. Layers that see a window alternate with
// layers that see everything, each kind with its own rotation. Knows no file.

import { z } from 'zod'
import { add, attend, causal, causalLM, defineModel, embedding, gelu, key, layer, linear } from '../dsl/index.ts'
import { mul, rename, rmsNorm, rope, roundedAs, seq, sliding, tied, untied } from '../dsl/index.ts'
import type { ParameterScope, Tensor } from '../dsl/index.ts'
import {
  checkConfig,
  flag,
  layerCount,
  positiveNumber,
  refuseUnless,
  requireFit,
  requireType,
  size,
  word,
} from './config.ts'
import {
  decoderAxes,
  decoderKeys,
  decoderTargets,
  readHeads,
  refuseOtherActivations,
  rotaryOf,
  rotarySchema,
} from './decoder.ts'
import type { DecoderConfig, Rotary } from './decoder.ts'

/** A layer that sees everything before it, or a window. */
export type Gemma3Layer = 'full_attention' | 'sliding_attention'

// The defaults are those of transformers: the configuration inside a larger one leaves out what equals them.
const schema = z.looseObject({
  ...decoderKeys,
  vocab_size: size.default(262_208),
  hidden_size: size.default(2304),
  intermediate_size: size.default(9216),
  num_hidden_layers: layerCount.default(26),
  num_attention_heads: size.default(8),
  num_key_value_heads: size.default(4),
  head_dim: decoderKeys.head_dim.default(256),
  max_position_embeddings: size.default(131_072),
  rope_parameters: z
    .looseObject({ full_attention: rotarySchema.nullish(), sliding_attention: rotarySchema.nullish() })
    .nullish(),
  rope_local_base_freq: positiveNumber.nullish(),
  hidden_activation: word.default('gelu_pytorch_tanh'),
  query_pre_attn_scalar: positiveNumber.default(256),
  attention_bias: flag.default(false),
  tie_word_embeddings: flag.default(true),
  sliding_window: size.default(4096),
  sliding_window_pattern: layerCount.nullish(),
  layer_types: z.array(word).nullish(),
  attn_logit_softcapping: z.number().nullish(),
  final_logit_softcapping: z.number().nullish(),
  use_bidirectional_attention: flag.nullish(),
})
const nested = z.looseObject({ text_config: z.looseObject({}).optional(), tie_word_embeddings: flag.optional() })

/** What of a Gemma 3's config.json its graph depends on. */
export interface Gemma3Config extends DecoderConfig {
  /** Path of the language model in the checkpoint. */
  readonly path: string
  readonly layers: readonly Gemma3Layer[]
  readonly rotary: Readonly<Record<Gemma3Layer, Rotary>>
  readonly sliding_window: number
  readonly query_pre_attn_scalar: number
  readonly attention_bias: boolean
  readonly tie_word_embeddings: boolean
}

/**
 * Checks a parsed config.json, that of the language model or one that holds it in `text_config`. UserError HD107 for a
 * wrong key, HD108 for a setting this model does not have.
 */
export function readGemma3Config(json: unknown, file: string): Gemma3Config {
  requireType(json, file, 'gemma3', 'gemma3_text')
  const outer = checkConfig(nested, json, file)
  if (outer.text_config === undefined) return readText(json, file, 'model')
  const text = { ...outer.text_config, tie_word_embeddings: outer.tie_word_embeddings }
  return readText(text, file, 'model.language_model')
}

function readText(json: unknown, file: string, path: string): Gemma3Config {
  const c = checkConfig(schema, json, file)
  refuseOtherActivations(c.hidden_activation, 'gelu_pytorch_tanh', 'Gemma 3', file, 'hidden_activation')
  for (const name of ['attn_logit_softcapping', 'final_logit_softcapping'] as const) {
    refuseUnless(c[name] == null, file, name, `Gemma 3 with ${name} is not supported`)
  }
  const key = 'use_bidirectional_attention'
  refuseUnless(c[key] !== true, file, key, 'Gemma 3 that sees what comes after is not supported')
  // `rope_scaling` is of the older spelling, in which it speaks of the layers that see everything.
  const full = { ...c.rope_parameters?.full_attention, ...c.rope_scaling }
  const window = { ...c.rope_parameters?.sliding_attention }
  const spelling = c.rope_scaling ? 'rope_scaling' : 'rope_parameters'
  const longest = c.max_position_embeddings
  const rotary = {
    full_attention: rotaryOf(full, c.rope_theta ?? 1_000_000, longest, file, spelling),
    sliding_attention: rotaryOf(window, c.rope_local_base_freq ?? 10_000, longest, file, 'rope_parameters'),
  }
  return { ...readHeads({ ...c, rope_parameters: undefined }, file), path, rotary, layers: readLayers(c, file) }
}

function readLayers(c: z.output<typeof schema>, file: string): readonly Gemma3Layer[] {
  const count = c.num_hidden_layers
  const types = c.layer_types
  if (types == null) {
    const pattern = c.sliding_window_pattern ?? 6
    return Array.from({ length: count }, (_, index) =>
      (index + 1) % pattern === 0 ? 'full_attention' : 'sliding_attention',
    )
  }
  requireFit(types.length === count, file, 'layer_types', `there are ${types.length} kinds for ${count} layers`)
  return types.map((type) => {
    if (type === 'full_attention' || type === 'sliding_attention') return type
    refuseUnless(false, file, 'layer_types', `Gemma 3 with layers of '${type}' is not supported`)
    return 'full_attention'
  })
}

export const gemma3 = defineModel(
  'gemma3',
  (c: Gemma3Config, p) => {
    const { embed, vocab, mlp, kv, group, dim } = decoderAxes(c)
    const biased = { bias: c.attention_bias }
    const masks = { full_attention: causal(), sliding_attention: sliding(c.sliding_window) }

    // What is stored is by how much the scale exceeds 1.
    const norm = (x: Tensor<'batch' | 'seq' | 'embed'>, p: ParameterScope, name: string) =>
      rmsNorm(x, add(p.param(`${name}.weight`, [embed]), 1), { over: embed, eps: c.rms_norm_eps })
    const headNorm = (p: ParameterScope, name: string) => add(p.param(`self_attn.${name}.weight`, [dim]), 1)
    const headNormal = { over: dim, eps: c.rms_norm_eps }

    const blocks = layer(c.layers, `${c.path}.layers`, (x: Tensor<'batch' | 'seq' | 'embed'>, p, kind) => {
      const rotary = { over: dim, at: seq, ...c.rotary[kind] }
      const h = norm(x, p, 'input_layernorm')
      const queries = linear(h, p, 'self_attn.q_proj', [[kv, group, dim], embed], biased)
      const keys = linear(h, p, 'self_attn.k_proj', [[kv, dim], embed], biased)
      const q = rope(rmsNorm(queries, headNorm(p, 'q_norm'), headNormal), rotary)
      const k = rope(rmsNorm(keys, headNorm(p, 'k_norm'), headNormal), rotary)
      const v = linear(h, p, 'self_attn.v_proj', [[kv, dim], embed], biased)
      const attended = attend(q, rename(k, seq, key), rename(v, seq, key), {
        over: dim,
        keys: key,
        mask: masks[kind],
        scale: 1 / Math.sqrt(c.query_pre_attn_scalar),
      })
      const mixed = linear(attended, p, 'self_attn.o_proj', [embed, [kv, group, dim]], biased)
      const y = add(x, norm(mixed, p, 'post_attention_layernorm'))
      const z = norm(y, p, 'pre_feedforward_layernorm')
      const gate = gelu(linear(z, p, 'mlp.gate_proj', [mlp, embed]), 'tanh')
      const up = linear(z, p, 'mlp.up_proj', [mlp, embed])
      const folded = linear(mul(gate, up), p, 'mlp.down_proj', [embed, mlp])
      return add(y, norm(folded, p, 'post_feedforward_layernorm'))
    })

    const words = p.param(`${c.path}.embed_tokens.weight`, [vocab, embed])
    // transformers keeps this constant in the type of the weights.
    const scale = roundedAs(words, Math.sqrt(c.hidden_size))
    return causalLM({
      vocabulary: vocab,
      embed: (tokens) => mul(embedding(words, tokens, vocab), scale),
      blocks,
      norm: (x) => norm(x, p, `${c.path}.norm`),
      head: c.tie_word_embeddings ? tied(words, embed) : untied(p, 'lm_head', vocab, embed),
    })
  },
  { readConfig: readGemma3Config, targets: decoderTargets },
)
