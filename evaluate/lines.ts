// Lines of a benchmark's file as text, JSON or columns; every mistake names its line. Knows no benchmark.

import type { z } from 'zod'
import { UserError } from '../compiler/diagnostic.ts'
import { readBounded } from '../formats/files.ts'

/** Far more than any of the published files. */
const mostBytes = 256 << 20

export interface Line {
  readonly text: string
  /** From 1. */
  readonly number: number
}

/** The lines of a UTF-8 file that are not blank. UserError HD401 when it cannot be read, HD601 when it is empty or not UTF-8. */
export function readLines(file: string): Line[] {
  const lines = readText(file)
    .split(/\r?\n/)
    .map((text, index) => ({ text, number: index + 1 }))
    .filter(({ text }) => text.trim() !== '')
  if (lines.length === 0) throw new UserError('HD601', 'the file holds no question', { place: { file } })
  return lines
}

/** A whole UTF-8 file, without a byte order mark. Errors as for `readLines`. */
export function readText(file: string): string {
  const bytes = readBounded(file, mostBytes)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new UserError('HD601', 'the file is not UTF-8', { place: { file }, cause })
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

/** UserError HD602 at a line. */
export function wrongLine(file: string, line: number, sentence: string): UserError {
  return new UserError('HD602', sentence, { place: { file, line } })
}
