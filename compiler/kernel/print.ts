// Kernel IR as text: one line per statement, nothing a parser would have to guess but the types that declarations give.
// It must not know what a kernel means, and it prints wrong kernels too, so that errors can show them.

import type { Atom, Index } from './index.ts'
import type { Buffer, Condition, Expr, Kernel, Stmt } from './ir.ts'

/**
 * A kernel as text that `parseKernel` reads back. Buffers print `size:stride` per dimension, vectors the number of their
 * lanes behind a colon.
 */
export function printKernel(kernel: Kernel): string {
  const sizes = kernel.sizes.map(({ name, bound }) => `${name} <= ${bound}`).join(', ')
  const lines = [`kernel ${kernel.name} ${sizes === '' ? '' : `(sizes ${sizes}) `}{`]
  for (const buffer of kernel.arguments) lines.push(`  ${buffer.access ?? buffer.space} ${declaration(buffer)}`)
  for (const buffer of kernel.locals) lines.push(`  ${buffer.space} ${declaration(buffer)}`)
  printBlock(kernel.body, '  ', lines)
  lines.push('}', '')
  return lines.join('\n')
}

function declaration(buffer: Buffer): string {
  return `${buffer.name}: ${buffer.dtype}[${buffer.dims.map((dim) => `${dim.size}:${dim.stride}`).join(', ')}]`
}

/** A statement with everything in it, without a final line break. */
export function printStatement(statement: Stmt): string {
  const lines: string[] = []
  printBlock([statement], '', lines)
  return lines.join('\n')
}

/** The statement's own line: what a message needs to name a loop or a guard without its body. */
export function statementHead(statement: Stmt): string {
  switch (statement.kind) {
    case 'for':
      return `${statement.binding} ${statement.variable} in ${printIndex(statement.extent)} {`
    case 'if':
      return `if (${statement.conditions.map(printCondition).join(' and ')}) {`
    case 'store':
      return `${printAccess(statement.buffer, statement.indices, statement.lanes, statement.valid)} = ${printExpr(statement.value)}`
    case 'let':
      return `let ${statement.name} = ${printExpr(statement.value)}`
    case 'barrier':
      return 'barrier'
    case 'transpose':
      return `transpose ${statement.buffer}`
    case 'prefetch':
      return `prefetch ${printAccess(statement.buffer, statement.indices, 1, undefined)}`
  }
}

function printBlock(statements: readonly Stmt[], indent: string, lines: string[]): void {
  for (const statement of statements) {
    lines.push(indent + statementHead(statement))
    if (statement.kind !== 'for' && statement.kind !== 'if') continue
    printBlock(statement.body, `${indent}  `, lines)
    lines.push(`${indent}}`)
  }
}

export function printCondition(condition: Condition): string {
  return `${printIndex(condition.left)} < ${printIndex(condition.right)}`
}

function printAccess(buffer: string, indices: readonly Index[], lanes: number, valid: Index | undefined): string {
  const width = lanes === 1 ? '' : `:${lanes}`
  return `${buffer}[${indices.map(printIndex).join(', ')}]${width}${valid ? ` valid ${printIndex(valid)}` : ''}`
}

export function printExpr(expr: Expr): string {
  switch (expr.kind) {
    case 'constant':
      if (expr.type === 'bool') return expr.value === 0 ? 'false' : 'true'
      return expr.type === 'i32' ? String(expr.value) : printFloat(expr.value)
    case 'index':
      return `index(${printIndex(expr.index)})`
    case 'local':
      return expr.name
    case 'load':
      return printAccess(expr.buffer, expr.indices, expr.lanes, expr.valid)
    case 'apply':
      return `${expr.word}${expr.bits === undefined ? '' : `<${expr.bits}>`}(${expr.args.map(printExpr).join(', ')})`
    case 'splat':
      return `splat(${printExpr(expr.value)}):${expr.lanes}`
    case 'ramp':
      return `ramp(${printIndex(expr.index)}):${expr.lanes}`
    case 'pack':
      return `pack(${expr.args.map(printExpr).join(', ')})`
    case 'tree':
      return `tree(${expr.word}, ${expr.buffer})`
  }
}

/** The shortest text that rounds to the same float32; always with a point, an exponent, `inf` or `nan`. */
export function printFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  let text = String(value)
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) !== value) continue
    text = String(short)
    break
  }
  return /[.e]/.test(text) ? text : `${text}.0`
}

/** `m0*12 + m1 - 3`: terms in their order, the constant last. */
export function printIndex(index: Index): string {
  let text = ''
  for (const { scale, atom } of index.terms) {
    const magnitude = Math.abs(scale)
    const factor = magnitude === 1 ? bareAtom(atom) : `${closedAtom(atom)}*${magnitude}`
    text += text === '' ? (scale < 0 ? `-${factor}` : factor) : `${scale < 0 ? ' - ' : ' + '}${factor}`
  }
  if (text === '') return String(index.constant)
  if (index.constant === 0) return text
  return `${text}${index.constant < 0 ? ' - ' : ' + '}${Math.abs(index.constant)}`
}

function bareAtom(atom: Atom): string {
  switch (atom.kind) {
    case 'variable':
    case 'size':
      return atom.name
    case 'div':
    case 'mod':
      return `${operand(atom.value)} ${atom.kind} ${atom.by}`
    case 'min':
      return `min(${printIndex(atom.left)}, ${printIndex(atom.right)})`
    case 'value':
      return `value(${printExpr(atom.value)} below ${atom.below})`
  }
}

/** An atom that binds at least as tightly as a product. */
function closedAtom(atom: Atom): string {
  return atom.kind === 'div' || atom.kind === 'mod' ? `(${bareAtom(atom)})` : bareAtom(atom)
}

function operand(index: Index): string {
  const [term] = index.terms
  if (index.constant === 0 && index.terms.length === 1 && term?.scale === 1) return closedAtom(term.atom)
  return `(${printIndex(index)})`
}
