// Chat templates by themselves: what is refused, hostile ones, marks and their borders, dates, and Python's way with
// strings.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { UserError } from '../../compiler/diagnostic.ts'
import { answersApart, asConversation, encodeConversation, type LocatedEncoding } from '../../data/chatAnswers.ts'
import { compileChatTemplate, type RenderedChat, type TemplateSettings } from '../../data/chatTemplate.ts'
import { pythonStrip } from '../../data/jinjaInterpreter.ts'
import type { Message } from '../../data/records.ts'
import { strftime } from '../../data/strftime.ts'

const place = { file: 'mine.jsonl', line: 3 }
const user = (content: string): Message => ({ role: 'user', content })
const assistant = (content: string): Message => ({ role: 'assistant', content })
const settings: TemplateSettings = { specialTokens: { bos_token: '<s>', eos_token: '</s>' } }

const compile = (source: string, more: Partial<TemplateSettings> = {}) =>
  compileChatTemplate(source, { ...settings, ...more }, { file: 'model' })
const render = (source: string, messages: readonly Message[] = [user('a')]): RenderedChat =>
  compile(source).render(messages, false, place)

function refused(action: () => unknown, code: string, sentence: RegExp): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof UserError, String(error))
    assert.equal(error.code, code, error.sentence)
    assert.match(error.sentence, sentence)
    assert.doesNotMatch(error.sentence, /\p{Cc}/u)
    return true
  })
}

describe('data/chatTemplate', () => {
  it('gives the template the special tokens, the variables and what transformers gives it', () => {
    const source =
      "{{ bos_token }}|{{ tools is none }}|{{ pad_token is defined }}|{{ mode }}|{{ strftime_now('%d %b') }}"
    const template = compile(source, { variables: { mode: 'brief' }, now: new Date(2026, 2, 7) })
    assert.equal(template.render([user('a')], false, place).text, '<s>|true|false|brief|07 Mar')
    assert.ok(template.asksForDate && !template.hasMarks)
    refused(() => compile('', { variables: { messages: 'mine' } }), 'HD531', /variable 'messages' cannot be set/)
  })

  it('refuses what is no template, and one larger than any', () => {
    for (const source of ['{% if %}', '{{ a', '{% for x in y %}', '{% generation %}']) {
      refused(() => compile(source), 'HD531', /^HD531 model the chat template cannot be read: /)
    }
    refused(() => compile(`{{ ${'('.repeat(100_000)} }}`), 'HD531', /cannot be read/)
    refused(() => compile('a'.repeat(300_000)), 'HD531', /larger than any/)
    refused(() => compile(`a${' '.repeat(5000)}`), 'HD531', /larger than any/)
  })

  it("passes the template's own refusal on, with the record's line", () => {
    const source = "{{ raise_exception('roles\\nmust alternate') }}"
    refused(() => render(source), 'HD532', /^HD532 mine\.jsonl:3 the chat template refuses .*: roles must alternate$/)
    refused(() => render('{{ messages[0].content + 3 + nothing.more }}'), 'HD533', /^HD533 mine\.jsonl:3 .* fails on /)
  })

  it('ends hostile templates early', () => {
    const hostile = {
      'a long loop': '{% for i in range(9999) %}{% for j in range(9999) %}{{ j }}{% endfor %}{% endfor %}',
      'a range beyond counting': '{% for i in range(10000000000) %}{% endfor %}',
      'a step of nothing': '{% for i in range(0, 9, 0) %}{% endfor %}',
      'a text that doubles':
        "{% set s = namespace(t='abcdefgh') %}{% for i in range(60) %}{% set s.t = s.t + s.t %}{% endfor %}{{ s.t }}",
      'a list that doubles':
        '{% set s = namespace(t=[1]) %}{% for i in range(60) %}{% set s.t = s.t + s.t %}{% endfor %}',
      'a macro without end': '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
      'an indent of its own': "{{ 'a\\nb' | indent(900000000) }}",
      'a wide JSON': '{{ messages | tojson(indent=900000000) }}',
    }
    // Without the bounds on steps and sizes these would not end, or take all memory.
    for (const source of Object.values(hostile)) {
      refused(() => render(source), 'HD533', /the chat template fails on the conversation: /)
    }
  })

  it('reaches nothing of the program', () => {
    for (const source of [
      '{{ messages.constructor }}',
      "{{ messages['__proto__'] }}",
      '{{ messages[0].content.constructor }}',
      '{{ range.constructor }}',
      '{{ process }}{{ globalThis }}{{ require }}',
    ]) {
      const template = compile(source)
      let text = ''
      try {
        text = template.render([user('a')], false, place).text
      } catch (error) {
        assert.ok(error instanceof UserError)
      }
      assert.equal(text, '', source)
    }
  })

  it('finds the marked stretches, whatever the text holds', () => {
    const source =
      "{% for m in messages %}{% if m.role == 'assistant' %}<{% generation %}{{ m.content }}!{% endgeneration %}>" +
      '{% else %}{{ m.content }}{% endif %}{% endfor %}'
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom('a', '\ufdd0', '\ufdd1', '\ufdd2', '\n', '<'), maxLength: 4 }), {
          minLength: 1,
          maxLength: 5,
        }),
        (texts) => {
          const messages = texts.map((content, index) => (index % 2 === 0 ? user(content) : assistant(content)))
          const { text, marked } = render(source, messages)
          assert.equal(text, texts.map((content, index) => (index % 2 === 0 ? content : `<${content}!>`)).join(''))
          const answers = texts.filter((_, index) => index % 2 === 1).map((content) => `${content}!`)
          assert.deepEqual(
            marked.map(([start, end]) => text.slice(start, end)),
            answers,
          )
        },
      ),
    )
  })

  it('keeps white space around marks as Jinja does, and a block within a block whole', () => {
    const one = render('a\n  {% generation %}\n b \n  {%- endgeneration -%}\n c{% generation %}d{% endgeneration %}')
    assert.equal(one.text, 'a\n bcd')
    assert.deepEqual(
      one.marked.map(([start, end]) => one.text.slice(start, end)),
      [' b', 'd'],
    )
    const nested = render('{% generation %}a{% generation %}b{% endgeneration %}c{% endgeneration %}')
    assert.deepEqual(nested, { text: 'abc', marked: [[0, 3]] })
    // What a block sets stays in it.
    assert.equal(
      render("{% set x = 'a' %}{% generation %}{% set x = 'b' %}{{ x }}{% endgeneration %}{{ x }}").text,
      'ba',
    )
  })

  it('strips as Python does', () => {
    // Computed by Python 3.11's str.strip, lstrip and rstrip.
    assert.equal(pythonStrip('\x1c\x85\u00a0 a \u3000\u2028', 'both'), 'a')
    assert.equal(pythonStrip('\ufeff a', 'both'), '\ufeff a')
    assert.equal(pythonStrip('\n\n  a\n', 'left', '\n'), '  a\n')
    assert.equal(pythonStrip('xyaxy', 'right', 'yx'), 'xya')
    assert.equal(pythonStrip('😀😀a😀', 'both', '😀'), 'a')
    assert.equal(pythonStrip('  ', 'both'), '')
    assert.equal(render("[{{ messages[0].content.lstrip('\\n') }}]", [user('\n\n  a \n')]).text, '[  a \n]')
    assert.equal(render('[{{ messages[0].content | trim }}]', [user('\ufeff \x1ca')]).text, '[\ufeff \x1ca]')
    assert.equal(render("[{{ messages[0].content.strip().rstrip('a') }}]", [user(' ba ')]).text, '[b]')
  })

  it('writes dates as C does', () => {
    const date = new Date(2026, 2, 7, 0, 5, 4)
    // Computed by Python's datetime.strftime in the C locale.
    const format = '%a %A %b %B %d %-d %e %F %H %-H %I %j %m %-m %M %p %S %T %y %Y %% %Q'
    assert.equal(
      strftime(date, format),
      'Sat Saturday Mar March 07 7  7 2026-03-07 00 0 12 066 03 3 05 AM 04 00:05:04 26 2026 % %Q',
    )
    assert.equal(strftime(new Date(2024, 11, 31, 13), '%j %I %p'), '366 01 PM')
  })
})

