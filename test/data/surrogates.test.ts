// Half of a surrogate pair has no UTF-8 form: a record that holds one is refused at its line, in whichever text.

import assert from 'node:assert/strict'
import { UserError } from '../../compiler/diagnostic.ts'
import { parseRecord } from '../../data/records.ts'

describe('lone surrogates in records', () => {
  const halves = { 'a high half': '\ud83d', 'a low half': '\ude00', 'halves the wrong way round': '\ude00\ud83d' }
  const records = (text: string): Record<string, object> => ({
    prompt: { prompt: text, completion: 'b' },
    completion: { prompt: 'a', completion: text },
    text: { text },
  })

  for (const [key] of Object.entries(records(''))) {
    for (const [name, half] of Object.entries(halves)) {
      it(`are refused: ${name} in "${key}"`, () => {
        for (const text of [half, `${half}x`, `x${half}`, `😀${half}`]) {
          // JSON.stringify spells a lone half as an escape, as a hostile file would.
          const line = JSON.stringify(records(text)[key])
          assert.throws(
            () => parseRecord(line, 'mine.jsonl', 3),
            (error) => {
              assert.ok(error instanceof UserError, String(error))
              assert.equal(error.code, 'HD506')
              assert.deepEqual(error.place, { file: 'mine.jsonl', line: 3 })
              assert.match(error.sentence, new RegExp(`"${key}" holds half of a surrogate pair`))
              return true
            },
          )
        }
      })
    }

    it(`leave whole pairs alone in "${key}"`, () => {
      const record = records('x😀\u{10ffff}')[key]
      assert.deepEqual(parseRecord(JSON.stringify(record), 'mine.jsonl', 1), record)
    })
  }
})
