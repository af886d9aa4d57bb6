// Type-checks a researcher's file and says what is wrong in one sentence each: the language puts its sentences into
// parameter types, and here they are taken out again. Knows no operation of the language.

import { dirname, sep } from 'node:path'
import type ts from 'typescript'
import { UserError } from '../diagnostic.ts'
import type { Place } from '../diagnostic.ts'
import { packageRoot, programOf, sourceFile } from './program.ts'

/** One thing the type checker found. */
export interface TypeProblem {
  readonly place: Place
  readonly sentence: string
  /** TypeScript's own number of it, `TS2345`. */
  readonly code: string
}

const missingProperty = /^Property '[^']*' is missing/
/** A sentence that a parameter type of the language carries. */
const carried = /"\(Error\) ((?:[^"\\]|\\.)*)"/
/** A sentence whose names the checker has not inferred, because of another mistake in the same call. */
const uninferred = /`\(Error\) /
const unknownKey = /^Object literal may only specify known properties, (?:and|but) '(?<key>[^']+)' does not exist/
const meant = /Did you mean to write '(?<near>[^']+)'/

/**
 * Type-checks a file and what it imports from outside this package.
 *
 * @returns what is wrong, in the order of the files; nothing when all is well
 * @throws UserError HD110 when the file cannot be read as a source file
 */
export function checkFile(path: string): TypeProblem[] {
  return problemsOf(programOf([sourceFile(path)]))
}

/** The problems of a program in files that are not this package's or an installed package's. */
export function problemsOf(program: ts.Program, isChecked: (file: string) => boolean = isResearchers): TypeProblem[] {
  const files = program.getSourceFiles().filter((file) => !file.isDeclarationFile && isChecked(file.fileName))
  const found = files.flatMap((file) => [
    ...program.getSyntacticDiagnostics(file),
    ...program.getSemanticDiagnostics(file),
  ])
  const all = [...program.getOptionsDiagnostics(), ...found].map(problemOf)
  const own = all.filter(({ sentence }) => !uninferred.test(sentence))
  return own.length > 0 ? own : all
}

/** The first problem as an error for the command line, with how many more there are. */
export function firstProblem(problems: readonly TypeProblem[]): UserError | undefined {
  const [first] = problems
  if (!first) return undefined
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ''
  return new UserError('HD111', `${first.sentence}${more}`, { place: first.place })
}

function problemOf(diagnostic: ts.Diagnostic): TypeProblem {
  return {
    place: placeOf(diagnostic),
    sentence: sentenceOf(diagnostic.messageText),
    code: `TS${diagnostic.code}`,
  }
}

/** What the language says, where it says something; otherwise the first line of the checker's chain. */
export function sentenceOf(message: string | ts.DiagnosticMessageChain): string {
  const lines = linesOf(message)
  for (const line of lines) {
    const sentence = carried.exec(line)?.[1]
    if (sentence !== undefined) return sentence.replace(/\\(.)/g, '$1')
  }
  // "Argument of type … is not assignable" hides which property is missing on the next line.
  const missing = lines.map((line) => missingProperty.exec(line)?.[0]).find((line) => line !== undefined)
  const line = missing ?? lines[0] ?? ''
  const key = unknownKey.exec(line)?.groups?.['key']
  if (key !== undefined) {
    const near = meant.exec(line)?.groups?.['near']
    return `there is no key '${key}' here${near === undefined ? '' : `; did you mean '${near}'?`}`
  }
  return line.endsWith('.') ? line.slice(0, -1) : line
}

function linesOf(message: string | ts.DiagnosticMessageChain): string[] {
  if (typeof message === 'string') return message.split('\n')
  return [message.messageText, ...(message.next ?? []).flatMap(linesOf)]
}

function placeOf({ file, start }: ts.Diagnostic): Place {
  if (!file) return { file: 'the compiler options' }
  const { line, character } = file.getLineAndCharacterOfPosition(start ?? 0)
  return { file: file.fileName, line: line + 1, column: character + 1 }
}

const shipped = ['dsl', 'models', 'compiler', 'formats', 'data'].map((folder) => `${slashed(packageRoot)}${folder}/`)

/** Not a file of this package, of the standard library, or of anything installed. */
function isResearchers(file: string): boolean {
  const path = slashed(file)
  const installed = path.includes('/node_modules/') && !slashed(dirname(packageRoot)).includes('/node_modules')
  return !installed && !shipped.some((folder) => path.startsWith(folder))
}

function slashed(path: string): string {
  return path.split(sep).join('/')
}
