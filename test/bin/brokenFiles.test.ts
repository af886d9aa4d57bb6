// Broken, half-written and hostile files as a user would meet them: every file that the command line reads, each mistake one
// sentence with the line or the tensor, exit code 1, nothing written. Other mistakes are in badInput.test.ts.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { writeBenchmarks } from '../support/benchmarkFiles.ts'
import { assertRefused, heddle, tinyProject, writeRecipe } from './support.ts'

type Content = string | Buffer | { readonly zeros: number }
type Case = readonly [name: string, content: Content, expected: RegExp]

const GIBIBYTE = 2 ** 30

/** A file of nothing but zero bytes takes no room on the disk, whatever it says that it holds. */
function write(file: string, content: Content): void {
  const isSparse = typeof content === 'object' && 'zeros' in content
  fs.writeFileSync(file, isSparse ? '' : content)
  if (isSparse) fs.truncateSync(file, content.zeros)
}

const bytes = (text: string, ...after: number[]): Buffer => Buffer.concat([Buffer.from(text), Buffer.from(after)])
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le')

function filesIn(dir: string): string[] {
  const entries = fs.readdirSync(dir, { recursive: true, withFileTypes: true })
  return entries.flatMap((entry) => (entry.isFile() ? [path.join(entry.parentPath, entry.name)] : [])).sort()
}

/** Runs the command and holds it to the promise; what it may allocate is far below what the file claims. */
async function refuses(dir: string, expected: RegExp, ...operands: string[]): Promise<void> {
  const before = filesIn(dir)
  const resident = process.memoryUsage().rss
  const ran = await heddle(dir, ...operands)
  assertRefused(ran, expected)
  assert.deepEqual(filesIn(dir), before, 'something was written')
  assert.ok(process.memoryUsage().rss - resident < GIBIBYTE / 2, 'the file was held in memory')
}

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

const header = (text: string, claimed = text.length): Buffer => {
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(claimed))
  return Buffer.concat([size, Buffer.from(text)])
}

const modelFiles: readonly [file: string, ...Case][] = [
  ['config.json', 'cut', '{"n_embd": 20, "n_la', /^HD402 model\/config\.json the text is not JSON/m],
  ['config.json', 'a list', '[]', /^HD402 model\/config\.json a JSON object was expected$/m],
  ['config.json', 'lists in lists', nested(99_999), /^HD402 model\/config\.json the JSON is nested deeper than 64/m],
  ['config.json', 'two gibibytes of zeros', { zeros: 2 * GIBIBYTE }, /^HD401 model\/config\.json the file has 2147483648 bytes, more than/m], // prettier-ignore
  ['tokenizer.json', 'cut', '{"model": {"type": "BPE", "voc', /^HD402 model\/tokenizer\.json the text is not JSON/m],
  ['tokenizer.json', 'lists in lists', `{"model":${nested(99_999)}}`, /^HD402 model\/tokenizer\.json the JSON is nested deeper/m], // prettier-ignore
  ['tokenizer.json', 'two gibibytes of zeros', { zeros: 2 * GIBIBYTE }, /^HD401 model\/tokenizer\.json the file has 2147483648 bytes/m], // prettier-ignore
  ['tokenizer_config.json', 'cut', '{"eos_', /^HD402 model\/tokenizer_config\.json the text is not JSON/m],
  ['model.safetensors', 'empty', '', /^HD403 model\/model\.safetensors a safetensors file has at least 8 bytes/m],
  ['model.safetensors', 'three gibibytes of zeros', { zeros: 3 * GIBIBYTE }, /^HD403 model\/model\.safetensors /m],
  ['model.safetensors', 'a header of a tebibyte', header('{}', 2 ** 40), /^HD403 model\/model\.safetensors the header claims 1099511627776 bytes/m], // prettier-ignore
  ['model.safetensors', 'a tensor of 2⁶⁴ elements', header('{"a":{"dtype":"F32","shape":[4503599627370496,4096],"data_offsets":[0,8]}}'), /^HD404 model\/model\.safetensors \(tensor "a"\) /m], // prettier-ignore
  ['model.safetensors', 'an unknown type', header('{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,0]}}'), /^HD404 model\/model\.safetensors \(tensor "a"\) its dtype "Q4" is not known$/m], // prettier-ignore
]

/** Configurations that say something else than the weights. */
const contradictions: readonly [change: object, expected: RegExp][] = [
  [{ model_type: 'mamba' }, /^HD108 model\/config\.json \(key "model_type"\) the architecture is "mamba", and this model reads gpt2; /m], // prettier-ignore
  [{ model_type: 7 }, /^HD108 model\/config\.json \(key "model_type"\) the architecture is no name, /m],
  [{ n_layer: 2 }, /^HD803 model the checkpoint lacks the tensor "transformer\.h\.1\.ln_1\.weight"$/m],
  [{ n_layer: 0 }, /^HD107 model\/config\.json \(key "n_layer"\) /m],
  [{ n_head: 3 }, /^HD107 model\/config\.json \(key "n_head"\) n_embd 20 is not a multiple of n_head 3$/m],
  [{ n_embd: 40 }, /^HD804 model\/model\.safetensors \(tensor "transformer\.wte\.weight"\) its shape is \[260, 20\], but config\.json asks for \[260, 40\]$/m], // prettier-ignore
  [{ vocab_size: 1e15 }, /^HD107 model\/config\.json \(key "vocab_size"\) /m],
  [{ vocab_size: 300 }, /^HD804 model\/model\.safetensors \(tensor "transformer\.wte\.weight"\) /m],
  [{ activation_function: 'relu' }, /^HD108 model\/config\.json \(key "activation_function"\) /m],
]

