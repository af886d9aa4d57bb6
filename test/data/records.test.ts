// The JSONL reader on good files of every shape, and on bad ones: each must be refused at its line.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { UserError } from '../../compiler/diagnostic.ts'
import { readRecords, streamRecords, type RecordLimits, type TrainingRecord } from '../../data/records.ts'

describe('data/records', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-records-'))
  const file = join(folder, 'mine.jsonl')
  after(() => rmSync(folder, { recursive: true, force: true }))

  const read = (content: string | Uint8Array, limits?: RecordLimits): TrainingRecord[] => {
    writeFileSync(file, content)
    return readRecords(file, limits)
  }
  const refuses = (
    code: string,
    line: number | undefined,
    content: string | Uint8Array,
    limits?: RecordLimits,
  ): void => {
    assert.throws(
      () => read(content, limits),
      (error) => {
        assert.ok(error instanceof UserError, String(error))
        assert.equal(error.code, code)
        assert.equal(error.place?.file, file)
        assert.equal(error.place?.line, line)
        return true
      },
    )
  }

  it('reads both kinds of record, ignores other keys and blank lines', () => {
    assert.deepEqual(read('{"prompt":"a","completion":" b","id":3}\n\n  \n{"text":"c"}\n'), [
      { prompt: 'a', completion: ' b' },
      { text: 'c' },
    ])
  })

  it('accepts a byte order mark, carriage returns and a last line without an end', () => {
    assert.deepEqual(read('\ufeff{"text":"a"}\r\n{"text":"b\\n"}'), [{ text: 'a' }, { text: 'b\n' }])
  })

  it('reads the same whatever the chunks are', () => {
    const records = fc.array(
      fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => ({ text })),
      { minLength: 1 },
    )
    fc.assert(
      fc.property(records, fc.integer({ min: 1, max: 40 }), fc.constantFrom('\n', '\r\n'), (given, chunkBytes, end) => {
        const content = given.map((record) => JSON.stringify(record)).join(end)
        assert.deepEqual(read(content, { chunkBytes }), given)
      }),
      { numRuns: 60 },
    )
  })

  it('names the line of each mistake', () => {
    const good = '{"text":"a"}\n'
    refuses('HD505', 2, `${good}{"text":\n`)
    refuses('HD505', 3, `${good}\nnonsense\n${good}`)
    refuses('HD506', 1, '[1]\n')
    refuses('HD506', 1, 'null\n')
    refuses('HD506', 2, `${good}{"prompt":"a"}\n`)
    refuses('HD506', 2, `${good}{"completion":"a"}\n`)
    refuses('HD506', 1, '{"text":"a","prompt":"b"}\n')
    refuses('HD506', 1, '{"text":7}\n')
    refuses('HD506', 1, '{"prompt":"a","completion":null}\n')
    refuses('HD506', 1, '{"__proto__":{"text":"a"}}\n')
    refuses('HD506', 1, '{"text":"\\ud800"}\n')
    refuses('HD504', 2, Buffer.concat([Buffer.from(good), Buffer.from([0x22, 0xff, 0x22, 0x0a])]))
    // Cut within a character at the end of the file.
    refuses('HD504', 1, Buffer.from('{"text":"é').subarray(0, -1))
    refuses('HD507', undefined, '\n \n')
    refuses('HD507', undefined, '')
  })

  it('bounds lines and files to the byte', () => {
    const line = '{"text":"abc"}'
    for (const chunkBytes of [1, 5, 14, 15, 16, 64]) {
      assert.equal(read(`${line}\r\n${line}\n`, { lineBytes: line.length, chunkBytes }).length, 2)
      refuses('HD503', 2, `${line}\n${line} \n`, { lineBytes: line.length, chunkBytes })
      refuses('HD503', 1, ' '.repeat(line.length + 1), { lineBytes: line.length, chunkBytes })
      assert.equal(read(`${line}\n`, { fileBytes: line.length + 1, chunkBytes }).length, 1)
      refuses('HD502', undefined, `${line}\n\n`, { fileBytes: line.length + 1, chunkBytes })
    }
  })

  it('refuses a file that is missing and a directory', () => {
    for (const path of [join(folder, 'none.jsonl'), folder]) {
      assert.throws(() => readRecords(path), { code: 'HD501' })
    }
  })

  it('hands out records before a mistake further on', () => {
    writeFileSync(file, '{"text":"a"}\nbad\n')
    const stream = streamRecords(file)
    assert.deepEqual(stream.next().value, { text: 'a' })
    assert.throws(() => stream.next(), { code: 'HD505' })
  })
})
