// GPT-2 (Radford et al. 2019) of any size, under the names and layouts of transformers' GPT2LMHeadModel. Knows no file.
// The dropouts of its pretraining (`*_pdrop`) are not part of it: what regularises a fine-tuning is the recipe's.

import { z } from 'zod'
import { add, attend, axis, causal, causalLM, defineModel, embedding, gelu, key, layer } from '../dsl/index.ts'
import { layerNorm, linear, pick, positionEmbedding, rename, seq, tied, untied } from '../dsl/index.ts'
import type { GeluForm, ParameterScope, Tensor } from '../dsl/index.ts'
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

const schema = z.looseObject({
  vocab_size: size,
  n_positions: size,
  n_embd: size,
  n_layer: layerCount,
  n_head: size,
  n_inner: size.nullish(),
  activation_function: word.default('gelu_new'),
  layer_norm_epsilon: positiveNumber.default(1e-5),
  tie_word_embeddings: flag.default(true),
  scale_attn_weights: flag.default(true),
  scale_attn_by_inverse_layer_idx: flag.default(false),
  reorder_and_upcast_attn: flag.default(false),
  add_cross_attention: flag.default(false),
})

/** What of a GPT-2's config.json its graph depends on. */
export interface Gpt2Config {
  readonly vocab_size: number
  readonly n_positions: number
  readonly n_embd: number
  readonly n_layer: number
  readonly n_head: number
  readonly n_inner: number
  readonly activation: GeluForm
  readonly layer_norm_epsilon: number
  readonly tie_word_embeddings: boolean
  readonly scale_attn_weights: boolean
}

const activations = new Map<string, GeluForm>([
  ['gelu_new', 'tanh'],
  ['gelu_pytorch_tanh', 'tanh'],
  ['gelu', 'erf'],
])

/** Checks a parsed config.json. UserError HD107 for a wrong key, HD108 for a setting this model does not have. */
export function readGpt2Config(json: unknown, file: string): Gpt2Config {
  requireType(json, file, 'gpt2')
  const c = checkConfig(schema, json, file)
  const activation = activations.get(c.activation_function)
  for (const name of ['scale_attn_by_inverse_layer_idx', 'reorder_and_upcast_attn', 'add_cross_attention'] as const) {
    refuseUnless(!c[name], file, name, `GPT-2 with ${name} is not supported`)
  }
  if (activation === undefined) {
    refuseUnless(
      false,
      file,
      'activation_function',
      `GPT-2 with the activation '${c.activation_function}' is not supported`,
    )
  }
  requireFit(c.n_embd % c.n_head === 0, file, 'n_head', `n_embd ${c.n_embd} is not a multiple of n_head ${c.n_head}`)
  return { ...c, activation: activation ?? 'tanh', n_inner: c.n_inner ?? 4 * c.n_embd }
}

export const gpt2 = defineModel(
  'gpt2',
  (c: Gpt2Config, p) => {
    const embed = axis('embed', c.n_embd)
    const vocab = axis('vocab', c.vocab_size)
    const position = axis('position', c.n_positions)
    const mlp = axis('mlp', c.n_inner)
    const qkv = axis('qkv', 3)
    const head = axis('head', c.n_head)
    const dim = axis('head_dim', c.n_embd / c.n_head)

    const norm = (x: Tensor<'batch' | 'seq' | 'embed'>, scope: ParameterScope) =>
      layerNorm(x, scope.param('weight', [embed]), scope.param('bias', [embed]), {
        over: embed,
        eps: c.layer_norm_epsilon,
      })

    const blocks = layer(c.n_layer, 'transformer.h', (x: Tensor<'batch' | 'seq' | 'embed'>, p) => {
      const normed = norm(x, p.within('ln_1'))
      const fused = linear(normed, p, 'attn.c_attn', [embed, [qkv, head, dim]], { bias: true })
      const q = pick(fused, qkv, 0)
      const k = rename(pick(fused, qkv, 1), seq, key)
      const v = rename(pick(fused, qkv, 2), seq, key)
      const scale = c.scale_attn_weights ? 1 / Math.sqrt(dim.size) : 1
      const attended = attend(q, k, v, { over: dim, keys: key, mask: causal(), scale })
      const middle = add(x, linear(attended, p, 'attn.c_proj', [[head, dim], embed], { bias: true }))
      const wide = linear(norm(middle, p.within('ln_2')), p, 'mlp.c_fc', [embed, mlp], { bias: true })
      return add(middle, linear(gelu(wide, c.activation), p, 'mlp.c_proj', [mlp, embed], { bias: true }))
    })

    const words = p.param('transformer.wte.weight', [vocab, embed])
    const positions = p.param('transformer.wpe.weight', [position, embed])
    return causalLM({
      vocabulary: vocab,
      embed: (tokens) => add(embedding(words, tokens, vocab), positionEmbedding(positions, position, seq)),
      blocks,
      norm: (x) => norm(x, p.within('transformer.ln_f')),
      head: c.tie_word_embeddings ? tied(words, embed) : untied(p, 'lm_head', vocab, embed),
    })
  },
  { readConfig: readGpt2Config, targets: ['c_attn', 'c_fc', 'c_proj'] },
)
