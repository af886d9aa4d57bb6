// The basic operations of the language: arithmetic, contraction, reductions, and what moves values between axes. Each
// is one step of the graph; types and run-time checks both speak of the researcher's own operands.

import type { Node } from '../compiler/graph/node.ts'
import type {
  AnyAxis,
  AnyTensor,
  Axis,
  AxisOrList,
  NameOf,
  Off,
  On,
  OnBoth,
  Tensor,
  ValueType,
  Within,
} from './checks.ts'
import { operation, shapeOf } from './trace.ts'
import type { Operation } from './trace.ts'

/** The right operand of an arithmetic operation: broadcast to the left one's axes, or a number. */
type Right<B extends string, A extends string, T extends ValueType = 'f32'> = (Tensor<B, T> & Within<B, A>) | number

/** Unwraps a right operand and refuses axes that the left one lacks. */
export function rightOperand(op: Operation, left: Node, right: AnyTensor | number): Node {
  if (typeof right === 'number') return left.dtype === 'i32' ? op.builder.int(right) : op.builder.float(right)
  const node = op.node(right, 'the second operand', left.dtype as ValueType)
  const extra = node.axes.find((axis) => !left.axes.includes(axis))
  if (extra) {
    op.fail(
      'HD103',
      `axis '${extra.name}' of the second operand ${shapeOf(node)} is not on the first ${shapeOf(left)}`,
      'only the second operand is broadcast',
    )
  }
  return node
}

function arithmetic<A extends string>(name: string, x: Tensor<A>, y: AnyTensor | number): Tensor<A> {
  return operation(name, (op) => {
    const left = op.node(x, 'the first operand', 'f32')
    return op.builder.map(name, left, rightOperand(op, left, y))
  })
}

/** x + y over x's axes; y is broadcast. */
export function add<A extends string, B extends string>(x: Tensor<A>, y: Right<B, A>): Tensor<A> {
  return arithmetic('add', x, y)
}

/** x − y over x's axes; y is broadcast. */
export function sub<A extends string, B extends string>(x: Tensor<A>, y: Right<B, A>): Tensor<A> {
  return arithmetic('sub', x, y)
}

/** x · y, elementwise, over x's axes; y is broadcast. */
export function mul<A extends string, B extends string>(x: Tensor<A>, y: Right<B, A>): Tensor<A> {
  return arithmetic('mul', x, y)
}

/** x / y over x's axes; y is broadcast. */
export function div<A extends string, B extends string>(x: Tensor<A>, y: Right<B, A>): Tensor<A> {
  return arithmetic('div', x, y)
}

/** The smaller of x and y over x's axes; y is broadcast. */
export function min<A extends string, B extends string>(x: Tensor<A>, y: Right<B, A>): Tensor<A> {
  return arithmetic('min', x, y)
}

/** The greater of x and y over x's axes; y is broadcast. */
export function max<A extends string, B extends string>(x: Tensor<A>, y: Right<B, A>): Tensor<A> {
  return arithmetic('max', x, y)
}

export type Elementwise =
  'neg' | 'abs' | 'sqrt' | 'rsqrt' | 'exp' | 'log' | 'tanh' | 'erf' | 'sin' | 'cos' | 'sigmoid'

/** Applies one of the elementwise functions of the graph's table. */
export function apply<A extends string>(fn: Elementwise, x: Tensor<A>): Tensor<A> {
  return operation(fn, (op) => op.builder.map(fn, op.node(x, 'x', 'f32')))
}

/** −x. */
export function neg<A extends string>(x: Tensor<A>): Tensor<A> {
  return apply('neg', x)
}

/** eˣ. */
export function exp<A extends string>(x: Tensor<A>): Tensor<A> {
  return apply('exp', x)
}

/** 1/√x. */
export function rsqrt<A extends string>(x: Tensor<A>): Tensor<A> {
  return apply('rsqrt', x)
}

/** A number as a scalar tensor, rounded to f32. */
export function float(value: number): Tensor<never> {
  return operation('float', (op) => op.builder.float(value))
}

/**
 * Contracts x and y over one axis or a list of axes; axes that both keep are matched elementwise. The chain of
 * multiply-adds runs through a list in its order.
 */
