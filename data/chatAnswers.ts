// A conversation as tokens, and which of them the assistant is to learn: by the template's own marks, or by rendering the
// conversation up to each answer. Knows a template and a tokenizer by what it asks of them.

import { UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import type { ChatTemplate } from './chatTemplate.ts'
import type { ChatRecord, Message, PromptRecord } from './records.ts'

/** What this file needs of a tokenizer; nothing is added to the text. */
export interface LocatedEncoding {
  encodeLocated(text: string): { readonly ids: readonly number[]; tokenAt(index: number): number | undefined }
  /** Whether an id is a special or otherwise added token. */
  isAdded(id: number): boolean
  decode(ids: readonly number[]): string
}

/** 'assistant': every answer; 'completion': the last one; 'all': every token. */
export type ChatLoss = 'assistant' | 'completion' | 'all'

export interface ChatTokens {
  readonly ids: readonly number[]
  /** For each token 1 when it is learnt, else 0. */
  readonly learnt: Uint8Array
}

/** A range of token indices, the end excluded. */
type Stretch = readonly [start: number, end: number]

/** A prompt and its completion as a conversation; anything else as it is. */
export function asConversation(record: ChatRecord | PromptRecord): ChatRecord {
  if ('messages' in record) return record
  const { line, prompt, completion } = record
  return {
    line,
    messages: [
      { role: 'user', content: prompt },
      { role: 'assistant', content: completion },
    ],
  }
}

/** A conversation for each of its answers, ending with it; one without answers as it is. */
export function answersApart(record: ChatRecord): ChatRecord[] {
  const { line, messages } = record
  const apart = messages.flatMap(({ role }, index) =>
    role === 'assistant' ? [{ line, messages: messages.slice(0, index + 1) }] : [],
  )
  return apart.length > 0 ? apart : [record]
}

/**
 * The tokens of a conversation and those to learn.
 *
 * A template with `{% generation %}` blocks says itself what the assistant speaks; the tokens are then those that
 * transformers' `return_assistant_tokens_mask` marks: from the one that holds a block's first character to the one that
 * holds its last. Otherwise an answer begins where the text of the messages before it, with the generation prompt, ends,
 * and it ends where the text up to and with it ends. Both texts must be beginnings of the whole; of the second, only special
 * tokens at its end may differ (templates that close every text). Raises HD532 to HD534.
 */
export function encodeConversation(
  { line, messages }: ChatRecord,
  template: ChatTemplate,
  tokenizer: LocatedEncoding,
  loss: ChatLoss,
  file: string,
): ChatTokens {
  const place = { file, line }
  const { text, marked } = template.render(messages, false, place)
  const located = tokenizer.encodeLocated(text)
  const learnt = new Uint8Array(located.ids.length)
  if (loss === 'all') learnt.fill(1)
  else {
    const stretches = template.hasMarks
      ? marked.map(([start, end]) => stretchOf(located, start, end))
      : renderedStretches(messages, { text, located }, template, tokenizer, loss, place)
    for (const [start, end] of loss === 'completion' ? stretches.slice(-1) : stretches) learnt.fill(1, start, end)
  }
  return { ids: located.ids, learnt }
}

/** The tokens of the characters from `start` to `end`; the token at a border belongs to both sides of it. */
function stretchOf(located: ReturnType<LocatedEncoding['encodeLocated']>, start: number, end: number): Stretch {
  const first = located.tokenAt(start)
  const last = located.tokenAt(end - 1)
  return first === undefined || last === undefined ? [0, 0] : [first, last + 1]
}

interface Whole {
  readonly text: string
  readonly located: ReturnType<LocatedEncoding['encodeLocated']>
}

function renderedStretches(
  messages: readonly Message[],
  whole: Whole,
  template: ChatTemplate,
  tokenizer: LocatedEncoding,
  loss: 'assistant' | 'completion',
  place: Place,
): Stretch[] {
  const answers = messages.flatMap(({ role }, index) => (role === 'assistant' ? [index] : []))
  return (loss === 'completion' ? answers.slice(-1) : answers).map((index) => {
    if (index === 0) {
      throw new UserError('HD534', 'the conversation begins with an answer, which nothing sets apart', {
        place,
        mend: "begin with a question, or set loss: 'all'",
      })
    }
    const question = template.render(messages.slice(0, index), true, place).text
    if (!whole.text.startsWith(question)) throw rewritten(index, place)
    const isLast = index === messages.length - 1
    const answered = isLast ? whole.text : template.render(messages.slice(0, index + 1), false, place).text
    if (whole.text.startsWith(answered)) return stretchOf(whole.located, question.length, answered.length)
    const [first] = stretchOf(whole.located, question.length, question.length + 1)
    const { ids } = tokenizer.encodeLocated(answered)
    const end = ids.findIndex((id, at) => id !== whole.located.ids[at])
    const rest = ids.slice(end)
    const isClosing = rest.every((id) => tokenizer.isAdded(id) || tokenizer.decode([id]).trim() === '')
    if (end <= first || !isClosing) throw rewritten(index, place)
    return [first, end]
  })
}

function rewritten(index: number, place: Place): UserError {
  return new UserError(
    'HD534',
    `the chat template writes message ${index + 1} otherwise once more messages follow, so its tokens cannot be told`,
    { place, mend: "set turns: 'apart', which makes each answer an example of its own" },
  )
}
