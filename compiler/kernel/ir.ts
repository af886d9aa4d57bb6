// Kernel IR: loop nests over buffers. Everything a backend prints is decided here; nothing here knows a backend or a
// graph operation. Values are scalars or vectors of `lanes`; a schedule rewrites nests by directives (`directives.ts`)
// until only explicit vectors are left (`vectorise.ts`).

import type { DType } from '../graph/axis.ts'
import type { Scalars } from '../graph/scalars.ts'
import type { Index } from './index.ts'

/** Type of a value in a register; 16-bit floats exist in memory only and widen when loaded. */
export type ValueType = 'f32' | 'i32' | 'bool'

/** The words of the scalar language that take values; `float` and `int` are constants here. */
export type Word = Exclude<keyof Scalars<never>, 'float' | 'int' | 'own'>

/**
 * `argument`: memory the program binds. `scratch`: memory of one thread (CPU) or invocation. `workgroup`: memory shared
 * by a GPU workgroup. `register`: elements are named values, indices are constants once loops are unrolled.
 */
export type Space = 'argument' | 'scratch' | 'workgroup' | 'register'

export interface Dimension {
  readonly size: number
  /** Elements between neighbours. */
  readonly stride: number
}

export interface Buffer {
  readonly name: string
  readonly dtype: DType
  readonly space: Space
  readonly dims: readonly Dimension[]
  /** What an `argument` is used for. */
  readonly access?: 'read' | 'write' | 'update'
}

export type Expr =
  | { readonly kind: 'constant'; readonly type: ValueType; readonly value: number }
  /** An index as an i32 value. */
  | { readonly kind: 'index'; readonly index: Index }
  | { readonly kind: 'local'; readonly name: string; readonly type: ValueType; readonly lanes: number }
  | {
      readonly kind: 'load'
      readonly buffer: string
      readonly indices: readonly Index[]
      /** Type after widening. */
      readonly type: ValueType
      /** More than 1: that many neighbours along the last dimension, whose stride is 1. */
      readonly lanes: number
      /** How many lanes lie inside; the others read as zero. Absent: all. */
      readonly valid?: Index
    }
  | {
      readonly kind: 'apply'
      readonly word: Word
      readonly args: readonly Expr[]
      readonly bits?: number
      readonly lanes: number
    }
  /** The same scalar in every lane. */
  | { readonly kind: 'splat'; readonly value: Expr; readonly lanes: number }
  /** index, index + 1, … as i32 lanes. */
  | { readonly kind: 'ramp'; readonly index: Index; readonly lanes: number }
  /** Lanes put together from scalars: what neither `load` nor `ramp` can say. */
  | { readonly kind: 'pack'; readonly args: readonly Expr[] }
  /** The fixed tree over 16 partial results in a register buffer: halves at distance 8, 4, 2, 1. */
  | { readonly kind: 'tree'; readonly word: 'add' | 'max'; readonly buffer: string }

/** left < right. */
export interface Condition {
  readonly left: Index
  readonly right: Index
}

/**
 * How a loop runs. `grid`: iterations are independent and handed to threads (CPU) or workgroups (GPU); grid loops are
 * the outermost, perfectly nested. `phase`: around all grid loops, of a constant extent; one iteration ends on all threads
 * before the next begins. `local`: one invocation of a workgroup each. `lane`: becomes a vector. `unroll`: becomes copies.
 */
export type Binding = 'serial' | 'phase' | 'grid' | 'local' | 'lane' | 'unroll'

export type Stmt =
  | {
      readonly kind: 'for'
      readonly variable: string
      readonly extent: Index
      readonly binding: Binding
      readonly body: readonly Stmt[]
    }
  | { readonly kind: 'if'; readonly conditions: readonly Condition[]; readonly body: readonly Stmt[] }
  | {
      readonly kind: 'store'
      readonly buffer: string
      readonly indices: readonly Index[]
      readonly value: Expr
      readonly lanes: number
      readonly valid?: Index
    }
  /** Visible in the statements after it in the same block. */
  | { readonly kind: 'let'; readonly name: string; readonly value: Expr }
  /** All invocations of a workgroup meet here (GPU only). */
  | { readonly kind: 'barrier' }
  /** A register buffer of as many vectors as each has lanes: element [i, j] becomes [j, i]. */
  | { readonly kind: 'transpose'; readonly buffer: string }
  /** Calls the cache line of a place into the cache. It has no value and may name a place outside the buffer. */
  | { readonly kind: 'prefetch'; readonly buffer: string; readonly indices: readonly Index[] }