export function dot<A extends string, B extends string, const O extends AxisOrList>(
  x: Tensor<A>,
  y: Tensor<B>,
  over: O & OnBoth<O, A, B>,
): Tensor<Exclude<A | B, NameOf<O>>> {
  return operation('dot', (op) => {
    const left = op.node(x, 'the first operand', 'f32')
    const right = op.node(y, 'the second operand', 'f32')
    const axes = op.axes(over)
    for (const axis of axes) {
      const missing = left.axes.includes(axis) ? (right.axes.includes(axis) ? undefined : 'second') : 'first'
      if (missing) {
        op.fail(
          'HD103',
          `axis '${axis.name}' is not on the ${missing} operand: ${shapeOf(left)} and ${shapeOf(right)}`,
          'rename one of them, or contract over an axis that both have',
        )
      }
    }
    return op.builder.dot(left, right, axes)
  })
}

/** Sums over one axis or a list of axes. */
export function sum<A extends string, const O extends AxisOrList>(
  x: Tensor<A>,
  over: O & On<O, A>,
): Tensor<Exclude<A, NameOf<O>>> {
  return operation('sum', (op) => {
    const node = op.node(x, 'x', 'f32')
    const axes = op.axes(over)
    op.on(axes, node, 'x')
    return op.builder.sumAll(node, axes)
  })
}

/** The greatest value along an axis. */
export function maximum<A extends string, O extends AnyAxis>(
  x: Tensor<A>,
  over: O & On<O, A>,
): Tensor<Exclude<A, NameOf<O>>> {
  return operation('maximum', (op) => {
    const node = op.node(x, 'x', 'f32')
    const axis = op.axis(over)
    op.on([axis], node, 'x')
    return op.builder.maximum(node, axis)
  })
}

/** The same values under another axis of the same size. */
export function rename<A extends string, T extends ValueType, O extends AnyAxis, P extends AnyAxis>(
  x: Tensor<A, T>,
  from: O & On<O, A>,
  to: P & Off<P, A>,
): Tensor<Exclude<A, NameOf<O>> | NameOf<P>, T> {
  return operation('rename', (op) => {
    const node = op.node(x, 'x')
    const source = op.axis(from)
    const target = op.axis(to)
    op.on([source], node, 'x')
    op.off([target], node, 'x')
    if (source.size !== target.size || source.extent !== target.extent) {
      op.fail('HD104', `axis '${source.name}' has ${source.size} places and '${target.name}' ${target.size}`)
    }
    return op.builder.rename(node, source, target)
  })
}

/** Takes an axis apart into several, outermost first; their sizes multiply to its own. */
export function split<A extends string, T extends ValueType, O extends AnyAxis, const P extends readonly AnyAxis[]>(
  x: Tensor<A, T>,
  axis: O & On<O, A>,
  into: P & Off<P, A>,
): Tensor<Exclude<A, NameOf<O>> | NameOf<P>, T> {
  return operation('split', (op) => {
    const node = op.node(x, 'x')
    const whole = op.axis(axis)
    const parts = op.axes(into)
    op.on([whole], node, 'x')
    op.off(parts, node, 'x')
    const product = parts.reduce((size, part) => size * part.size, 1)
    if (product !== whole.size) {
      op.fail('HD104', `axis '${whole.name}' has ${whole.size} places and its parts multiply to ${product}`)
    }
    return op.builder.split(node, whole, parts)
  })
}

/** Joins several axes into one, outermost first. */
export function merge<A extends string, T extends ValueType, const O extends readonly AnyAxis[], P extends AnyAxis>(
  x: Tensor<A, T>,
  axes: O & On<O, A>,
  into: P & Off<P, A>,
): Tensor<Exclude<A, NameOf<O>> | NameOf<P>, T> {
  return operation('merge', (op) => {
    const node = op.node(x, 'x')
    const parts = op.axes(axes)
    const whole = op.axis(into)
    op.on(parts, node, 'x')
    op.off([whole], node, 'x')
    const product = parts.reduce((size, part) => size * part.size, 1)
    if (product !== whole.size) {
      op.fail('HD104', `axis '${whole.name}' has ${whole.size} places and its parts multiply to ${product}`)
    }
    return op.builder.merge(node, parts, whole)
  })
}

