// Evaluates a researcher's recipe file, wherever it lies, and hands back the recipe. Only TypeScript and JavaScript that
// the user named is run; knows no data file and no model.

import { register } from 'node:module'
import { dirname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { InternalError, UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import { sourceFile } from '../compiler/frontend/program.ts'
import { isRecipe } from '../dsl/index.ts'
import type { Recipe } from '../dsl/index.ts'

export interface LoadedRecipe {
  readonly recipe: Recipe
  /** Absolute path of the file. */
  readonly file: string
  /** Relative paths in the recipe are meant from here. */
  readonly folder: string
}

let areHooksRegistered = false

/**
 * The recipe that a file exports as its default.
 *
 * @throws UserError HD110 when the file cannot be read, HD801 when it does not run, HD802 when it exports no recipe, and
 * whatever its own calls of the language refuse
 */
export async function loadRecipe(path: string): Promise<LoadedRecipe> {
  const file = sourceFile(path)
  if (!areHooksRegistered) {
    register('./recipe-hooks.mjs', import.meta.url)
    areHooksRegistered = true
  }
  let exported: unknown
  const exit = process.exit.bind(process)
  try {
    // A file that is only looked at must not end the program as if all had been done.
    process.exit = () => {
      throw new UserError('HD801', 'the file does not run: it calls process.exit', { place: { file } })
    }
    exported = ((await import(pathToFileURL(file).href)) as { default?: unknown }).default
  } catch (cause) {
    if (cause instanceof UserError || cause instanceof InternalError) throw cause
    throw doesNotRun(file, cause)
  } finally {
    process.exit = exit
  }
  if (isRecipe(exported)) return { recipe: exported, file, folder: dirname(file) }
  const what = exported === undefined ? 'has no default export' : 'exports something else as its default'
  throw new UserError('HD802', `the file ${what}`, { place: { file }, mend: 'write `export default recipe({ … })`' })
}

function doesNotRun(file: string, cause: unknown): UserError {
  const message = messageOf(cause)
  // A transpiler's message begins with a heading; the line that says what is wrong names a file and a line.
  const located =
    /^(?<file>(?:[A-Za-z]:)?[^:\n]+):(?<line>\d+):(?<column>\d+): (?:ERROR: |error: )?(?<sentence>.+)$/m.exec(message)
  const sentence = located?.groups?.['sentence'] ?? message.split('\n')[0] ?? ''
  const place = located ? { file, line: Number(located.groups?.['line']) } : placeIn(file, cause)
  return new UserError('HD801', `the file does not run: ${sentence.slice(0, 300)}`, { place, cause })
}

/** What was thrown, as text; it may be anything, and an object of the researcher's may refuse to say. */
function messageOf(cause: unknown): string {
  try {
    return String(cause instanceof Error ? cause.message : cause)
  } catch {
    return 'it threw something that has no text'
  }
}

/** The innermost line of the stack that lies in the file itself. */
function placeIn(file: string, cause: unknown): Place {
  const stack = cause instanceof Error ? (cause.stack ?? '') : ''
  const url = pathToFileURL(file).href
  for (const line of stack.split('\n')) {
    const found = /\(?([^()\s]+):(\d+):(\d+)\)?$/.exec(line)
    if (found && (found[1] === url || found[1] === file))
      return { file, line: Number(found[2]), column: Number(found[3]) }
  }
  return { file }
}
