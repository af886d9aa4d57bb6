// The least memory that a recipe needs: one number whatever is asked for, enough when it is asked for, and refused below.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { findDevice } from '../../devices/index.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import { adamW, completions, constant, fullFineTuning, lora, recipe } from '../../dsl/index.ts'
import type { Checkpoints, Recipe, TracedModel } from '../../dsl/index.ts'
import { gpt2, llama, readGpt2Config, readLlamaConfig } from '../../models/index.ts'
import { bytesOf } from '../../bin/bytes.ts'
import { enoughFor } from '../../train/certificate.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import type { CompiledRecipe } from '../../train/compileRecipe.ts'
import { bigramRecipe, traceBigram } from './lowRank.ts'

const phone = findDevice('phone-8gb', 'avx2')
const functions = ['accumulate', 'measure', 'apply']

/** With one table for embeddings and logits. */
const tied = readGpt2Config(
  { model_type: 'gpt2', n_embd: 64, n_layer: 3, n_head: 2, n_positions: 64, vocab_size: 3000 },
  'config.json',
)
const apart = readLlamaConfig(
  {
    model_type: 'llama',
    hidden_size: 64,
    intermediate_size: 192,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 1500,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    max_position_embeddings: 64,
    tie_word_embeddings: false,
  },
  'config.json',
)

interface Case {
  readonly isFull?: true
  readonly checkpoints: Checkpoints
  readonly model: 'gpt2' | 'llama' | 'bigram'
  readonly device?: DeviceProfile
  readonly threads?: number
}

const size = { sequences: 1, length: 64 }
const usual = {
  data: completions('records.jsonl', { loss: 'completion' }),
  optimizer: adamW({ rate: constant(0.01) }),
  batch: { ...size, steps: 1 },
} as const

function recipeOf({ model, isFull, checkpoints }: Case): Recipe {
  const full = fullFineTuning()
  if (model === 'bigram') return bigramRecipe({ adapt: full, checkpoints })
  if (model === 'gpt2') {
    const adapt = isFull ? full : lora({ rank: 4, alpha: 4, targets: ['c_fc'] })
    return recipe({ ...usual, model: gpt2.from('./model'), adapt, checkpoints })
  }
  const adapt = isFull ? full : lora({ rank: 4, alpha: 4, targets: ['q_proj', 'down_proj'] })
  return recipe({ ...usual, model: llama.from('./model'), adapt, checkpoints })
}

const traces: Readonly<Record<Case['model'], () => TracedModel>> = {
  gpt2: () => gpt2.trace(tied, size),
  llama: () => llama.trace(apart, size),
  bigram: traceBigram,
}

/** Compiles for one budget after the other. */
function compilerOf(one: Case): (memoryBudget: number) => CompiledRecipe {
  const { device = phone, threads = 2 } = one
  const [made, traced] = [recipeOf(one), traces[one.model]()]
  return (memoryBudget) => compileRecipe(made, traced, { device, threads, steps: 1, memoryBudget, functions })
}

const cases: Readonly<Record<string, Case>> = {
  'adapters beside tied tables': { model: 'gpt2', checkpoints: 'auto' },
  'all weights, with tied tables': { model: 'gpt2', isFull: true, checkpoints: 'auto' },
  'adapters beside two tables': { model: 'llama', checkpoints: 'auto', threads: 1 },
  'all weights, every layer again': { model: 'llama', isFull: true, checkpoints: 'every layer' },
  'adapters, nothing again': { model: 'llama', checkpoints: 'none' },
  'a model that is too small for files': { model: 'bigram', isFull: true, checkpoints: 'auto' },
  'everything in memory': { model: 'gpt2', checkpoints: 'auto', device: { ...phone, isa: 'wasmRelaxed' } },
}

describe('the least memory', function () {
  this.timeout(300_000)

  for (const [what, one] of Object.entries(cases)) {
    it(`is one number for every budget, enough, and needed: ${what}`, () => {
      const compile = compilerOf(one)
      const { certificate: refused } = compile(1)
      const { peakBytes: least } = refused
      assert.equal(refused.fits, false)
      const below = fc.integer({ min: 1, max: least - 1 })
      const near = fc.integer({ min: Math.floor(0.9 * least), max: least - 1 })
      fc.assert(
        fc.property(fc.oneof(below, near), (budget) => {
          const { certificate } = compile(budget)
          assert.deepEqual([certificate.fits, certificate.peakBytes], [false, least])
        }),
        { numRuns: 2, examples: [[least - 1]], seed: 11 },
      )
      fc.assert(
        fc.property(fc.double({ min: 1, max: 1.6, noNaN: true }), (share) => {
          const budget = Math.ceil(least * share)
          const { certificate } = compile(budget)
          assert.ok(certificate.fits && certificate.peakBytes <= budget, `${certificate.peakBytes} of ${budget}`)
        }),
        { numRuns: 2, examples: [[1]], seed: 13 },
      )
    })
  }

  it('is enough as it is told, and a hundredth of a MiB less is not', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 38 }), (bytes) => {
        const enough = enoughFor(bytes)
        if (enough >= 1e6) return
        assert.ok(bytesOf(`${enough}MiB`) >= bytes)
        const less = Math.round(enough * 100 - 1) / 100
        assert.ok(less <= 0 || bytesOf(`${less}MiB`) < bytes)
      }),
      { numRuns: 2000 },
    )
  })
})
