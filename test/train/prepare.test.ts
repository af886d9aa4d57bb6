// What becomes of a recipe's records and its model's configuration before anything is compiled: which token ends a text,
// what is learnt, how many steps a run has, and which vocabularies fit. On files of a tiny project; nothing is run.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { Example } from '../../data/examples.ts'
import { openSafetensors, readTensor, writeSafetensors } from '../../formats/safetensors.ts'
import type { ResolveOptions } from '../../formats/hub.ts'
import type { PreparedData, PreparedModel } from '../../train/prepare.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'

/** Ids of the project's tokenizer and rows of its embedding: bytes, merges, and the token that ends a text. */
const vocabulary = 260

describe('preparing a run', () => {
  let dir = ''
  let recipes = 0

  const change = (file: string, values: Record<string, unknown>): void => {
    const whole = path.join(dir, 'model', file)
    const content = JSON.parse(fs.readFileSync(whole, 'utf8')) as Record<string, unknown>
    fs.writeFileSync(whole, JSON.stringify({ ...content, ...values }))
  }
  /** Prepares a recipe of its own; a file's module is evaluated once for each name. */
  const prepare = async (
    parts: Readonly<Record<string, string>> = {},
    steps?: number,
    resolving: ResolveOptions = {},
  ): Promise<PreparedData & { model: PreparedModel }> => {
    // As the command line comes to users: mocha may have loaded this file as CommonJS, and every module exists once.
    const { loadRecipe } = await import('../../train/loadRecipe.ts')
    const { prepareData, prepareModel } = await import('../../train/prepare.ts')
    const name = `recipe${recipes++}.ts`
    writeRecipe(dir, name, parts)
    const loaded = await loadRecipe(path.join(dir, name))
    const model = await prepareModel(loaded, resolving)
    return { ...prepareData(loaded, model, steps), model }
  }

  beforeEach(() => {
    dir = tinyProject()
  })

  describe('the token that ends a text', () => {
    const lastTargets = ({ examples }: PreparedData): Set<number> =>
      new Set(examples.examples.map(({ targets }: Example) => targets.at(-1) as number))
    const lengths = ({ examples }: PreparedData): number[] => examples.examples.map(({ tokens }) => tokens.length)

    it("is the tokenizer's, whatever config.json names", async () => {
      const end = (await prepare()).tokenizer.eosId
      assert.ok(end !== undefined && end < vocabulary)
      change('config.json', { eos_token_id: 5 })
      assert.deepEqual([...lastTargets(await prepare())], [end])
    })

    it('is the one of config.json where the tokenizer names none, the last id of the vocabulary included', async () => {
      const ended = lengths(await prepare())
      change('tokenizer_config.json', { eos_token: undefined })
      const endless = await prepare()
      assert.equal(endless.tokenizer.eosId, undefined)
      assert.equal(endless.tokenizer.vocabSize, vocabulary)
      assert.ok(!lastTargets(endless).has(0))
      assert.deepEqual(lengths(endless), ended.map((length) => length - 1)) // prettier-ignore
      for (const [named, end] of [
        [5, 5],
        [0, 0],
        [vocabulary - 1, vocabulary - 1],
        [[7, 5], 7],
      ] as const) {
        change('config.json', { eos_token_id: named })
        const prepared = await prepare()
        assert.deepEqual([...lastTargets(prepared)], [end])
        assert.deepEqual(lengths(prepared), ended)
      }
    })

    it('is none where config.json names what is no token', async () => {
      change('tokenizer_config.json', { eos_token: undefined })
      const endless = lengths(await prepare())
      for (const named of [vocabulary, vocabulary + 1, -1, 2.5, '5', null, []]) {
        change('config.json', { eos_token_id: named })
        assert.deepEqual(lengths(await prepare()), endless, JSON.stringify(named))
      }
    })

    it('is one of those that end what a model writes, beside all that its configurations name', async () => {
      const { endsOfText } = await import('../../train/prepare.ts')
      const endsNow = async (): Promise<number[]> => {
        const { tokenizer, model } = await prepare()
        return [...endsOfText(tokenizer, model.checkpoint)]
      }
      const end = (await prepare()).tokenizer.eosId as number
      assert.deepEqual(await endsNow(), [end])
      change('config.json', { eos_token_id: [7, 'x', 5] })
      fs.writeFileSync(path.join(dir, 'model/generation_config.json'), '{ "eos_token_id": 9 }')
      assert.deepEqual(await endsNow(), [end, 7, 5, 9])
      change('tokenizer_config.json', { eos_token: undefined })
      assert.deepEqual(await endsNow(), [7, 5, 9])
      change('config.json', { eos_token_id: undefined })
      assert.deepEqual(await endsNow(), [9])
    })

    it('is what generation stops at as well', async () => {
      const { endOfText } = await import('../../train/prepare.ts')
      change('tokenizer_config.json', { eos_token: undefined })
      for (const [named, end] of [
        [vocabulary - 1, vocabulary - 1],
        [vocabulary, undefined],
      ] as const) {
        change('config.json', { eos_token_id: named })
        const { tokenizer, model } = await prepare()
        assert.equal(endOfText(tokenizer, model.checkpoint), end)
      }
    })
  })

  it('takes a vocabulary as large as the tokenizer and refuses one that is one short', async () => {
    const { tokenizerOf } = await import('../../train/prepare.ts')
    const { checkpoint, vocabulary: columns } = (await prepare()).model
    assert.equal(columns, vocabulary)
    for (const enough of [vocabulary, vocabulary + 1]) {
      assert.equal(tokenizerOf({ checkpoint, vocabulary: enough }).vocabSize, vocabulary)
    }
    assert.throws(() => tokenizerOf({ checkpoint, vocabulary: vocabulary - 1 }), {
      code: 'HD808',
      message: /ids up to 259, the model embeds only 259/,
    })
  })

  it('calls a model by its directory, or by its id when it comes from the hub', async () => {
    const { baseName, note } = (await prepare()).model
    assert.deepEqual([baseName, note], [path.join(dir, 'model'), undefined])
    const root = path.join(dir, 'hub/models--tiny--gpt2')
    const commit = 'c'.repeat(40)
    fs.mkdirSync(path.join(root, 'refs'), { recursive: true })
    fs.writeFileSync(path.join(root, 'refs/main'), commit)
    fs.cpSync(path.join(dir, 'model'), path.join(root, 'snapshots', commit), { recursive: true })
    const environment = { HF_HUB_CACHE: path.join(dir, 'hub'), HF_HUB_OFFLINE: '1' }
    const { model } = await prepare({ model: "gpt2.from('tiny/gpt2')" }, undefined, { environment })
    assert.equal(model.baseName, 'tiny/gpt2')
    assert.equal(model.checkpoint.dir, path.join(root, 'snapshots', commit))
  })

  it('holds weights as they are stored, and in float32 where they are trained', async () => {
    const file = path.join(dir, 'model/model.safetensors')
    const tensors = [...openSafetensors(file).tensors.values()].map((entry) => {
      const whole = readTensor(entry)
      // The upper halves of float32 are bf16.
      const halves = whole.filter((_, place) => place % 4 > 1)
      return { name: entry.name, dtype: 'BF16' as const, shape: entry.shape, data: halves }
    })
    writeSafetensors(file, tensors)
    for (const [adapt, dtype] of [
      ["lora({ rank: 3, alpha: 6, targets: ['c_fc'] })", 'bf16'],
      ['fullFineTuning()', 'f32'],
    ] as const) {
      const { graph } = (await prepare({ adapt })).model.traced
      const parameters = [...graph.declarations.values()].filter(({ name }) => name.startsWith('transformer.'))
      assert.equal(parameters.length, tensors.length)
      assert.deepEqual([...new Set(parameters.map((one) => one.dtype))], [dtype], adapt)
    }
  })

  it('knows what batches of another length leave of the records, and where they leave nothing', async () => {
    const { model } = await prepare()
    const { loadRecipe } = await import('../../train/loadRecipe.ts')
    const { recordsWithin } = await import('../../train/prepare.ts')
    const loaded = await loadRecipe(path.join(dir, 'lora.ts'))
    const record = { prompt: 'a pulse that is told at length, with a question at its end?', completion: ' low' }
    fs.appendFileSync(path.join(dir, 'records.jsonl'), `${JSON.stringify(record)}\n`)
    assert.deepEqual(recordsWithin(loaded, model, 24), { cut: 0, leftOut: 1, examples: 7 })
    assert.deepEqual(recordsWithin(loaded, model, 8), { cut: 7, leftOut: 1, examples: 7 })
    assert.equal(recordsWithin(loaded, model, 7), undefined)
  })

  it('packs examples into rows where the recipe says so, held-out ones into a row each', async () => {
    const data = (more: string): string => `completions('records.jsonl', { loss: 'completion'${more} })`
    const evaluate = '{ share: 0.3, every: 1 }'
    const apart = await prepare({ data: data(''), evaluate })
    const packed = await prepare({ data: data(', pack: true'), evaluate })
    const rowsOf = ({ batches }: PreparedData): number =>
      [...batches].flat().reduce((rows, { sequences }) => rows + sequences, 0)
    assert.deepEqual([apart.heldOut.length, packed.heldOut.length], [2, 2])
    assert.ok(apart.heldOut.every((example) => !('segments' in example)))
    assert.ok(packed.heldOut.every((example) => 'segments' in example))
    const segmented = (prepared: PreparedData): boolean[] => [...prepared.batches].flat().map(({ segments }) => segments !== undefined) // prettier-ignore
    assert.ok(segmented(packed).every(Boolean) && !segmented(apart).some(Boolean))
    const once = { evaluate, batch: '{ sequences: 1, length: 40, epochs: 1 }' }
    assert.equal(rowsOf(await prepare({ ...once, data: data('') })), 5)
    assert.ok(rowsOf(await prepare({ ...once, data: data(', pack: true') })) < 5)
  })

  it("learns the completion alone, or everything after the first token with loss: 'all'", async () => {
    const weightsWith = async (loss: string): Promise<number[][]> => {
      const data = `completions('records.jsonl', { loss: '${loss}' })`
      return (await prepare({ data })).examples.examples.map(({ weights }) => [...weights])
    }
    const { tokenizer } = await prepare()
    const records = fs.readFileSync(path.join(dir, 'records.jsonl'), 'utf8').trim().split('\n')
    const counts = records.map((line) => {
      const { prompt, completion } = JSON.parse(line) as { prompt: string; completion: string }
      return [tokenizer.encode(prompt).length, tokenizer.encode(completion).length] as const
    })
    assert.ok(counts.every(([prompt]) => prompt > 1))
    // Targets are the tokens from the second on, with the end of the text behind them.
    assert.deepEqual(await weightsWith('completion'), counts.map(([prompt, completion]) => [...Array<number>(prompt - 1).fill(0), ...Array<number>(completion + 1).fill(1)])) // prettier-ignore
    assert.deepEqual(await weightsWith('all'), counts.map(([prompt, completion]) => Array<number>(prompt + completion).fill(1))) // prettier-ignore
  })

  describe('the number of steps', () => {
    // Seven records in steps of four.
    const batch = (length: string): string => `{ sequences: 2, length: 24, accumulate: 2, ${length} }`

    it('covers every record of all passes, fractions of them included', async () => {
      for (const [epochs, steps] of [
        [1, 2],
        [2, 4],
        [1.5, 3],
        [0.5, 1],
        [0.1, 1],
        [1.2, 3],
        [4 / 7, 1],
        [2.25, 4],
      ] as const) {
        const prepared = await prepare({ batch: batch(`epochs: ${epochs}`) })
        assert.equal(prepared.steps, steps, `${epochs} epochs`)
        assert.equal([...prepared.batches].length, steps, `${epochs} epochs`)
      }
    })

    it('shows every record once in each whole pass', async () => {
      const { batches } = await prepare({ batch: batch('epochs: 3') })
      const sequences = [...batches].flat().reduce((sum, micro) => sum + micro.sequences, 0)
      assert.equal(sequences, 21)
    })

    it("is the recipe's own, or what replaces it", async () => {
      assert.equal((await prepare({ batch: batch('steps: 5') })).steps, 5)
      assert.equal((await prepare({ batch: batch('steps: 5') }, 9)).steps, 9)
      assert.equal((await prepare({ batch: batch('epochs: 3') }, 1)).steps, 1)
    })
  })
})
