// Reads training records from a JSONL file. The file may be hostile: sizes are bounded before anything is kept, and
// every mistake names its line. Knows nothing of tokens, templates or models.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { UserError } from '../compiler/diagnostic.ts'

/** A question and the answer to learn. Their texts are joined as they stand: no space is put between them. */
export interface PromptRecord {
  readonly prompt: string
  readonly completion: string
}

/** A text to learn as a whole. */
export interface TextRecord {
  readonly text: string
}

export type TrainingRecord = PromptRecord | TextRecord

export interface RecordLimits {
  /** Bytes of the whole file; 1 GiB unless told. */
  readonly fileBytes?: number
  /** Bytes of one line, its ending excluded; 1 MiB unless told. */
  readonly lineBytes?: number
  /** Bytes read at a time; only tests have a reason to change it. */
  readonly chunkBytes?: number
}

const GIBIBYTE = 1 << 30
const MEBIBYTE = 1 << 20
const LINE_FEED = 0x0a

/**
 * All records of `file`, in order. Blank lines are passed over; a byte order mark and `\r\n` are accepted. Raises
 * UserError HD501 (cannot be opened or read), HD502 (too large), HD503 (a line too long), HD504 (not UTF-8), HD505 (not
 * JSON), HD506 (JSON of another shape), HD507 (no record at all), each naming the file and, from HD503 on, the line.
 */
export function readRecords(file: string, limits: RecordLimits = {}): TrainingRecord[] {
  const records = [...streamRecords(file, limits)]
  if (records.length === 0) {
    throw new UserError('HD507', 'the file holds no record', {
      place: { file },
      mend: 'write one {"prompt": …, "completion": …} or {"text": …} a line',
    })
  }
  return records
}

/** The records of `file` one by one; holds one chunk and one line at a time. Errors as for `readRecords`. */
export function* streamRecords(file: string, limits: RecordLimits = {}): Generator<TrainingRecord> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let line = 0
  for (const bytes of streamLines(file, limits)) {
    line++
    let text: string
    try {
      text = decoder.decode(bytes)
    } catch (cause) {
      throw new UserError('HD504', 'the line is not valid UTF-8', { place: { file, line }, cause })
    }
    if (line === 1 && text.startsWith('\ufeff')) text = text.slice(1)
    if (text.trim() === '') continue
    yield parseRecord(text, file, line)
  }
}

/** One line's record; `file` and `line` (from 1) are only for the message. Raises HD505 and HD506. */
export function parseRecord(text: string, file: string, line: number): TrainingRecord {
  const place = { file, line }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new UserError('HD505', 'the line is not JSON', { place, cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw shapeError('the line is not a JSON object', place)
  }
  const has = (key: string): boolean => Object.hasOwn(value, key)
  const field = (key: string): unknown => (value as Record<string, unknown>)[key]
  if (has('text') && (has('prompt') || has('completion'))) {
    throw shapeError('the record has both "text" and "prompt" or "completion"', place)
  }
  const keys = has('text') ? ['text'] : ['prompt', 'completion']
  const texts = keys.map((key) => {
    if (!has(key)) throw shapeError(`the record has no "${key}"`, place)
    const given = field(key)
    if (typeof given !== 'string') throw shapeError(`"${key}" is not a string`, place)
    // A lone surrogate has no UTF-8 form, so no tokenizer can spell it.
    if (/\p{Surrogate}/u.test(given)) throw shapeError(`"${key}" holds half of a surrogate pair`, place)
    return given
  })
  // Other keys (an identifier, a date) are the user's own business; the ones that train are named above.
  return keys.length === 1
    ? { text: texts[0] as string }
    : { prompt: texts[0] as string, completion: texts[1] as string }
}

function shapeError(message: string, place: { file: string; line: number }): UserError {
  return new UserError('HD506', message, {
    place,
    mend: 'a record is {"prompt": "…", "completion": "…"} or {"text": "…"}',
  })
}

/** The lines of `file` as bytes, without `\n` and a `\r` before it. */
function* streamLines(file: string, limits: RecordLimits): Generator<Uint8Array> {
  const fileBytes = limits.fileBytes ?? GIBIBYTE
  const lineBytes = limits.lineBytes ?? MEBIBYTE
  const chunk = new Uint8Array(limits.chunkBytes ?? 1 << 16)
  const descriptor = openRegular(file)
  try {
    let line = 1
    let total = 0
    // Pieces of a line that began in an earlier chunk.
    let begun: Uint8Array[] = []
    let begunBytes = 0
    const take = (end: Uint8Array): Uint8Array => {
      // One more than the bound is let through here for a `\r`, which does not count.
      if (begunBytes + end.length > lineBytes + 1) throw lineError(file, line, lineBytes)
      const whole = begun.length === 0 ? end : Buffer.concat([...begun, end])
      const bytes = whole.at(-1) === 0x0d ? whole.subarray(0, -1) : whole
      if (bytes.length > lineBytes) throw lineError(file, line, lineBytes)
      begun = []
      begunBytes = 0
      line++
      return bytes
    }
    for (;;) {
      const read = readChunk(descriptor, chunk, file)
      if (read === 0) break
      total += read
      // Counted while reading: a pipe or a growing file says nothing true about its size beforehand.
      if (total > fileBytes) throw new UserError('HD502', `the file exceeds ${fileBytes} bytes`, { place: { file } })
      let start = 0
      for (let end = chunk.indexOf(LINE_FEED); end !== -1 && end < read; end = chunk.indexOf(LINE_FEED, start)) {
        yield take(chunk.subarray(start, end))
        start = end + 1
      }
      begun.push(chunk.slice(start, read))
      begunBytes += read - start
      if (begunBytes > lineBytes + 1) throw lineError(file, line, lineBytes)
    }
    if (begunBytes > 0) yield take(new Uint8Array(0))
  } finally {
    closeSync(descriptor)
  }
}

function openRegular(file: string): number {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (cause) {
    throw new UserError('HD501', `the file cannot be opened (${reason(cause)})`, { place: { file }, cause })
  }
  if (fstatSync(descriptor).isDirectory()) {
    closeSync(descriptor)
    throw new UserError('HD501', 'this is a directory, not a file of records', { place: { file } })
  }
  return descriptor
}

function readChunk(descriptor: number, chunk: Uint8Array, file: string): number {
  try {
    return readSync(descriptor, chunk, 0, chunk.length, null)
  } catch (cause) {
    throw new UserError('HD501', `the file cannot be read (${reason(cause)})`, { place: { file }, cause })
  }
}

function lineError(file: string, line: number, lineBytes: number): UserError {
  return new UserError('HD503', `the line exceeds ${lineBytes} bytes`, { place: { file, line } })
}

function reason(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason'
}
