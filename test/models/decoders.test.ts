// Configurations of Llama, Qwen3, SmolLM3 and Gemma 3: the published ones give models of the published sizes, both
// spellings mean the same, and what is not supported is refused.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { UserError } from '../../compiler/diagnostic.ts'
import { valueNamer } from '../../compiler/frontend/names.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import type { TracedModel } from '../../dsl/index.ts'
import { modelFor, readGemma3Config, readGpt2Config, readLlamaConfig, readQwen2Config, readQwen3Config, readSmolLM3Config } from '../../models/index.ts' // prettier-ignore
import { golden } from '../support/golden.ts'

type Json = Record<string, unknown>

function published(name: string): Json {
  return JSON.parse(readFileSync(new URL(`../fixtures/configs/${name}.json`, import.meta.url), 'utf8')) as Json
}

function trace(json: Json): TracedModel {
  const model = modelFor(json, 'config.json')
  const options = { sequences: 1, length: 1024, names: valueNamer() }
  return model.trace(model.readConfig(json, 'config.json'), options)
}

/** Nodes of the loss. */
function lossOf({ graph }: TracedModel): readonly Node[] {
  const [loss] = graph.functions
  return loss ? topological(rootsOf(loss)) : []
}

const tiny = {
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 5,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
}
const llama: Json = { model_type: 'llama', ...tiny }
const qwen3: Json = { model_type: 'qwen3', head_dim: 6, ...tiny }
const smollm3: Json = { model_type: 'smollm3', ...tiny }
const gemma3: Json = { model_type: 'gemma3_text', head_dim: 6, sliding_window: 3, sliding_window_pattern: 2, ...tiny }
const architectures = { llama, qwen3, smollm3, gemma3 }

describe('published configurations', () => {
  // What the publishers and `torch` on the meta device count; a tied head counts once.
  const sizes = {
    'gemma-3-270m': 268_098_176,
    'gemma-3-1b': 999_885_952,
    'gemma-3-4b': 3_880_263_168,
    'Qwen3-0.6B': 596_049_920,
    'Llama-3.2-1B': 1_235_814_400,
    'SmolLM2-135M': 134_515_008,
    'SmolLM3-3B': 3_075_098_624,
  }
  for (const [name, count] of Object.entries(sizes)) {
    it(`${name} has ${count.toLocaleString('en')} parameters`, () => {
      const { graph } = trace(published(name))
      const frozen = [...graph.declarations.values()].filter(({ role }) => role === 'frozen')
      const elements = frozen.map(({ stored }) => stored.flat().reduce((product, axis) => product * axis.size, 1))
      assert.equal(
        elements.reduce((a, b) => a + b),
        count,
      )
    })
  }

  it('alternate windows and everything in Gemma 3, each with a rotation of its own', () => {
    for (const [name, layers, scaling] of [
      ['gemma-3-270m', 18, undefined],
      ['gemma-3-1b', 26, undefined],
      ['gemma-3-4b', 34, { type: 'linear', factor: 8 }],
    ] as const) {
      const c = readGemma3Config(published(name), 'c')
      const everySixth = Array.from({ length: layers }, (_, i) =>
        i % 6 === 5 ? 'full_attention' : 'sliding_attention',
      )
      assert.deepEqual(c.layers, everySixth)
      assert.deepEqual(c.rotary, {
        full_attention: { theta: 1_000_000, scaling },
        sliding_attention: { theta: 10_000, scaling: undefined },
      })
      assert.equal(c.query_pre_attn_scalar, 256)
    }
    const nested = readGemma3Config(published('gemma-3-4b'), 'c')
    assert.deepEqual(
      [nested.path, nested.num_attention_heads, nested.num_key_value_heads, nested.head_dim, nested.sliding_window],
      ['model.language_model', 8, 4, 256, 1024],
    )
  })

  it('leave out every fourth rotation in SmolLM3, listed or by the interval', () => {
    const json = published('SmolLM3-3B')
    const everyFourth = Array.from({ length: 36 }, (_, index) => index % 4 !== 3)
    for (const no_rope_layers of [json['no_rope_layers'], null, undefined]) {
      assert.deepEqual(readSmolLM3Config({ ...json, no_rope_layers }, 'c').rotates, everyFourth)
    }
  })

  it('stretch the rotation of Llama 3.2 in its own way', () => {
    assert.deepEqual(readLlamaConfig(published('Llama-3.2-1B'), 'c').rotary, {
      theta: 500_000,
      scaling: { type: 'llama3', factor: 32, lowFrequency: 1, highFrequency: 4, originalLength: 8192 },
    })
  })
})

