// What may be drawn, with which probability, against transformers' samplers; and that drawing follows the probabilities.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { float64 } from '../../compiler/graph/float64.ts'
import { randomUniform } from '../../compiler/graph/random.ts'
import { chooseToken, greedy, penalised, probabilities } from '../../generate/sampling.ts'
import type { Sampling } from '../../generate/sampling.ts'
import { fixture } from './fixture.ts'

const { logits: list, text, cases } = fixture.sampling
const logits = Float32Array.from(list)

/** The share of the likelier of two tokens whose logits are 1 apart: above ½, and less as it gets warmer. */
function shareAt(temperature: number): number {
  return probabilities(Float64Array.of(0, -1), { temperature, seed: 0 })[0]?.probability ?? NaN
}

/** Neighbouring temperatures: with the first the share is above `bound`, with the second it is not. */
function temperaturesAt(bound: number): [number, number] {
  let [cold, warm] = [1e-3, 1e3]
  for (;;) {
    const between = (cold + warm) / 2
    if (between === cold || between === warm) return [cold, warm]
    if (shareAt(between) > bound) cold = between
    else warm = between
  }
}

describe('sampling', () => {
  it(`leaves the tokens and probabilities that transformers leaves, in ${cases.length} settings`, () => {
    for (const { kept, ...settings } of cases) {
      const sampling: Sampling = { ...settings, seed: 1 }
      const scores = penalised(logits, text, settings.repetitionPenalty)
      const got = new Map(probabilities(scores, sampling).map(({ token, probability }) => [token, probability]))
      const called = JSON.stringify(settings)
      assert.deepEqual(
        [...got.keys()].sort((a, b) => a - b),
        kept.map(([token]) => token),
        called,
      )
      for (const [token, probability] of kept) assert.ok(Math.abs((got.get(token) ?? 0) - probability) < 1e-9, called)
    }
  })

  it('draws each token as often as its probability says', () => {
    const sampling: Sampling = { temperature: 1, topP: 0.9, seed: 12 }
    const draws = 20_000
    const counts = new Map<number, number>()
    for (let step = 0; step < draws; step++) {
      const token = chooseToken(logits, [], sampling, step)
      counts.set(token, (counts.get(token) ?? 0) + 1)
    }
    const expected = probabilities(penalised(logits, []), sampling)
    assert.equal(counts.size, expected.length)
    for (const { token, probability } of expected) {
      const deviation = Math.sqrt(draws * probability * (1 - probability))
      assert.ok(Math.abs((counts.get(token) ?? 0) - draws * probability) < 5 * deviation + 1, `token ${token}`)
    }
  })

  it('draws by a number of 48 bits, to the last of them: a token has its share without the upper end', () => {
    const seed = 12
    const counts = { compared: 0, equal: 0 }
    for (let step = 0; step < 60; step++) {
      const drawn = randomUniform(float64, seed, 0, step) + randomUniform(float64, seed, 1, step) * 2 ** -24
      if (drawn < 0.501) continue
      const [cold, warm] = temperaturesAt(drawn)
      assert.ok(shareAt(cold) - drawn < 2 ** -49 && drawn - shareAt(warm) < 2 ** -49)
      for (const [token, temperature] of [cold, warm].entries()) {
        assert.equal(chooseToken(Float32Array.of(0, -1), [], { temperature, seed }, step), token, `step ${step}`)
      }
      counts.compared++
      if (shareAt(warm) === drawn) counts.equal++
    }
    assert.ok(counts.compared > 15 && counts.equal > 3, JSON.stringify(counts))
  })

  it('keeps of equally likely tokens the first ones, always one, and all of them where nothing is to be left out', () => {
    const kept = (scores: readonly number[], settings: Omit<Sampling, 'temperature' | 'seed'>): number[] =>
      probabilities(Float64Array.from(scores), { temperature: 1, seed: 0, ...settings }).map(({ token }) => token)
    const equal = [2, 2, 2, 2]
    assert.deepEqual(kept(equal, { topP: 0.5 }), [0, 1])
    assert.deepEqual(kept(equal, { topP: 0.51 }), [0, 1, 2])
    assert.deepEqual(kept(equal, { topP: 0 }), [0])
    assert.deepEqual(kept([1, 1.1, 0.9, -3], { topP: 0 }), [1])
    assert.deepEqual(kept(equal, { topK: 1 }), [0, 1, 2, 3])
    assert.deepEqual(kept([3, 1, 2], { topK: 3 }), [0, 1, 2])
    assert.deepEqual(kept([3, 1, 2], { topK: 9 }), [0, 1, 2])
    // What is too little to change the sum counts as well.
    assert.deepEqual(kept([0, -40], { topP: 1 }), [0, 1])
  })

  it('draws the same again from the same seed, and something else from another', () => {
    const drawn = (seed: number): number[] =>
      Array.from({ length: 40 }, (_, step) => chooseToken(logits, [], { temperature: 1.5, seed }, step))
    assert.deepEqual(drawn(4), drawn(4))
    assert.notDeepEqual(drawn(4), drawn(5))
  })

  it('takes the likeliest at temperature 0, the smallest of equals, after the penalty', () => {
    assert.equal(chooseToken(Float32Array.of(1, 3, 3), [], greedy, 0), 1)
    assert.equal(chooseToken(Float32Array.of(1, 3, 2), [1], { ...greedy, repetitionPenalty: 2 }, 0), 2)
    assert.equal(chooseToken(Float32Array.of(-1, -3, -2), [0], { ...greedy, repetitionPenalty: 2.5 }, 0), 2)
  })

  it('takes from logits of either sign, however small', () => {
    const scores = penalised(Float32Array.of(0.5, -0.5, 3, 0, 1), [0, 1, 3, 1], 2)
    assert.deepEqual([...scores], [0.25, -1, 3, 0, 1])
  })

  it('never draws what is ruled out, and what is certain always', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.nat(1000),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        (seed, step, temperature) => {
          const sampling: Sampling = { temperature, seed }
          assert.equal(chooseToken(Float32Array.of(-Infinity, 0.5, -Infinity), [], sampling, step), 1)
          assert.equal(chooseToken(Float32Array.of(5, Infinity, 7), [], sampling, step), 1)
          assert.notEqual(chooseToken(Float32Array.of(5, 5, 4.9), [], { ...sampling, topK: 2 }, step), 2)
        },
      ),
    )
  })

  it('refuses a logit that is not a number', () => {
    for (const temperature of [0, 1]) {
      assert.throws(() => chooseToken(Float32Array.of(1, Number.NaN), [], { temperature, seed: 0 }, 0), /not a number/)
    }
  })
})
