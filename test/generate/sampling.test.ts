// What may be drawn, with which probability, against transformers' samplers; and that drawing follows the probabilities.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { chooseToken, greedy, penalised, probabilities } from '../../generate/sampling.ts'
import type { Sampling } from '../../generate/sampling.ts'
import { fixture } from './fixture.ts'

const { logits: list, text, cases } = fixture.sampling
const logits = Float32Array.from(list)

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
      for (const [token, probability] of kept) assert.ok(Math.abs((got.get(token) ?? 0) - probability) < 1e-11, called)
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
