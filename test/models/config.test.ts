// Configurations are checked, not trusted: wrong keys and settings without support are named; and what a model makes of
// its configuration, modules and graph, is as the checkpoint's own layout says.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { UserError } from '../../compiler/diagnostic.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import { valueNamer } from '../../compiler/frontend/names.ts'
import { gpt2, modelFor, qwen2, readGpt2Config, readQwen2Config } from '../../models/index.ts'
import { axis, causalLM, defineModel, dropout, embedding, layer, rmsNorm, tied } from '../../dsl/index.ts'
import type { Tensor, TracedModel } from '../../dsl/index.ts'
import { golden } from '../support/golden.ts'

const gpt2Json = { model_type: 'gpt2', vocab_size: 7, n_positions: 8, n_embd: 6, n_layer: 1, n_head: 2 }
const qwen2Json = {
  model_type: 'qwen2',
  vocab_size: 7,
  hidden_size: 8,
  intermediate_size: 5,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
}

function sentence(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof UserError, String((error as Error).stack))
    return error.sentence
  }
  assert.fail('nothing was refused')
}

describe('config.json of GPT-2', () => {
  const read = (change: object) => () => readGpt2Config({ ...gpt2Json, ...change }, 'config.json')

  it('has the defaults of transformers, and passes unknown keys', () => {
    const config = read({ summary_type: 'cls_index', n_inner: null })()
    assert.equal(config.n_inner, 24)
    assert.equal(config.activation, 'tanh')
    assert.equal(config.layer_norm_epsilon, 1e-5)
    assert.equal(config.tie_word_embeddings, true)
    assert.equal(read({ activation_function: 'gelu' })().activation, 'erf')
  })

  it('names a wrong key and refuses what it does not have', () => {
    const sentences = [
      read({ n_embd: '6' }),
      read({ n_layer: 1e9 }),
      read({ vocab_size: 0 }),
      read({ n_head: 4 }),
      read({ vocab_size: undefined }),
      read({ activation_function: 'relu' }),
      read({ activation_function: 'two\nlines' }),
      read({ scale_attn_by_inverse_layer_idx: true }),
      read({ reorder_and_upcast_attn: true }),
      read({ add_cross_attention: true }),
      () => readGpt2Config([], 'config.json'),
      () => readGpt2Config(null, 'config.json'),
    ].map((act) => `${sentence(act)}\n`)
    golden('models/gpt2-config.txt', sentences.join(''))
  })
})

describe('config.json of Qwen2', () => {
  const read = (change: object) => () => readQwen2Config({ ...qwen2Json, ...change }, 'config.json')

  it('finds theta where either generation of transformers writes it', () => {
    assert.equal(read({})().rotary.theta, 10_000)
    assert.equal(read({ rope_theta: 5e5 })().rotary.theta, 5e5)
    assert.equal(read({ rope_parameters: { rope_theta: 1e6, rope_type: 'default' } })().rotary.theta, 1e6)
    assert.equal(read({ head_dim: undefined })().head_dim, 2)
    assert.equal(read({ num_key_value_heads: undefined })().num_key_value_heads, 4)
  })

  it('names a wrong key and refuses what it does not have', () => {
    const sentences = [
      read({ hidden_size: 1.5 }),
      read({ rms_norm_eps: -1 }),
      read({ num_key_value_heads: 3 }),
      read({ head_dim: 3 }),
      read({ head_dim: undefined, hidden_size: 9 }),
      read({ hidden_act: 'gelu' }),
      read({ use_sliding_window: true }),
      read({ layer_types: ['sliding_attention'] }),
      read({ rope_scaling: { type: 'dynamic', factor: 4 } }),
      read({ rope_scaling: { type: 'yarn', factor: 4 } }),
      read({ rope_parameters: { rope_type: 'llama3' } }),
      read({ rope_theta: 'large' }),
    ].map((act) => `${sentence(act)}\n`)
    golden('models/qwen2-config.txt', sentences.join(''))
  })
})

