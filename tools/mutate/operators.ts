// Mutation operators for what is computed: derivative rules, masks, elementwise operations, order, constants. They know
// the shape of TypeScript and of the op tables, and no single operation.

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
import { brief, numbered, ownerOf, replace } from './places.ts'
import type { Operator } from './places.ts'

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

/** Drops masks: a choice becomes its first value, a product with weights the other factor, a conjunction one of its two. */
export const droppedMasks: Operator = (source) => {
  const edits: Edit[] = []
  for (const { call, word, operands } of maps(source)) {
    const at = `in ${ownerOf(call)}`
    if (word === 'select') {
      edits.push(replace(call, operands[1]?.getText() ?? '', `${brief(call)} without its mask ${at}`))
    }
    if (word === 'and') {
      operands.forEach((operand, place) => {
        edits.push(
          replace(call, operands[1 - place]?.getText() ?? '', `${brief(call)} without ${brief(operand)} ${at}`),
        )
      })
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
