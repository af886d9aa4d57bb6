// Mutation operators for how code decides and counts: answers, branches, operators, guards. They know the shape of
// TypeScript, and no single function.

import { Node, SyntaxKind } from 'ts-morph'
import type { BinaryExpression } from 'ts-morph'
import type { Edit } from './mutation.ts'
import { brief, numbered, ownerOf, replace } from './places.ts'
import type { Operator } from './places.ts'

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

// ---- operators ----

const otherOperator: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
  '&&': '||',
  '||': '&&',
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '**': '*',
  '%': '*',
}

/** The same operands with another operator between them; undefined where it has no counterpart. */
function otherwise(expression: BinaryExpression): string | undefined {
  const other = otherOperator[expression.getOperatorToken().getText()]
  if (other === undefined) return undefined
  return `((${expression.getLeft().getText()}) ${other} (${expression.getRight().getText()}))`
}

/** Puts other comparisons, connectives and arithmetic into the code. */
export const otherOperators: Operator = (source) =>
  numbered(
    source.getDescendantsOfKind(SyntaxKind.BinaryExpression).flatMap((expression) => {
      const text = otherwise(expression)
      if (text === undefined) return []
      const other = otherOperator[expression.getOperatorToken().getText()]
      return [replace(expression, text, `${brief(expression)} with ${other} in ${ownerOf(expression)}`)]
    }),
  )

/** Takes the other branch of each `if` and of each choice by `?`. */
export const otherBranches: Operator = (source) =>
  numbered(
    [
      ...source.getDescendantsOfKind(SyntaxKind.IfStatement).map((one) => one.getExpression()),
      ...source.getDescendantsOfKind(SyntaxKind.ConditionalExpression).map((one) => one.getCondition()),
    ].flatMap((condition) => {
      // `otherOperators` turns these round.
      const isEquality = Node.isBinaryExpression(condition) && /^[!=]==$/.test(condition.getOperatorToken().getText())
      return isEquality ? [] : [replace(condition, `!(${condition.getText()})`, `not ${brief(condition)} in ${ownerOf(condition)}`)] // prettier-ignore
    }),
  )
