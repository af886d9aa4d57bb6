// What the person who wrote the recipe reads when something is wrong: one sentence, a code, the place, the mend.
// Knows nothing of graphs, files or backends, so that every layer can raise it.

/** Where a mistake stands: a source file with a line, or a data file with a byte, record or tensor. */
export interface Place {
  readonly file: string
  readonly line?: number
  readonly column?: number
  /** Free text for places that are no line: `tensor "wte.weight"`, `byte 18`. */
  readonly at?: string
}

export function formatPlace(place: Place): string {
  const line = place.line === undefined ? '' : `:${place.line}${place.column === undefined ? '' : `:${place.column}`}`
  return `${place.file}${line}${place.at === undefined ? '' : ` (${place.at})`}`
}

/**
 * A mistake in something the user gave us (a recipe, a model, a file, a device, an option). The command line prints
 * `code place: sentence` and exits with 1; it never prints a stack.
 */
export class UserError extends Error {
  readonly code: string
  readonly place: Place | undefined
  /** What would mend it, when that is known; printed behind the sentence. */
  readonly mend: string | undefined

  constructor(code: string, message: string, options: { place?: Place; mend?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'UserError'
    this.code = code
    this.place = options.place
    this.mend = options.mend
  }

  /** The one line a person reads. */
  get sentence(): string {
    const where = this.place ? `${formatPlace(this.place)} ` : ''
    return `${this.code} ${where}${this.message}${this.mend ? `; ${this.mend}` : ''}`
  }
}

/** A broken promise of our own: a verifier refused a pass's output, a table has a hole. Asks for a report. */
export class InternalError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'InternalError'
  }
}
