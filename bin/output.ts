// What the command line prints: text for people, one JSON object a line for machines, errors as one sentence. Knows no
// command.

import path from 'node:path'
import colors from 'picocolors'
import { InternalError, UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'

export const exitCodes = { ok: 0, mistake: 1, internal: 70, interrupted: 130 } as const

/** Where a command's words go. */
export interface Output {
  readonly isJson: boolean
  /** A line for people; nothing in JSON. */
  say(line: string): void
  /** An event for machines; nothing otherwise. */
  event(name: string, fields: object): void
}

export function outputOf(options: { readonly json?: boolean }): Output {
  const isJson = options.json === true
  return {
    isJson,
    say: (line) => {
      if (!isJson) process.stdout.write(`${line}\n`)
    },
    event: (name, fields) => {
      if (isJson) process.stdout.write(`${JSON.stringify({ event: name, ...fields })}\n`)
    },
  }
}

/** A path as the user would type it here; outside the working directory it stays absolute. */
export function shownPath(file: string): string {
  if (!path.isAbsolute(file)) return file
  const relative = path.relative(process.cwd(), file)
  return relative === '' ? '.' : relative.startsWith('..') ? file : relative
}

export function shownPlace(place: Place | undefined): Place | undefined {
  if (place === undefined) return undefined
  // Read out: a place may work its line out when it is asked.
  const { file, line, column, at } = place
  return {
    file: shownPath(file),
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
    ...(at === undefined ? {} : { at }),
  }
}

/** Prints what went wrong and returns the exit code. A stack is shown only with HEDDLE_DEBUG set. */
export function reportError(error: unknown, isJson: boolean): number {
  const isDebugging = (process.env['HEDDLE_DEBUG'] ?? '') !== ''
  const user = error instanceof UserError ? error : undefined
  if (user) {
    const place = shownPlace(user.place)
    const shown = new UserError(user.code, user.message, {
      ...(place ? { place } : {}),
      ...(user.mend ? { mend: user.mend } : {}),
    })
    if (isJson) {
      const fields = { code: user.code, message: user.message, place: place ?? null, mend: user.mend ?? null }
      process.stderr.write(`${JSON.stringify({ event: 'error', ...fields })}\n`)
    } else process.stderr.write(`${colors.red(oneLine(shown.sentence))}\n`)
  } else {
    const message = oneLine(error instanceof Error ? error.message : String(error))
    const known = error instanceof InternalError
    const sentence = `${known ? 'internal error' : 'unexpected error'}: ${message}; this is a defect of Heddle, please report it with the output of HEDDLE_DEBUG=1`
    if (isJson) process.stderr.write(`${JSON.stringify({ event: 'error', code: 'internal', message: sentence })}\n`)
    else process.stderr.write(`${colors.red(sentence)}\n`)
  }
  if (isDebugging && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`)
  return user ? exitCodes.mistake : exitCodes.internal
}

/** A sentence stays a line, whatever a file's name or content put into it. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]+/gu, ' ')
}

/** Bytes in MiB, one decimal. */
export function mebibytes(bytes: number): string {
  return (bytes / 1048576).toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })
}

/** Seconds as `1:02:03` or `4:05`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const pad = (value: number): string => String(value).padStart(2, '0')
  const hours = Math.floor(whole / 3600)
  const minutes = Math.floor((whole % 3600) / 60)
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`
}

/** Of a stream whose reader has gone: a closed pipe, a terminal that was closed. */
const GONE: ReadonlySet<string> = new Set(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED'])

/**
 * From now on words that nobody reads any more are lost in silence: a run of hours must not end because `| head` did.
 * Other errors of the streams are thrown.
 */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!GONE.has(error.code ?? '')) throw error
    })
  }
}
