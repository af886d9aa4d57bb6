// What the command line makes of each kind of data: a run on conversations, and the mistakes that only templates and
// conversations have.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { assertRefused, eventsOf, heddle, startHeddle, tinyProject, writeRecipe } from './support.ts'

const template =
  "{% for m in messages %}{% if m.role != ['user', 'assistant'][loop.index0 % 2] %}" +
  "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.role[0] + ':' + m.content + eos_token }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}"
const talk = (...turns: string[]): string =>
  `${JSON.stringify({
    messages: turns.map((content, index) => ({ role: index % 2 === 0 ? 'user' : 'assistant', content })),
  })}\n`

/** A project whose model has a chat template and whose recipe reads conversations. */
function chatProject(
  data = "chat('talks.jsonl', { loss: 'assistant' })",
  source: string | undefined = template,
): string {
  const dir = tinyProject()
  const config = { eos_token: '<|end|>', ...(source === undefined ? {} : { chat_template: source }) }
  fs.writeFileSync(path.join(dir, 'model/tokenizer_config.json'), JSON.stringify(config))
  fs.writeFileSync(path.join(dir, 'talks.jsonl'), talk('hi', 'it is', 'low?', 'no') + talk('pulse?', 'it is 3'))
  writeRecipe(dir, 'lora.ts', { data })
  return dir
}