describe('both spellings of a configuration', () => {
  it('say the same of Gemma 3', () => {
    const newer = { full_attention: { rope_type: 'linear', factor: 8, rope_theta: 5e5 }, sliding_attention: { rope_theta: 100 } } // prettier-ignore
    const layer_types = ['sliding_attention', 'full_attention']
    const older = { rope_theta: 5e5, rope_local_base_freq: 100, rope_scaling: { rope_type: 'linear', factor: 8 } }
    const meant = (json: Json) => {
      const { rotary, layers } = readGemma3Config({ ...gemma3, sliding_window_pattern: undefined, ...json }, 'c')
      return { rotary, layers }
    }
    assert.deepEqual(meant({ layer_types, rope_parameters: newer }), meant({ sliding_window_pattern: 2, ...older }))
    assert.deepEqual(meant({ layer_types, rope_parameters: newer }), {
      rotary: {
        full_attention: { theta: 5e5, scaling: { type: 'linear', factor: 8 } },
        sliding_attention: { theta: 100, scaling: undefined },
      },
      layers: layer_types,
    })
  })

  it('say the same of Llama', () => {
    const scaled = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 }
    const rotaryOf = (json: Json) => readLlamaConfig({ ...llama, max_position_embeddings: 64, ...json }, 'c').rotary
    const newer = rotaryOf({ rope_parameters: { ...scaled, rope_theta: 700, original_max_position_embeddings: 64 } })
    assert.deepEqual(rotaryOf({ rope_scaling: scaled, rope_theta: 700 }), newer)
    assert.deepEqual(rotaryOf({ rope_parameters: null }), { theta: 10_000, scaling: undefined })
    const yarn = { type: 'yarn', factor: 4, original_max_position_embeddings: 32, beta_fast: 16 }
    assert.deepEqual(rotaryOf({ rope_scaling: yarn }).scaling, { type: 'yarn', factor: 4, originalLength: 32, betaFast: 16 }) // prettier-ignore
  })
})

