// What the README shows is true: its files type-check and become a training graph, its error is the one that is printed,
// its commands and links exist.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { checkFile } from '../../compiler/frontend/check.ts'
import { trainingPasses } from '../../compiler/pipeline.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { adaptationOf, optimizerOf } from '../../train/compileRecipe.ts'
import { root } from './sources.ts'

const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The fenced block behind `<!-- head -->`. */
function block(head: string): string {
  const found = new RegExp(`<!-- ${head} -->\\n\`\`\`\\w*\\n([^]*?)^\`\`\`$`, 'm').exec(readme)?.[1]
  return found ?? assert.fail(`the README has no block '${head}'`)
}

describe('README', function () {
  this.timeout(60_000)
  let folder = ''
  before(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'heddle-readme-')))
    for (const name of ['mine.ts', 'recipe.ts']) writeFileSync(join(folder, name), block(`file: ${name}`))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('shows files that type-check', () => {
    assert.deepEqual(checkFile(join(folder, 'recipe.ts')), [])
    const lines = block('file: mine.ts').trimEnd().split('\n').length
    assert.ok(lines <= 44, `a model in forty lines has ${lines}`)
  })

  it('shows a model and a recipe that become a training step', async () => {
    // As the command line loads it, with its own resolution of `heddle`.
    const { loadRecipe } = await import('../../train/loadRecipe.ts')
    const { recipe } = await loadRecipe(join(folder, 'recipe.ts'))
    const config = {
      vocab_size: 31,
      hidden_size: 16,
      intermediate_size: 20,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
    }
    const traced = recipe.model.definition.trace(config, { sequences: 1, length: 9 })
    const passes = trainingPasses({
      adaptation: adaptationOf(recipe, traced),
      optimizer: optimizerOf(recipe, 10),
      checkpoints: 'none',
    })
    const { graph } = runPasses(traced.graph, passes, { provenance: traced.provenance })
    const trained = [...graph.declarations.values()].filter(({ role }) => role === 'trainable')
    // Two layers, two targets, A and B.
    assert.equal(trained.length, 8)
    assert.ok(graph.functions.some(({ name }) => name === 'accumulate'))
  })

  it('shows the error that is printed', () => {
    const right = block('file: mine.ts')
    const wrong = right.replace(
      "p.param('norm2.weight', [embed]), normal)",
      "p.param('norm2.weight', [embed]), { over: mlp, eps: 1e-6 })",
    )
    assert.notEqual(wrong, right)
    const file = join(folder, 'wrong.ts')
    writeFileSync(file, wrong)
    const printed = checkFile(file).map(({ sentence, place }) => new UserError('HD111', sentence, { place }).sentence)
    assert.deepEqual(
      printed.map((line) => line.replace(file, 'mine.ts')),
      block('check: mine.ts').trimEnd().split('\n'),
    )
  })

  it('names commands and pages that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      readonly scripts: Record<string, string>
    }
    const named = [...readme.matchAll(/\bnpm (?:run )?(start|test(?!:)|[a-z]+:[a-z]+|bench)\b/g)].map(
      ([, name]) => name,
    )
    assert.ok(named.length >= 4)
    for (const name of named) assert.ok(name !== undefined && name in scripts, `npm run ${name}`)
    const commandLine = readFileSync(join(root, 'bin/heddle.ts'), 'utf8')
    for (const [, command] of readme.matchAll(/^npx heddle (\w+)/gm)) {
      assert.ok(commandLine.includes(`.command('${command}')`), command)
    }
    for (const page of [
      'README.md',
      'docs/pipeline.md',
      'docs/decisions.md',
      'docs/numerics.md',
      'docs/contributing.md',
    ]) {
      const text = readFileSync(join(root, page), 'utf8')
      for (const [, link] of text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
        assert.ok(existsSync(join(root, page, '..', link ?? '')), `${page} links to ${link}`)
      }
    }
  })
})
