// The readers of records on good files of every format, and on bad ones: each must be refused at its line.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { UserError } from '../../compiler/diagnostic.ts'
import type { LineLimits } from '../../data/lines.ts'
import { readRecords, streamRecords, type RecordLayout, type TrainingRecord } from '../../data/records.ts'

const folder = mkdtempSync(join(tmpdir(), 'heddle-records-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const completions: RecordLayout = { kind: 'completions' }
const text: RecordLayout = { kind: 'text' }
const chat: RecordLayout = { kind: 'chat' }

/** Reading and refusing one file. */
function forFile(name: string): {
  file: string
  read: (layout: RecordLayout, content: string | Uint8Array, limits?: LineLimits) => TrainingRecord[]
  refuses: (
    code: string,
    line: number | undefined,
    layout: RecordLayout,
    content: string | Uint8Array,
    limits?: LineLimits,
  ) => UserError
} {
  const file = join(folder, name)
  const read = (layout: RecordLayout, content: string | Uint8Array, limits?: LineLimits): TrainingRecord[] => {
    writeFileSync(file, content)
    return readRecords(file, layout, limits)
  }
  return {
    file,
    read,
    refuses(code, line, layout, content, limits) {
      try {
        read(layout, content, limits)
      } catch (error) {
        assert.ok(error instanceof UserError, String(error))
        assert.equal(error.code, code, error.sentence)
        assert.equal(error.place?.file, file)
        assert.equal(error.place?.line, line, error.sentence)
        return error
      }
      return assert.fail(`nothing was refused: ${String(content).slice(0, 80)}`)
    },
  }
}

describe('data/records: JSON lines', () => {
  const { file, read, refuses } = forFile('mine.jsonl')

  it('reads what the layout asks for, ignores other keys and blank lines', () => {
    const content = '{"prompt":"a","completion":" b","id":3}\n\n  \n{"prompt":"c","completion":"d","text":"e"}\n'
    assert.deepEqual(read(completions, content), [
      { line: 1, prompt: 'a', completion: ' b' },
      { line: 4, prompt: 'c', completion: 'd' },
    ])
    refuses('HD506', 1, text, content)
    assert.deepEqual(read(text, '{"text":"a\\u0000b"}'), [{ line: 1, text: 'a\0b' }])
  })

  it('reads messages, and a prompt and completion as a conversation', () => {
    const messages = [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'a?' },
      { role: 'assistant', content: 'b', thinking: 'c', depth: [1, { two: 2 }] },
    ]
    const given = { messages: [...messages.slice(0, 2), { ...messages[2], tool_calls: null }] }
    assert.deepEqual(read(chat, `${JSON.stringify(given)}\n{"prompt":"p","completion":"c"}\n`), [
      { line: 1, messages },
      { line: 2, prompt: 'p', completion: 'c' },
    ])
  })

  it('refuses tools that are offered or called, and reads records that name none', () => {
    const messages = [{ role: 'user', content: 'a' }]
    const called = [...messages, { role: 'assistant', content: 'b', tool_calls: [{ id: 1 }] }]
    const given = (record: object): string => JSON.stringify(record)
    refuses('HD515', 1, chat, given({ messages, tools: [{ type: 'function' }] }))
    refuses('HD515', 1, chat, given({ prompt: 'a', completion: 'b', tools: '[{}]' }))
    refuses('HD515', 1, chat, given({ messages: called }))
    for (const tools of [[], null]) {
      assert.deepEqual(read(chat, given({ messages, tools })), [{ line: 1, messages }])
    }
    assert.equal(read(completions, given({ prompt: 'a', completion: 'b', tools: [{}] })).length, 1)
  })

  it('takes other names for its keys', () => {
    const columns = { prompt: 'question', completion: 'answer', messages: 'turns' }
    assert.deepEqual(read({ kind: 'completions', columns }, '{"question":"a","answer":"b"}'), [
      { line: 1, prompt: 'a', completion: 'b' },
    ])
    assert.deepEqual(read({ kind: 'chat', columns }, '{"turns":[{"role":"user","content":"x"}]}'), [
      { line: 1, messages: [{ role: 'user', content: 'x' }] },
    ])
    refuses('HD506', 1, { kind: 'completions', columns }, '{"prompt":"a","completion":"b"}')
  })

  it('accepts a byte order mark, carriage returns and a last line without an end', () => {
    assert.deepEqual(read(text, '\ufeff{"text":"a"}\r\n{"text":"b\\n"}'), [
      { line: 1, text: 'a' },
      { line: 2, text: 'b\n' },
    ])
  })

  it('reads the same whatever the chunks are', () => {
    const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }), { minLength: 1 })
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 40 }), fc.constantFrom('\n', '\r\n'), (given, chunkBytes, end) => {
        const content = given.map((one) => JSON.stringify({ text: one })).join(end)
        assert.deepEqual(
          read(text, content, { chunkBytes }),
          given.map((one, index) => ({ line: index + 1, text: one })),
        )
      }),
      { numRuns: 60 },
    )
  })

  it('names the line of each mistake', () => {
    const good = '{"text":"a"}\n'
    refuses('HD505', 2, text, `${good}{"text":\n`)
    refuses('HD505', 3, text, `${good}\nnonsense\n${good}`)
    refuses('HD506', 1, text, '[1]\n')
    refuses('HD506', 1, text, 'null\n')
    refuses('HD506', 2, completions, `{"prompt":"a","completion":"b"}\n{"prompt":"a"}\n`)
    refuses('HD506', 1, completions, `{"completion":"a"}\n`)
    refuses('HD506', 1, text, '{"text":7}\n')
    refuses('HD506', 1, completions, '{"prompt":"a","completion":null}\n')
    refuses('HD506', 1, text, '{"__proto__":{"text":"a"}}\n')
    refuses('HD506', 1, text, '{"text":"\\ud800"}\n')
    refuses('HD504', 2, text, Buffer.concat([Buffer.from(good), Buffer.from([0x22, 0xff, 0x22, 0x0a])]))
    // Cut within a character at the end of the file.
    refuses('HD504', 1, text, Buffer.from('{"text":"é').subarray(0, -1))
    refuses('HD507', undefined, text, '\n \n')
    refuses('HD507', undefined, text, '')
  })

  it('tells a half-written last line from a wrong one', () => {
    const good = '{"text":"a"}\n'
    assert.match(
      refuses('HD505', 2, text, `${good}{"text":"b`).sentence,
      /no line end; the file was not written to its end$/,
    )
    assert.doesNotMatch(refuses('HD505', 2, text, `${good}{"text":"b\n`).sentence, /line end/)
  })

  it('refuses zero bytes and other encodings of text', () => {
    refuses('HD509', 2, text, '{"text":"a"}\n{"text":"b\0"}\n')
    refuses('HD509', 2, text, `{"text":"a"}\n${'\0'.repeat(40)}`)
    // What Windows calls "Unicode".
    refuses('HD509', 1, text, Buffer.from('{"text":"a"}\n', 'utf16le'))
  })

  it('refuses messages of another shape', () => {
    const bad = (messages: unknown): UserError => refuses('HD506', 1, chat, JSON.stringify({ messages }))
    bad('hello')
    bad([])
    bad([3])
    bad([{ content: 'a' }])
    bad([{ role: 'user' }])
    bad([{ role: 'user', content: null }])
    bad([{ role: 'user', content: ['a'] }])
    bad([{ role: 7, content: 'a' }])
    bad([{ role: 'user', content: 'a\ud800' }])
    bad([{ role: 'user', content: 'a', more: { deep: ['\udc00'] } }])
    bad(Array.from({ length: 4097 }, () => ({ role: 'user', content: '' })))
    const deep = `${'['.repeat(5000)}${']'.repeat(5000)}`
    refuses('HD506', 1, chat, `{"messages":[{"role":"user","content":"a","more":${deep}}]}`)
    refuses('HD506', 1, chat, '{"text":"a"}')
    assert.match(bad([{ role: 'user' }]).sentence, /:1 message 1 has no "content" that is a string; chat\(…\) reads /)
  })

  it('bounds lines and files to the byte', () => {
    const line = '{"text":"abc"}'
    for (const chunkBytes of [1, 5, 14, 15, 16, 64]) {
      assert.equal(read(text, `${line}\r\n${line}\n`, { lineBytes: line.length, chunkBytes }).length, 2)
      refuses('HD503', 2, text, `${line}\n${line} \n`, { lineBytes: line.length, chunkBytes })
      refuses('HD503', 1, text, ' '.repeat(line.length + 1), { lineBytes: line.length, chunkBytes })
      assert.equal(read(text, `${line}\n`, { fileBytes: line.length + 1, chunkBytes }).length, 1)
      refuses('HD502', undefined, text, `${line}\n\n`, { fileBytes: line.length + 1, chunkBytes })
    }
  })

  it('refuses a file that is missing, a directory, and a name that says nothing', () => {
    const directory = mkdtempSync(join(folder, 'a-'))
    assert.throws(() => readRecords(join(folder, 'none.jsonl'), text), { code: 'HD501' })
    rmSync(directory, { recursive: true })
    assert.throws(() => readRecords(join(folder, 'records.parquet'), text), { code: 'HD508' })
    assert.throws(() => readRecords(folder, text), { code: 'HD508' })
  })

  it('does not wait for a named pipe', () => {
    const pipe = join(folder, 'pipe.jsonl')
    execFileSync('mkfifo', [pipe])
    assert.throws(() => readRecords(pipe, text), /no regular file/)
  })

  it('hands out records before a mistake further on', () => {
    writeFileSync(file, '{"text":"a"}\nbad\n')
    const stream = streamRecords(file, text)
    assert.deepEqual(stream.next().value, { line: 1, text: 'a' })
    assert.throws(() => stream.next(), { code: 'HD505' })
  })
})

