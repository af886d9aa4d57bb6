// Records that are broken, half-written or hostile, as a user would meet them in train and check: one sentence with the line.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { bytes, GIBIBYTE, nested, refuses, utf16, write } from './broken.ts'
import type { Case } from './broken.ts'
import { heddle, tinyProject, writeRecipe } from './support.ts'

const record = '{"prompt": "a", "completion": "b"}\n'

const jsonLines: readonly Case[] = [
  ['an empty file', '', /^HD507 records\.jsonl the file holds no record$/m],
  ['blank lines', '\n  \n\n', /^HD507 records\.jsonl the file holds no record$/m],
  ['a last line that is cut', `${record}{"prompt": "a", "comp`, /^HD505 records\.jsonl:2 the last line is not JSON and has no line end; the file was not written to its end$/m], // prettier-ignore
  ['a last character that is cut', bytes(`${record}{"prompt": "caf`, 0xc3), /^HD504 records\.jsonl:2 the last line is not valid UTF-8; the file was not written to its end, or/m], // prettier-ignore
  ['bytes that are no UTF-8', bytes(`${record}{"prompt": "`, 0xff, 0x22, 0x0a), /^HD504 records\.jsonl:2 the line is not valid UTF-8; save the file as UTF-8$/m], // prettier-ignore
  ['UTF-16', utf16(record), /^HD509 records\.jsonl:1 the line holds a zero byte, /m],
  ['a tail of zero bytes', `${record}${'\0'.repeat(99)}`, /^HD509 records\.jsonl:2 the line holds a zero byte, /m],
  ['a line of more than a mebibyte', `${record}"${'x'.repeat(1 << 20)}"\n`, /^HD503 records\.jsonl:2 the line exceeds 1048576 bytes$/m], // prettier-ignore
  ['lists in lists', `${record}${nested(400_000)}\n`, /^HD506 records\.jsonl:2 the line is not a JSON object; /m],
  ['objects in objects', `${record}${'{"prompt":'.repeat(90_000)}1${'}'.repeat(90_000)}\n`, /^HD506 records\.jsonl:2 "prompt" is not a string; /m], // prettier-ignore
  ['one JSON array', `[\n${record}]\n`, /^HD505 records\.jsonl:1 the file begins with a JSON array; write one record on each line/m], // prettier-ignore
  ['two records on a line', `${record.trim()}${record}`, /^HD505 records\.jsonl:1 the line is not JSON$/m],
  ['null for an answer', `${record}{"prompt": "a", "completion": null}\n`, /^HD506 records\.jsonl:2 "completion" is not a string; /m], // prettier-ignore
  ['three gibibytes of zeros', { zeros: 3 * GIBIBYTE }, /^HD503 records\.jsonl:1 the line exceeds 1048576 bytes$/m],
]

const csv: readonly Case[] = [
  ['an empty file', '', /^HD507 records\.csv the file holds no record$/m],
  ['nothing but a header', 'prompt,completion\n', /^HD507 records\.csv the file holds no record$/m],
  ['another header', 'prompt,answer\na,b\n', /^HD506 records\.csv:1 the header has no column "completion"; its columns are prompt, answer; /m], // prettier-ignore
  ['a row that is cut', 'prompt,completion\na,b\nc\n', /^HD506 records\.csv:3 the row has 1 field, the header 2$/m],
  ['a quote that is open', 'prompt,completion\na,b\nc,"d\ne,f\n', /^HD514 records\.csv:3 a quoted field that begins here/m], // prettier-ignore
  ['an empty answer', 'prompt,completion\na,b\nc,\n', /^HD510 records\.csv:3 the record holds nothing to learn; /m],
  ['another encoding', bytes('prompt,completion\na,caf', 0xe9, 0x0a), /^HD504 records\.csv:2 the line is not valid UTF-8; /m], // prettier-ignore
  ['a zero byte', 'prompt,completion\na,\0\n', /^HD509 records\.csv:2 the line holds a zero byte, /m],
  ['two gibibytes of zeros', { zeros: 2 * GIBIBYTE }, /^HD503 records\.csv:1 the line exceeds 1048576 bytes$/m],
]

