// A checkpoint's chat template: conversation in, text out, with the stretches that it marks as the assistant's. The
// language is @huggingface/jinja's; a template is a file's content, so its size, its work and what it makes are bounded.
// Knows nothing of tokens.

import { Environment, parse, tokenize } from '@huggingface/jinja'
import type { Statement } from '@huggingface/jinja'
import { UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import { BoundedInterpreter } from './jinjaInterpreter.ts'
import type { Message } from './records.ts'
import { strftime } from './strftime.ts'

/** Ten times the longest template in use. */
const MAX_TEMPLATE = 1 << 18
/** The library looks for tags behind white space in time quadratic in its length. */
const MAX_WHITE_SPACE = 4096
/** Numbers of one `range`: they all exist at once. */
const MAX_RANGE = 1 << 14

export type TemplateValue = string | number | boolean

export interface TemplateSettings {
  /** `bos_token` and its like, as transformers gives them to every template. */
  readonly specialTokens: Readonly<Record<string, string>>
  /** What the recipe adds: `enable_thinking`, say. */
  readonly variables?: Readonly<Record<string, TemplateValue>>
  /** What `strftime_now` takes for now; the moment of the call unless told. */
  readonly now?: Date
}

export interface RenderedChat {
  readonly text: string
  /** From where to where the template says that the assistant speaks; empty for a template without such marks. */
  readonly marked: readonly (readonly [start: number, end: number])[]
}

export interface ChatTemplate {
  /** Whether it has `{% generation %}` blocks. */
  readonly hasMarks: boolean
  /** Whether it asks for today's date. */
  readonly asksForDate: boolean
  /**
   * The text of a conversation; `generationPrompt` adds what comes before the assistant's next message. `place` is the
   * record, for messages. Raises HD532 (the template refuses the conversation), HD533 (it fails, or does not end).
   */
  render(messages: readonly Message[], generationPrompt: boolean, place: Place): RenderedChat
}

const generationTag = /\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}/g
const caller = 'heddle_answer'
const openMark = 'heddle_answer_begins'
const closeMark = 'heddle_answer_ends'
/** Stands for a block in the way transformers has it: a call whose caller is the block. */
const markMacro = `{% macro ${caller}() %}{{ ${openMark} }}{{ caller() }}{{ ${closeMark} }}{% endmacro %}\n`
/** Names that a template is given, which no variable may take. */
const reserved = new Set(['messages', 'tools', 'documents', 'add_generation_prompt', openMark, closeMark])

/** Reads a template. Raises HD531 when it is no Jinja, or larger than any template in use. */
export function compileChatTemplate(source: string, settings: TemplateSettings, place: Place): ChatTemplate {
  if (source.length > MAX_TEMPLATE || new RegExp(`\\s{${MAX_WHITE_SPACE}}`).test(source)) {
    throw new UserError('HD531', 'the chat template is larger than any that is in use', { place })
  }
  for (const name of Object.keys(settings.variables ?? {})) {
    if (reserved.has(name)) throw new UserError('HD531', `the chat template's own variable '${name}' cannot be set`)
  }
  // What Jinja does to line ends of its source.
  const text = source.replace(/\r\n?/g, '\n')
  const hasMarks = /\{%-?\s*generation\s*-?%\}/.test(text)
  const marked = text.replace(generationTag, (_, before: string, end: string | undefined, after: string) =>
    end === undefined ? `{%${before} call ${caller}() ${after}%}` : `{%${before} endcall ${after}%}`,
  )
  let program: Statement
  try {
    program = parse(tokenize(hasMarks ? markMacro + marked : text, { lstrip_blocks: true, trim_blocks: true }))
  } catch (cause) {
    throw new UserError('HD531', `the chat template cannot be read: ${reasonOf(cause)}`, { place, cause })
  }
  return {
    hasMarks,
    asksForDate: text.includes('strftime_now'),
    render(messages, generationPrompt, at) {
      const marks = unusedMarks(JSON.stringify(messages) + text)
      const environment = environmentOf(settings, messages.map(withReasoning), generationPrompt, marks)
      try {
        const { value } = new BoundedInterpreter(environment).run(program)
        return separateMarks(String(value), marks)
      } catch (cause) {
        if (cause instanceof Refusal) {
          throw new UserError('HD532', `the chat template refuses the conversation: ${reasonOf(cause)}`, {
            place: at,
            cause,
          })
        }
        throw new UserError('HD533', `the chat template fails on the conversation: ${reasonOf(cause)}`, {
          place: at,
          cause,
        })
      }
    },
  }
}

/** What a template raises by itself. */
class Refusal extends Error {}

function environmentOf(
  settings: TemplateSettings,
  messages: readonly Message[],
  generationPrompt: boolean,
  marks: Marks,
): Environment {
  const environment = new Environment()
  const values: Record<string, unknown> = {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    range,
    raise_exception: (message: unknown) => {
      throw new Refusal(String(message))
    },
    strftime_now: (format: unknown) => strftime(settings.now ?? new Date(), String(format)),
    ...settings.specialTokens,
    ...settings.variables,
    messages,
    tools: null,
    documents: null,
    add_generation_prompt: generationPrompt,
    [openMark]: marks.open,
    [closeMark]: marks.close,
  }
  for (const [name, value] of Object.entries(values)) environment.set(name, value)
  return environment
}

/** Python's `range`, of a bounded number of numbers. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second]
  const count = Math.max(0, Math.ceil((stop - start) / step))
  if (!Number.isInteger(step) || step === 0 || !(count <= MAX_RANGE)) throw new Error('its range cannot be counted')
  return Array.from({ length: count }, (_, index) => start + index * step)
}

const reasoningKeys = ['reasoning_content', 'thinking', 'reasoning']

/** Reasoning goes by several names; transformers gives templates the ones they read. */
function withReasoning(message: Message): Message {
  const key = reasoningKeys.find((name) => message[name] !== undefined)
  if (key === undefined) return message
  return { thinking: message[key], ...message, reasoning_content: message[key] }
}

interface Marks {
  readonly open: string
  readonly close: string
}

/** Two characters that stand in nothing that is rendered; Unicode reserves these to mean nothing outside a program. */
function unusedMarks(texts: string): Marks {
  const free: string[] = []
  for (let code = 0xfdd0; code <= 0xfdef && free.length < 2; code++) {
    const character = String.fromCharCode(code)
    if (!texts.includes(character)) free.push(character)
  }
  const [open, close] = free
  if (open === undefined || close === undefined) throw new UserError('HD533', 'the text uses every noncharacter')
  return { open, close }
}

/** Takes the marks out again. A block within a block belongs to the outer one. */
function separateMarks(rendered: string, { open, close }: Marks): RenderedChat {
  const marked: [number, number][] = []
  let text = ''
  let depth = 0
  let begun = 0
  let from = 0
  for (let index = 0; index < rendered.length; index++) {
    const character = rendered[index]
    if (character !== open && character !== close) continue
    text += rendered.slice(from, index)
    from = index + 1
    if (character === open && depth++ === 0) begun = text.length
    if (character === close && --depth === 0) marked.push([begun, text.length])
  }
  return { text: text + rendered.slice(from), marked }
}

function reasonOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  return message.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').slice(0, 200)
}