describe('data/records: CSV', () => {
  const { read, refuses } = forFile('mine.csv')

  it('reads columns by the header, quotes, commas and line ends inside, spaces as they stand', () => {
    const content = '\ufeffid,prompt,completion\r\n1,"a, ""b""", c\r\n\r\n2,"x\r\ny",z\r\n3,é,"\n"'
    assert.deepEqual(read(completions, content), [
      { line: 2, prompt: 'a, "b"', completion: ' c' },
      { line: 4, prompt: 'x\ny', completion: 'z' },
      { line: 6, prompt: 'é', completion: '\n' },
    ])
    assert.deepEqual(read(chat, 'prompt,completion\na,b\n'), [{ line: 2, prompt: 'a', completion: 'b' }])
  })

  it('takes the columns that are chosen', () => {
    const layout: RecordLayout = { kind: 'text', columns: { text: 'Body' } }
    assert.deepEqual(read(layout, 'Title,Body \na,b\n'), [{ line: 2, text: 'b' }])
    assert.match(
      refuses('HD506', 1, text, 'Title,Body\na,b\n').sentence,
      /no column "text"; its columns are Title, Body/,
    )
    refuses('HD506', 1, text, 'text,text\na,b\n')
  })

  it('reads tabs where the name says so', () => {
    assert.deepEqual(forFile('mine.tsv').read(completions, 'prompt\tcompletion\na,b\tc\n'), [
      { line: 2, prompt: 'a,b', completion: 'c' },
    ])
  })

  it('gives every table back', () => {
    const quoted = (field: string): string => `"${field.replaceAll('"', '""')}"`
    const field = fc
      .string({ unit: fc.constantFrom('a', '"', ',', '\n', ' ', 'é', '😀'), maxLength: 6 })
      .map((given) => given)
    fc.assert(
      fc.property(fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 5 }), (rows) => {
        const lines = rows.map((row) => `${row.map(quoted).join(',')}\n`)
        const read0 = read(completions, `prompt,completion\n${lines.join('')}`)
        let line = 2
        const expected = rows.map(([prompt, completion], index) => {
          const record = { line, prompt, completion }
          line += (lines[index] ?? '').split('\n').length - 1
          return record
        })
        assert.deepEqual(read0, expected)
      }),
    )
  })

  it('names the line of each mistake', () => {
    const good = 'prompt,completion\na,b\n'
    refuses('HD506', 3, completions, `${good}c\n`)
    refuses('HD506', 3, completions, `${good}"c\nd",e,f\n`)
    refuses('HD514', 3, completions, `${good}"c,d\ne,f\n`)
    refuses('HD514', 3, completions, `${good}c"x,d\n`)
    refuses('HD514', 3, completions, `${good}"c"x,d\n`)
    refuses('HD514', 3, completions, `${good}"${'c\n'.repeat(40)}",d\n`, { lineBytes: 60 })
    refuses('HD509', 3, completions, `${good}\0,d\n`)
    refuses('HD504', 3, completions, Buffer.concat([Buffer.from(good), Buffer.from([0xff])]))
    refuses('HD507', undefined, completions, '')
    refuses('HD507', undefined, completions, 'prompt,completion\n')
  })
})

describe('data/records: plain text', () => {
  const { read, refuses } = forFile('mine.txt')

  it('divides at blank lines, or not at all', () => {
    const content = '\ufeff\r\none\r\n  two\r\n \r\n\r\nthree\r\n'
    assert.deepEqual(read(text, content), [
      { line: 2, text: 'one\n  two' },
      { line: 6, text: 'three' },
    ])
    assert.deepEqual(read({ kind: 'text', documents: 'file' }, content), [
      { line: 1, text: '\none\n  two\n \n\nthree' },
    ])
  })

  it('refuses what holds nothing, and to find prompts in it', () => {
    refuses('HD507', undefined, text, '\n \n')
    refuses('HD507', undefined, { kind: 'text', documents: 'file' }, '\n \n')
    refuses('HD508', undefined, completions, 'a\n')
    refuses('HD509', 2, text, 'a\nb\0\n')
  })

  it('bounds a document', () => {
    const line = `${'a'.repeat(1023)}\n`
    refuses('HD503', 2, text, `\n${line.repeat(16385)}`)
    assert.equal(read(text, `\n${line.repeat(16384)}`).length, 1)
  })
})