const plainText: readonly Case[] = [
  ['an empty file', '', /^HD507 records\.txt the file holds no record$/m],
  ['white space', '\n \t\n', /^HD507 records\.txt the file holds no record$/m],
  ['another encoding', bytes('one\ncaf', 0xe9, 0x0a), /^HD504 records\.txt:2 the line is not valid UTF-8; /m],
  ['two gibibytes of zeros', { zeros: 2 * GIBIBYTE }, /^HD503 records\.txt:1 the line exceeds 1048576 bytes$/m],
]

const talk = (...messages: object[]): string => `${JSON.stringify({ messages })}\n`
const user = { role: 'user', content: 'a' }
const answer = { role: 'assistant', content: 'b' }

const talks: readonly Case[] = [
  ['no messages', '{"talk": []}\n', /^HD506 talks\.jsonl:1 the record has no "messages"; /m],
  ['an empty list', '{"messages": []}\n', /^HD506 talks\.jsonl:1 "messages" is not a list of messages; /m],
  ['a message without a role', talk(user, { content: 'b' }), /^HD506 talks\.jsonl:1 message 2 has no "role"; /m],
  ['content in parts', talk({ role: 'user', content: [{ type: 'text', text: 'a' }] }), /^HD506 talks\.jsonl:1 message 1 has no "content" that is a string; /m], // prettier-ignore
  ['a question alone', talk(user, answer) + talk(user), /^HD510 talks\.jsonl:2 the record holds nothing to learn; /m],
  ['an answer first', talk(answer, user), /^HD534 talks\.jsonl:1 the conversation begins with an answer, /m],
  ['tools', `${JSON.stringify({ messages: [user, answer], tools: [{ type: 'function' }] })}\n`, /^HD515 talks\.jsonl:1 the record has "tools", which conversations cannot be written with yet; leave such records out/m], // prettier-ignore
  ['a call of a tool', talk(user, { ...answer, content: null, tool_calls: [{ id: 1 }] }), /^HD515 talks\.jsonl:1 message 2 has "tool_calls", /m], // prettier-ignore
  ['a call in the old way', talk(user, { ...answer, function_call: { name: 'f' } }), /^HD515 talks\.jsonl:1 message 2 has "function_call", /m], // prettier-ignore
  ['content in objects in objects', `{"messages":[{"role":"user","content":"a","x":${nested(40)}}]}\n`, /^HD506 talks\.jsonl:1 message 1 is nested deeper than 32 levels; /m], // prettier-ignore
]

const chatTemplate =
  "{% for m in messages %}{{ m.role[0] + ':' + m.content + eos_token }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}"

function useTemplate(dir: string, template: string): void {
  const file = path.join(dir, 'model/tokenizer_config.json')
  fs.writeFileSync(file, JSON.stringify({ eos_token: '<|end|>', chat_template: template }))
  writeRecipe(dir, 'lora.ts', { data: "chat('talks.jsonl', { loss: 'assistant' })" })
}

