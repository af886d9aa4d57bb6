// Reads the text that print.ts writes, from anywhere: bounds come first, then tokens, then the grammar.
// It checks only what it needs to build the tree; whether the kernel is right is verify.ts's to say.

import { Lexer } from 'chevrotain'
import type { IToken } from 'chevrotain'
import { UserError } from '../diagnostic.ts'
import { KernelParser } from './grammar.ts'
import type { Kernel } from './ir.ts'
import * as t from './tokens.ts'

/** Longest text that is read, in characters: unrolled kernels stay far below. */
const LONGEST_TEXT = 16 * 2 ** 20
/** Deepest nesting of brackets: beyond it the recursive descent could run out of stack. */
const DEEPEST_NESTING = 200

const lexer = new Lexer(t.kernelTokens)
/** Made on first use: its self-analysis takes milliseconds that most runs never need. */
let parser: KernelParser | undefined

/**
 * Reads any number of kernels.
 * @param file where the text came from, for messages
 * @throws UserError HD601 (syntax), HD602 (a name that is unknown or declared twice), HD603 (too large or too deep)
 */
export function parseKernels(text: string, file = '<kernel text>'): Kernel[] {
  if (text.length > LONGEST_TEXT) {
    throw new UserError('HD603', `kernel text is longer than ${LONGEST_TEXT} characters`, { place: { file } })
  }
  const { tokens, errors } = lexer.tokenize(text)
  const [error] = errors
  if (error) {
    const place = { file, line: error.line, column: error.column }
    throw new UserError('HD601', `'${text.charAt(error.offset)}' is no part of kernel text`, { place })
  }
  refuseDeepNesting(tokens, file)
  parser ??= new KernelParser()
  parser.file = file
  parser.input = tokens
  const kernels = parser.kernels()
  const [wrong] = parser.errors
  if (wrong) {
    const atEnd = Number.isNaN(wrong.token.startOffset)
    const found = atEnd ? 'the end' : `'${wrong.token.image.slice(0, 40)}'`
    const at = atEnd ? tokens.at(-1) : wrong.token
    const place = { file, line: at?.startLine ?? 1, column: at?.startColumn ?? 1 }
    throw new UserError('HD601', `${found} is not expected here (${wrong.context.ruleStack.at(-1)})`, { place })
  }
  return kernels
}

/** Reads exactly one kernel; errors as `parseKernels`. */
export function parseKernel(text: string, file = '<kernel text>'): Kernel {
  const kernels = parseKernels(text, file)
  const [kernel] = kernels
  if (!kernel || kernels.length > 1) {
    throw new UserError('HD601', `one kernel is expected, not ${kernels.length}`, { place: { file } })
  }
  return kernel
}

function refuseDeepNesting(tokens: readonly IToken[], file: string): void {
  let depth = 0
  for (const token of tokens) {
    const type = token.tokenType
    if (type === t.LeftParen || type === t.LeftBracket || type === t.LeftBrace) depth++
    else if (type === t.RightParen || type === t.RightBracket || type === t.RightBrace) depth--
    if (depth <= DEEPEST_NESTING) continue
    const place = { file, line: token.startLine, column: token.startColumn }
    throw new UserError('HD603', `brackets are nested more than ${DEEPEST_NESTING} deep`, { place })
  }
}
