// Half of a surrogate pair has no UTF-8 form: a record that holds one is refused at its line, in whichever text.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { readRecords } from '../../data/records.ts'
import type { RecordLayout } from '../../data/records.ts'

interface Field {
  readonly kind: RecordLayout['kind']
  /** How the refusal calls it. */
  readonly named: string
  readonly record: (text: string) => object
}

const fields: Readonly<Record<string, Field>> = {
  prompt: { kind: 'completions', named: '"prompt"', record: (text) => ({ prompt: text, completion: 'b' }) },
  completion: { kind: 'completions', named: '"completion"', record: (text) => ({ prompt: 'a', completion: text }) },
  text: { kind: 'text', named: '"text"', record: (text) => ({ text }) },
  'the prompt of a chat': { kind: 'chat', named: '"prompt"', record: (text) => ({ prompt: text, completion: 'b' }) },
  'the answer of a chat': {
    kind: 'chat',
    named: '"completion"',
    record: (text) => ({ prompt: 'a', completion: text }),
  },
  'the content of a message': {
    kind: 'chat',
    named: 'message 2',
    record: (content) => ({
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content },
      ],
    }),
  },
  'the role of a message': {
    kind: 'chat',
    named: 'message 1',
    record: (role) => ({ messages: [{ role, content: 'a' }] }),
  },
  'another key of a message': {
    kind: 'chat',
    named: 'message 1',
    record: (name) => ({ messages: [{ role: 'user', content: 'a', calls: [{ name }] }] }),
  },
}

const halves: Readonly<Record<string, string>> = {
  'a high half': '\ud83d',
  'a low half': '\ude00',
  'halves the wrong way round': '\ude00\ud83d',
}

describe('lone surrogates in records', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-surrogates-'))
  const file = join(folder, 'mine.jsonl')
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Reads a good record and the given one; JSON spells a lone half as an escape, as a hostile file would. */
  const read = ({ kind, record }: Field, text: string) => {
    writeFileSync(file, `${JSON.stringify(record('good'))}\n\n${JSON.stringify(record(text))}\n`)
    return readRecords(file, { kind })
  }

  for (const [where, field] of Object.entries(fields)) {
    for (const [what, half] of Object.entries(halves)) {
      it(`are refused: ${what} in ${where}`, () => {
        for (const text of [half, `${half}x`, `x${half}`, `😀${half}`]) {
          assert.throws(
            () => read(field, text),
            (error) => {
              assert.ok(error instanceof UserError, String(error))
              assert.equal(error.code, 'HD506')
              assert.deepEqual(error.place, { file, line: 3 })
              assert.ok(error.message.includes(`${field.named} holds half of a surrogate pair`), error.message)
              return true
            },
          )
        }
      })
    }

    it(`leave whole pairs alone in ${where}`, () => {
      const text = 'x😀\u{10ffff}'
      assert.deepEqual(read(field, text)[1], { line: 3, ...field.record(text) })
    })
  }
})
