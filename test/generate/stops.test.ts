// Stop strings, however the text comes in pieces.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { StoppedText } from '../../generate/stops.ts'

/** All that is shown of a text that comes in pieces, and what stopped it. */
function shown(pieces: readonly string[], stops: readonly string[]): { text: string; stop: string | undefined } {
  const growing = new StoppedText(stops)
  let text = ''
  for (const piece of pieces) {
    const part = growing.add(piece)
    text += part.text
    if (part.stop !== undefined) return { text, stop: part.stop }
  }
  return { text: text + growing.end(), stop: undefined }
}

describe('stop strings', () => {
  it('end a text where the first of them ends', () => {
    assert.deepEqual(shown(['one, two. three'], ['three', '. ']), { text: 'one, two', stop: '. ' })
    assert.deepEqual(shown(['aab'], ['ab', 'aab']), { text: '', stop: 'aab' })
    assert.deepEqual(shown(['no stop'], ['', 'x']), { text: 'no stop', stop: undefined })
  })

  it('are held back while they may still come, and shown when they do not', () => {
    const growing = new StoppedText(['\nUser:'])
    assert.deepEqual(growing.add('U'), { text: 'U', stop: undefined })
    assert.deepEqual(growing.add('Yes.\n'), { text: 'Yes.', stop: undefined })
    assert.deepEqual(growing.add('Us'), { text: '', stop: undefined })
    assert.deepEqual(growing.add('ually\nU'), { text: '\nUsually', stop: undefined })
    assert.equal(growing.end(), '\nU')
  })

  it('do not depend on how the text is cut', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 12 })
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 8 }), fc.array(letters, { maxLength: 3 }), (pieces, stops) => {
        const whole = pieces.join('')
        const ends = stops.filter((stop) => stop !== '' && whole.includes(stop))
        const first = Math.min(...ends.map((stop) => whole.indexOf(stop) + stop.length))
        const got = shown(pieces, stops)
        assert.deepEqual(got, shown(Array.from(whole), stops))
        if (ends.length === 0) assert.deepEqual(got, { text: whole, stop: undefined })
        else assert.equal(got.text.length + (got.stop ?? '').length, first)
      }),
      { numRuns: 500 },
    )
  })
})
