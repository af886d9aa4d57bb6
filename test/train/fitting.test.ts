// What would make a recipe fit: the search for the largest number that does, on peaks made up here, and changes of a tiny
// recipe, each of which must hold when it is compiled by itself.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { findDevice } from '../../devices/index.ts'
import type { Checkpoints } from '../../dsl/index.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import type { Attempt } from '../../train/compileRecipe.ts'
import { changesThatFit, fitDevices, largestThatFits } from '../../train/fitting.ts'
import type { FittingOptions } from '../../train/fitting.ts'
import { bigram, bigramLora, bigramRecipe } from './lowRank.ts'

const phone = findDevice('phone-8gb', 'neon')
const functions = ['accumulate', 'measure', 'apply']

describe('the largest number that fits', () => {
  it('is found where a peak grows in proportion, and shown to be the largest', async () => {
    let tries = 0
    const peakOf = (value: number): number => {
      tries++
      return 1000 + 7 * value
    }
    const found = await largestThatFits({
      from: 1024,
      peakFrom: peakOf(1024),
      budget: 5000,
      step: 8,
      floor: 1000,
      peakOf,
    })
    assert.deepEqual(found, { value: 568, peakBytes: 4976, isLargest: true })
    assert.ok(tries <= 4, `${tries} tries`)
  })

  it('always fits, whatever the peak does, and is never said to be the largest when more would fit', async () => {
    const growing = fc.array(fc.nat(50), { minLength: 2, maxLength: 300 }).map((steps) => {
      let sum = 100
      return steps.map((step) => (sum += step))
    })
    await fc.assert(
      fc.asyncProperty(
        growing,
        fc.nat(20_000),
        fc.constantFrom(1, 8),
        fc.boolean(),
        async (peaks, budget, step, hasFloor) => {
          const from = peaks.length
          const peakOf = (value: number): number => peaks[value - 1] as number
          fc.pre(peakOf(from) > budget)
          const floor = hasFloor ? 100 : undefined
          const found = await largestThatFits({ from, peakFrom: peakOf(from), budget, step, floor, peakOf })
          if (!found) return
          assert.ok(found.value >= 1 && found.value < from)
          assert.ok(found.peakBytes === peakOf(found.value) && found.peakBytes <= budget)
          const next = Math.max(1, Math.floor((found.value + step) / step) * step)
          if (found.isLargest && next < from) assert.ok(peakOf(next) > budget)
        },
      ),
    )
  })

  it('does not exist where not even nothing fits, and then nothing is compiled', async () => {
    const peakOf = (): number => assert.fail('a peak was asked for')
    const search = { peakFrom: 900, budget: 500, step: 1, peakOf }
    assert.equal(await largestThatFits({ ...search, from: 8, floor: 501 }), undefined)
    assert.equal(await largestThatFits({ ...search, from: 1, floor: 0 }), undefined)
    assert.equal(await largestThatFits({ ...search, from: 8, floor: undefined, peakOf: () => 501 }), undefined)
  })
})

function fitting(memoryBudget: number, checkpoints: Checkpoints = 'none'): FittingOptions {
  const size = { sequences: 30, length: 200 }
  const recipe = bigramRecipe({ adapt: bigramLora({ rank: 5 }), batch: { ...size, steps: 4 }, checkpoints })
  const settings = { device: { ...phone, runtimeBytes: 0 }, threads: 1, steps: 4, memoryBudget, functions }
  const retrace: FittingOptions['retrace'] = (other) => bigram.trace({}, other)
  return { recipe, traced: retrace(size), retrace, settings }
}

