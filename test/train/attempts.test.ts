// Which programs are tried within a budget, in which order, and which is taken: a tiny model at budgets from nothing to plenty.

import assert from 'node:assert/strict'
import { findDevice } from '../../devices/index.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import { adamW, completions, constant, fullFineTuning, lora, recipe } from '../../dsl/index.ts'
import type { Checkpoints } from '../../dsl/index.ts'
import { gpt2, readGpt2Config } from '../../models/index.ts'
import { compileRecipe, draftRecipe } from '../../train/compileRecipe.ts'
import type { Attempt, CompiledRecipe, CompileSettings } from '../../train/compileRecipe.ts'
import { golden } from '../support/golden.ts'

const phone = findDevice('phone-8gb', 'avx2')
const size = { sequences: 1, length: 48 }
const config = readGpt2Config(
  { model_type: 'gpt2', n_embd: 32, n_layer: 1, n_head: 2, n_positions: 48, vocab_size: 900 },
  'config.json',
)
const traced = gpt2.trace(config, size)

type Options = Partial<CompileSettings> & { readonly checkpoints?: Checkpoints; readonly isFull?: true }

function made({ checkpoints = 'auto', isFull }: Options): ReturnType<typeof recipe> {
  return recipe({
    model: gpt2.from('./model'),
    adapt: isFull ? fullFineTuning() : lora({ rank: 2, alpha: 4, targets: ['c_fc'] }),
    data: completions('records.jsonl', { loss: 'completion' }),
    optimizer: adamW({ rate: constant(0.01) }),
    batch: { ...size, steps: 1 },
    checkpoints,
  })
}

const usual = { device: phone, threads: 1, steps: 1, functions: ['accumulate'] }

function compileWith(memoryBudget: number, options: Options = {}): CompiledRecipe & { readonly tried: string[] } {
  const { checkpoints: _, isFull: __, ...settings } = options
  const tried: string[] = []
  const onAttempt = ({ checkpoints, storage }: Attempt): void => void tried.push(`${checkpoints} ${storage}`)
  return { ...compileRecipe(made(options), traced, { ...usual, memoryBudget, onAttempt, ...settings }), tried }
}

/** What was tried, one after the other, and what came of it. */
function toldOf({ tried, certificate, checkpoints, attempts, program }: ReturnType<typeof compileWith>): string {
  const [frozen, stored] = [
    certificate.storage ? 'in files' : 'in memory',
    program.storedCount > 0 ? ', trained too' : '',
  ]
  const taken = `${checkpoints}, ${frozen}${stored}${certificate.fits ? '' : `: does not fit, ${attempts?.length} told`}`
  return `${tried.join(', ')} → ${taken}`
}

const storageAt = (readBytesPerSecond: number): DeviceProfile => {
  const storage = { readBytesPerSecond, writeBytesPerSecond: 1e8, latencySeconds: 1e-6, source: 'made up' }
  return { ...phone, figures: { ...phone.figures, storage } }
}

describe('attempts', function () {
  this.timeout(120_000)

  it('go from everything in memory to what needs least, and stop at what fits', () => {
    const below = ['nothing', 'a byte less than the least', 'the least']
    const cases: Readonly<Record<string, readonly [options: Options, budgets: readonly string[]]>> = {
      'adapters, auto': [{}, [...below, 'half of the way', 'a byte less than the most', 'the most']],
      'adapters, auto, fast storage': [{ device: storageAt(1e12) }, ['a byte less than the most']],
      'adapters, none': [{ checkpoints: 'none' }, below],
      'all weights, auto': [{ isFull: true }, [...below, 'a tenth of the way', 'half of the way']],
      'adapters, auto, in WebAssembly': [
        { device: { ...phone, isa: 'wasmRelaxed' } },
        ['the least', 'half of the way'],
      ],
    }
    const lines = Object.entries(cases).flatMap(([what, [options, wanted]]) => {
      const least = compileWith(1, options).certificate.peakBytes
      const most = compileWith(2 ** 40, options).certificate.peakBytes
      const between = (share: number): number => Math.floor(least + share * (most - least))
      const budgets: Readonly<Record<string, number>> = {
        nothing: 1,
        'a byte less than the least': least - 1,
        'the least': least,
        'a tenth of the way': between(0.1),
        'half of the way': between(0.5),
        'a byte less than the most': most - 1,
        'the most': most,
      }
      const told = wanted.map((name) => {
        const budget = budgets[name] as number
        const compiled = compileWith(budget, options)
        const { fits, peakBytes } = compiled.certificate
        assert.deepEqual([fits, fits ? peakBytes <= budget : peakBytes], [budget >= least, fits || least])
        return `  ${name}: ${toldOf(compiled)}`
      })
      return [what, ...told]
    })
    golden('train/attempts.txt', `${lines.join('\n')}\n`)
  })

  it('are few where it is known that they need too much', () => {
    const { tried } = compileWith(2 ** 24, { isTooMuch: (storage) => storage !== 'least' })
    assert.deepEqual(tried, ['every layer least'])
    const asked = compileWith(1, { isTooMuch: () => true })
    assert.deepEqual([asked.tried, asked.certificate.fits], [['every layer least'], false])
  })

  it('are said by the one that is taken', () => {
    for (const budget of [1, 2 ** 40]) {
      const said: string[] = []
      const { tried } = compileWith(budget, { dump: (text) => void said.push(text) })
      const starts = said.filter((text) => text.includes('separateWrites') || text.includes('separate-writes')).length
      assert.ok(said.length > 0 && starts <= tried.length, `${starts} of ${tried.join()}`)
    }
  })

  it('stop before each program', () => {
    const tried: string[] = []
    const onAttempt = ({ storage }: Attempt): void => void tried.push(storage)
    const drafting = draftRecipe(made({}), traced, { ...usual, memoryBudget: 1, onAttempt })
    for (let stops = 0; ; stops++) {
      // What comes to nothing more is asked for as well.
      assert.ok(tried.length <= stops)
      if (drafting.next().done === true) break
    }
    assert.ok(tried.length > 1)
  })
})
