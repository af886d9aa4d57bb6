// What a growing text asks of a session: which tokens at which places, what is forgotten, how long everything is. The
// session is played by one that keeps tokens in place of keys and values.

import assert from 'node:assert/strict'
import type { Session, Sizes, TensorData } from '../../backends/neon/driver/index.ts'
import { keptText, recomputedText } from '../../generate/logits.ts'

const bound = 20

/** What the played session gives as logits: they depend on every token, on its place, and on which of them is last. */
function logitsAfter(text: readonly number[]): number[] {
  return [text.length, text.reduce((sum, token, place) => sum + token * (place + 1), 0), text.at(-1) ?? NaN]
}

/** A session for one sequence, which refuses a call whose inputs and extents do not fit together. */
function playedSession(chunk: number, Data: typeof Float32Array | typeof Int32Array = Float32Array): Session {
  const inputs = new Map<string, number[]>()
  const kept = Array.from({ length: bound }, () => 0)
  let length = 0
  let logits: number[] = []
  const write = async (name: string, data: TensorData, shape: readonly number[] = [data.length]): Promise<void> => {
    assert.ok(data instanceof Int32Array)
    const size = name === 'tokens' || name === 'positions' ? [1, data.length] : [1]
    assert.deepEqual(shape, size, name)
    inputs.set(name, [...data])
  }
  const given = (name: string, length: number): number[] => {
    const values = inputs.get(name) ?? []
    assert.equal(values.length, length, name)
    return values
  }
  const functions: Record<string, (seq: number, context: number) => void> = {
    clear: (_seq, context) => {
      assert.equal(context, length, 'clears what is kept')
      kept.fill(0, 0, context)
      length = 0
    },
    prefill: (seq, context) => {
      const [tokens, positions] = [given('tokens', seq), given('positions', seq)]
      assert.equal(given('last', 1)[0], seq - 1)
      assert.equal(context, Math.max(...positions) + 1)
      positions.forEach((place, index) => (kept[place] = (kept[place] ?? NaN) + (tokens[index] ?? NaN)))
      length = context
      logits = logitsAfter(kept.slice(0, context))
    },
    decode: (seq, context) => {
      assert.equal(seq, 1)
      const [place] = given('place', 1)
      assert.equal(place, context - 1)
      kept[context - 1] = (kept[context - 1] ?? NaN) + (given('token', 1)[0] ?? NaN)
      length = context
      logits = logitsAfter(kept.slice(0, context))
    },
    predict: (seq) => {
      assert.equal(given('position', 1)[0], seq - 1)
      logits = logitsAfter(given('tokens', seq))
    },
  }
  const call = async (fn: string, { seq = NaN, context = 1 }: Sizes): Promise<void> => {
    // As a program does: no extent of 0, none beyond its bound.
    for (const [extent, most] of [
      [seq, chunk],
      [context, bound],
    ] as const) {
      assert.ok(extent >= 1 && extent <= most, `${fn}: an extent of ${extent}`)
    }
    functions[fn]?.(seq, context)
  }
  return { write, call, output: async () => Data.from(logits) } as Partial<Session> as Session
}

/** Texts one after the other, longer ones first; each logits against those of the whole. */
async function growTexts(growing: ReturnType<typeof keptText>): Promise<void> {
  for (const [prompt, more] of [
    [
      [5, 3, 8, 1, 9, 2, 4],
      [6, 7, 5],
    ],
    [
      [2, 9],
      [1, 1, 3, 8],
    ],
    [[7], []],
    [[4, 4, 4, 4], []],
  ] as const) {
    const text: number[] = [...prompt]
    assert.deepEqual(await growing.begin(prompt), Float32Array.from(logitsAfter(text)))
    for (const token of more) {
      text.push(token)
      assert.deepEqual(await growing.add(token), Float32Array.from(logitsAfter(text)))
    }
  }
}

describe('a text that grows', () => {
  for (const chunk of [1, 2, 3, 7, bound]) {
    it(`is taken in by pieces of at most ${chunk} and kept, until the next text`, async () => {
      await growTexts(keptText(playedSession(chunk), chunk))
    })
  }

  it('is computed as a whole each time where nothing is kept, and leaves the prompt as it is', async () => {
    const session = playedSession(bound)
    await growTexts(recomputedText(session))
    const prompt = [1, 2]
    const growing = recomputedText(session)
    await growing.begin(prompt)
    await growing.add(3)
    assert.deepEqual(prompt, [1, 2])
  })

  it('has floats as logits, whatever the session holds them in', async () => {
    await growTexts(keptText(playedSession(4, Int32Array), 4))
    await growTexts(recomputedText(playedSession(bound, Int32Array)))
  })
})
