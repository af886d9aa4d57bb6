// An architecture that models/ lacks, added as a researcher would: OLMo 2 (OLMo Team 2024), one definition in the language
// and nothing else, held against transformers and PEFT. Norms stand behind attention and MLP instead of before them, and
// queries and keys are normalised over the whole projection.

import assert from 'node:assert/strict'
import { simplify } from '../../compiler/transform/simplify.ts'
import { add, attend, axis, causal, causalLM, defineModel, embedding, key, layer, linear } from '../../dsl/index.ts'
import { mul, rename, rmsNorm, rope, seq, silu, split, untied } from '../../dsl/index.ts'
import type { ModelDefinition, ParameterScope, Tensor } from '../../dsl/index.ts'
import { continuationsOf, continueText, openText } from '../generate/fixture.ts'
import { oracleCase } from '../support/oracle.ts'
import { openTrainCase } from '../support/trainCase.ts'
import { checkGraph } from '../transform/graphTruth.ts'
import { traceCase } from '../transform/oracleModel.ts'
import { checkCurve, checkGradients, checkLogits, forgetGradients, predictedLogits, trainingFunctions } from '../truth/comparing.ts' // prettier-ignore

interface Olmo2Config {
  readonly vocab_size: number
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly num_hidden_layers: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly rms_norm_eps: number
  readonly rope_parameters: { readonly rope_theta: number }
}

const olmo2 = defineModel('olmo2', (c: Olmo2Config, p) => {
  const embed = axis('embed', c.hidden_size)
  const vocab = axis('vocab', c.vocab_size)
  const mlp = axis('mlp', c.intermediate_size)
  const kv = axis('kv_head', c.num_key_value_heads)
  const group = axis('group', c.num_attention_heads / c.num_key_value_heads)
  const dim = axis('head_dim', c.hidden_size / c.num_attention_heads)
  const queries = axis('queries', kv.size * group.size * dim.size)
  const keys = axis('keys', kv.size * dim.size)
  const eps = c.rms_norm_eps
  const rotary = { over: dim, at: seq, theta: c.rope_parameters.rope_theta }
  const norm = (x: Tensor<'batch' | 'seq' | 'embed'>, p: ParameterScope, name: string) =>
    rmsNorm(x, p.param(`${name}.weight`, [embed]), { over: embed, eps })

  const blocks = layer(c.num_hidden_layers, 'model.layers', (x: Tensor<'batch' | 'seq' | 'embed'>, p) => {
    const wide = linear(x, p, 'self_attn.q_proj', [queries, embed])
    const narrow = linear(x, p, 'self_attn.k_proj', [keys, embed])
    const q = rmsNorm(wide, p.param('self_attn.q_norm.weight', [queries]), { over: queries, eps })
    const k = rmsNorm(narrow, p.param('self_attn.k_norm.weight', [keys]), { over: keys, eps })
    const v = rename(linear(x, p, 'self_attn.v_proj', [[kv, dim], embed]), seq, key)
    const turnedQ = rope(split(q, queries, [kv, group, dim]), rotary)
    const turnedK = rename(rope(split(k, keys, [kv, dim]), rotary), seq, key)
    const a = attend(turnedQ, turnedK, v, { over: dim, keys: key, mask: causal(), scale: dim.size ** -0.5 })
    const mixed = linear(a, p, 'self_attn.o_proj', [embed, [kv, group, dim]])
    const y = add(x, norm(mixed, p, 'post_attention_layernorm'))
    const gate = silu(linear(y, p, 'mlp.gate_proj', [mlp, embed]))
    const folded = linear(mul(gate, linear(y, p, 'mlp.up_proj', [mlp, embed])), p, 'mlp.down_proj', [embed, mlp])
    return add(y, norm(folded, p, 'post_feedforward_layernorm'))
  })

  const words = p.param('model.embed_tokens.weight', [vocab, embed])
  return causalLM({
    vocabulary: vocab,
    embed: (tokens) => embedding(words, tokens, vocab),
    blocks,
    norm: (x) => norm(x, p, 'model.norm'),
    head: untied(p, 'lm_head', vocab, embed),
  })
})

const definition = olmo2 as ModelDefinition<unknown>

describe("an architecture of one's own", function () {
  this.timeout(240_000)
  for (const name of ['olmo2-small/full', 'olmo2-small/lora']) {
    it(`has the loss and every gradient: ${name}`, () => {
      checkGraph(traceCase(oracleCase(name), undefined, definition), [simplify()])
    })
  }

  it('has logits, gradients and the curve of 30 steps through the whole pipeline', async () => {
    const oracle = oracleCase('olmo2-small/lora')
    const options = { toolchain: 'wasm', optimise: 'light', threads: 2, functions: trainingFunctions } as const
    const open = await openTrainCase(oracle, { definition, ...options })
    try {
      checkLogits(await predictedLogits(oracle, open.session), oracle.logits)
      await checkGradients(oracle, open)
      await forgetGradients(open)
      await checkCurve(oracle, open)
    } finally {
      await open.session.close()
    }
  })

  it('continues a prompt over 64 tokens as transformers does, with keys and values kept', async () => {
    const { prompt, greedy } = continuationsOf('olmo2-small')
    const session = await openText('olmo2-small', { toolchain: 'wasm', definition, length: 16, kept: 80 })
    assert.deepEqual(await continueText(session, { prompt, count: 64, chunk: 16 }), greedy)
    await session.close()
  })
})
