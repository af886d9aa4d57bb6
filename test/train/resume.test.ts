// Runs that were stopped and resumed end as those that were not, to the bit; what is saved in between loads or is passed
// over with a reason; other runs' states are refused.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { runTraining } from '../../train/run.ts'
import type { RunOptions } from '../../train/run.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { hashOfResult, metricsOf, prepareRun, trainPrepared } from '../support/preparedRun.ts'
import type { PreparedRun, TryOptions } from '../support/preparedRun.ts'
import { systemError, tracedFiles } from '../support/tracedFiles.ts'

const dropout = "lora({ rank: 3, alpha: 6, dropout: 0.2, targets: ['c_attn', 'c_proj', 'c_fc'] })"
/** Seven records: steps of four cross from one pass to the next, and the last one is short. */
const epochs = '{ sequences: 2, length: 24, accumulate: 2, epochs: 3 }'
const falling = 'adamW({ rate: cosine({ peak: 0.01, warmup: 2, floor: 0.001 }), clip: 1, weightDecay: 0.01 })'

for (const [name, adapt] of [
  ['LoRA with dropout', dropout],
  ['full fine-tuning', 'fullFineTuning()'],
] as const) {
  describe(`a stopped run of ${name}`, function () {
    this.timeout(300_000)
    let dir = ''
    let run: PreparedRun
    const train = (out: string, options: TryOptions = {}) => trainPrepared(run, out, options)
    const straight = (): string => path.join(dir, 'straight')

    before(async () => {
      dir = tinyProject()
      writeRecipe(dir, 'recipe.ts', { adapt, batch: epochs, optimizer: falling, save: '{ every: 2 }' })
      run = await prepareRun(path.join(dir, 'recipe.ts'), 'wasm')
      assert.equal((await train(straight(), { threads: 1 })).steps, 6)
    })

    for (let stopAfter = 1; stopAfter <= 6; stopAfter++) {
      it(`ends the same when stopped after step ${stopAfter} of 6 and resumed`, async () => {
        const out = path.join(dir, `stopped-${stopAfter}`)
        const first = await train(out, { stopAfter, threads: 2 })
        assert.deepEqual([first.outcome, first.steps], [stopAfter === 6 ? 'finished' : 'stopped', stopAfter])
        if (stopAfter < 6) assert.notEqual(hashOfResult(out), hashOfResult(straight()))
        const second = await train(out, { resume: true, threads: 1 + (stopAfter % 3) })
        assert.deepEqual([second.outcome, second.steps, second.figures.length], ['finished', 6, 6])
        assert.equal(hashOfResult(out), hashOfResult(straight()))
        assert.deepEqual(metricsOf(out), metricsOf(straight()))
      })
    }

    it('ends the same when stopped after every single step', async () => {
      const out = path.join(dir, 'often')
      for (let step = 1; step < 6; step++) await train(out, { resume: true, stopAfter: step })
      await train(out, { resume: true })
      assert.equal(hashOfResult(out), hashOfResult(straight()))
      assert.deepEqual(metricsOf(out), metricsOf(straight()))
    })

    it('cuts off what the figures hold beyond the state, half a line included', async () => {
      const out = path.join(dir, 'torn')
      await train(out, { stopAfter: 2 })
      const line = fs.readFileSync(path.join(out, 'metrics.jsonl'), 'utf8').split('\n')[1] ?? ''
      fs.appendFileSync(
        path.join(out, 'metrics.jsonl'),
        `${line.replace('"step":2', '"step":3')}\n${line.slice(0, 20)}`,
      )
      await train(out, { resume: true })
      assert.deepEqual(metricsOf(out), metricsOf(straight()))
    })

    it('says in one sentence when the disk is full, and goes on once it is not', async () => {
      const { operations, trace } = tracedFiles()
      await train(path.join(dir, 'traced'), { files: operations })
      // Every kind of operation, in every part of the run.
      const stride = Math.ceil(trace.length / 12) | 1
      for (let at = 0; at < trace.length; at += stride) {
        const out = path.join(dir, `full-${at}`)
        const { operations: full } = tracedFiles(at, () => {
          throw systemError('ENOSPC')
        })
        await assert.rejects(train(out, { files: full }), (error) => {
          assert.ok(error instanceof UserError, trace[at])
          assert.match(error.sentence, /^HD405 \S+ the disk is full, [^\n]+ (?:unchanged|yet)$/, trace[at])
          return true
        })
        await train(out, { resume: true })
        assert.equal(hashOfResult(out), hashOfResult(straight()), trace[at])
        assert.deepEqual(metricsOf(out), metricsOf(straight()), trace[at])
      }
    })

    it('keeps two states and nothing else', async () => {
      const out = path.join(dir, 'kept')
      const saved: (number | string)[] = []
      const note = (what: number | string): void => void saved.push(what)
      const { saved: result } = await train(out, { observer: { stateSaved: note, resultSaved: note } })
      assert.deepEqual(saved, [2, 4, 6, result])
      assert.deepEqual(fs.readdirSync(path.join(out, 'state')).sort(), [
        'step-4.json',
        'step-6.json',
        'values-4.safetensors',
        'values-6.safetensors',
      ])
    })
  })
}

