// `heddle new`: what it writes type-checks, becomes a graph, and is the shipped definition where the configuration tells
// everything; what it cannot read is refused.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { UserError } from '../../compiler/diagnostic.ts'
import { checkFile } from '../../compiler/frontend/check.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { definitionOf, modelNameOf } from '../../bin/scaffold/definition.ts'
import { factsOf } from '../../bin/scaffold/facts.ts'
import { llama } from '../../models/index.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { assertRefused, eventsOf, heddle, temporaryDirectory } from './support.ts'

const fixtures = fileURLToPath(new URL('../fixtures/oracle/', import.meta.url))

/** A directory with a recipe for the model that `mine.ts` exports. */
function project(name: string, model: string): string {
  const dir = temporaryDirectory()
  fs.writeFileSync(path.join(dir, 'records.jsonl'), '{"prompt": "a", "completion": "b"}\n')
  fs.writeFileSync(
    path.join(dir, 'recipe.ts'),
    `import { adamW, completions, constant, lora, recipe } from 'heddle'
import { ${name} } from './mine.ts'

export default recipe({
  model: ${name}.from(${JSON.stringify(model)}),
  adapt: lora({ rank: 2, alpha: 4, targets: ['q_proj', 'down_proj'] }),
  data: completions('records.jsonl', { loss: 'completion' }),
  optimizer: adamW({ rate: constant(0.01) }),
  batch: { sequences: 2, length: 12, steps: 1 },
  seed: 1,
})
`,
  )
  return dir
}

describe('heddle new', () => {
  it('writes the shipped definition again where the configuration tells everything', async () => {
    const model = path.join(fixtures, 'llama-small/model')
    const dir = project('llama', model)
    const made = await heddle(dir, 'new', model, '--out', 'mine.ts')
    assert.deepEqual([made.code, made.stderr], [0, ''])
    assert.match(made.stdout, /^mine\.ts: import \{ llama \} from '\.\/mine\.ts'\n {2}\d+: Decide: whether norms stand/)
    // All that is wrong is what the fixture lacks.
    assertRefused(await heddle(dir, 'check', 'recipe.ts'), /^HD807 \S+ the model directory has no tokenizer\.json$/m)
    const { definition } = (await loadRecipe(path.join(dir, 'recipe.ts'))).recipe.model
    const json: unknown = JSON.parse(fs.readFileSync(path.join(model, 'config.json'), 'utf8'))
    const size = { sequences: 2, length: 12 }
    const shipped = llama.trace(llama.readConfig(json, 'config.json'), size)
    assert.equal(printGraph(definition.trace(json, size).graph), printGraph(shipped.graph))
  })

  it('leaves the rest to `heddle check`, which names what the checkpoint does not have', async () => {
    const dir = project('olmo2', path.join(fixtures, 'olmo2-small/model'))
    const config = path.join(fixtures, 'olmo2-small/model/config.json')
    const { code, stdout } = await heddle(dir, 'new', config, '--out', 'mine.ts', '--json')
    const [event] = eventsOf(stdout)
    assert.deepEqual([code, event?.event, event?.['file'], event?.['model']], [0, 'new', 'mine.ts', 'olmo2'])
    const lines = fs.readFileSync(path.join(dir, 'mine.ts'), 'utf8').split('\n')
    const decisions = event?.['decisions'] as { line: number; text: string }[]
    assert.ok(decisions.length >= 3)
    for (const { line, text } of decisions) assert.ok(lines[line - 1]?.endsWith(text), text)
    assertRefused(await heddle(dir, 'check', 'recipe.ts'), /^HD803 .* "model\.layers\.0\.input_layernorm\.weight"/)
  })

  it('keeps what is there, and refuses what is no configuration', async () => {
    const dir = project('llama', 'nobody/nothing')
    const config = path.join(fixtures, 'llama-small/model')
    fs.writeFileSync(path.join(dir, 'llama.ts'), 'mine')
    assertRefused(await heddle(dir, 'new', config), /^HD112 llama\.ts the file exists already; --out names another one/)
    assert.equal(fs.readFileSync(path.join(dir, 'llama.ts'), 'utf8'), 'mine')
    fs.writeFileSync(path.join(dir, 'empty.json'), '{"model_type": "new"}')
    assertRefused(
      await heddle(dir, 'new', 'empty.json'),
      /^HD107 empty\.json the configuration states none of 'vocab_size'/,
    )
    assertRefused(await heddle(dir, 'new', 'recipe.ts'), /^HD402 recipe\.ts the text is not JSON/)
    assertRefused(await heddle(dir, 'new', 'none.json'), /^HD401 none\.json /)
    assert.ok(!fs.existsSync(path.join(dir, 'new.ts')))
  })
})