describe('configurations that are refused', () => {
  function sentence(act: () => unknown): string {
    try {
      act()
    } catch (error) {
      assert.ok(error instanceof UserError, String((error as Error).stack))
      return `${error.sentence}\n`
    }
    assert.fail('nothing was refused')
  }

  it('name the key and the setting', () => {
    const l = (change: Json) => sentence(() => readLlamaConfig({ ...llama, ...change }, 'config.json'))
    const q = (change: Json) => sentence(() => readQwen3Config({ ...qwen3, ...change }, 'config.json'))
    const s = (change: Json) => sentence(() => readSmolLM3Config({ ...smollm3, ...change }, 'config.json'))
    const g = (change: Json) => sentence(() => readGemma3Config({ ...gemma3, ...change }, 'config.json'))
    const scaled = { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 4 }
    golden(
      'models/decoder-configs.txt',
      [
        l({ hidden_act: 'gelu' }),
        l({ mlp_bias: 'no' }),
        l({ num_key_value_heads: 3 }),
        l({ head_dim: 5 }),
        l({ rope_scaling: { rope_type: 'longrope' } }),
        l({ rope_scaling: { rope_type: 'linear' } }),
        l({ rope_scaling: { rope_type: 'linear', factor: -1 } }),
        l({ rope_scaling: { ...scaled, original_max_position_embeddings: 8 } }),
        l({ rope_scaling: { ...scaled, high_freq_factor: 8 } }),
        l({ rope_scaling: { type: 'yarn', factor: 2, original_max_position_embeddings: 8, mscale: 1 } }),
        l({ rope_parameters: { partial_rotary_factor: 0.5 } }),
        l({ partial_rotary_factor: 0.5 }),
        q({ use_sliding_window: true }),
        q({ layer_types: ['full_attention', 'sliding_attention'] }),
        q({ hidden_act: 'relu' }),
        s({ no_rope_layers: [1] }),
        s({ no_rope_layers: [1, 2] }),
        s({ no_rope_layer_interval: 0 }),
        s({ use_sliding_window: true, sliding_window: 4 }),
        g({ attn_logit_softcapping: 50 }),
        g({ final_logit_softcapping: 30 }),
        g({ use_bidirectional_attention: true }),
        g({ hidden_activation: 'gelu' }),
        g({ layer_types: ['full_attention'] }),
        g({ layer_types: ['full_attention', 'chunked_attention'] }),
        g({ sliding_window: 0 }),
        g({ query_pre_attn_scalar: 0 }),
        g({ rope_scaling: { rope_type: 'dynamic', factor: 2 } }),
        g({ text_config: 3 }),
        g({ text_config: { final_logit_softcapping: 1 } }),
      ].join(''),
    )
  })

  it('are those of another architecture, also where every tensor would fit', () => {
    // SmolLM3 has Llama's tensors, and layers that do not rotate.
    const read = { gpt2: readGpt2Config, llama: readLlamaConfig, qwen2: readQwen2Config, qwen3: readQwen3Config, smollm3: readSmolLM3Config, gemma3: readGemma3Config } // prettier-ignore
    for (const [name, reader] of Object.entries(read)) {
      for (const model_type of ['mistral', name === 'llama' ? 'smollm3' : 'llama']) {
        const said = sentence(() => reader({ model_type, ...tiny }, 'config.json'))
        const known = name === 'gemma3' ? 'gemma3 or gemma3_text' : name
        assert.ok(
          said.startsWith(
            `HD108 config.json (key "model_type") the architecture is "${model_type}", and this model reads ${known}; `,
          ),
          said,
        )
      }
    }
    const { model_type: _type, ...untyped } = llama
    assert.equal(readLlamaConfig(untyped, 'config.json').hidden_size, 8)
  })

  it('or read, whatever the values', () => {
    const value = fc.oneof(fc.anything(), fc.integer(), fc.constantFrom('yarn', 'linear', 'full_attention', null, true))
    const keys = ['rope_parameters', 'rope_scaling', 'layer_types', 'no_rope_layers', 'sliding_window', 'text_config']
    const known = [...keys, ...Object.values(architectures).flatMap((one) => Object.keys(one))]
    const nested = fc.dictionary(fc.constantFrom('rope_type', 'factor', 'full_attention', ...known), value, {
      maxKeys: 4,
    })
    const changes = fc.dictionary(fc.constantFrom(...known), fc.oneof(value, nested), { maxKeys: 3 })
    fc.assert(
      fc.property(changes, (change) => {
        for (const json of Object.values(architectures)) {
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
})

describe('traced decoders', () => {
  for (const [name, json] of Object.entries(architectures)) {
    it(`${name} has a place in its own file for every node that is no constant of the language`, () => {
      const { graph, provenance } = trace(json)
      for (const fn of graph.functions) {
        for (const node of topological(rootsOf(fn))) {
          assert.match(provenance.place(node)?.file ?? '', new RegExp(`models/${name}\\.ts$`), `${node.op} ${node.id}`)
        }
      }
    })
  }

  it('print as the golden says, with the names their author gave: Gemma 3', () => {
    const { graph, provenance } = trace(gemma3)
    golden('models/gemma3.graph', printGraph(graph, provenance))
  })

  it('share masks and rotations of equal layers', () => {
    const count = (layers: number): number => {
      const nodes = lossOf(trace({ ...gemma3, num_hidden_layers: layers }))
      return nodes.filter((node) => ['table', 'iota'].includes(node.op) || (isOp(node, 'map') && node.attrs.fn === 'and')).length // prettier-ignore
    }
    assert.equal(count(2), count(8))
  })

  it('have biases and heads of their own where the configuration says so', () => {
    const names = (json: Json) => [...trace(json).graph.declarations.keys()]
    const plain = names(llama)
    assert.ok(plain.includes('lm_head.weight') && !plain.some((name) => name.endsWith('.bias')))
    const biased = names({ ...llama, attention_bias: true, mlp_bias: true, tie_word_embeddings: true })
    assert.equal(biased.filter((name) => name.endsWith('.bias')).length, 2 * 7)
    assert.ok(!biased.includes('lm_head.weight'))
    for (const json of [qwen3, gemma3]) {
      assert.equal(names({ ...json, attention_bias: true }).filter((name) => name.endsWith('.bias')).length, 2 * 4)
    }
    assert.ok(names({ ...gemma3, tie_word_embeddings: false }).includes('lm_head.weight'))
    const outer = { model_type: 'gemma3', tie_word_embeddings: false, text_config: gemma3 }
    assert.ok(names(outer).includes('model.language_model.layers.1.self_attn.q_norm.weight'))
    assert.ok(names(outer).includes('lm_head.weight'))
  })

  it("scale Gemma's embeddings by √width as its weights would hold it", () => {
    const scaleIn = (storedDType: 'f32' | 'bf16' | 'f16'): number | undefined => {
      const model = modelFor(gemma3, 'c')
      const config = model.readConfig({ ...gemma3, hidden_size: 1152 }, 'c')
      const nodes = lossOf(model.trace(config, { sequences: 1, length: 4, storedDType: () => storedDType }))
      return nodes.flatMap((node) => (isOp(node, 'constant') && node.attrs.value > 30 ? [node.attrs.value] : []))[0]
    }
    assert.deepEqual(['f32', 'f16', 'bf16'].map((one) => scaleIn(one as 'f32')), [Math.fround(33.94112549695428), 33.9375, 34]) // prettier-ignore
  })
})
