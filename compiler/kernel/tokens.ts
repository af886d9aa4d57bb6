// The words and marks of kernel text. Keywords are names too wherever a name is expected, so that a buffer may be called
// `value` or `local`; only the four constants are reserved. Knows nothing of grammar.

import { createToken, Lexer } from 'chevrotain'
import type { TokenType } from 'chevrotain'

/** Any identifier, keywords included. */
export const Name = createToken({ name: 'Name', pattern: Lexer.NA })
export const Identifier = createToken({ name: 'Identifier', pattern: /[A-Za-z_][A-Za-z0-9_]*/, categories: [Name] })

/** Names that mean a constant and so can name nothing else. */
export const reservedNames: ReadonlySet<string> = new Set(['true', 'false', 'nan', 'inf'])

export function isName(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(text) && !reservedNames.has(text)
}

const spelled: { readonly text: string; readonly type: TokenType }[] = []

function keyword(text: string, ...categories: TokenType[]): TokenType {
  const made = createToken({
    name: `'${text}'`,
    pattern: text,
    longer_alt: Identifier,
    categories: [Name, ...categories],
  })
  spelled.push({ text, type: made })
  return made
}

function reserved(text: string): TokenType {
  const made = createToken({ name: `'${text}'`, pattern: text, longer_alt: Identifier })
  spelled.push({ text, type: made })
  return made
}

function mark(name: string, text: string): TokenType {
  const made = createToken({ name, pattern: text })
  spelled.push({ text, type: made })
  return made
}

export const Access = createToken({ name: 'Access', pattern: Lexer.NA })
export const BufferSpace = createToken({ name: 'BufferSpace', pattern: Lexer.NA })
export const LoopBinding = createToken({ name: 'LoopBinding', pattern: Lexer.NA })
export const BufferDType = createToken({ name: 'BufferDType', pattern: Lexer.NA })
for (const text of ['read', 'write', 'update']) keyword(text, Access)
for (const text of ['register', 'scratch', 'workgroup']) keyword(text, BufferSpace)
for (const text of ['serial', 'phase', 'grid', 'local', 'lane', 'unroll']) keyword(text, LoopBinding)
for (const text of ['f32', 'f16', 'bf16', 'i32', 'bool']) keyword(text, BufferDType)

export const KernelWord = keyword('kernel')
export const SizesWord = keyword('sizes')
export const In = keyword('in')
export const If = keyword('if')
export const And = keyword('and')
export const Let = keyword('let')
export const Barrier = keyword('barrier')
export const Transpose = keyword('transpose')
export const Prefetch = keyword('prefetch')
export const Valid = keyword('valid')
export const Below = keyword('below')
export const Div = keyword('div')
export const Mod = keyword('mod')
export const Min = keyword('min')
export const Value = keyword('value')
export const IndexWord = keyword('index')
export const Ramp = keyword('ramp')
export const Splat = keyword('splat')
export const Pack = keyword('pack')
export const Tree = keyword('tree')

export const True = reserved('true')
export const False = reserved('false')
export const NotANumber = reserved('nan')
export const Infinite = reserved('inf')

export const LessEqual = mark('LessEqual', '<=')
export const Less = mark('Less', '<')
export const Greater = mark('Greater', '>')
export const Equals = mark('Equals', '=')
export const LeftParen = mark('LeftParen', '(')
export const RightParen = mark('RightParen', ')')
export const LeftBracket = mark('LeftBracket', '[')
export const RightBracket = mark('RightBracket', ']')
export const LeftBrace = mark('LeftBrace', '{')
export const RightBrace = mark('RightBrace', '}')
export const Comma = mark('Comma', ',')
export const Colon = mark('Colon', ':')
export const Plus = mark('Plus', '+')
export const Minus = mark('Minus', '-')
export const Times = mark('Times', '*')

export const Float = createToken({ name: 'Float', pattern: /\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+/ })
export const Integer = createToken({ name: 'Integer', pattern: /\d+/ })
const Space = createToken({ name: 'Space', pattern: /\s+/, group: Lexer.SKIPPED })
const Comment = createToken({ name: 'Comment', pattern: /#[^\n]*/, group: Lexer.SKIPPED })

/** Longer ones first: otherwise `in` would take the head of `inf` and give the rest away to a plain identifier. */
const longestFirst = spelled.toSorted((a, b) => b.text.length - a.text.length).map(({ type }) => type)

/** Everything, in the order in which the lexer tries it. */
export const kernelTokens: TokenType[] = [
  Space,
  Comment,
  ...longestFirst,
  Float,
  Integer,
  Identifier,
  Name,
  Access,
  BufferSpace,
  LoopBinding,
  BufferDType,
]
