// Runs that are held against records they do not learn from: which records those are, the loss they show, the best
// result, stopping early, and all of it through a resumption.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import type { Session } from '../../backends/neon/driver/index.ts'
import type { Example, Examples } from '../../data/examples.ts'
import { heldOutBatches, holdOut } from '../../train/heldOut.ts'
import { Watch } from '../../train/watch.ts'
import type { WatchState } from '../../train/watch.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { heldOutLoss } from '../support/interpretedLoss.ts'
import { hashOfResult, metricsOf, prepareRun, trainPrepared } from '../support/preparedRun.ts'
import type { PreparedRun } from '../support/preparedRun.ts'

/** An example that can be told from others by its first token. */
function example(id: number, length: number): Example {
  return {
    tokens: new Int32Array(length).fill(id),
    targets: new Int32Array(length).fill(id),
    weights: new Float32Array(length).fill(1),
  }
}

const allOf = (examples: readonly Example[]): Examples => ({
  examples,
  truncated: 0,
  dropped: 0,
  lines: { truncated: [], dropped: [], empty: [] },
})

const ids = (examples: readonly Example[]): number[] => examples.map(({ tokens }) => tokens[0] as number)

describe('records that are held out', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 40 })

  it('are a seeded share; both parts keep their order and none is in both', () => {
    fc.assert(
      fc.property(sizes, fc.double({ min: 0.01, max: 0.5, noNaN: true }), fc.nat(), (lengths, share, seed) => {
        const examples = lengths.map((length, index) => example(index + 1, length))
        const all = allOf(examples)
        const { examples: kept, heldOut } = holdOut(all, share, seed, 'records.jsonl')
        assert.equal(heldOut.length, Math.max(1, Math.round(share * examples.length)))
        const [train, held] = [ids(kept.examples), ids(heldOut)]
        for (const part of [train, held])
          assert.deepEqual(
            part,
            part.toSorted((a, b) => a - b),
          )
        assert.deepEqual(
          [...train, ...held].toSorted((a, b) => a - b),
          ids(examples),
        )
        assert.deepEqual(ids(holdOut(all, share, seed, 'records.jsonl').heldOut), held)
      }),
    )
    const many = allOf(Array.from({ length: 200 }, (_, id) => example(id + 1, 3)))
    assert.notDeepEqual(ids(holdOut(many, 0.2, 1, '').heldOut), ids(holdOut(many, 0.2, 2, '').heldOut))
  })

  it('leave something to train on, or are refused', () => {
    const one = allOf([example(1, 2)])
    assert.throws(() => holdOut(one, 0.1, 0, 'r.jsonl'), /evaluate\.share 0\.1 of 1 example leaves none to train on/)
    const three = allOf([1, 2, 3].map((id) => example(id, 2)))
    assert.throws(() => holdOut(three, 0.9, 0, 'r.jsonl'), /leaves none/)
  })

  it('come in batches, each once', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 5 }), (lengths, sequences) => {
        const made = heldOutBatches(
          lengths.map((length, index) => example(index + 1, length)),
          sequences,
        )
        assert.equal(made.length, Math.ceil(lengths.length / sequences))
        const seen = made.flatMap(({ tokens, length, sequences: rows }) =>
          Array.from({ length: rows }, (_, row) => tokens[row * length] as number),
        )
        assert.deepEqual(
          seen.toSorted((a, b) => a - b),
          lengths.map((_, index) => index + 1),
        )
      }),
    )
  })
})

describe('watching', () => {
  /** Gives these losses one after another, each over a weight of 2. */
  function session(losses: number[]): Session {
    let loss = NaN
    const fake = {
      write: async () => undefined,
      call: async () => {
        loss = losses.shift() ?? NaN
      },
      output: async (_fn: string, name: string) => Float32Array.of(name === 'loss' ? 2 * loss : 2),
    }
    return fake as unknown as Session
  }
  const batches = heldOutBatches([example(1, 2)], 1)

  it('knows the best, and when waiting has lasted long enough', async () => {
    const watch = new Watch({ share: 0.1, every: 5, patience: 2 }, batches)
    const losses = session([3, 2, 2, 1.5, 1.6, 1.5])
    const seen: [number, boolean, boolean][] = []
    for (let step = 0; step <= 27; step++) {
      if (!watch.isDue(step, 27)) continue
      const figures = await watch.evaluate(losses, step)
      seen.push([step, figures?.best ?? false, watch.isOver])
      assert.ok(!watch.isDue(step, 27), 'once a step')
    }
    assert.deepEqual(seen, [
      [5, true, false],
      [10, true, false],
      [15, false, false],
      [20, true, false],
      [25, false, false],
      [27, false, true],
    ])
    assert.deepEqual(watch.state, { evaluated: 27, waited: 2, best: { step: 20, loss: 1.5 } } satisfies WatchState)
  })

  it('changes nothing when it is stopped, and never ends a run without patience', async () => {
    const state = { evaluated: 5, waited: 40, best: { step: 1, loss: 1 } }
    const watch = new Watch({ share: 0.1, every: 5 }, batches, state)
    const stop = new AbortController()
    stop.abort()
    assert.equal(await watch.evaluate(session([1]), 10, stop.signal), undefined)
    assert.deepEqual(watch.state, state)
    assert.ok(watch.isDue(10, 20))
    assert.ok(!watch.isOver)
  })

  it('refuses a loss that is no number', async () => {
    const watch = new Watch({ share: 0.1, every: 5 }, batches)
    await assert.rejects(watch.evaluate(session([NaN]), 5), /step 5: the held-out loss is not finite/)
  })
})

