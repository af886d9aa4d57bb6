// Qwen3 (Yang et al. 2025), the dense models of any size, under the names and layouts of transformers' Qwen3ForCausalLM:
// Qwen2 with norms on each head's queries and keys. Knows no file.

import { z } from 'zod'
import { add, attend, causal, causalLM, defineModel, embedding, key, layer, linear } from '../dsl/index.ts'
import { mul, rename, rmsNorm, rope, seq, silu, tied, untied } from '../dsl/index.ts'
import type { Tensor } from '../dsl/index.ts'
import { checkConfig, flag, requireType, word } from './config.ts'
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
  head_dim: decoderKeys.head_dim.default(128),
  hidden_act: word.default('silu'),
  attention_bias: flag.default(false),
  tie_word_embeddings: flag.default(false),
  use_sliding_window: flag.default(false),
  layer_types: z.array(word).nullish(),
})

/** What of a Qwen3's config.json its graph depends on. */
export interface Qwen3Config extends DecoderConfig {
  readonly rotary: Rotary
  readonly attention_bias: boolean
  readonly tie_word_embeddings: boolean
}

/** Checks a parsed config.json. UserError HD107 for a wrong key, HD108 for a setting this model does not have. */
export function readQwen3Config(json: unknown, file: string): Qwen3Config {
  requireType(json, file, 'qwen3')
  const c = checkConfig(schema, json, file)
  refuseOtherActivations(c.hidden_act, 'silu', 'Qwen3', file, 'hidden_act')
  refuseWindows(c, 'Qwen3', file)
  return { ...readHeads(c, file), rotary: readRotary(c, 10_000, file) }
}

export const qwen3 = defineModel(
  'qwen3',
  (c: Qwen3Config, p) => {
    const { embed, vocab, mlp, kv, group, dim } = decoderAxes(c)
    const rotary = { over: dim, at: seq, ...c.rotary }
    const normal = { over: embed, eps: c.rms_norm_eps }
    const headNormal = { over: dim, eps: c.rms_norm_eps }
    const biased = { bias: c.attention_bias }

    const blocks = layer(c.num_hidden_layers, 'model.layers', (x: Tensor<'batch' | 'seq' | 'embed'>, p) => {
      const h = rmsNorm(x, p.param('input_layernorm.weight', [embed]), normal)
      const queries = linear(h, p, 'self_attn.q_proj', [[kv, group, dim], embed], biased)
      const keys = linear(h, p, 'self_attn.k_proj', [[kv, dim], embed], biased)
      const q = rope(rmsNorm(queries, p.param('self_attn.q_norm.weight', [dim]), headNormal), rotary)
      const k = rope(rmsNorm(keys, p.param('self_attn.k_norm.weight', [dim]), headNormal), rotary)
      const v = linear(h, p, 'self_attn.v_proj', [[kv, dim], embed], biased)
      const attended = attend(q, rename(k, seq, key), rename(v, seq, key), {
        over: dim,
        keys: key,
        mask: causal(),
        scale: 1 / Math.sqrt(c.head_dim),
      })
      const y = add(x, linear(attended, p, 'self_attn.o_proj', [embed, [kv, group, dim]], biased))
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
  { readConfig: readQwen3Config, targets: decoderTargets },
)
