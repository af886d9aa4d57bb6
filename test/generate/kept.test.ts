// Generating with keys and values kept: transformers' tokens, and the bits of the whole text computed again.

import assert from 'node:assert/strict'
import type { Session } from '../../backends/neon/driver/index.ts'
import { keptText, recomputedText } from '../../generate/logits.ts'
import { continuationsOf, continueText, openText } from './fixture.ts'

describe('keys and values that are kept', function () {
  this.timeout(240_000)

  // Windows shorter than the prompt, between it and the text, rotary positions, learned ones.
  for (const name of ['gemma3-small', 'gpt2-odd']) {
    it(`continue a prompt over 64 tokens as transformers does: ${name}`, async () => {
      const { prompt, greedy } = continuationsOf(name)
      const session = await openText(name, { toolchain: 'wasm', length: 7, kept: 80 })
      try {
        for (const chunk of [7, 4]) {
          await session.call('clear', { seq: 1, context: 80 })
          assert.deepEqual(await continueText(session, { prompt, count: greedy.length, chunk }), greedy)
        }
      } finally {
        await session.close()
      }
    })
  }

  it('give the logits of the whole text computed again, bit for bit, a text after another', async () => {
    const name = 'qwen3-small'
    const [kept, whole] = await Promise.all([
      openText(name, { toolchain: 'wasm', length: 5, kept: 40 }),
      openText(name, { toolchain: 'wasm', length: 40 }),
    ])
    try {
      for (const [length, more] of [
        [12, 28],
        [3, 9],
      ] as const) {
        const text = Array.from({ length: length + more }, (_, index) => (index * 37 + length) % 200)
        const [a, b] = [keptText(kept, 5), recomputedText(whole)]
        // The session is another text's: the first thing is to forget it.
        await kept.call('clear', { seq: 1, context: 40 })
        assert.deepEqual(await a.begin(text.slice(0, length)), await b.begin(text.slice(0, length)))
        for (const token of text.slice(length)) assert.deepEqual(await a.add(token), await b.add(token))
      }
    } finally {
      await Promise.all([kept.close(), whole.close()])
    }
  })

  it('hold several texts of unequal lengths at once', async () => {
    const name = 'gemma3-small'
    const [kept, whole] = await Promise.all([
      openText(name, { toolchain: 'wasm', length: 6, kept: 24, sequences: 3 }),
      openText(name, { toolchain: 'wasm', length: 24, sequences: 3 }),
    ])
    try {
      await checkRagged(kept, whole)
    } finally {
      await Promise.all([kept.close(), whole.close()])
    }
  })
})

/** Three texts taken in by two uneven calls, then token by token; the logits of each against those of the whole texts. */
async function checkRagged(kept: Session, whole: Session): Promise<void> {
  const texts = [5, 11, 2].map((start) => Array.from({ length: 24 }, (_, index) => (start * 31 + index * 17) % 200))
  const past = [0, 0, 0]
  const grid = (counts: readonly number[], value: (row: number, index: number) => number): Int32Array => {
    const longest = Math.max(...counts)
    return Int32Array.from(
      counts.flatMap((count, row) =>
        Array.from({ length: longest }, (_, index) => (index < count ? value(row, index) : 0)),
      ),
    )
  }
  for (const counts of [
    [6, 2, 4],
    [1, 5, 3],
  ]) {
    const shape = [3, Math.max(...counts)]
    await kept.write(
      'tokens',
      grid(counts, (row, index) => texts[row]?.[(past[row] ?? 0) + index] ?? 0),
      shape,
    )
    await kept.write(
      'positions',
      grid(counts, (row, index) => (past[row] ?? 0) + index),
      shape,
    )
    await kept.write(
      'last',
      Int32Array.from(counts, (count) => count - 1),
    )
    counts.forEach((count, row) => (past[row] = (past[row] ?? 0) + count))
    await kept.call('prefill', { seq: Math.max(...counts), context: Math.max(...past) })
    assert.deepEqual(await kept.output('prefill', 'logits'), await again())
  }
  while (Math.max(...past) < 24) {
    await kept.write(
      'token',
      Int32Array.from(past, (place, row) => texts[row]?.[place] ?? 0),
    )
    await kept.write('place', Int32Array.from(past))
    past.forEach((_, row) => past[row]!++)
    await kept.call('decode', { seq: 1, context: Math.max(...past) })
    assert.deepEqual(await kept.output('decode', 'logits'), await again())
  }

  async function again(): Promise<unknown> {
    const longest = Math.max(...past)
    await whole.write(
      'tokens',
      grid(past, (row, index) => texts[row]?.[index] ?? 0),
      [3, longest],
    )
    await whole.write(
      'position',
      Int32Array.from(past, (count) => count - 1),
    )
    await whole.call('predict', { seq: longest })
    return whole.output('predict', 'logits')
  }
}
