// That neither the matrix of attention scores nor whole logits exist, in training either: what the plan keeps grows
// linearly with the sequence and not with sequence times vocabulary. And how close the arena comes to its lower bound.
// Compiles to kernels; no C++ is needed.

import assert from 'node:assert/strict'
import { scratchBytes } from '../../backends/neon/emit/index.ts'
import type { Compiled } from '../../compiler/pipeline.ts'
import { oracleCases } from '../support/oracle.ts'
import { compileCase } from '../support/trainCase.ts'
import { compileGpt2, wideProfile } from './gpt2Sizes.ts'
import type { Gpt2Sizes } from './gpt2Sizes.ts'

const FLOAT_BYTES = 4

/** Narrow enough that a buffer over sequence and any width stays far below sequence squared. */
const tiny: Omit<Gpt2Sizes, 'length'> = { width: 16, heads: 2, layers: 2, vocabulary: 1003, mode: 'lora' }
const wide: Omit<Gpt2Sizes, 'length'> = { width: 768, heads: 12, layers: 2, vocabulary: 50257, mode: 'lora' }

const kinds: readonly { readonly name: string; readonly sizes: Omit<Gpt2Sizes, 'length'> }[] = [
  { name: 'tiny, LoRA', sizes: tiny },
  { name: 'tiny, LoRA, layers computed again', sizes: { ...tiny, checkpoints: 'every' } },
  { name: 'tiny, full', sizes: { ...tiny, mode: 'full' } },
  { name: "GPT-2's width, LoRA", sizes: wide },
]

function arenaBuffers({ arenas }: Compiled): number[] {
  return arenas.flatMap(({ buffers }) => buffers.map(({ bytes }) => bytes)).sort((a, b) => b - a)
}

function scratchOf({ program }: Compiled): number {
  return Math.max(...program.kernels.map(scratchBytes))
}

function checkLowerBound({ arenas }: Compiled): void {
  for (const { fn, peak, lowerBound } of arenas) {
    assert.ok(peak >= lowerBound && peak <= 1.02 * lowerBound, `${fn}: ${peak} bytes, ${lowerBound} are needed`)
  }
}

describe('memory and the length of a sequence', function () {
  this.timeout(60_000)

  for (const { name, sizes } of kinds) {
    it(`grows linearly: ${name}`, () => {
      const [short, middle, long] = [1024, 2048, 4096].map((length) => compileGpt2({ ...sizes, length })) as [
        Compiled,
        Compiled,
        Compiled,
      ]
      const peak = ({ program }: Compiled): number => program.arenaBytes
      const ratio = (peak(long) - peak(middle)) / (peak(middle) - peak(short))
      // Twice the step, twice the growth; a score matrix of one head would make it four times.
      assert.ok(ratio > 1.8 && ratio < 2.2, `the arena grows by ${ratio} times as much`)
      // Buffer for buffer: whatever had two sequence axes would be four times as large.
      const [before, after] = [arenaBuffers(middle), arenaBuffers(long)]
      assert.equal(after.length, before.length)
      after.forEach((bytes, place) => assert.ok(bytes <= 2 * (before[place] ?? 0), `${before[place]} became ${bytes}`))
      // What threads keep beside the arena is blocks: they grow until the cache decides their size.
      for (const [shorter, longer] of [
        [short, middle],
        [middle, long],
      ] as const) {
        const growth = scratchOf(longer) / scratchOf(shorter)
        const inCache = scratchOf(longer) <= wideProfile.privateCache / 2
        assert.ok(growth < 1.2 || (growth <= 2 && inCache), `scratch grows ${growth} times`)
      }
      assert.equal(long.program.stateBytes, short.program.stateBytes)
      for (const one of [short, middle, long]) checkLowerBound(one)
    })
  }

  it('has no buffer of sequence × sequence or sequence × vocabulary elements', () => {
    for (const mode of ['lora', 'full'] as const) {
      const length = 1024
      const compiled = compileGpt2({ ...tiny, mode, length })
      const [largest = 0] = arenaBuffers(compiled)
      const matrix = length * Math.min(length, tiny.vocabulary) * FLOAT_BYTES
      assert.ok(largest <= matrix / 8, `${mode}: a buffer has ${largest} bytes`)
      for (const kernel of compiled.program.kernels) {
        for (const local of kernel.locals) {
          const elements = local.dims.reduce((product, { size }) => product * size, 1)
          assert.ok(elements < length * 256, `${kernel.name} keeps ${elements} elements for itself`)
        }
      }
    }
  })
})

describe('memory and the vocabulary', function () {
  this.timeout(60_000)

  it('is not needed for LoRA, whose head is frozen', () => {
    const [small, large] = [25_000, 50_000].map((vocabulary) => compileGpt2({ ...wide, vocabulary, length: 1024 })) as [
      Compiled,
      Compiled,
    ]
    assert.equal(large.program.arenaBytes, small.program.arenaBytes)
    assert.equal(large.program.stateBytes, small.program.stateBytes)
  })

  it('grows with the table that is trained, at any length of the sequence', () => {
    const peak = (vocabulary: number, length: number): number =>
      compileGpt2({ ...wide, mode: 'full', vocabulary, length }).program.arenaBytes
    const [short, long] = [1024, 2048].map((length) => peak(50_000, length) - peak(25_000, length)) as [number, number]
    // At most the table's rows themselves; logits would add sequence × vocabulary, and twice that at twice the length.
    assert.ok(short <= 1.02 * 25_000 * wide.width * FLOAT_BYTES, `25,000 tokens more take ${short} bytes`)
    assert.ok(Math.abs(long - short) <= 0.02 * 25_000 * 1024 * FLOAT_BYTES, `${short} bytes, then ${long}`)
    const step = peak(100_000, 1024) - peak(50_000, 1024)
    assert.ok(Math.abs(step / (2 * short) - 1) < 0.1 || step === 0, `${short} bytes for 25,000, ${step} for 50,000`)
  })
})

describe("the arena of the oracle's cases", function () {
  this.timeout(120_000)
  // Other architectures are held to it in test/plan/arenaModels.test.ts.
  for (const oracle of oracleCases().filter(({ family }) => family === 'gpt2' || family === 'qwen2')) {
    it(`is within 2 % of its lower bound: ${oracle.name}`, () => {
      for (const checkpoints of ['none', 'every'] as const) {
        checkLowerBound(compileCase(oracle, { profile: wideProfile, checkpoints }).compiled)
      }
    })
  }
})
