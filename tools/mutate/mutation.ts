// What a mutation is: one place of one source file said differently, and which tests must notice. Knows no operator.

export interface Edit {
  /** What is said differently, in one line. */
  readonly what: string
  /** Characters `start` to `end` of the file become `text`. */
  readonly start: number
  readonly end: number
  readonly text: string
}

export interface Mutation extends Edit {
  readonly group: string
  /** Path from the repository's root, with `/`. */
  readonly file: string
  readonly line: number
  /** Test files that are run, in order, until one fails. */
  readonly tests: readonly string[]
}

/** How a mutation is called in tables and in the list of equivalent ones. */
export function idOf({ group, file, what }: Pick<Mutation, 'group' | 'file' | 'what'>): string {
  return `${group} ${file} ${what}`
}

export function applyEdit(source: string, { start, end, text }: Edit): string {
  return source.slice(0, start) + text + source.slice(end)
}
