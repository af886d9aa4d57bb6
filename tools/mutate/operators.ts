// Mutation operators: each walks a source file and lists the places where it can say something else. They know the shape
// of TypeScript and of the op tables, and no single operation.

import { Node, SyntaxKind } from 'ts-morph'
import type {
  ArrowFunction,
  CallExpression,
  Expression,
  ForStatement,
  NumericLiteral,
  ObjectLiteralExpression,
  SourceFile,
} from 'ts-morph'
import type { Edit } from './mutation.ts'

export type Operator = (source: SourceFile) => Edit[]

function replace(node: Node, text: string, what: string): Edit {
  return { what, start: node.getStart(), end: node.getEnd(), text }
}

/** One line, short enough for a table. */
function brief(node: Node): string {
  const text = node.getText().replaceAll(/\s+/g, ' ')
  return text.length > 64 ? `${text.slice(0, 61)}...` : text
}

/** The name of whatever declares the code: for telling places apart. */
function ownerOf(node: Node): string {
  const names: string[] = []
  for (let at: Node | undefined = node; at; at = at.getParent()) {
    if (
      Node.isFunctionDeclaration(at) ||
      Node.isMethodDeclaration(at) ||
      Node.isVariableDeclaration(at) ||
      Node.isPropertyAssignment(at) ||
      Node.isClassDeclaration(at)
    ) {
      names.unshift(at.getName() ?? '')
    }
  }
  return names.slice(-2).join('.')
}

/** Adds a number where a file has the same mutation twice. */
function numbered(edits: readonly Edit[]): Edit[] {
  const seen = new Map<string, number>()
  return edits.map((edit) => {
    const count = (seen.get(edit.what) ?? 0) + 1
    seen.set(edit.what, count)
    return count === 1 ? edit : { ...edit, what: `${edit.what} (${count})` }
  })
}

// ---- derivative rules ----

/** The object literal of an op table. */
function tableOf(source: SourceFile, name: string): ObjectLiteralExpression {
  const [table] = source.getVariableDeclarationOrThrow(name).getDescendantsOfKind(SyntaxKind.ObjectLiteralExpression)
  if (!table) throw new Error(`${name} is no table`)
  return table
}

function arrowOf(node: Node | undefined): ArrowFunction | undefined {
  return Node.isArrowFunction(node) ? node : undefined
}

/** The derivative of a table's entry: a property of that name, or the third operand of a helper that makes entries. */
function derivativeOf(entry: Expression): ArrowFunction | undefined {
  if (Node.isCallExpression(entry)) return arrowOf(entry.getArguments()[2])
  if (!Node.isObjectLiteralExpression(entry)) return undefined
  const property = entry.getProperty('derivative')
  return Node.isPropertyAssignment(property) ? arrowOf(property.getInitializer()) : undefined
}

function resultsOf(rule: ArrowFunction): Expression[] {
  const body = rule.getBody()
  if (!Node.isBlock(body)) return [body as Expression]
  return body.getDescendantsOfKind(SyntaxKind.ReturnStatement).flatMap((one) => one.getExpression() ?? [])
}

/** Flips the sign of every cotangent of every rule in a table, one at a time. */
export function derivativeSigns(name: string): Operator {
  return (source) => {
    const edits: Edit[] = []
    for (const property of tableOf(source, name).getProperties()) {
      if (!Node.isPropertyAssignment(property)) continue
      const entry = property.getInitializerOrThrow()
      const rule = derivativeOf(entry)
      if (!rule) continue
      const builder = rule.getParameters()[0]?.getName() ?? 'b'
      const isUnary = Node.isCallExpression(entry) && entry.getExpression().getText() === 'unary'
      for (const result of resultsOf(rule)) {
        const flip = (one: Node, operand: string): Edit =>
          replace(one, `${builder}.map('neg', ${one.getText()})`, `sign of d ${property.getName()}, ${operand}`)
        if (isUnary) edits.push(flip(result, 'operand 1'))
        else if (Node.isArrayLiteralExpression(result)) {
          result.getElements().forEach((element, place) => {
            if (element.getText() !== 'null') edits.push(flip(element, `operand ${place + 1}`))
          })
        } else {
          const all = `[...(${result.getText()})].map((one) => one && ${builder}.map('neg', one))`
          edits.push(replace(result, all, `sign of d ${property.getName()}, all operands`))
        }
      }
    }
    return numbered(edits)
  }
}

// ---- what is computed ----

/** Calls `b.map('word', …)` that put an elementwise operation into a graph. */
function maps(source: SourceFile): { call: CallExpression; word: string; operands: Node[] }[] {
  return source.getDescendantsOfKind(SyntaxKind.CallExpression).flatMap((call) => {
    const callee = call.getExpression()
    const [word, ...operands] = call.getArguments()
    const isMap = Node.isPropertyAccessExpression(callee) && callee.getName() === 'map' && Node.isStringLiteral(word)
    return isMap ? [{ call, word: word.getLiteralValue(), operands }] : []
  })
}

/** Drops masks: a choice becomes its first or second value, a product with weights the other factor. */
export const droppedMasks: Operator = (source) => {
  const edits: Edit[] = []
  for (const { call, word, operands } of maps(source)) {
    const at = `in ${ownerOf(call)}`
    if (word === 'select') {
      edits.push(replace(call, operands[1]?.getText() ?? '', `${brief(call)} without its mask ${at}`))
    }
    if (word !== 'mul') continue
    operands.forEach((operand, place) => {
      if (!/^(?:weights?|keep|mask|hit)$/.test(operand.getText())) return
      edits.push(
        replace(call, operands[1 - place]?.getText() ?? '', `${brief(call)} without ${operand.getText()} ${at}`),
      )
    })
  }
  return numbered(edits)
}