function configure(dir: string, change: object): void {
  const file = path.join(dir, 'model/config.json')
  const config = JSON.parse(fs.readFileSync(file, 'utf8')) as object
  fs.writeFileSync(file, JSON.stringify({ ...config, ...change }))
}

describe('a model directory that heddle train refuses', () => {
  for (const [file, name, content, expected] of modelFiles) {
    it(`${file}: ${name}`, async () => {
      const dir = tinyProject()
      write(path.join(dir, 'model', file), content)
      await refuses(dir, expected, 'train', 'lora.ts', '--out', 'out')
    })
  }

  for (const [change, expected] of contradictions) {
    it(`config.json against the weights: ${JSON.stringify(change)}`, async () => {
      const dir = tinyProject()
      configure(dir, change)
      await refuses(dir, expected, 'train', 'lora.ts', '--out', 'out')
    })
  }

  it('shards that are missing or lie elsewhere', async () => {
    const dir = tinyProject()
    fs.rmSync(path.join(dir, 'model/model.safetensors'))
    const index = path.join(dir, 'model/model.safetensors.index.json')
    write(index, '{"weight_map": {"a": "model-1.safetensors"}}')
    await refuses(dir, /^HD401 model\/model-1\.safetensors the file does not exist$/m, 'plan', 'lora.ts')
    write(index, '{"weight_map": {"a": "../records.jsonl"}}')
    await refuses(dir, /^HD407 model\/model\.safetensors\.index\.json \(tensor "a"\) /m, 'plan', 'lora.ts')
  })

  it('an architecture that nobody has written, where no recipe says which it is', async () => {
    const dir = tinyProject()
    configure(dir, { model_type: 'mamba' })
    write(path.join(dir, 'some.txt'), 'how is my pulse\n')
    const expected = /^HD108 model\/config\.json \(key "model_type"\) the architecture "mamba" is not known; known are gpt2, /m // prettier-ignore
    await refuses(dir, expected, 'eval', 'model', '--text', 'some.txt')
    await refuses(dir, expected, 'generate', 'model', '--prompt', 'a')
  })
})

const choices = '"choices":[{"text":"a","label":"A"},{"text":"b","label":"B"}]'
const head = 'index\tquestion\tsentence\tlabel\n'
const ending = (label: string): string =>
  `{"activity_label":"a","ctx_a":"b","ctx_b":"","endings":["x","y"],"label":${label}}\n`

/** What each benchmark's own layout can have wrong, beside what any file can. */
const benchmarks: readonly [task: string, file: string, cases: readonly Case[]][] = [
  ['mmlu', 'x_test.csv', [
    ['a column too few', 'a,b,c,d,e,A\na,b,c,d,B\n', /^HD602 x_test\.csv:2 the line has 5 columns instead of 6$/m],
    ['an answer beyond D', 'a,b,c,d,e,A\na,b,c,d,e,E\n', /^HD602 x_test\.csv:2 an answer is A, B, C, D$/m],
    ['a quote that is open', 'a,b,c,d,e,A\n"q,b,c,d,e,B\nx,b,c,d,e,C\n', /^HD602 x_test\.csv:2 the row that begins here is not CSV$/m], // prettier-ignore
    ['a web page', '<!DOCTYPE html>\n', /^HD602 x_test\.csv:1 the line has 1 column instead of 6$/m],
  ]],
  ['arc_easy', 'arc.jsonl', [
    ['a key that is no choice', `{"question":{"stem":"s",${choices}},"answerKey":"C"}\n`, /^HD602 arc\.jsonl:1 no choice has the label "C"$/m], // prettier-ignore
    ['a web page', '<!DOCTYPE html>\n', /^HD602 arc\.jsonl:1 the line is not JSON$/m],
  ]],
  ['arc_challenge', 'arc.jsonl', [
    ['no key', `{"question":{"stem":"s",${choices}}}\n`, /^HD602 arc\.jsonl:1 'answerKey' is not as the benchmark has it$/m], // prettier-ignore
    ['another layout', '{"question":"s","answerKey":"A"}\n', /^HD602 arc\.jsonl:1 'question' is not as/m],
  ]],
  ['hellaswag', 'h.jsonl', [
    ['no label, as in the test split', ending('""'), /^HD602 h\.jsonl:1 'label' is not as the benchmark has it$/m],
    ['a label beyond the endings', ending('0') + ending('5'), /^HD602 h\.jsonl:2 the label 5 is beyond the 2 endings$/m],
    ['a line that is cut', ending('0') + ending('1').slice(0, -9), /^HD602 h\.jsonl:2 the line is not JSON$/m],
  ]],
  ['piqa', 'p.jsonl', [
    ['no second solution', '{"goal":"a","sol1":"b"}\n', /^HD602 p\.jsonl:1 'sol2' is not as the benchmark has it$/m],
    ['more questions than answers', '{"goal":"a","sol1":"b","sol2":"c"}\n'.repeat(4), /^HD603 valid-labels\.lst 3 answers for 4 questions$/m], // prettier-ignore
  ]],
  ['qnli', 'q.tsv', [
    ['no labels, as in the test split', 'index\tquestion\tsentence\n0\ta\tb\n', /^HD602 q\.tsv:1 the first line is not the columns index, /m], // prettier-ignore
    ['nothing but the head', head, /^HD601 q\.tsv the file holds no question$/m],
    ['a line that is cut', `${head}0\ta\tb\tentailment\n1\ta\n`, /^HD602 q\.tsv:3 the line has 2 columns instead of 4$/m],
    ['another label', `${head}0\ta\tb\tmaybe\n`, /^HD602 q\.tsv:2 a label is entailment or not_entailment$/m],
  ]],
] // prettier-ignore

