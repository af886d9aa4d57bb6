// Lines of a benchmark's file as text, JSON or columns; every mistake names its line. Knows no benchmark.

import type { z } from 'zod'
import { UserError } from '../compiler/diagnostic.ts'
import { readBounded } from '../formats/files.ts'

/** Far more than any of the published files. */
const mostBytes = 256 << 20

const lineFeed = 0x0a

export interface Line {
  readonly text: string
  /** From 1. */
  readonly number: number
}

/**
 * The lines of a UTF-8 file that are not blank; `what` each of them holds is for the message. UserError HD401 when it
 * cannot be read, HD601 when it is empty or no text.
 */
export function readLines(file: string, what = 'question'): Line[] {
  const lines = readText(file)
    .split(/\r?\n/)
    .map((text, index) => ({ text, number: index + 1 }))
    .filter(({ text }) => text.trim() !== '')
  if (lines.length === 0) throw nothingIn(file, what)
  return lines
}

export function nothingIn(file: string, what = 'question'): UserError {
  return new UserError('HD601', `the file holds no ${what}`, { place: { file } })
}

/** A whole UTF-8 file, without a byte order mark. Errors as for `readLines`, with the line of a bad byte. */
export function readText(file: string): string {
  const bytes = readBounded(file, mostBytes)
  const zero = bytes.indexOf(0)
  if (zero >= 0) throw noText(file, 'the line holds a zero byte, so this is no UTF-8 text', lineAt(bytes, zero))
  try {
    return decoded(bytes)
  } catch {
    throw noText(file, 'the line is not valid UTF-8', firstBadLine(bytes))
  }
}

function decoded(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
}

function noText(file: string, sentence: string, line: number): UserError {
  return new UserError('HD601', sentence, { place: { file, line }, mend: 'save the file as UTF-8' })
}

/** The line that holds a byte, from 1. */
function lineAt(bytes: Uint8Array, index: number): number {
  let line = 1
  for (let at = bytes.indexOf(lineFeed); at >= 0 && at < index; at = bytes.indexOf(lineFeed, at + 1)) line++
  return line
}

/** The first line that is not UTF-8: no character of more than one byte holds a line feed. */
function firstBadLine(bytes: Uint8Array): number {
  let start = 0
  for (let line = 1; ; line++) {
    const found = bytes.indexOf(lineFeed, start)
    const end = found < 0 ? bytes.length : found
    try {
      decoded(bytes.subarray(start, end))
    } catch {
      return line
    }
    if (found < 0) return line
    start = found + 1
  }
}

/** The JSON objects of a JSONL file. UserError HD602 for a line of another shape. */
export function readJsonLines<T>(file: string, schema: z.ZodType<T>): { readonly value: T; readonly line: number }[] {
  return readLines(file).map(({ text, number: line }) => {
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch (cause) {
      throw new UserError('HD602', 'the line is not JSON', { place: { file, line }, cause })
    }
    const parsed = schema.safeParse(json)
    if (parsed.success) return { value: parsed.data, line }
    const [issue] = parsed.error.issues
    const key = issue?.path.join('.') ?? ''
    throw new UserError('HD602', `${key === '' ? 'the line' : `'${key}'`} is not as the benchmark has it`, {
      place: { file, line },
    })
  })
}

/** UserError HD602 for a row that has too few or too many columns. */
export function wrongColumns(file: string, line: number, count: number, wanted: number): UserError {
  return wrongLine(file, line, `the line has ${count} ${count === 1 ? 'column' : 'columns'} instead of ${wanted}`)
}

/** UserError HD602 at a line. */
export function wrongLine(file: string, line: number, sentence: string): UserError {
  return new UserError('HD602', sentence, { place: { file, line } })
}