describe('data/chatAnswers', () => {
  /** One token a character; `#` is an added one. */
  const letters: LocatedEncoding = {
    encodeLocated: (text) => ({
      ids: Array.from({ length: text.length }, (_, index) => text.charCodeAt(index)),
      tokenAt: (index) => (index >= 0 && index < text.length ? index : undefined),
    }),
    isAdded: (id) => id === 35,
    decode: (ids) => String.fromCharCode(...ids),
  }
  const learnt = (
    source: string,
    messages: readonly Message[],
    loss: 'assistant' | 'completion' = 'assistant',
  ): string => {
    const template = compile(source)
    const tokens = encodeConversation({ line: 3, messages }, template, letters, loss, 'mine.jsonl')
    return tokens.ids.map((id, index) => (tokens.learnt[index] === 1 ? String.fromCharCode(id) : '.')).join('')
  }
  const talk = [user('a?'), assistant('b'), user('c?'), assistant('d')]
  const turns = "{% for m in messages %}{{ m.role[0] + ':' + m.content + ';' }}{% endfor %}"
  const prompt = "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}"

  it('learns each answer and what ends it, or the last alone', () => {
    assert.equal(learnt(turns + prompt, talk), '.......b;.......d;')
    assert.equal(learnt(turns + prompt, talk, 'completion'), '................d;')
  })

  it('passes over what closes every text, and refuses an answer that is written otherwise later on', () => {
    assert.equal(learnt(`${turns}{% if add_generation_prompt %}a:{% else %}#{% endif %}`, talk), '.......b;.......d;#')
    const reversed =
      "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    refused(
      () => learnt(reversed, talk),
      'HD534',
      /^HD534 mine\.jsonl:3 .* writes message 2 otherwise .* turns: 'apart'/,
    )
    assert.equal(learnt(reversed, talk, 'completion'), '....d')
    const [one, two] = answersApart({ line: 3, messages: talk })
    assert.equal(learnt(reversed, one?.messages ?? [], 'completion'), '..b')
    assert.equal(learnt(reversed, two?.messages ?? [], 'completion'), '....d')
  })

  it('refuses to tell a first message that is an answer, and learns nothing where no answer is', () => {
    refused(() => learnt(turns + prompt, [assistant('b')]), 'HD534', /begins with an answer/)
    assert.equal(learnt(turns, [user('a?')]), '.....')
    assert.deepEqual(answersApart({ line: 1, messages: [user('a')] }), [{ line: 1, messages: [user('a')] }])
  })

  it('takes a prompt and its completion for a question and its answer', () => {
    assert.deepEqual(asConversation({ line: 2, prompt: 'a', completion: 'b' }), {
      line: 2,
      messages: [user('a'), assistant('b')],
    })
  })
})
