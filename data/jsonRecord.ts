// One line of JSON as a training record: its shape, its strings. Knows the line's text only, no file.

import { UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import type { TextLine } from './lines.ts'
import type { Message, RecordLayout, TrainingRecord } from './records.ts'

/** Deeper nesting than a message ever has. */
const MAX_DEPTH = 32
const MAX_MESSAGES = 4096

/** A line's record; `file` is only for the message. Raises HD505 (not JSON), HD506 (JSON of another shape) and HD515 (tools). */
export function parseJsonRecord({ text, line, isEnded }: TextLine, layout: RecordLayout, file: string): TrainingRecord {
  const place = { file, line }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    if (line === 1 && text.trimStart().startsWith('[')) {
      throw new UserError('HD505', 'the file begins with a JSON array', {
        place,
        mend: 'write one record on each line, without the array around them',
        cause,
      })
    }
    throw isEnded
      ? new UserError('HD505', 'the line is not JSON', { place, cause })
      : new UserError('HD505', 'the last line is not JSON and has no line end', {
          place,
          mend: 'the file was not written to its end',
          cause,
        })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw shapeError('the line is not a JSON object', layout, place)
  }
  // Own keys only: `__proto__` is a key like any other.
  const fields = new Map(Object.entries(value))
  const columns = layout.columns ?? {}
  const name = (ours: 'prompt' | 'completion' | 'text' | 'messages'): string => columns[ours] ?? ours
  const string = (ours: 'prompt' | 'completion' | 'text'): string => {
    const key = name(ours)
    if (!fields.has(key)) throw shapeError(`the record has no ${shownKey(key)}`, layout, place)
    const given: unknown = fields.get(key)
    if (typeof given !== 'string') throw shapeError(`${shownKey(key)} is not a string`, layout, place)
    refuseHalfPairs(given, shownKey(key), layout, place)
    return given
  }
  if (layout.kind === 'text') return { line, text: string('text') }
  if (layout.kind === 'chat') refuseTools(fields.get('tools'), 'the record has "tools"', place)
  // Other keys (an identifier, a date) are the user's own business; the ones that train are named by the layout.
  if (layout.kind === 'completions' || (!fields.has(name('messages')) && fields.has(name('prompt')))) {
    return { line, prompt: string('prompt'), completion: string('completion') }
  }
  return { line, messages: messagesOf(fields.get(name('messages')), shownKey(name('messages')), layout, place) }
}

function messagesOf(given: unknown, key: string, layout: RecordLayout, place: Place): Message[] {
  if (given === undefined) throw shapeError(`the record has no ${key}`, layout, place)
  if (!Array.isArray(given) || given.length === 0) throw shapeError(`${key} is not a list of messages`, layout, place)
  if (given.length > MAX_MESSAGES) throw shapeError(`${key} holds more than ${MAX_MESSAGES} messages`, layout, place)
  return given.map((message: unknown, index) => {
    const which = `message ${index + 1}`
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      throw shapeError(`${which} is not an object`, layout, place)
    }
    refuseHalfPairs(message, which, layout, place)
    // Interfaces give absent fields as null; a template would print it.
    const present = Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null))
    for (const key of ['tool_calls', 'function_call']) refuseTools(present[key], `${which} has "${key}"`, place)
    const { role, content } = present
    if (typeof role !== 'string') throw shapeError(`${which} has no "role"`, layout, place)
    if (typeof content !== 'string') throw shapeError(`${which} has no "content" that is a string`, layout, place)
    return { ...present, role, content }
  })
}

/** What would be left out of the text is refused, not ignored. Interfaces give `[]` where no tool is offered or called. */
function refuseTools(given: unknown, sentence: string, place: Place): void {
  if (given === undefined || given === null || (Array.isArray(given) && given.length === 0)) return
  throw new UserError('HD515', `${sentence}, which conversations cannot be written with yet`, {
    place,
    mend: 'leave such records out, or write the calls into "content" as the model is to spell them',
  })
}

/** A lone surrogate has no UTF-8 form, so no tokenizer can spell it. */
function refuseHalfPairs(value: unknown, what: string, layout: RecordLayout, place: Place, depth = 0): void {
  if (depth > MAX_DEPTH) throw shapeError(`${what} is nested deeper than ${MAX_DEPTH} levels`, layout, place)
  if (typeof value === 'string') {
    if (/\p{Surrogate}/u.test(value)) throw shapeError(`${what} holds half of a surrogate pair`, layout, place)
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      refuseHalfPairs(key, what, layout, place, depth + 1)
      refuseHalfPairs(inner, what, layout, place, depth + 1)
    }
  }
}

function shownKey(key: string): string {
  return JSON.stringify(key)
}

const shapes: Readonly<Record<RecordLayout['kind'], string>> = {
  completions: 'completions(…) reads {"prompt": "…", "completion": "…"}',
  text: 'text(…) reads {"text": "…"}',
  chat: 'chat(…) reads {"messages": [{"role": "…", "content": "…"}, …]}',
}

function shapeError(message: string, { kind, columns }: RecordLayout, place: Place): UserError {
  // Keys of the user's own choice are better known to them than to us.
  return new UserError('HD506', message, { place, mend: columns === undefined ? shapes[kind] : undefined })
}