describe('any configuration', () => {
  it('gives a configuration or one sentence, whatever the values', () => {
    const value = fc.oneof(fc.anything(), fc.integer(), fc.constantFrom(...Object.values(qwen2Json)))
    const keys = [
      ...Object.keys(gpt2Json),
      ...Object.keys(qwen2Json),
      'rope_parameters',
      'rope_scaling',
      'layer_types',
      'hidden_act',
    ]
    const changes = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 3 })
    fc.assert(
      fc.property(changes, (change) => {
        for (const json of [gpt2Json, qwen2Json]) {
          try {
            const changed = { ...json, ...change }
            modelFor(changed, 'config.json').readConfig(changed, 'config.json')
          } catch (error) {
            assert.ok(error instanceof UserError, String(error))
            assert.doesNotMatch(error.sentence, /\n/)
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  it('finds its model by model_type', () => {
    assert.equal(modelFor(gpt2Json, 'c').name, 'gpt2')
    assert.equal(modelFor(qwen2Json, 'c').name, 'qwen2')
    assert.match(
      sentence(() => modelFor({ model_type: 'mamba' }, 'c')),
      /^HD108 c \(key "model_type"\) the architecture "mamba"/,
    )
    assert.match(
      sentence(() => modelFor({}, 'c')),
      /'model_type' is missing/,
    )
  })
})

const options = { sequences: 2, length: 5 }
const traced: Record<string, () => TracedModel> = {
  gpt2: () => gpt2.trace(readGpt2Config(gpt2Json, 'c'), { ...options, names: valueNamer() }),
  qwen2: () => qwen2.trace(readQwen2Config(qwen2Json, 'c'), { ...options, names: valueNamer() }),
}

describe('traced models', () => {
  for (const [name, trace] of Object.entries(traced)) {
    it(`${name} prints as the golden says, with the names its author gave`, () => {
      const { graph, provenance } = trace()
      golden(`models/${name}.graph`, printGraph(graph, provenance))
    })

    it(`${name} has a place in its own file for every node that is no constant of the language`, () => {
      const { graph, provenance } = trace()
      for (const fn of graph.functions) {
        for (const node of topological(rootsOf(fn))) {
          assert.match(provenance.place(node)?.file ?? '', new RegExp(`models/${name}\\.ts$`), `${node.op} ${node.id}`)
        }
      }
    })

    it(`${name} lists its linear modules with both sides in stored order`, () => {
      const lines = trace().modules.map(({ path, weight, inputs, outputs, storedTransposed }) => {
        const side = (axes: typeof inputs) => axes.map((axis) => axis.name).join(' ')
        return `${path} ${weight.slice(path.length)} in(${side(inputs)}) out(${side(outputs)}) ${storedTransposed}\n`
      })
      golden(`models/${name}.modules`, lines.join(''))
    })
  }

  it('grow by the same number of nodes with every layer', () => {
    const count = (layers: number): number => {
      const config = readQwen2Config({ ...qwen2Json, num_hidden_layers: layers }, 'c')
      const [loss] = qwen2.trace(config, options).graph.functions
      return loss ? topological(rootsOf(loss)).length : 0
    }
    const [one, two, three] = [count(1), count(2), count(3)]
    assert.equal(three - two, two - one)
    assert.ok(two > one)
  })

  it('take their storage types from the checkpoint', () => {
    const storedDType = (name: string) => (name.endsWith('q_proj.weight') ? 'bf16' : 'f16')
    const { graph } = qwen2.trace(readQwen2Config(qwen2Json, 'c'), { ...options, storedDType })
    assert.equal(graph.declarations.get('model.layers.0.self_attn.q_proj.weight')?.dtype, 'bf16')
    assert.equal(graph.declarations.get('model.norm.weight')?.dtype, 'f16')
  })

  it('refuse more tokens than GPT-2 has positions', () => {
    const long = () => gpt2.trace(readGpt2Config(gpt2Json, 'c'), { sequences: 1, length: 9 })
    assert.match(
      sentence(long),
      /models\/gpt2\.ts:\d+:\d+ positionEmbedding: 'seq' has up to 9 places and the table only 8/,
    )
  })

  it('trace an untied GPT-2 and a tied Qwen2 too', () => {
    const untied = gpt2.trace(readGpt2Config({ ...gpt2Json, tie_word_embeddings: false }, 'c'), options)
    assert.ok(untied.graph.declarations.has('lm_head.weight'))
    assert.equal(untied.modules.at(-1)?.path, 'lm_head')
    const tied = qwen2.trace(readQwen2Config({ ...qwen2Json, tie_word_embeddings: true }, 'c'), options)
    assert.ok(!tied.graph.declarations.has('lm_head.weight'))
  })

  it('drop out in the loss and never in a prediction', () => {
    const noisy = defineModel('noisy', (_config: undefined, p) => {
      const vocab = axis('vocab', 7)
      const embed = axis('embed', 4)
      const table = p.param('table', [vocab, embed])
      const blocks = layer(2, 'h', (x: Tensor<'batch' | 'seq' | 'embed'>, p) =>
        dropout(rmsNorm(x, p.param('weight', [embed]), { over: embed, eps: 1e-6 }), 0.1),
      )
      const embedded = (tokens: Tensor<'batch' | 'seq', 'i32'>) => embedding(table, tokens, vocab)
      return causalLM({ vocabulary: vocab, embed: embedded, blocks, norm: (x) => x, head: tied(table, embed) })
    })
    const { graph, streams } = noisy.trace(undefined, options)
    const draws = graph.functions.map((fn) => topological(rootsOf(fn)).filter((node) => isOp(node, 'random')).length)
    assert.deepEqual(draws, [2, 0, 0])
    assert.equal(streams, 2)
  })

  it('predict from one position only: no logits of the others are made', () => {
    const { graph } = traced.qwen2?.() ?? assert.fail()
    const predict = graph.functions.find((fn) => fn.name === 'predict') ?? assert.fail()
    for (const node of topological(rootsOf(predict))) {
      const names = node.axes.map((one) => one.name)
      assert.ok(!(names.includes('seq') && names.includes('vocab')), `${node.op} lies on ${names.join(', ')}`)
    }
  })
})