export type Loop = Extract<Stmt, { kind: 'for' }>

/** A run-time extent and its bound: 1 ≤ size ≤ bound. */
export interface SizeBound {
  readonly name: string
  readonly bound: number
}

export interface Kernel {
  readonly name: string
  readonly sizes: readonly SizeBound[]
  /** In binding order. */
  readonly arguments: readonly Buffer[]
  readonly locals: readonly Buffer[]
  readonly body: readonly Stmt[]
}

const comparisons: ReadonlySet<Word> = new Set([
  'less', 'lessEqual', 'equal', 'intLess', 'intLessEqual', 'intEqual', 'and', 'or', 'not',
]) // prettier-ignore
const integers: ReadonlySet<Word> = new Set([
  'intSelect', 'intAdd', 'intSub', 'intMul', 'intAnd', 'intOr', 'intXor',
  'intShiftLeft', 'intShiftRight', 'intShiftSigned', 'toInt', 'bitsOf',
]) // prettier-ignore

export function wordType(word: Word): ValueType {
  return comparisons.has(word) ? 'bool' : integers.has(word) ? 'i32' : 'f32'
}

export function typeOf(expr: Expr): ValueType {
  switch (expr.kind) {
    case 'constant':
    case 'local':
    case 'load':
      return expr.type
    case 'index':
    case 'ramp':
      return 'i32'
    case 'apply':
      return wordType(expr.word)
    case 'splat':
      return typeOf(expr.value)
    case 'pack':
      return expr.args[0] === undefined ? 'f32' : typeOf(expr.args[0])
    case 'tree':
      return 'f32'
  }
}

export function lanesOf(expr: Expr): number {
  switch (expr.kind) {
    case 'constant':
    case 'index':
    case 'tree':
      return 1
    case 'pack':
      return expr.args.length
    default:
      return expr.lanes
  }
}

export function valueType(dtype: DType): ValueType {
  return dtype === 'i32' || dtype === 'bool' ? dtype : 'f32'
}

/** Dense row-major dimensions. */
export function denseDims(sizes: readonly number[]): Dimension[] {
  const dims: Dimension[] = []
  let stride = 1
  for (const size of sizes.toReversed()) {
    dims.unshift({ size, stride })
    stride *= size
  }
  return dims
}

export function bufferElements(buffer: Buffer): number {
  return buffer.dims.reduce((last, dim) => last + (dim.size - 1) * dim.stride, 1)
}

/** The buffer a name stands for. */
export function bufferOf(kernel: Kernel, name: string): Buffer {
  const found = [...kernel.arguments, ...kernel.locals].find((buffer) => buffer.name === name)
  if (!found) throw new Error(`kernel ${kernel.name} has no buffer '${name}'`)
  return found
}

/** The loops that a body begins with: a phase, the grid, and what each of their points runs. */
export interface Grid {
  readonly phase: Loop | undefined
  /** Outermost first. */
  readonly loops: readonly Loop[]
  readonly body: readonly Stmt[]
}

export function gridOf(body: readonly Stmt[]): Grid {
  const only = (stmts: readonly Stmt[], binding: Binding): Loop | undefined => {
    const [first] = stmts
    return stmts.length === 1 && first?.kind === 'for' && first.binding === binding ? first : undefined
  }
  const phase = only(body, 'phase')
  const loops: Loop[] = []
  let inner = phase ? phase.body : body
  for (let next = only(inner, 'grid'); next; next = only(inner, 'grid')) {
    loops.push(next)
    inner = next.body
  }
  return { phase, loops, body: inner }
}
