// A recipe is data: printed, frozen, complete; and every wrong key or value is one sentence at the call, at run time too.

import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { UserError } from '../../compiler/diagnostic.ts'
import * as heddle from '../../dsl/index.ts'
import { adamW, chat, completions, constant, cosine, fullFineTuning, isRecipe, linearDecay } from '../../dsl/index.ts'
import { lora, recipe, text } from '../../dsl/index.ts'
import { gpt2, qwen2 } from '../../models/index.ts'
import { golden } from '../support/golden.ts'

// The types are switched off where a JavaScript author is played.
// oxlint-disable-next-line typescript/no-explicit-any
type Loose = any
const h: Record<string, Loose> = heddle

const good = () => ({
  model: qwen2.from('Qwen/Qwen2.5-0.5B'),
  adapt: lora({ rank: 8, alpha: 16, targets: ['q_proj', 'self_attn.v_proj'] }),
  data: completions('records.jsonl', { loss: 'completion' }),
  optimizer: adamW({ rate: cosine({ peak: 2e-4, warmup: 0.03 }), clip: 1 }),
  batch: { sequences: 1, length: 256, epochs: 2 },
})

describe('recipe', () => {
  it('fills in what is left to us, and prints', () => {
    golden('dsl/recipe.json', `${JSON.stringify(recipe(good()), null, 2)}\n`)
  })

  it('is told from any other object', () => {
    const made = recipe(good())
    assert.ok(isRecipe(made))
    assert.ok(!isRecipe({ ...made }))
    assert.equal(made.model.definition.name, 'qwen2')
  })

  it('is frozen throughout and does not follow its arguments', () => {
    const targets: string[] = ['c_attn']
    const made = recipe({ ...good(), model: gpt2.from('./gpt2'), adapt: h.lora({ rank: 1, alpha: 2, targets }) })
    targets.push('c_fc')
    assert.deepEqual((made.adapt as heddle.LoraAdaptation).targets, ['c_attn'])
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
    assert.ok(frozen(made))
  })

  it('fills in what energy leaves to us', () => {
    const energyOf = (energy: heddle.EnergyOptions) => recipe({ ...good(), energy }).energy
    assert.deepEqual(energyOf({}), { dutyCycle: 1, whenCharging: false, whenIdle: false, lookEvery: 5 })
    const all = { dutyCycle: 0.8, pauseBelowBattery: 0.2, whenCharging: true, whenIdle: true, lookEvery: 60 }
    const ceiling = heddle.celsius(42, 'battery')
    assert.deepEqual(energyOf({ ...all, pauseAbove: ceiling }), { ...all, pauseAbove: ceiling })
    assert.deepEqual(heddle.celsius(42), { kind: 'celsius', degrees: 42 })
    assert.equal(recipe(good()).energy, undefined)
  })

  it('takes each kind of records', () => {
    const path = 'r.csv'
    assert.deepEqual(text(path), {
      kind: 'text',
      path,
      documents: 'paragraphs',
      long: 'cut',
      pack: false,
      buckets: false,
    })
    assert.equal(text(path, { documents: 'file' }).long, 'split')
    assert.equal(text(path, { documents: 'file', long: 'cut' }).long, 'cut')
    assert.deepEqual(completions(path, { loss: 'all', columns: { prompt: 'question' } }), {
      kind: 'completions',
      path,
      loss: 'all',
      pack: false,
      buckets: false,
      columns: { prompt: 'question' },
    })
    const plain = {
      kind: 'chat',
      path,
      loss: 'assistant',
      turns: 'together',
      template: 'default',
      pack: false,
      buckets: false,
    }
    assert.deepEqual(chat(path, { loss: 'assistant' }), plain)
    assert.deepEqual(text(path, { buckets: [8, 64] }).buckets, [8, 64])
    assert.equal(text(path, { buckets: true }).buckets, true)
    const all = { template: 'rag', variables: { enable_thinking: false }, date: '2024-02-29' } as const
    assert.deepEqual(
      chat(path, { loss: 'assistant', turns: 'apart', pack: true, columns: { messages: 'turns' }, ...all }),
      {
        ...plain,
        ...all,
        turns: 'apart',
        pack: true,
        columns: { messages: 'turns' },
      },
    )
  })

  it('takes each kind of its parts', () => {
    const made = recipe({
      ...good(),
      adapt: fullFineTuning(),
      data: text('notes.jsonl'),
      optimizer: adamW({
        rate: linearDecay({ peak: 1e-3, warmup: 3, floor: 1e-5 }),
        betas: [0.8, 0.99],
        epsilon: 1e-6,
      }),
      batch: { sequences: 2, length: 77, accumulate: 3, steps: 30 },
      checkpoints: 'none',
      device: 'phone',
      seed: 7,
      out: 'adapter',
      save: { every: 5 },
      evaluate: { share: 0.25, every: 10, patience: 2 },
    })
    assert.deepEqual([made.save, made.evaluate], [{ every: 5 }, { share: 0.25, every: 10, patience: 2 }])
    assert.deepEqual(made.optimizer.rate, { kind: 'linear', peak: 1e-3, warmup: 3, floor: 1e-5 })
    assert.deepEqual(made.batch, { sequences: 2, length: 77, accumulate: 3, steps: 30 })
    assert.deepEqual([made.device, made.seed, made.out, made.checkpoints], ['phone', 7, 'adapter', 'none'])
    assert.equal(adamW({ rate: constant(1e-4) }).clip, undefined)
  })
})

