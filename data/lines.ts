// The lines of a text file that nobody has vouched for: sizes are bounded before anything is kept, bytes must be UTF-8,
// and every mistake names its line. Knows nothing of records.

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { UserError } from '../compiler/diagnostic.ts'

export interface LineLimits {
  /** Bytes of the whole file; 1 GiB unless told. */
  readonly fileBytes?: number
  /** Bytes of one line, its ending excluded; 1 MiB unless told. */
  readonly lineBytes?: number
  /** Bytes read at a time; only tests have a reason to change it. */
  readonly chunkBytes?: number
}

export interface TextLine {
  readonly text: string
  /** From 1. */
  readonly line: number
  /** Whether a line end follows; a file that was written to its end has one everywhere, or lacks it on its last line. */
  readonly isEnded: boolean
}

const GIBIBYTE = 1 << 30
const MEBIBYTE = 1 << 20
const LINE_FEED = 0x0a

/**
 * The lines of `file` without `\n` and a `\r` before it; holds one chunk and one line at a time. A byte order mark is
 * passed over. Raises UserError HD501 (cannot be opened or read), HD502 (too large), HD503 (a line too long), HD504 (not
 * UTF-8), HD509 (a zero byte), each naming the file and, from HD503 on, the line.
 */
export function* streamLines(file: string, limits: LineLimits = {}): Generator<TextLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let line = 0
  for (const { bytes, isEnded } of streamBytes(file, limits)) {
    line++
    const place = { file, line }
    if (bytes.includes(0)) {
      throw new UserError('HD509', 'the line holds a zero byte, so this is no UTF-8 text', {
        place,
        mend: 'save the file as UTF-8',
      })
    }
    let text: string
    try {
      text = decoder.decode(bytes)
    } catch (cause) {
      throw new UserError('HD504', `${isEnded ? 'the line' : 'the last line'} is not valid UTF-8`, {
        place,
        mend: isEnded ? 'save the file as UTF-8' : 'the file was not written to its end, or is not UTF-8',
        cause,
      })
    }
    if (line === 1 && text.startsWith('\ufeff')) text = text.slice(1)
    yield { text, line, isEnded }
  }
}

function* streamBytes(file: string, limits: LineLimits): Generator<{ bytes: Uint8Array; isEnded: boolean }> {
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
        yield { bytes: take(chunk.subarray(start, end)), isEnded: true }
        start = end + 1
      }
      begun.push(chunk.slice(start, read))
      begunBytes += read - start
      if (begunBytes > lineBytes + 1) throw lineError(file, line, lineBytes)
    }
    if (begunBytes > 0) yield { bytes: take(new Uint8Array(0)), isEnded: false }
  } finally {
    closeSync(descriptor)
  }
}

function openRegular(file: string): number {
  let descriptor: number
  try {
    // Without O_NONBLOCK, opening a named pipe that nobody writes to would wait for ever.
    descriptor = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (cause) {
    throw new UserError('HD501', `the file cannot be opened (${reason(cause)})`, { place: { file }, cause })
  }
  const status = fstatSync(descriptor)
  if (status.isFile()) return descriptor
  closeSync(descriptor)
  const what = status.isDirectory() ? 'a directory' : 'no regular file'
  throw new UserError('HD501', `this is ${what}, not a file of records`, { place: { file } })
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