describe('records that heddle train refuses', () => {
  const files: readonly [file: string, data: string, cases: readonly Case[]][] = [
    ['records.jsonl', "completions('records.jsonl', { loss: 'completion' })", jsonLines],
    ['records.csv', "completions('records.csv', { loss: 'completion' })", csv],
    ['records.txt', "text('records.txt')", plainText],
  ]
  for (const [file, data, cases] of files) {
    for (const [name, content, expected] of cases) {
      it(`${file}: ${name}`, async () => {
        const dir = tinyProject()
        write(path.join(dir, file), content)
        writeRecipe(dir, 'lora.ts', { data })
        await refuses(dir, expected, 'train', 'lora.ts', '--out', 'out')
      })
    }
  }

  for (const [name, content, expected] of talks) {
    it(`talks.jsonl: ${name}`, async () => {
      const dir = tinyProject()
      write(path.join(dir, 'talks.jsonl'), content)
      useTemplate(dir, chatTemplate)
      await refuses(dir, expected, 'train', 'lora.ts', '--out', 'out')
    })
  }

  it('talks.jsonl: several answers under a template that rewrites earlier ones, with the way out', async () => {
    const dir = tinyProject()
    useTemplate(dir, fs.readFileSync(new URL('../fixtures/chat/qwen3/chat_template.jinja', import.meta.url), 'utf8'))
    const thought = { ...answer, reasoning_content: 'hm' }
    write(path.join(dir, 'talks.jsonl'), talk(user, thought, user, thought))
    const refusal =
      /^HD534 talks\.jsonl:1 the chat template writes message 2 otherwise once more messages follow, .*; set turns: 'apart', which makes each answer an example of its own$/m
    await refuses(dir, refusal, 'train', 'lora.ts', '--out', 'out')
    writeRecipe(dir, 'apart.ts', { data: "chat('talks.jsonl', { loss: 'assistant', turns: 'apart' })" })
    // Its special tokens are spelt letter by letter here, which is more than the batch takes: all that is wrong now.
    const { stdout, stderr } = await heddle(dir, 'data', 'apart.ts')
    assert.equal(stderr, '')
    assert.match(
      stdout,
      /^warning: talks\.jsonl: 1 record left out, since within 24 positions there is nothing to learn/m,
    )
  })

  it('and reads those with a byte order mark and line ends of Windows as any others', async () => {
    const dir = tinyProject()
    const shown = async (): Promise<string> => (await heddle(dir, 'data', 'lora.ts')).stdout
    const plain = await shown()
    assert.match(plain, /^records\.jsonl: 7 examples/m)
    const file = path.join(dir, 'records.jsonl')
    write(file, `\ufeff${fs.readFileSync(file, 'utf8').replaceAll('\n', '\r\n')}`)
    assert.equal(await shown(), plain)
  })
})

describe('heddle check', () => {
  const long = (key: 'prompt' | 'completion'): string =>
    `${JSON.stringify({ prompt: 'a', completion: 'b', [key]: 'x'.repeat(80) })}\n`

  it('refuses records that training would refuse', async () => {
    const cases: readonly [spoil: (dir: string) => void, expected: RegExp][] = [
      [(dir) => fs.appendFileSync(path.join(dir, 'records.jsonl'), '{"prompt": "a", "completion": ""}\n'), /^HD510 records\.jsonl:8 the record holds nothing to learn; /m], // prettier-ignore
      [(dir) => writeRecipe(dir, 'lora.ts', { batch: '{ sequences: 2, length: 3, steps: 3 }' }), /^HD511 records\.jsonl no record has anything to learn within 3 tokens; raise the batch length$/m], // prettier-ignore
      [(dir) => fs.rmSync(path.join(dir, 'model/tokenizer.json')), /^HD807 model the model directory has no tokenizer\.json$/m], // prettier-ignore
    ]
    for (const [spoil, expected] of cases) {
      const dir = tinyProject()
      spoil(dir)
      await refuses(dir, expected, 'check', 'lora.ts')
    }
  })

  it('names a bad record also where there is no tokenizer', async () => {
    const dir = tinyProject()
    fs.rmSync(path.join(dir, 'model/tokenizer.json'))
    fs.appendFileSync(path.join(dir, 'records.jsonl'), '[]\n')
    const { code, stderr } = await heddle(dir, 'check', 'lora.ts')
    assert.equal(code, 1)
    assert.match(stderr, /^HD807 .*\nHD506 records\.jsonl:8 .*\n$/)
  })

  it('says how many records are cut or left out, and training goes on without', async () => {
    const dir = tinyProject()
    fs.appendFileSync(path.join(dir, 'records.jsonl'), long('completion').repeat(2) + long('prompt'))
    const { code, stdout } = await heddle(dir, 'check', 'lora.ts')
    assert.equal(code, 0)
    assert.equal(
      stdout,
      'records.jsonl: 2 records are cut short to 24 positions\n' +
        'records.jsonl: 1 record is left out, since within 24 positions there is nothing to learn\n' +
        'lora.ts: no problems\n',
    )
    const trained = await heddle(dir, 'train', 'lora.ts', '--optimise', 'light', '--out', 'out')
    assert.match(trained.stdout, /: 9 examples, 3 cut to the batch length, 1 left out as nothing to learn remained, /)
  })
})
