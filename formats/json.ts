// JSON from files that nobody has vouched for: bounded size and depth, real UTF-8, no key twice in one object (JSON.parse
// keeps the last silently, other readers the first). Knows nothing of what the values mean.

import { UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import { quote, readBounded } from './files.ts'

export type JsonObject = Record<string, unknown>

/** What some editors put in front of UTF-8; other readers of JSON do not take it. */
const byteOrderMark = '\ufeff'

/** Deep enough for every real file; a deeper one only exists to exhaust a reader's stack. */
const MAX_DEPTH = 64

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Parses UTF-8 JSON text whose outermost value must be an object. Errors: HD402 for bytes that are not UTF-8, a syntax
 * error (`NaN` and `Infinity` are one), a byte order mark, a key given twice, nesting deeper than 64, or another outermost value.
 */
export function parseJsonObject(bytes: Uint8Array, place: Place): JsonObject {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    throw new UserError('HD402', 'the text is not UTF-8', { place, cause: error })
  }
  if (text.startsWith(byteOrderMark)) {
    throw new UserError('HD402', 'the text begins with a byte order mark', {
      place,
      mend: 'save it as UTF-8 without one',
    })
  }
  refuseDepthAndDuplicates(text, place)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/[^\x20-\x7e]+/g, ' ') : String(error)
    throw new UserError('HD402', `the text is not JSON: ${reason}`, { place, cause: error })
  }
  if (!isObject(value)) throw new UserError('HD402', 'a JSON object was expected', { place })
  return value
}

/** Reads a JSON object from a file of at most `limit` bytes. Errors: HD401 (unreadable, too large), HD402 (malformed). */
export function readJsonObject(file: string, limit: number): JsonObject {
  return parseJsonObject(readBounded(file, limit), { file })
}

/**
 * One walk over the text that only follows strings and brackets. On text that is not JSON its verdict may be the wrong
 * complaint, never a missed one: JSON.parse judges afterwards.
 */
function refuseDepthAndDuplicates(text: string, place: Place): void {
  // One entry per open bracket: the keys seen so far for an object, null for an array.
  const open: (Set<string> | null)[] = []
  for (let index = 0; index < text.length; index++) {
    const character = text[index]
    if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : null)
      if (open.length > MAX_DEPTH) {
        throw new UserError('HD402', `the JSON is nested deeper than ${MAX_DEPTH} levels`, { place })
      }
    } else if (character === '}' || character === ']') {
      open.pop()
    } else if (character === '"') {
      const end = endOfString(text, index)
      const keys = open.at(-1)
      if (keys && isKey(text, end)) {
        const key = decodeKey(text.slice(index, end))
        if (keys.has(key)) throw new UserError('HD402', `the key ${quote(key)} stands twice in one object`, { place })
        keys.add(key)
      }
      index = end - 1
    }
  }
}

/** The index behind the closing quote of the string that opens at `start`, or the text's end. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index++) {
    const character = text.charCodeAt(index)
    if (character === 0x5c) index++
    else if (character === 0x22) return index + 1
  }
  return text.length
}

function isKey(text: string, behind: number): boolean {
  let index = behind
  while (text[index] === ' ' || text[index] === '\n' || text[index] === '\r' || text[index] === '\t') index++
  return text[index] === ':'
}

function decodeKey(literal: string): string {
  if (!literal.includes('\\')) return literal.slice(1, -1)
  try {
    return String(JSON.parse(literal))
  } catch {
    return literal
  }
}