describe('conversations on the command line', () => {
  it('are checked and trained', async () => {
    const dir = chatProject()
    assert.deepEqual((await heddle(dir, 'check', 'lora.ts')).stdout, 'lora.ts: no problems\n')
    const { code, stdout } = await heddle(dir, 'train', 'lora.ts', '--optimise', 'light', '--out', 'out')
    assert.equal(code, 0)
    assert.match(stdout, /: 2 examples, 3 steps$/m)
  })

  it('are refused by check where roles are out of order, at their line', async () => {
    const dir = chatProject()
    fs.appendFileSync(path.join(dir, 'talks.jsonl'), `{"messages":[{"role":"assistant","content":"hi"}]}\n`)
    const refusal = /^HD532 talks\.jsonl:3 the chat template refuses the conversation: roles must alternate$/m
    assertRefused(await heddle(dir, 'check', 'lora.ts'), refusal)
    assertRefused(await heddle(dir, 'train', 'lora.ts', '--out', 'out'), refusal)
  })

  it('need a template, of the name that is asked for, that can be read', async () => {
    const none = chatProject("chat('talks.jsonl', { loss: 'all' })", '')
    fs.writeFileSync(path.join(none, 'model/tokenizer_config.json'), '{"eos_token": "<|end|>"}')
    assertRefused(
      await heddle(none, 'train', 'lora.ts', '--out', 'out'),
      /^HD530 model the checkpoint has no chat template; /m,
    )
    const other = chatProject("chat('talks.jsonl', { loss: 'all', template: 'rag' })")
    assertRefused(await heddle(other, 'check', 'lora.ts'), /^HD530 model .* no chat template 'rag'; it has 'default'$/m)
    const broken = chatProject("chat('talks.jsonl', { loss: 'all' })", '{% if %}')
    assertRefused(await heddle(broken, 'check', 'lora.ts'), /^HD531 model the chat template cannot be read: /m)
  })

  it('with nothing to learn are named, and answers apart are examples of their own', async () => {
    const dir = chatProject("chat('talks.jsonl', { loss: 'assistant', turns: 'apart' })")
    assert.match(
      (await heddle(dir, 'train', 'lora.ts', '--optimise', 'light', '--out', 'out')).stdout,
      /: 3 examples, /,
    )
    fs.appendFileSync(path.join(dir, 'talks.jsonl'), talk('only a question'))
    assertRefused(
      await heddle(dir, 'train', 'lora.ts', '--out', 'other'),
      /^HD510 talks\.jsonl:3 the record holds nothing to learn; /m,
    )
  })

  it('say that a template asks for the date, unless the recipe gives one', async () => {
    const dated = `{{ strftime_now('%d %b %Y') }}${template}`
    const dir = chatProject("chat('talks.jsonl', { loss: 'all' })", dated)
    assert.match((await heddle(dir, 'check', 'lora.ts')).stdout, /^the chat template writes today's date, /m)
    writeRecipe(dir, 'dated.ts', { data: "chat('talks.jsonl', { loss: 'all', date: '2026-03-07' })" })
    assert.doesNotMatch((await heddle(dir, 'check', 'dated.ts')).stdout, /today's date/)
  })

  it('come from CSV as questions and answers', async () => {
    const dir = chatProject("chat('talks.csv', { loss: 'assistant', columns: { prompt: 'q', completion: 'a' } })")
    fs.writeFileSync(path.join(dir, 'talks.csv'), 'q,a\nhi,"it is"\nlow?,no\n')
    assert.match((await heddle(dir, 'data', 'lora.ts')).stdout, /^u:hi<\|end\|>a:⟦it is<\|end\|>⟧$/m)
  })
})

describe('heddle data', () => {
  it('shows examples, figures and lengths', async () => {
    const { code, stdout, stderr } = await heddle(tinyProject(), 'data', 'lora.ts', '--examples', '1')
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /^example 1 records\.jsonl:1, \d+ tokens, \d+ learnt\npulse 0\?⟦ it is 0<\|end\|>⟧\n/)
    assert.doesNotMatch(stdout, /example 2/)
    assert.match(stdout, /^records\.jsonl: 7 examples, \d+ positions$/m)
    assert.match(stdout, /^ {2}learnt {3}\d+ \(\d+\.\d %\)$/m)
    assert.match(
      stdout,
      /^ {2}padding {2}\d+\.\d % of what is computed \(so the recipe has it\), \d+\.\d % with buckets, \d+\.\d % packed$/m,
    )
    assert.match(stdout, /^ {4}\d+(–\d+)? █+ 7$/m)
  })

  it('warns of what is cut, left out or empty, by line, and ends with 1 where training refuses', async () => {
    const dir = tinyProject()
    const record = (prompt: string, completion: string): string => `${JSON.stringify({ prompt, completion })}\n`
    const file = path.join(dir, 'records.jsonl')
    fs.appendFileSync(file, record('a', 'x'.repeat(60)) + record('y'.repeat(60), 'b'))
    const warned = await heddle(dir, 'data', 'lora.ts')
    assert.equal(warned.code, 0)
    assert.match(warned.stdout, /^warning: records\.jsonl: 1 record cut short to 24 positions: line 8$/m)
    assert.match(warned.stdout, /^warning: records\.jsonl: 1 record left out, since .* nothing to learn: line 9$/m)
    fs.appendFileSync(file, record('a', '').repeat(22))
    const { code, stdout } = await heddle(dir, 'data', 'lora.ts')
    assert.equal(code, 1)
    assert.match(stdout, /^warning: .* 22 records with nothing to learn, .*: lines 10, .*, 29 and 2 more$/m)
  })

  it('tells machines every token and every line', async () => {
    const dir = tinyProject()
    fs.appendFileSync(path.join(dir, 'records.jsonl'), '{"prompt":"a","completion":""}\n'.repeat(30))
    const { code, stdout } = await heddle(dir, 'data', 'lora.ts', '--examples', '2', '--json')
    const events = eventsOf(stdout)
    assert.equal(code, 1)
    assert.deepEqual(
      events.map(({ event }) => event),
      ['example', 'example', 'data', 'warning', 'end'],
    )
    const tokens = events[0]?.['tokens'] as { ids: number[]; text: string; learnt: boolean }[]
    assert.equal(tokens.map(({ text }) => text).join(''), 'pulse 0? it is 0<|end|>')
    assert.equal(
      tokens
        .filter(({ learnt }) => learnt)
        .map(({ text }) => text)
        .join(''),
      ' it is 0<|end|>',
    )
    assert.deepEqual(
      events[3]?.['lines'],
      Array.from({ length: 30 }, (_, index) => index + 8),
    )
    assert.deepEqual(events[4], { event: 'end', examples: 7, fit: false })
  })

  it('is in colour where colours are asked for', async () => {
    const { FORCE_COLOR: forced, NO_COLOR: refused } = process.env
    process.env['FORCE_COLOR'] = '1'
    delete process.env['NO_COLOR']
    try {
      const { stdout } = await startHeddle(tinyProject(), 'data', 'lora.ts', '--examples', '1').ended
      assert.ok(stdout.includes('\u001b[32m') && !stdout.includes('⟦'))
    } finally {
      if (forced === undefined) delete process.env['FORCE_COLOR']
      else process.env['FORCE_COLOR'] = forced
      if (refused !== undefined) process.env['NO_COLOR'] = refused
    }
  })

  it('refuses what is wrong with the records in one sentence', async () => {
    const dir = tinyProject()
    fs.appendFileSync(path.join(dir, 'records.jsonl'), '[]\n')
    assertRefused(await heddle(dir, 'data', 'lora.ts'), /^HD506 records\.jsonl:8 /m)
    assertRefused(await heddle(dir, 'data', 'lora.ts', '--examples', '-1'), /a whole number from 0 to 2,147,483,647/)
  })
})
