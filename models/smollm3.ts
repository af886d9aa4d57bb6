// SmolLM3 (Hugging Face 2025) under the names and layouts of transformers' SmolLM3ForCausalLM: Llama, in which some layers
// turn neither queries nor keys by their positions (Yang et al. 2025, "RoPE to NoPE and back again"). Knows no file.

import { z } from 'zod'
import { add, attend, causal, causalLM, defineModel, embedding, key, layer, linear } from '../dsl/index.ts'
import { mul, rename, rmsNorm, rope, seq, silu, tied, untied } from '../dsl/index.ts'
import type { Tensor } from '../dsl/index.ts'
import { checkConfig, flag, layerCount, requireFit, requireType, word } from './config.ts'
import {
  decoderAxes,
  decoderKeys,
  decoderTargets,
  readHeads,
  readRotary,
  refuseOtherActivations,
  refuseWindows,
} from './decoder.ts'
import type { DecoderConfig, Rotary } from './decoder.ts'

const schema = z.looseObject({
  ...decoderKeys,
  num_key_value_heads: decoderKeys.num_key_value_heads.default(4),
  hidden_act: word.default('silu'),
  attention_bias: flag.default(false),
  mlp_bias: flag.default(false),
  tie_word_embeddings: flag.default(true),
  no_rope_layers: z.array(z.int().min(0).max(1)).max(1024).nullish(),
  no_rope_layer_interval: layerCount.default(4),
  use_sliding_window: flag.default(false),
  layer_types: z.array(word).nullish(),
})

/** What of a SmolLM3's config.json its graph depends on. */
export interface SmolLM3Config extends DecoderConfig {
  readonly rotary: Rotary
  readonly attention_bias: boolean
  readonly mlp_bias: boolean
  readonly tie_word_embeddings: boolean
  /** For each layer, whether its queries and keys are rotated. */
  readonly rotates: readonly boolean[]
}

/** Checks a parsed config.json. UserError HD107 for a wrong key, HD108 for a setting this model does not have. */
export function readSmolLM3Config(json: unknown, file: string): SmolLM3Config {
  requireType(json, file, 'smollm3')
  const c = checkConfig(schema, json, file)
  refuseOtherActivations(c.hidden_act, 'silu', 'SmolLM3', file, 'hidden_act')
  refuseWindows(c, 'SmolLM3', file)
  const layers = c.num_hidden_layers
  // A 1 in `no_rope_layers` is a layer with rotation, whatever its name says.
  const listed = c.no_rope_layers?.map((one) => one === 1)
  const enough = listed === undefined || listed.length >= layers
  requireFit(enough, file, 'no_rope_layers', `there are ${listed?.length} entries for ${layers} layers`)
  const byInterval = Array.from({ length: layers }, (_, index) => (index + 1) % c.no_rope_layer_interval !== 0)
  const rotates = (listed ?? byInterval).slice(0, layers)
  return { ...readHeads(c, file), rotary: readRotary(c, 2_000_000, file), rotates }
}

export const smollm3 = defineModel(
  'smollm3',
  (c: SmolLM3Config, p) => {
    const { embed, vocab, mlp, kv, group, dim } = decoderAxes(c)
    const rotary = { over: dim, at: seq, ...c.rotary }
    const normal = { over: embed, eps: c.rms_norm_eps }
    const attention = { bias: c.attention_bias }
    const gated = { bias: c.mlp_bias }

    const blocks = layer(c.rotates, 'model.layers', (x: Tensor<'batch' | 'seq' | 'embed'>, p, rotates) => {
      const h = rmsNorm(x, p.param('input_layernorm.weight', [embed]), normal)
      const queries = linear(h, p, 'self_attn.q_proj', [[kv, group, dim], embed], attention)
      const keys = linear(h, p, 'self_attn.k_proj', [[kv, dim], embed], attention)
      const q = rotates ? rope(queries, rotary) : queries
      const k = rotates ? rope(keys, rotary) : keys
      const v = linear(h, p, 'self_attn.v_proj', [[kv, dim], embed], attention)
      const attended = attend(q, rename(k, seq, key), rename(v, seq, key), {
        over: dim,
        keys: key,
        mask: causal(),
        scale: 1 / Math.sqrt(c.head_dim),
      })
      const y = add(x, linear(attended, p, 'self_attn.o_proj', [embed, [kv, group, dim]], attention))
      const z = rmsNorm(y, p.param('post_attention_layernorm.weight', [embed]), normal)
      const gate = silu(linear(z, p, 'mlp.gate_proj', [mlp, embed], gated))
      const up = linear(z, p, 'mlp.up_proj', [mlp, embed], gated)
      return add(y, linear(mul(gate, up), p, 'mlp.down_proj', [embed, mlp], gated))
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
  { readConfig: readSmolLM3Config, targets: decoderTargets },
)
