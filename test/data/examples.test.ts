// Examples by hand on small cases: which tokens are learnt, what is cut, divided, left out; and as a property, that a
// divided record has every target in exactly one example.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { buildExamples, refuseWithoutExamples, type Example } from '../../data/examples.ts'

/** One token a letter, a = 1, so that expectations can be read. */
const letters = { encode: (text: string) => Array.from(text, (letter) => letter.charCodeAt(0) - 96), eosId: 50 }
const plain = (example: Example | undefined): number[][] =>
  example === undefined ? [] : [[...example.tokens], [...example.targets], [...example.weights]]

describe('data/examples', () => {
  const one = (
    record: { prompt: string; completion: string } | { text: string },
    options: Parameters<typeof buildExamples>[2],
  ): number[][] => plain(buildExamples([{ line: 1, ...record }], letters, options).examples[0])

  it('learns the completion and the end, not the prompt', () => {
    assert.deepEqual(one({ prompt: 'abc', completion: 'de' }, { loss: 'completion', length: 16 }), [
      [1, 2, 3, 4, 5],
      [2, 3, 4, 5, 50],
      [0, 0, 1, 1, 1],
    ])
  })

  it("learns everything with loss 'all', and all of a text either way", () => {
    const all = [
      [1, 2, 3],
      [2, 3, 50],
      [1, 1, 1],
    ]
    assert.deepEqual(one({ prompt: 'ab', completion: 'c' }, { loss: 'all', length: 16 }), all)
    assert.deepEqual(one({ text: 'abc' }, { loss: 'completion', length: 16 }), all)
  })

  it('learns an empty prompt like a text, and goes without an end token when there is none', () => {
    assert.deepEqual(one({ prompt: '', completion: 'abc' }, { loss: 'completion', length: 16 })[2], [1, 1, 1])
    const { examples } = buildExamples(
      [{ line: 1, text: 'abc' }],
      { encode: letters.encode },
      { loss: 'all', length: 16 },
    )
    assert.deepEqual(plain(examples[0]), [
      [1, 2],
      [2, 3],
      [1, 1],
    ])
  })

  it('cuts what is too long and counts it, and drops what has nothing left to learn', () => {
    const records = [
      { line: 1, prompt: 'abc', completion: 'de' },
      { line: 2, prompt: 'abcdefgh', completion: 'i' },
      { line: 5, text: 'abcd' },
    ]
    const built = buildExamples(records, letters, { loss: 'completion', length: 4 })
    assert.deepEqual(built.examples.map(plain), [
      [
        [1, 2, 3, 4],
        [2, 3, 4, 5],
        [0, 0, 1, 1],
      ],
      [
        [1, 2, 3, 4],
        [2, 3, 4, 50],
        [1, 1, 1, 1],
      ],
    ])
    assert.deepEqual([built.truncated, built.dropped], [2, 1])
    assert.deepEqual(built.lines, { truncated: [1, 2], dropped: [2], empty: [] })
    assert.deepEqual(
      built.examples.map(({ line }) => line),
      [1, 5],
    )
    const none = buildExamples([records[1]!], letters, { loss: 'completion', length: 4 })
    assert.throws(() => refuseWithoutExamples(none, 'mine.jsonl', 4), { code: 'HD511' })
  })

  it('divides what is too long when asked, each target in exactly one example', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), minLength: 1, maxLength: 30 }), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.integer({ min: 1, max: 9 }),
        (texts, length) => {
          const records = texts.map((text, index) => ({ line: index + 1, text }))
          const { examples, truncated, dropped } = buildExamples(records, letters, {
            loss: 'all',
            length,
            long: 'split',
          })
          assert.deepEqual([truncated, dropped], [0, 0])
          texts.forEach((text, index) => {
            const parts = examples.filter(({ line }) => line === index + 1)
            const ids = [...letters.encode(text), letters.eosId]
            assert.deepEqual(
              parts.flatMap(({ tokens }) => [...tokens]),
              ids.slice(0, -1),
            )
            assert.deepEqual(
              parts.flatMap(({ targets }) => [...targets]),
              ids.slice(1),
            )
            assert.ok(parts.every(({ tokens, weights }) => tokens.length <= length && !weights.includes(0)))
          })
        },
      ),
    )
  })

  it('leaves out the parts of a divided record that hold nothing to learn', () => {
    const record = { line: 1, prompt: 'abcdef', completion: 'gh' }
    const { examples, lines } = buildExamples([record], letters, { loss: 'completion', length: 3, long: 'split' })
    assert.deepEqual(examples.map(plain), [
      [
        [4, 5, 6],
        [5, 6, 7],
        [0, 0, 1],
      ],
      [
        [7, 8],
        [8, 50],
        [1, 1],
      ],
    ])
    assert.deepEqual(lines, { truncated: [], dropped: [], empty: [] })
  })

  it('refuses records with nothing to learn, naming the first', () => {
    const options = { loss: 'completion', length: 8 } as const
    const refused = (records: Parameters<typeof buildExamples>[0], line: number, message: RegExp): void => {
      const built = buildExamples(records, letters, options)
      assert.throws(() => refuseWithoutExamples(built, 'mine.jsonl', 8), {
        code: 'HD510',
        place: { file: 'mine.jsonl', line },
        message,
      })
    }
    const empty = { line: 4, prompt: 'a', completion: '' }
    refused([{ line: 2, text: 'ab' }, empty], 4, /nothing to learn$/)
    refused([{ line: 2, text: '' }, empty], 2, /nothing to learn, nor does another one$/)
    const single = buildExamples([{ line: 3, text: 'a' }], { encode: letters.encode }, options)
    assert.deepEqual(single.lines.empty, [3])
    assert.throws(() => buildExamples([empty], letters, { loss: 'all', length: 0 }), { code: 'HD512' })
  })

  it('begin as the tokenizer says, and what it puts there is never learnt', () => {
    const encoding = { ...letters, prefix: [90, 91] }
    for (const [loss, first] of [
      ['all', 2],
      ['completion', 4],
    ] as const) {
      const records = [{ line: 1, prompt: 'ab', completion: 'cd' }]
      const [example] = buildExamples(records, encoding, { loss, length: 9 }).examples
      assert.deepEqual([...(example?.tokens ?? [])], [90, 91, 1, 2, 3, 4])
      // The first learnt token is the one that stands at `first` of the whole.
      assert.deepEqual(
        [...(example?.weights ?? [])],
        Array.from({ length: 6 }, (_, place) => (place + 1 >= first ? 1 : 0)),
      )
    }
    const split = buildExamples([{ line: 1, text: 'abcdef' }], encoding, { loss: 'all', length: 4, long: 'split' })
    assert.deepEqual(
      split.examples.map(({ tokens }) => [...tokens]),
      [
        [90, 91, 1, 2],
        [3, 4, 5, 6],
      ],
    )
  })
})
