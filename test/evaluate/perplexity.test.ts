// Windows over a text: every token but the first is predicted exactly once, from as much as fits.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { windows } from '../../evaluate/perplexity.ts'

describe('windows of a text', () => {
  it('predict every token once, with at least what the stride leaves before it', () => {
    const sizes = fc
      .tuple(fc.integer({ min: 2, max: 300 }), fc.integer({ min: 2, max: 40 }))
      .chain(([count, length]) =>
        fc.tuple(fc.constant(count), fc.constant(length), fc.integer({ min: 1, max: length - 1 })),
      )
    fc.assert(
      fc.property(sizes, ([count, length, stride]) => {
        const tokens = Array.from({ length: count }, (_, index) => index)
        const predicted: number[] = []
        for (const { tokens: window, from } of windows(tokens, length, stride)) {
          assert.ok(window.length <= length && from >= 1)
          for (let place = from; place < window.length; place++) {
            const token = window[place] as number
            predicted.push(token)
            assert.ok(place >= Math.min(token, length - stride), `${token} from ${place} tokens`)
          }
        }
        assert.deepEqual(predicted, tokens.slice(1))
      }),
    )
  })

  it('are those of the usual procedure', () => {
    const tokens = Array.from({ length: 12 }, (_, index) => index)
    assert.deepEqual(
      windows(tokens, 5, 3).map(({ tokens: window, from }) => [window[0], window.length, from]),
      [
        [0, 5, 1],
        [3, 5, 2],
        [6, 5, 2],
        [9, 3, 2],
      ],
    )
    // Without an overlap the first token of a window is in no window's sum, nor is a last window of one token.
    assert.deepEqual(
      windows(tokens.slice(0, 11), 5, 5).map(({ tokens: window, from }) => [window[0], window.length, from]),
      [
        [0, 5, 1],
        [5, 5, 1],
      ],
    )
  })

  it('refuse a stride that leaves tokens out, and a text without any', () => {
    assert.throws(() => windows([1, 2, 3], 2, 3), /the stride is 3/)
    assert.throws(() => windows([1, 2, 3], 2, 0), /the stride is 0/)
    assert.throws(() => windows([1, 2, 3], 1, 1), /a window of 1 predicts nothing/)
    assert.throws(() => windows([1], 2, 1), /the text has 1 token, so nothing can be predicted/)
  })
})
