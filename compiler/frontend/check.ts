// Type-checks a researcher's file and says what is wrong in one sentence each: the language puts its sentences into
// parameter types, and here they are taken out again. Knows no operation of the language.

import { dirname, sep } from 'node:path'
import type ts from 'typescript'
import { UserError } from '../diagnostic.ts'
import type { Place } from '../diagnostic.ts'
import { keyProblems, propertyAt, unknownKey } from './keys.ts'
import { packageRoot, programOf, sourceFile } from './program.ts'

/** One thing the type checker found. */
export interface TypeProblem {
  readonly place: Place
  readonly sentence: string
  /** TypeScript's own number of it, `TS2345`. */
  readonly code: string
}

const notAssignable = /^Type '(?<given>.+)' is not assignable to type '(?<wanted>.+)'$/
const missingProperty = /^Property '[^']*' is missing/
/** A sentence that a parameter type of the language carries. */
const carried = /"\(Error\) ((?:[^"\\]|\\.)*)"/
/** A sentence whose names the checker has not inferred, because of another mistake in the same call. */
const uninferred = /`\(Error\) /
const unknownKeyText = /^Object literal may only specify known properties, (?:and|but) '(?<key>[^']+)' does not exist/
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
  const syntax = files.flatMap((file) => program.getSyntacticDiagnostics(file).slice(0, 1))
  // What cannot be parsed has no types, and what a parser guesses misleads.
  const found = syntax.length > 0 ? syntax : files.flatMap((file) => program.getSemanticDiagnostics(file))
  const checker = program.getTypeChecker()
  const all = [...program.getOptionsDiagnostics(), ...found].flatMap((one) => problemsOfOne(one, checker))
  const own = all.filter(({ sentence }) => !uninferred.test(sentence))
  return distinct(own.length > 0 ? own : all)
}

/** One mistake may be told several times, by each argument that it keeps from being inferred. */
function distinct(problems: readonly TypeProblem[]): TypeProblem[] {
  const seen = new Set<string>()
  return problems.filter(({ place: { file, line, column }, sentence }) => {
    const key = `${file}:${line ?? ''}:${column ?? ''} ${sentence}`
    return seen.size < seen.add(key).size
  })
}

/** The first problem as an error for the command line, with how many more there are. */
export function firstProblem(problems: readonly TypeProblem[]): UserError | undefined {
  const [first] = problems
  if (!first) return undefined
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ''
  return new UserError('HD111', `${first.sentence}${more}`, { place: first.place })
}

function problemsOfOne(diagnostic: ts.Diagnostic, checker: ts.TypeChecker): TypeProblem[] {
  const { file, start = 0 } = diagnostic
  const code = `TS${diagnostic.code}`
  const sentence = sentenceOf(diagnostic.messageText)
  const isOfKeys = uninferred.test(sentence) || unknownKeyText.test(linesOf(diagnostic.messageText)[0] ?? '')
  const keys = file && isOfKeys ? keyProblems(checker, file, start) : []
  if (keys.length === 0) {
    const key = file && propertyAt(file, start)
    return [{ place: placeOf(diagnostic), sentence: aboutProperty(sentence, key), code }]
  }
  return keys.map((key) => ({ place: placeOf({ file, start: key.start }), sentence: key.sentence, code }))
}

/** `Type 'string' is not assignable to type 'number'` at a key, in the key's words. */
function aboutProperty(sentence: string, key: string | undefined): string {
  const { given, wanted } = notAssignable.exec(sentence)?.groups ?? {}
  if (key === undefined || given === undefined || wanted === undefined) return sentence
  return `'${key}' is of type ${shortened(given)}, not ${shortened(wanted)}`
}

/** A type as a person reads it: a long one is not read. */
function shortened(type: string): string {
  return type.length > 60 ? `${type.slice(0, 57)}…` : type
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
  const key = unknownKeyText.exec(line)?.groups?.['key']
  if (key !== undefined) return unknownKey(key, meant.exec(line)?.groups?.['near'])
  return line.endsWith('.') ? line.slice(0, -1) : line
}

function linesOf(message: string | ts.DiagnosticMessageChain): string[] {
  if (typeof message === 'string') return message.split('\n')
  return [message.messageText, ...(message.next ?? []).flatMap(linesOf)]
}

function placeOf({ file, start }: Pick<ts.Diagnostic, 'file' | 'start'>): Place {
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

/** A line that `heddle new` left open. */
export interface OpenDecision {
  readonly place: Place
  readonly text: string
}

/** What is marked `// Decide:` in a researcher's file and what it imports, in the order of the files. */
export function openDecisions(path: string): OpenDecision[] {
  const files = programOf([sourceFile(path)])
    .getSourceFiles()
    .filter((file) => !file.isDeclarationFile && isResearchers(file.fileName))
  return files.flatMap((file) =>
    [...file.text.matchAll(/^[ \t]*\/\/ Decide: (.*)$/gm)].map((found) => {
      const { line } = file.getLineAndCharacterOfPosition(found.index)
      return { place: { file: file.fileName, line: line + 1 }, text: (found[1] ?? '').trim() }
    }),
  )
}
