// Which variable a call initialises, from the source text alone: so that a value of the graph has the name its author
// gave it. Checks no types.

import { readFileSync } from 'node:fs'
import ts from 'typescript'
import type { Place } from '../diagnostic.ts'
import { sourceFile } from './program.ts'

/** `line:column`, both from 1, of the name of a called function, to the variable its result is given to. */
export type ValueNames = ReadonlyMap<string, string>

/**
 * The variables of a file that calls initialise: `const q = rope(linear(…))` names the call of `rope`.
 *
 * @throws UserError HD110 when the file cannot be read as a source file
 */
export function nameValues(path: string): ValueNames {
  const file = sourceFile(path)
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2023, true)
  const names = new Map<string, string>()
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && node.initializer) {
      const call = calledIn(node.initializer)
      if (call) names.set(keyOf(source, call), node.name.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return names
}

/** Looks names up by place, reading each file once; files that cannot be read have none. */
export function valueNamer(): (place: Place) => string | undefined {
  const files = new Map<string, ValueNames>()
  return ({ file, line, column }) => {
    let names = files.get(file)
    if (!names) {
      names = namesOrNone(file)
      files.set(file, names)
    }
    return names.get(`${line}:${column}`)
  }
}

function namesOrNone(file: string): ValueNames {
  try {
    return nameValues(file)
  } catch {
    return new Map()
  }
}

/** The call whose result an expression is, through parentheses and type assertions. */
function calledIn(expression: ts.Expression): ts.CallExpression | undefined {
  if (ts.isCallExpression(expression)) return expression
  const wrapped =
    ts.isParenthesizedExpression(expression) || ts.isAsExpression(expression) || ts.isSatisfiesExpression(expression)
  return wrapped ? calledIn(expression.expression) : undefined
}

/** Engines place a call at the function's name: for `a.b(…)` that is `b`. */
function keyOf(source: ts.SourceFile, call: ts.CallExpression): string {
  const callee = ts.isPropertyAccessExpression(call.expression) ? call.expression.name : call.expression
  const { line, character } = source.getLineAndCharacterOfPosition(callee.getStart(source))
  return `${line + 1}:${character + 1}`
}