describe('changes that make a recipe fit', function () {
  this.timeout(60_000)

  it('fit when they are made, and grow with what they change', async () => {
    const whole = fitting(Infinity)
    const { recipe, traced, settings } = whole
    const current = compileRecipe(recipe, traced, settings)
    const budget = Math.floor(current.certificate.peakBytes * 0.8)
    const options = fitting(budget)
    const larger = { ...phone, name: 'larger', memoryBudget: current.certificate.peakBytes + (8 << 20) }
    const changes = await changesThatFit(current, [larger, { ...larger, name: 'small', memoryBudget: 1 }], options)
    const keys = changes.map(({ key }) => key)
    for (const key of ['batch.length', 'batch.sequences', 'device'] as const) assert.ok(keys.includes(key), key)
    for (const { key, value, peakBytes, budgetBytes } of changes) {
      assert.ok(peakBytes <= budgetBytes, key)
      if (key === 'device') assert.deepEqual([value, budgetBytes], ['larger', larger.memoryBudget])
      if (key !== 'batch.length' && key !== 'batch.sequences') continue
      const batch = { ...recipe.batch, [key.slice('batch.'.length)]: value }
      const changed = compileRecipe({ ...recipe, batch }, options.retrace(batch), options.settings)
      assert.equal(changed.certificate.peakBytes, peakBytes)
    }
  })

  it('are told in the steps that were looked at, with what they leave of the records, and not where that is nothing', async () => {
    const { recipe, traced, settings } = fitting(Infinity)
    const all = compileRecipe(recipe, traced, settings).certificate.peakBytes
    const options = fitting(Math.floor(0.8 * all))
    const current = compileRecipe(options.recipe, traced, options.settings)
    const asked: number[] = []
    const records = { cut: 3, leftOut: 2, examples: 5 }
    const recordsWithin = (length: number): typeof records | undefined => {
      asked.push(length)
      return asked.length === 1 ? records : undefined
    }
    const [, length] = await changesThatFit(current, [], { ...options, recordsWithin })
    assert.deepEqual([length?.key, length?.step, length?.records], ['batch.length', 8, records])
    assert.deepEqual(asked, [length?.value])
    // One more than it fits, too, which the next step of 8 does not say.
    const between = { sequences: 30, length: Number(length?.value) + 1 }
    const one = compileRecipe(
      { ...recipe, batch: { ...recipe.batch, ...between } },
      options.retrace(between),
      options.settings,
    )
    assert.ok(one.certificate.fits)
    const others = await changesThatFit(current, [], { ...options, recordsWithin })
    assert.ok(others.every(({ key }) => key !== 'batch.length'))
  })

  it('compares devices within what was asked for, unless a device does not have it', async () => {
    const asked = { threads: 3, memoryBudget: 2 ** 33 }
    const fits = await fitDevices([phone, findDevice('phone-4gb', 'neon')], fitting(0), asked)
    const told = fits.map(({ threads, certificate }) => [threads, certificate.budgetBytes])
    assert.deepEqual(told, [[3, 2 ** 33], [3, 2 ** 30]]) // prettier-ignore
  })

  it('compares devices, which share a compilation where everything fits and the schedule cannot tell them apart', async () => {
    const told: string[] = []
    const options = { ...fitting(0), onProgress: (what: string) => told.push(what) }
    const twin = { ...phone, name: 'twin' }
    const small = { ...phone, name: 'small', memoryBudget: 1 }
    const fits = await fitDevices([phone, twin, small], options)
    // What does not fit is compiled by itself: its budget may decide something.
    assert.deepEqual([...new Set(told)], ["device 'phone-8gb'", "device 'small'"])
    assert.deepEqual(
      fits.map(({ certificate }) => certificate.fits),
      [true, true, false],
    )
    assert.equal(fits[0]?.certificate.peakBytes, fits[1]?.certificate.peakBytes)
    const [auto] = await fitDevices([small], fitting(0, 'auto'))
    assert.equal(auto?.certificate.fits, false)
  })

  it('are looked for in few compilations, and what cannot fit is left out of them', async () => {
    const whole = fitting(Infinity)
    const all = compileRecipe(whole.recipe, whole.traced, whole.settings).certificate.peakBytes
    for (const checkpoints of ['none', 'auto'] as const) {
      const tried: string[] = []
      const options = fitting(Math.floor(0.8 * all), checkpoints)
      const { recipe, traced, settings } = options
      const counted = { ...settings, onAttempt: ({ storage }: Attempt) => void tried.push(storage) }
      // Nothing can be moved that is large enough to matter.
      const current = compileRecipe(recipe, traced, counted)
      assert.equal(current.certificate.fits, false)
      const { length: first } = tried
      assert.deepEqual(current.attempts?.length, first)
      const told: string[] = []
      const onProgress = (what: string): void => void (told.at(-1) === what || told.push(what))
      const changes = await changesThatFit(current, [], { ...options, settings: counted, onProgress })
      const values = (key: string): string[] => told.filter((what) => what.startsWith(key))
      for (const key of ['batch.length', 'batch.sequences'] as const) {
        const found = changes.find((change) => change.key === key)
        assert.ok(found && values(key).length <= 3, values(key).join())
        assert.ok(values(key).includes(`${key}: ${found.value}`))
      }
      assert.ok(tried.length - first <= 2 * told.length, `${tried.join()} for ${told.join()}`)
    }
  })

  it('are what was found so far when somebody stops', async () => {
    const whole = fitting(Infinity)
    const all = compileRecipe(whole.recipe, whole.traced, whole.settings).certificate.peakBytes
    const options = fitting(Math.floor(0.8 * all))
    const current = compileRecipe(options.recipe, options.traced, options.settings)
    const stopping = new AbortController()
    const told: string[] = []
    const onProgress = (what: string): void => {
      told.push(what)
      // As a signal would, which is delivered between two programs.
      if (what.startsWith('batch.sequences')) setImmediate(() => stopping.abort())
    }
    const changes = await changesThatFit(current, [phone], { ...options, onProgress, stop: stopping.signal })
    assert.deepEqual(
      changes.map(({ key }) => key),
      ['--memory', 'batch.length'],
    )
    assert.ok(told.at(-1)?.startsWith('batch.sequences'))
    assert.deepEqual(await fitDevices([phone], { ...options, stop: stopping.signal }), [])
  })
})
