// Qwen2 and Qwen2.5 (Yang et al. 2024) of any size, under the names and layouts of transformers' Qwen2ForCausalLM.
// Grouped queries are one more axis. Knows no file.

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
  hidden_act: word.default('silu'),
  tie_word_embeddings: flag.default(false),
  use_sliding_window: flag.default(false),
  layer_types: z.array(word).nullish(),
})

/** What of a Qwen2's config.json its graph depends on. */
export interface Qwen2Config extends DecoderConfig {
  readonly rotary: Rotary
  readonly tie_word_embeddings: boolean
}

/** Checks a parsed config.json. UserError HD107 for a wrong key, HD108 for a setting this model does not have. */
export function readQwen2Config(json: unknown, file: string): Qwen2Config {
  requireType(json, file, 'qwen2')
  const c = checkConfig(schema, json, file)
  refuseOtherActivations(c.hidden_act, 'silu', 'Qwen2', file, 'hidden_act')
  refuseWindows(c, 'Qwen2', file)
  return { ...readHeads(c, file), rotary: readRotary(c, 10_000, file) }
}

export const qwen2 = defineModel(
  'qwen2',
  (c: Qwen2Config, p) => {
    const { embed, vocab, mlp, kv, group, dim } = decoderAxes(c)
    const rotary = { over: dim, at: seq, ...c.rotary }
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
    targets: decoderTargets,
  },
)