const otherWord: Readonly<Record<string, string>> = {
  add: 'sub',
  sub: 'add',
  mul: 'div',
  div: 'mul',
  min: 'max',
  max: 'min',
  less: 'lessEqual',
  lessEqual: 'less',
  intLess: 'intLessEqual',
  intLessEqual: 'intLess',
  intAdd: 'intSub',
  sqrt: 'abs',
  rsqrt: 'sqrt',
  neg: 'abs',
  exp: 'neg',
  cos: 'sin',
  sin: 'cos',
}

/** Puts another elementwise operation into the graph. */
export const otherWords: Operator = (source) =>
  numbered(
    maps(source).flatMap(({ call, word }) => {
      const other = otherWord[word]
      const literal = call.getArguments()[0]
      return other && literal ? [replace(literal, `'${other}'`, `${word} → ${other} in ${ownerOf(call)}`)] : []
    }),
  )

// ---- order ----

/** Whether a loop's order matters: it carries a value from one of its own turns to the next. */
function accumulates(loop: ForStatement, variable: string): boolean {
  return loop
    .getStatement()
    .getDescendantsOfKind(SyntaxKind.BinaryExpression)
    .some((assignment) => {
      if (assignment.getOperatorToken().getText() !== '=') return false
      if (assignment.getFirstAncestorByKind(SyntaxKind.ForStatement) !== loop) return false
      const target = assignment.getLeft().getText()
      const isOwn = new RegExp(`\\b${variable}\\b`).test(target)
      return !isOwn && assignment.getRight().getText().includes(target)
    })
}

/** Runs loops that accumulate from their end to their beginning. */
export const reversedLoops: Operator = (source) =>
  numbered(
    source.getDescendantsOfKind(SyntaxKind.ForStatement).flatMap((loop) => {
      const [, variable, start] = /^let (\w+) = ([\w.]+)$/.exec(loop.getInitializer()?.getText() ?? '') ?? []
      if (variable === undefined || start === undefined || !accumulates(loop, variable)) return []
      const [, end] = new RegExp(`^${variable} < (.+)$`).exec(loop.getCondition()?.getText() ?? '') ?? []
      if (end === undefined || loop.getIncrementor()?.getText() !== `${variable}++`) return []
      const header = `for (let ${variable} = (${end}) - 1; ${variable} >= ${start}; ${variable}--) ${loop.getStatement().getText()}`
      return [replace(loop, header, `order of the loop over ${variable} in ${ownerOf(loop)}`)]
    }),
  )

function halved(literals: readonly NumericLiteral[]): Edit[] {
  return numbered(
    literals.flatMap((literal) => {
      if (literal.getFirstAncestorByKind(SyntaxKind.LiteralType)) return []
      const value = Number(literal.getText().replaceAll('_', ''))
      const other = value === 0 ? '1' : value === 1 ? '2' : String(value / 2)
      return [replace(literal, other, `${literal.getText()} → ${other} in ${ownerOf(literal)}`)]
    }),
  )
}

/** Changes every number of a file: halves it, 0 becomes 1 and 1 becomes 2. */
export const halvedNumbers: Operator = (source) => halved(source.getDescendantsOfKind(SyntaxKind.NumericLiteral))

/** Changes the numbers of one constant. */
export function halvedConstant(name: string): Operator {
  return (source) => halved(source.getVariableDeclarationOrThrow(name).getDescendantsOfKind(SyntaxKind.NumericLiteral))
}

/** Moves every coefficient of the tables of polynomials by 2⁻¹⁸ of itself, about 32 units in the last place. */
export const movedCoefficients: Operator = (source) =>
  source
    .getVariableDeclarationOrThrow('POLYNOMIALS')
    .getDescendantsOfKind(SyntaxKind.ArrayLiteralExpression)
    .flatMap((row) =>
      row.getElements().map((element, place) => {
        const moved = Math.fround(Number(element.getText()) * (1 + 2 ** -18))
        return replace(element, String(moved), `coefficient ${place} of ${ownerOf(row)}`)
      }),
    )

// ---- guards ----

/** Makes functions that answer yes or no always say yes, and always no. */
export const fixedAnswers: Operator = (source) => {
  const edits: Edit[] = []
  const functions = [
    ...source.getDescendantsOfKind(SyntaxKind.FunctionDeclaration),
    ...source.getDescendantsOfKind(SyntaxKind.MethodDeclaration),
  ]
  for (const one of functions) {
    const body = one.getBody()
    if (one.getReturnTypeNode()?.getText() !== 'boolean' || !body) continue
    for (const answer of ['true', 'false']) {
      edits.push(replace(body, `{ return ${answer} }`, `${ownerOf(one)} is always ${answer}`))
    }
  }
  return numbered(edits)
}

/** Leaves the guards of loop bodies out: kernels would run past the end. */
export const droppedGuards: Operator = (source) =>
  numbered(
    source.getDescendantsOfKind(SyntaxKind.CallExpression).flatMap((call) => {
      const [conditions] = call.getArguments()
      if (call.getExpression().getText() !== 'guarded' || !conditions) return []
      return [replace(conditions, '[]', `no guard ${brief(conditions)} in ${ownerOf(call)}`)]
    }),
  )
