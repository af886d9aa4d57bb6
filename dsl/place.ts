// Where in the researcher's own file a call stands, from a stack trace. Capturing is cheap; the text of the trace is
// only made and read when somebody asks for the place.

import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'

const packageRoot = fileURLToPath(new URL('..', import.meta.url))
const ours = ['dsl', 'compiler'].map((folder) => join(packageRoot, folder) + sep)
const framePattern = /^\s*at (?:.*? \()?((?:file:\/\/)?[^()]+?):(\d+):(\d+)\)?$/
/** Deep enough to leave the language's own frames behind. */
const framesKept = 24

class CallPlace implements Place {
  readonly #trace: Error
  #place: Place | undefined

  constructor(trace: Error) {
    this.#trace = trace
  }

  get file(): string {
    return this.resolved.file
  }
  get line(): number | undefined {
    return this.resolved.line
  }
  get column(): number | undefined {
    return this.resolved.column
  }

  get resolved(): Place {
    this.#place ??= firstOutside(this.#trace.stack ?? '')
    return this.#place
  }
}

/** The place of the nearest call that is not inside the language; resolved on first use, so keeping many is cheap. */
export function callPlace(): Place {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = framesKept
  const trace = new Error('call')
  Error.stackTraceLimit = limit
  return new CallPlace(trace)
}

/** Where values of a recipe were written: beside them, so that a recipe prints without places. */
const written = new WeakMap<object, Place>()

/** The same value, its place remembered for `atWriting`. */
export function writtenAt<T extends object>(value: T, place: Place): T {
  written.set(value, place)
  return value
}

/** A mistake that has no place, at the place where the value was written which it comes from; any other error as it is. */
export function atWriting(value: object, error: unknown): unknown {
  const place = written.get(value)
  if (!(error instanceof UserError) || error.place !== undefined || place === undefined) return error
  const { code, message, mend } = error
  return new UserError(code, message, {
    place: plainPlace(place),
    ...(mend === undefined ? {} : { mend }),
    cause: error,
  })
}

/** A place as plain data, for messages. */
export function plainPlace(place: Place): Place {
  return place instanceof CallPlace ? place.resolved : place
}

/** Whether the language's own code threw an error, rather than something of the researcher's. */
export function thrownInside(error: Error): boolean {
  const [thrower] = framesOf(error.stack ?? '')
  return thrower !== undefined && isOurs(thrower.file)
}

/** Where an error of the researcher's own arose: the innermost frame that is not the language's. */
export function thrownAt(error: unknown): Place | undefined {
  const place = firstOutside(error instanceof Error ? (error.stack ?? '') : '')
  return place.line === undefined ? undefined : place
}

function firstOutside(stack: string): Place {
  for (const frame of framesOf(stack)) if (!isOurs(frame.file)) return frame
  return { file: 'an unknown file' }
}

function isOurs(file: string): boolean {
  return ours.some((folder) => file.startsWith(folder))
}

/** The frames of a trace that lie in files, innermost first. */
function* framesOf(stack: string): Generator<Place & { readonly file: string }> {
  for (const frame of stack.split('\n')) {
    const [, source = '', line = '', column = ''] = framePattern.exec(frame) ?? []
    if (source === '' || source.startsWith('node:')) continue
    const file = source.startsWith('file://') ? pathOf(source) : source
    yield { file, line: Number(line), column: Number(column) }
  }
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url.replace(/\?.*$/, ''))
  } catch {
    return url
  }
}