/** What any of these files can be. */
function brokenAnyhow(file: string, sound: string): readonly Case[] {
  const name = file.replace('.', '\\.')
  const lines = sound.split('\n').length
  return [
    ['empty', '', new RegExp(`^HD601 ${name} the file holds no question$`, 'm')],
    ['bytes that are no UTF-8', bytes(sound, 0xff, 0x0a), new RegExp(`^HD601 ${name}:${lines} the line is not valid UTF-8; save the file as UTF-8$`, 'm')], // prettier-ignore
    ['UTF-16', utf16(sound), new RegExp(`^HD601 ${name}:1 the line holds a zero byte, `, 'm')],
    ['a tail of zero bytes', `${sound}\0\0`, new RegExp(`^HD601 ${name}:${lines} the line holds a zero byte, `, 'm')],
    ['lists in lists', `${nested(200_000)}\n`, new RegExp(`^HD602 ${name}:1 `, 'm')],
    ['a line of three mebibytes', `${'x'.repeat(3 << 20)}\n`, new RegExp(`^HD602 ${name}:1 `, 'm')],
    ['three gibibytes of zeros', { zeros: 3 * GIBIBYTE }, new RegExp(`^HD401 ${name} the file has 3221225472 bytes, more than`, 'm')], // prettier-ignore
  ]
}

describe('benchmarks that heddle eval refuses', () => {
  for (const [task, file, cases] of benchmarks) {
    it(`${task}: what its layout can have wrong, and what any file can`, async () => {
      const dir = tinyProject()
      const published = writeBenchmarks(dir, 3)
      const sound = fs.readFileSync(published[task] ?? '', 'utf8')
      const labels = task === 'piqa' ? ['--labels', 'valid-labels.lst'] : []
      for (const [name, content, expected] of [...cases, ...brokenAnyhow(file, sound)]) {
        write(path.join(dir, file), content)
        await refuses(dir, expected, 'eval', 'model', '--task', `${task}=${file}`, ...labels).catch(
          (error: unknown) => {
            assert.fail(`${task}, ${name}: ${String(error)}`)
          },
        )
      }
      const missing = /^HD401 nowhere\.csv the file does not exist$/m
      await refuses(dir, missing, 'eval', 'model', '--task', `${task}=nowhere.csv`, ...labels)
    })
  }

  it('piqa: answers that are missing, empty or none', async () => {
    const dir = tinyProject()
    write(path.join(dir, 'p.jsonl'), '{"goal":"a","sol1":"b","sol2":"c"}\n')
    const piqa = ['eval', 'model', '--task', 'piqa=p.jsonl']
    await refuses(dir, /^HD603 PIQA has its answers in a second file; name it with --labels$/m, ...piqa)
    write(path.join(dir, 'labels.lst'), '')
    await refuses(dir, /^HD601 labels\.lst the file holds no answer$/m, ...piqa, '--labels', 'labels.lst')
    write(path.join(dir, 'labels.lst'), '2\n')
    await refuses(dir, /^HD602 labels\.lst:1 an answer is 0 or 1$/m, ...piqa, '--labels', 'labels.lst')
  })

  it('a text without anything to predict, or that is none', async () => {
    const dir = tinyProject()
    const cases: readonly Case[] = [
      ['empty', '', /^HD604 some\.txt the text has no token, so nothing can be predicted$/m],
      ['no UTF-8', bytes('one\n', 0xff), /^HD601 some\.txt:2 the line is not valid UTF-8; /m],
      ['a zero byte', 'one\ntwo\0\n', /^HD601 some\.txt:2 the line holds a zero byte, /m],
      ['three gibibytes of zeros', { zeros: 3 * GIBIBYTE }, /^HD401 some\.txt the file has 3221225472 bytes, /m],
    ]
    for (const [, content, expected] of cases) {
      write(path.join(dir, 'some.txt'), content)
      await refuses(dir, expected, 'eval', 'model', '--text', 'some.txt')
    }
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