describe('a watched run', function () {
  this.timeout(300_000)
  let dir = ''
  let watched: PreparedRun
  let blind: PreparedRun
  const batch = '{ sequences: 2, length: 24, steps: 20 }'
  /** So large a rate learns the few records by heart, and forgets the others. The first step has a rate of 0. */
  const optimizer = 'adamW({ rate: cosine({ peak: 0.03, warmup: 1, floor: 0.03 }) })'
  const adapt = "lora({ rank: 3, alpha: 6, dropout: 0.2, targets: ['c_attn', 'c_proj', 'c_fc'] })"

  before(async () => {
    dir = tinyProject()
    const records = ['pulse 8?', 'is it low?', 'how?'].map((prompt, index) => ({
      prompt,
      completion: `${'!?.'[index]} low, my pulse!`,
    }))
    fs.writeFileSync(path.join(dir, 'heldout.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''))
    const evaluate = "{ data: 'heldout.jsonl', every: 2, patience: 3 }"
    writeRecipe(dir, 'watched.ts', { adapt, batch, optimizer, evaluate })
    writeRecipe(dir, 'blind.ts', { adapt, batch, optimizer })
    watched = await prepareRun(path.join(dir, 'watched.ts'), 'wasm')
    blind = await prepareRun(path.join(dir, 'blind.ts'), 'wasm')
  })

  it('shows the loss that the interpreter finds', async () => {
    // The first step moves no weight: the loss is the base model's.
    const evaluated: number[] = []
    const { recipe } = watched
    const run = { ...watched, recipe: { ...recipe, batch: { ...recipe.batch, steps: 1 } } }
    const observer = { evaluated: ({ heldout_loss }: { heldout_loss: number }) => evaluated.push(heldout_loss) }
    await trainPrepared(run, path.join(dir, 'still'), { observer })
    const expected = await heldOutLoss(path.join(dir, 'watched.ts'))
    assert.equal(evaluated.length, 1)
    assert.ok(Math.abs((evaluated[0] ?? NaN) - expected) <= 1e-5 * expected, `${evaluated[0]} is not ${expected}`)
  })

  it('learns the same as one that is not watched, and saves the weights that were best', async () => {
    const out = path.join(dir, 'early')
    const result = await trainPrepared(watched, out)
    assert.equal(result.outcome, 'early')
    const { best, steps, heldOut } = result
    assert.ok(best && best.step < steps && steps < 20, JSON.stringify(heldOut))
    assert.equal(steps, best.step + 6, 'three evaluations without improvement, two steps apart')
    assert.equal(best.loss, Math.min(...heldOut.map(({ heldout_loss }) => heldout_loss)))
    assert.deepEqual(
      heldOut.map(({ step }) => step),
      Array.from({ length: steps / 2 }, (_, index) => 2 * (index + 1)),
    )
    await trainPrepared(blind, path.join(dir, 'blind'), { stopAfter: best.step })
    assert.equal(hashOfResult(out), hashOfResult(path.join(dir, 'blind')))
    const learnt = metricsOf(out).filter((line) => 'loss' in line)
    assert.deepEqual(learnt.slice(0, best.step), metricsOf(path.join(dir, 'blind')))
    const shown = metricsOf(out).filter((line) => 'heldout_loss' in line)
    assert.deepEqual(
      shown.map(({ step }) => step),
      heldOut.map(({ step }) => step),
    )
    assert.match(fs.readFileSync(path.join(out, 'loss.svg'), 'utf8'), new RegExp(`after step ${best.step}<`))
  })

  it('remembers the best and its patience through any stop', async () => {
    const straight = path.join(dir, 'early')
    const { length } = metricsOf(straight).filter((line) => 'loss' in line)
    for (const stops of [[1], [2, 3], [length - 1], Array.from({ length: length - 1 }, (_, index) => index + 1)]) {
      const out = path.join(dir, `stopped ${stops.join()}`)
      for (const stopAfter of stops) {
        const { outcome } = await trainPrepared(watched, out, { resume: true, stopAfter })
        assert.equal(outcome, 'stopped')
      }
      const { outcome, steps } = await trainPrepared(watched, out, { resume: true, threads: 1 })
      assert.deepEqual([outcome, steps], ['early', length])
      assert.equal(hashOfResult(out), hashOfResult(straight))
      assert.deepEqual(metricsOf(out), metricsOf(straight))
    }
    // And once more: nothing is left to do.
    const again = await trainPrepared(watched, straight, { resume: true })
    assert.deepEqual([again.outcome, again.steps], ['early', length])
  })

  it('goes on when it is given more patience', async () => {
    const out = path.join(dir, 'patient')
    fs.cpSync(path.join(dir, 'early'), out, { recursive: true })
    const patient = { ...watched, recipe: { ...watched.recipe, evaluate: { data: 'heldout.jsonl', every: 2 } } }
    const { outcome, steps } = await trainPrepared(patient, out, { resume: true })
    assert.deepEqual([outcome, steps], ['finished', 20])
  })
})