const sizes = { vocab_size: 11, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 6 }
const llama3 = { factor: 2, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 }
/** Whatever else configurations may say, together with what it must lead to. */
const configurations: [Record<string, unknown>, RegExp][] = [
  [{ model_type: 'plain' }, /layerNorm\(.*Decide: where positions come in/s],
  [{ model_type: 'class', n_positions: 9, layer_norm_eps: 1e-5, activation_function: 'gelu_new' }, /classModel = .*gelu\(.*'tanh'\).*positionEmbedding/s], // prettier-ignore
  [{ model_type: 'rope', rms_norm_eps: 1e-5, rope_theta: 1e4, hidden_act: 'silu', head_dim: 6, num_key_value_heads: 2 }, /ropeModel = .*theta: c\.rope_theta,.*const gate = silu/s], // prettier-ignore
  [{ model_type: 'a-b.c', rope_scaling: { type: 'llama3', ...llama3 } }, /aBC = .*Decide: the base.*theta: 10_000,.*highFrequency: c\.rope_scaling\.high_freq_factor/s], // prettier-ignore
  [{ model_type: '3d', rope_parameters: { rope_theta: 9, rope_type: 'dynamic' }, hidden_act: 'relu2' }, /model3d = .*scaled by 'dynamic'.*Decide: the activation, 'relu2'/s], // prettier-ignore
  [{ model_type: 'x', rope_theta: 9, sliding_window: 4, layer_types: ['full_attention', 'sliding_attention'] }, /xModel = .*layer\(c\.layer_types.*sliding\(c\.sliding_window\)/s], // prettier-ignore
  [{ model_type: 'y', rope_theta: 9, sliding_window: 4, tie_word_embeddings: true }, /the configuration has 'sliding_window'.*c\.tie_word_embeddings \? tied/s], // prettier-ignore
  [{ model_type: 'z', rope_theta: 9, layer_types: ['full_attention', 'linear_attention'], num_experts: 8, use_bias: true }, /num_experts\n.*bias: c\.use_bias.*Decide: what 'linear_attention' sees/s], // prettier-ignore
  [{ text_config: { model_type: 'inner', ...sizes, rope_parameters: { full_attention: { rope_theta: 5 } } }, vocab_size: null }, /inner = .*theta: c\.rope_parameters\.full_attention\.rope_theta/s], // prettier-ignore
]

describe('definitions that heddle new writes', () => {
  it('type-check, and become a graph for their configuration', async () => {
    const dir = temporaryDirectory()
    const names = configurations.map(([more, expected], index) => {
      const facts = factsOf({ ...sizes, ...more }, 'config.json')
      const text = definitionOf(facts)
      assert.match(text, expected)
      assert.doesNotMatch(text, /^[^/\n]*;$|\bany\b/m)
      fs.writeFileSync(path.join(dir, `model${index}.ts`), text)
      return `export { ${modelNameOf(facts)} as model${index} } from './model${index}.ts'\n`
    })
    fs.writeFileSync(path.join(dir, 'all.ts'), names.join(''))
    assert.deepEqual(checkFile(path.join(dir, 'all.ts')), [])
    for (const [index, [more]] of configurations.entries()) {
      const recipe = `import { model${index} } from './all.ts'\nimport { adamW, constant, fullFineTuning, recipe, text } from 'heddle'\nexport default recipe({ model: model${index}.from('a/b'), adapt: fullFineTuning(), data: text('t.jsonl'), optimizer: adamW({ rate: constant(1) }), batch: { sequences: 1, length: 8, steps: 1 }, seed: 1 })\n`
      fs.writeFileSync(path.join(dir, `recipe${index}.ts`), recipe)
      const { definition } = (await loadRecipe(path.join(dir, `recipe${index}.ts`))).recipe.model
      const config = definition.readConfig({ ...sizes, ...more }, 'config.json')
      const { functions } = definition.trace(config, { sequences: 1, length: 8 }).graph
      assert.deepEqual(
        functions.map(({ name }) => name),
        ['loss', 'score', 'predict'],
      )
    }
  })

  it('hold nothing of a configuration but plain names and its own keys', () => {
    const hostile = "'); process.exit() //\n*/ `${x}`"
    const text = fc.oneof(fc.string(), fc.constant(hostile))
    const keys = fc.oneof(
      fc.constantFrom('model_type', 'hidden_act', 'layer_types', 'rope_scaling', 'rope_parameters'),
      text,
    )
    const value = fc.oneof(
      text,
      fc.array(text),
      fc.dictionary(fc.oneof(text, fc.constant('rope_type')), text),
      fc.anything(),
    )
    const plain = factsOf({ ...sizes, model_type: 'mine' }, 'c')
    fc.assert(
      fc.property(fc.dictionary(keys, value, { maxKeys: 4 }), (change) => {
        try {
          const facts = factsOf({ ...change, ...sizes }, 'c')
          const words = [facts.modelType, facts.activation ?? '', facts.rotation?.scaling?.type ?? '']
          for (const word of [...words, ...facts.kinds, ...facts.unread]) assert.match(word, /^[\w.-]*$/)
          assert.deepEqual(facts.sizes, plain.sizes)
          assert.match(modelNameOf(facts), /^[A-Za-z]\w*$/)
        } catch (error) {
          assert.ok(error instanceof UserError, String(error))
        }
      }),
    )
  })
})