const mistakes: Record<string, () => unknown> = {
  'no object': () => h.recipe(),
  'a duty cycle of nothing': () => h.recipe({ ...good(), energy: { dutyCycle: 0 } }),
  'a battery in percent': () => h.recipe({ ...good(), energy: { pauseBelowBattery: 20 } }),
  'a temperature without a unit': () => h.recipe({ ...good(), energy: { pauseAbove: 42 } }),
  'a temperature of the sun': () => h.celsius(5500),
  'a zone with a space': () => h.celsius(42, 'the skin'),
  'a charger that is a word': () => h.recipe({ ...good(), energy: { whenCharging: 'yes' } }),
  'a look at every moment': () => h.recipe({ ...good(), energy: { lookEvery: 0.1 } }),
  'a key of energy that nothing implements': () => h.recipe({ ...good(), energy: { joules: 5 } }),
  'energy that is a number': () => h.recipe({ ...good(), energy: 0.5 }),
  'a key of another version': () => h.recipe({ ...good(), budget: { dutyCycle: 0.8 } }),
  'a key of the prototype': () => h.recipe(JSON.parse('{"__proto__": 1, "constructor": 2}')),
  'no data': () => h.recipe({ ...good(), data: undefined }),
  'a model that is a name': () => h.recipe({ ...good(), model: 'Qwen/Qwen2.5-0.5B' }),
  'a checkpoint without a name': () => h.recipe({ ...good(), model: qwen2.from(' ') }),
  'a target of another model': () => h.recipe({ ...good(), adapt: lora({ rank: 1, alpha: 1, targets: ['c_attn'] }) }),
  'an adaptation that only looks like one': () =>
    h.recipe({ ...good(), adapt: Object.freeze({ kind: 'lora', rank: 8 }) }),
  'steps and epochs': () => h.recipe({ ...good(), batch: { sequences: 1, length: 8, steps: 2, epochs: 1 } }),
  'neither steps nor epochs': () => h.recipe({ ...good(), batch: { sequences: 1, length: 8 } }),
  'half a sequence': () => h.recipe({ ...good(), batch: { sequences: 0.5, length: 8, steps: 1 } }),
  'a batch of a wrong key': () => h.recipe({ ...good(), batch: { sequences: 1, length: 8, steps: 1, size: 4 } }),
  'a warm-up longer than the run': () =>
    h.recipe({
      ...good(),
      optimizer: adamW({ rate: cosine({ peak: 1e-4, warmup: 9 }) }),
      batch: { sequences: 1, length: 8, steps: 3 },
    }),
  'weights in another type': () => h.recipe({ ...good(), weights: { frozen: 'bf16' } }),
  'checkpoints by halves': () => h.recipe({ ...good(), checkpoints: 'some' }),
  'a negative seed': () => h.recipe({ ...good(), seed: -1 }),
  'an output that is no path': () => h.recipe({ ...good(), out: 3 }),
  'saving without a number': () => h.recipe({ ...good(), save: {} }),
  'saving by the minute': () => h.recipe({ ...good(), save: { minutes: 5 } }),
  'held-out records from nowhere': () => h.recipe({ ...good(), evaluate: { every: 10 } }),
  'held-out records from two places': () =>
    h.recipe({ ...good(), evaluate: { data: 'heldout.jsonl', share: 0.1, every: 10 } }),
  'everything held out': () => h.recipe({ ...good(), evaluate: { share: 1, every: 10 } }),
  'an evaluation that never is': () => h.recipe({ ...good(), evaluate: { share: 0.1 } }),
  'no patience at all': () => h.recipe({ ...good(), evaluate: { share: 0.1, every: 10, patience: 0 } }),
  'a rank of nothing': () => h.lora({ rank: 0, alpha: 1, targets: ['q_proj'] }),
  'a rank that is endless': () => h.lora({ rank: Infinity, alpha: 1, targets: ['q_proj'] }),
  'no targets': () => h.lora({ rank: 1, alpha: 1, targets: [] }),
  'targets that are one string': () => h.lora({ rank: 1, alpha: 1, targets: 'q_proj' }),
  'a target twice': () => h.lora({ rank: 1, alpha: 1, targets: ['q_proj', 'q_proj'] }),
  'a dropout of everything': () => h.lora({ rank: 1, alpha: 1, dropout: 1, targets: ['q_proj'] }),
  'a scaling that is a word': () => h.lora({ rank: 1, alpha: 1, rslora: 'yes', targets: ['q_proj'] }),
  DoRA: () => h.lora({ rank: 1, alpha: 1, targets: ['q_proj'], dora: true }),
  'a loss nobody computes': () => h.completions('r.jsonl', { loss: 'assistant' }),
  'records without a path': () => h.completions('', { loss: 'all' }),
  'text without a path': () => h.text(),
  'documents by the page': () => h.text('r.txt', { documents: 'pages' }),
  'a conversation without a loss': () => h.chat('r.jsonl'),
  'a conversation with nothing that counts': () => h.chat('r.jsonl', { loss: 'user' }),
  'a day that is none': () => h.chat('r.jsonl', { loss: 'all', date: '2026-02-30' }),
  'a variable that is a list': () => h.chat('r.jsonl', { loss: 'all', variables: { tools: [] } }),
  'packing by a number': () => h.text('r.txt', { pack: 1 }),
  'buckets that fall': () => h.text('r.txt', { buckets: [64, 8] }),
  'no buckets at all': () => h.text('r.txt', { buckets: [] }),
  'buckets by the word': () => h.text('r.txt', { buckets: 'auto' }),
  'packed buckets': () => h.text('r.txt', { buckets: true, pack: true }),
  'a template that is none': () => h.chat('r.jsonl', { loss: 'all', template: 7 }),
  'a column of no name': () => h.completions('r.csv', { loss: 'all', columns: { prompt: '' } }),
  'a column that nobody reads': () => h.text('r.csv', { columns: { prompt: 'question' } }),
  'a rate that is a number': () => h.adamW({ rate: 1e-4 }),
  'a rate of zero': () => h.constant(0),
  'a warm-up of one and a half': () => h.cosine({ peak: 1e-4, warmup: 1.5 }),
  'a floor above the peak': () => h.linearDecay({ peak: 1e-4, floor: 1e-3 }),
  'one beta': () => h.adamW({ rate: constant(1), betas: [0.9] }),
  'a beta of one': () => h.adamW({ rate: constant(1), betas: [0.9, 1] }),
  'an epsilon of zero': () => h.adamW({ rate: constant(1), epsilon: 0 }),
  'a clip that is not a number': () => h.adamW({ rate: constant(1), clip: NaN }),
  'no optimizer options': () => h.adamW(),
}

describe('recipe mistakes', () => {
  const printed: string[] = []

  for (const [title, mistake] of Object.entries(mistakes)) {
    it(`${title} is one sentence at the call`, () => {
      try {
        mistake()
      } catch (error) {
        assert.ok(error instanceof UserError, String((error as Error).stack))
        assert.equal(error.place?.file, fileURLToPath(import.meta.url))
        assert.match(error.code, /^HD(30[1-4]|109)$/)
        const sentence = error.mend === undefined ? error.message : `${error.message}; ${error.mend}`
        printed.push(`${title}\n  ${error.code} ${sentence}\n`)
        return
      }
      assert.fail('nothing was refused')
    })
  }

  it('read as the golden says', () => {
    golden('dsl/recipe-errors.txt', printed.join(''))
  })
})