/** One place of an axis, which disappears. */
export function pick<A extends string, T extends ValueType, O extends AnyAxis>(
  x: Tensor<A, T>,
  axis: O & On<O, A>,
  index: number,
): Tensor<Exclude<A, NameOf<O>>, T> {
  return operation('pick', (op) => {
    const node = op.node(x, 'x')
    const along = op.axis(axis)
    op.on([along], node, 'x')
    if (!Number.isInteger(index) || index < 0 || index >= along.size) {
      op.fail('HD104', `axis '${along.name}' has the places 0 to ${along.size - 1}, not ${index}`)
    }
    return op.builder.pick(node, along, index)
  })
}

/** Puts as many tensors as the new axis has places side by side along it. */
export function stack<A extends string, T extends ValueType, O extends AnyAxis>(
  parts: readonly Tensor<A, T>[],
  axis: O & Off<O, A>,
): Tensor<A | NameOf<O>, T> {
  return operation('stack', (op) => {
    const along = op.axis(axis)
    const nodes = parts.map((part, index) => op.node(part, `part ${index + 1}`))
    if (nodes.length !== along.size) {
      op.fail('HD104', `axis '${along.name}' has ${along.size} places, not ${nodes.length}`)
    }
    for (const node of nodes) op.off([along], node, 'a part')
    return op.builder.stack(nodes, along)
  })
}

/** Rows of `table` along `axis` at the places that `index` holds; shared axes are matched. */
export function gather<A extends string, T extends ValueType, B extends string, O extends AnyAxis>(
  table: Tensor<A, T>,
  index: Tensor<B, 'i32'>,
  axis: O & On<O, A, 'the table'> & Off<O, B>,
): Tensor<Exclude<A, NameOf<O>> | B, T> {
  return operation('gather', (op) => {
    const rows = op.node(table, 'the table')
    const places = op.node(index, 'the index', 'i32')
    const along = op.axis(axis)
    op.on([along], rows, 'the table')
    op.off([along], places, 'the index')
    return op.builder.gather(rows, places, along)
  })
}

/** 0, 1, 2, … along an axis. */
export function iota<N extends string>(axis: Axis<N>): Tensor<N, 'i32'> {
  return operation('iota', (op) => op.builder.iota(op.axis(axis)))
}

/** i32 as f32, rounded to nearest. */
export function toFloat<A extends string>(x: Tensor<A, 'i32'>): Tensor<A> {
  return operation('toFloat', (op) => op.builder.map('toFloat', op.node(x, 'x', 'i32')))
}

export type Comparison = 'less' | 'lessEqual' | 'equal'

const integerComparisons = { less: 'intLess', lessEqual: 'intLessEqual', equal: 'intEqual' } as const

/** Compares two tensors of one dtype over all their axes: a predicate for `select` and for masks. */
export function compare<A extends string, B extends string, T extends 'f32' | 'i32'>(
  relation: Comparison,
  x: Tensor<A, T>,
  y: Tensor<B, NoInfer<T>> | number,
): Tensor<A | B, 'bool'> {
  return operation('compare', (op) => {
    const left = op.node(x, 'the first operand')
    const integers = left.dtype === 'i32'
    const right =
      typeof y === 'number'
        ? integers
          ? op.builder.int(y)
          : op.builder.float(y)
        : op.node(y, 'the second operand', integers ? 'i32' : 'f32')
    return op.builder.map(integers ? integerComparisons[relation] : relation, left, right)
  })
}

/** Both predicates, over all their axes. */
export function both<A extends string, B extends string>(
  x: Tensor<A, 'bool'>,
  y: Tensor<B, 'bool'>,
): Tensor<A | B, 'bool'> {
  return operation('both', (op) => op.builder.map('and', op.node(x, 'x', 'bool'), op.node(y, 'y', 'bool')))
}

/** Where the condition holds x, elsewhere `otherwise`; condition and `otherwise` are broadcast to x's axes. */
export function select<C extends string, A extends string, B extends string>(
  condition: Tensor<C, 'bool'> & Within<C, A>,
  x: Tensor<A>,
  otherwise: Right<B, A>,
): Tensor<A> {
  return operation('select', (op) => {
    const chosen = op.node(condition, 'the condition', 'bool')
    const left = op.node(x, 'x', 'f32')
    op.on(chosen.axes, left, 'x')
    return op.builder.map('select', chosen, left, rightOperand(op, left, otherwise))
  })
}