describe('heddle train --resume', function () {
  this.timeout(300_000)
  let dir = ''
  const options: Omit<RunOptions, 'out'> = { toolchain: 'wasm', threads: 1, optimise: 'light' }

  /** Runs a recipe as the command line does, until a step if one is given; returns what it said. */
  async function run(recipe: string, out: string, more: Partial<RunOptions> = {}, until?: number): Promise<string[]> {
    const stop = new AbortController()
    const notes: string[] = []
    await runTraining(
      await loadRecipe(path.join(dir, recipe)),
      { ...options, out: path.join(dir, out), stop: stop.signal, ...more },
      {
        note: (sentence) => notes.push(sentence),
        opened: ({ step }) => notes.push(`opened at ${step}`),
        finishing: (step) => notes.push(`only the result of ${step} steps`),
        step: ({ step }) => {
          if (step === until) stop.abort()
        },
      },
    )
    return notes
  }

  const refused = async (recipe: string, code: string, sentence: RegExp, more: Partial<RunOptions> = {}) => {
    await assert.rejects(run(recipe, 'out', { resume: true, ...more }), (error) => {
      assert.ok(error instanceof UserError, String(error))
      assert.equal(error.code, code, error.sentence)
      assert.match(error.message, sentence)
      return true
    })
  }

  before(async () => {
    dir = tinyProject()
    writeRecipe(dir, 'recipe.ts', { batch: '{ sequences: 2, length: 24, steps: 5 }', save: '{ every: 1 }' })
    assert.deepEqual(await run('recipe.ts', 'straight'), ['opened at 0'])
    assert.deepEqual(await run('recipe.ts', 'out', {}, 3), ['opened at 0'])
  })

  it('begins where nothing has been saved, and says so', async () => {
    const notes = await run('recipe.ts', 'new', { resume: true }, 1)
    assert.deepEqual(notes, ['no state has been saved here yet, so the run begins at its first step', 'opened at 0'])
  })

  it('refuses another recipe, naming what differs', async () => {
    const other = (parts: Record<string, string>): string => {
      writeRecipe(dir, 'other.ts', { batch: '{ sequences: 2, length: 24, steps: 5 }', ...parts })
      // A module is evaluated once: each recipe has a file of its own.
      const name = `other-${fs.readdirSync(dir).length}.ts`
      fs.renameSync(path.join(dir, 'other.ts'), path.join(dir, name))
      return name
    }
    const adapt = "lora({ rank: 4, alpha: 6, targets: ['c_attn', 'c_proj', 'c_fc'] })"
    await refused(other({ adapt }), 'HD831', /^adapt\.rank is 4, but 3 in the run that was saved$/)
    await refused(other({ adapt: 'fullFineTuning()' }), 'HD831', /^adapt\.kind is full, but lora in the run/)
    await refused(other({ seed: '6' }), 'HD831', /^seed is 6, but 5 in/)
    await refused(
      other({ optimizer: 'adamW({ rate: constant(0.01) })' }),
      'HD831',
      /^optimizer\.clip is not given, but 1/,
    )
    const falls = 'adamW({ rate: cosine({ peak: 0.01 }), clip: 1 })'
    await refused(other({ optimizer: falls }), 'HD831', /^optimizer\.rate\.kind is cosine, but constant/)
    await refused(other({ batch: '{ sequences: 1, length: 24, steps: 5 }' }), 'HD831', /^batch\.sequences is 1, but 2/)
    await refused(
      other({ data: "completions('records.jsonl', { loss: 'all' })" }),
      'HD831',
      /^the records to learn from/,
    )
    await refused('recipe.ts', 'HD834', /^the state was saved after step 3, and the run has 2 steps$/, { steps: 2 })
  })

  it('refuses other records and other weights', async () => {
    const change = async (file: string, edit: (bytes: Buffer) => Buffer, sentence: RegExp): Promise<void> => {
      const before = fs.readFileSync(path.join(dir, file))
      fs.writeFileSync(path.join(dir, file), edit(Buffer.from(before)))
      try {
        await refused('recipe.ts', 'HD831', sentence)
      } finally {
        fs.writeFileSync(path.join(dir, file), before)
      }
    }
    const other = /^the records to learn from are others than when the state was saved$/
    await change('records.jsonl', (bytes) => Buffer.from(bytes.toString().replace('it is 1', 'it is 2')), other)
    const weights = /^the checkpoint's weights are others than when the state was saved$/
    await change('model/model.safetensors', (bytes) => (bytes.writeFloatLE(0.5, bytes.length - 4), bytes), weights)
  })

  it('passes over a state that is not whole, falls back to the one before, and ends the same', async () => {
    const damage: Record<string, (file: string) => void> = {
      'step-3.json': (file) => fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('"micro":3', '"micro":4')),
      'values-3.safetensors': (file) => fs.truncateSync(file, 100),
    }
    for (const [name, harm] of Object.entries(damage)) {
      const out = `damaged ${name}`
      fs.cpSync(path.join(dir, 'out'), path.join(dir, out), { recursive: true })
      harm(path.join(dir, out, 'state', name))
      const [note, opened] = await run('recipe.ts', out, { resume: true })
      assert.match(note ?? '', /^HD412 .* (?:checksum|100 bytes).*, so the state saved after step 2 is used$/)
      assert.equal(opened, 'opened at 2')
      assert.equal(hashOfResult(path.join(dir, out)), hashOfResult(path.join(dir, 'straight')))
    }
  })

  it('notices one flipped bit', async () => {
    const out = path.join(dir, 'flipped')
    fs.cpSync(path.join(dir, 'out'), out, { recursive: true })
    for (const number of [2, 3]) {
      const file = path.join(out, `state/values-${number}.safetensors`)
      const bytes = fs.readFileSync(file)
      bytes[bytes.length - 3] = (bytes[bytes.length - 3] as number) ^ 0x10
      fs.writeFileSync(file, bytes)
    }
    await assert.rejects(run('recipe.ts', 'flipped', { resume: true }), /no saved state is whole: its checksum is not/)
  })

  it('makes a run with a constant rate longer, as if it had been so long', async () => {
    assert.deepEqual(await run('recipe.ts', 'longer', { steps: 2 }), ['opened at 0'])
    assert.deepEqual(await run('recipe.ts', 'longer', { resume: true }), ['opened at 2'])
    assert.equal(hashOfResult(path.join(dir, 'longer')), hashOfResult(path.join(dir, 'straight')))
  })

  for (const [name, data, evaluate] of [
    ['packed rows, held-out records among them', 'pack: true', { evaluate: '{ share: 0.3, every: 2 }' }],
    ['buckets of like length', 'buckets: [13, 24]', {}],
  ] as const) {
    it(`ends the same with ${name}`, async () => {
      const recipe = `${name.split(' ')[0]}.ts`
      writeRecipe(dir, recipe, {
        data: `completions('records.jsonl', { loss: 'completion', ${data} })`,
        batch: '{ sequences: 2, length: 24, accumulate: 2, epochs: 4 }',
        ...evaluate,
      })
      await run(recipe, `${name} straight`)
      const expected = metricsOf(path.join(dir, `${name} straight`))
      const { step: last } = expected.at(-1) as { step: number }
      assert.ok(last >= 3, `${last} steps`)
      for (let until = 1; until < last; until += 2) {
        const out = `${name} ${until}`
        await run(recipe, out, {}, until)
        assert.deepEqual(await run(recipe, out, { resume: true }), [`opened at ${until}`])
        assert.equal(hashOfResult(path.join(dir, out)), hashOfResult(path.join(dir, `${name} straight`)))
        assert.deepEqual(metricsOf(path.join(dir, out)), expected)
      }
    })
  }

  it('saves the result again when it is only that which is missing', async () => {
    const out = path.join(dir, 'finished')
    fs.cpSync(path.join(dir, 'straight'), out, { recursive: true })
    fs.rmSync(path.join(out, 'adapter'), { recursive: true })
    assert.deepEqual(await run('recipe.ts', 'finished', { resume: true }), ['only the result of 5 steps'])
    assert.equal(hashOfResult(out), hashOfResult(path.join(dir, 'straight')))
  })

  it('puts the states of an earlier run aside when a new one begins, and cleans up behind dead ones', async () => {
    const out = path.join(dir, 'again')
    fs.cpSync(path.join(dir, 'out'), out, { recursive: true })
    const leftover = path.join(out, 'adapter/.adapter_config.json.1.00c0ffee.tmp')
    const dead = leftover.replace('.1.', `.${process.pid}.`)
    for (const file of [leftover, dead]) fs.writeFileSync(file, 'half')
    const [opened, note] = await run('recipe.ts', 'again', {}, 1)
    assert.equal(opened, 'opened at 0')
    assert.match(
      note ?? '',
      /^the state of the run before is in state\.previous now; --resume would have gone on from it$/,
    )
    assert.ok(fs.existsSync(path.join(out, 'state.previous/step-3.json')))
    // Process 1 runs on every system; what it has staged is its own business.
    assert.deepEqual([fs.existsSync(leftover), fs.existsSync(dead)], [true, false])
  })
})
