// Where in the researcher's own file a call stands, from a stack trace. Capturing is cheap; the text of the trace is
// only made and read when somebody asks for the place.

import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
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

/** A place as plain data, for messages. */
export function plainPlace(place: Place): Place {
  return place instanceof CallPlace ? place.resolved : place
}

function firstOutside(stack: string): Place {
  for (const frame of stack.split('\n').slice(1)) {
    const match = framePattern.exec(frame)
    if (!match) continue
    const [, source = '', line = '', column = ''] = match
    if (source.startsWith('node:')) continue
    const file = source.startsWith('file://') ? pathOf(source) : source
    if (ours.some((folder) => file.startsWith(folder))) continue
    return { file, line: Number(line), column: Number(column) }
  }
  return { file: 'an unknown file' }
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url.replace(/\?.*$/, ''))
  } catch {
    return url
  }
}
