// Conversations against transformers: the text, the token ids and the tokens of the assistant, for the templates of real
// checkpoints' configuration. `tools/oracle/make_chat.py` writes what is expected.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { encodeConversation } from '../../data/chatAnswers.ts'
import { compileChatTemplate, type ChatTemplate, type TemplateValue } from '../../data/chatTemplate.ts'
import type { Message } from '../../data/records.ts'
import { parseJsonRecord } from '../../data/jsonRecord.ts'
import { loadTokenizer, type Tokenizer } from '../../formats/tokenizer.ts'

const fixtures = join(import.meta.dirname, '../fixtures/chat')
const families = readdirSync(fixtures).filter((name) => existsSync(join(fixtures, name, 'cases.json')))

interface Case {
  readonly name: string
  readonly messages: readonly Message[]
  /** What transformers said instead of a text. */
  readonly refused?: string
  readonly text?: string
  readonly question?: string
  readonly ids?: readonly number[]
  /** One digit a token; null where the tokens cannot be told. */
  readonly mask?: string | null
}

interface Fixture {
  readonly about: { readonly variables: Record<string, TemplateValue>; readonly now: string }
  readonly cases: readonly Case[]
}

interface Family {
  readonly fixture: Fixture
  readonly tokenizer: Tokenizer
  readonly template: ChatTemplate
}

function openFamily(name: string): Family {
  const fixture = JSON.parse(readFileSync(join(fixtures, name, 'cases.json'), 'utf8')) as Fixture
  const tokenizer = loadTokenizer(join(fixtures, name, 'tokenizer.json'))
  const { variables, now } = fixture.about
  const settings = { specialTokens: tokenizer.specialTokens, variables, now: new Date(now) }
  const template = compileChatTemplate(tokenizer.chatTemplates.get('default') ?? '', settings, { file: name })
  return { fixture, tokenizer, template }
}

/** The record as a file holds it; what is null there is not there. */
const recordOf = ({ messages }: Case) => {
  const record = parseJsonRecord(
    { text: JSON.stringify({ messages }), line: 7, isEnded: true },
    { kind: 'chat' },
    'mine.jsonl',
  )
  assert.ok('messages' in record)
  return record
}

const refusal = (code: RegExp) => (error: unknown) => {
  assert.ok(error instanceof UserError, String(error))
  assert.match(error.code, code, error.sentence)
  assert.deepEqual(error.place, { file: 'mine.jsonl', line: 7 })
  assert.doesNotMatch(error.sentence, /\p{Cc}/u)
  return true
}

describe('chat templates, as transformers renders them', () => {
  it('are those of ten families and two of our own', () => {
    assert.deepEqual(families.sort(), [
      'gemma3',
      'llama3.2',
      'marked',
      'mistral',
      'olmo2',
      'phi3',
      'plain',
      'qwen2.5',
      'qwen3',
      'smollm2',
      'smollm3',
      'zephyr',
    ])
  })

  for (const name of families) {
    describe(name, () => {
      const { fixture, tokenizer, template } = openFamily(name)
      for (const one of fixture.cases) {
        const { name: title, text, question, ids = [], mask } = one
        const place = { file: 'mine.jsonl', line: 7 }
        if (text === undefined) {
          it(`${title}: refused`, () => {
            assert.throws(() => template.render(recordOf(one).messages, false, place), refusal(/^HD53[23]$/))
          })
          continue
        }
        it(`${title}: text, ids and answers`, () => {
          const record = recordOf(one)
          assert.equal(template.render(record.messages, false, place).text, text)
          assert.equal(template.render(record.messages, true, place).text, question)
          const encode = (loss: 'assistant' | 'completion' | 'all') =>
            encodeConversation(record, template, tokenizer, loss, 'mine.jsonl')
          const all = encode('all')
          assert.deepEqual(all.ids, ids)
          assert.ok(all.learnt.every((flag) => flag === 1))
          if (mask === null || mask === undefined) {
            assert.throws(() => encode('assistant'), refusal(/^HD534$/))
            return
          }
          const { learnt } = encode('assistant')
          assert.equal(learnt.join(''), mask)
          // The last answer alone: what is learnt of it is the end of what is learnt of all.
          const last = encode('completion').learnt
          const begin = last.indexOf(1)
          assert.ok(begin < 0 ? !mask.includes('1') : last.slice(begin).join('') === mask.slice(begin))
        })
      }
    })
  }
})
