// The basic operations of the language: arithmetic, contraction, reductions, predicates. Each is one step of the graph;
// types and run-time checks both speak of the researcher's own operands.

import type { Node } from '../compiler/graph/node.ts'
import type { AnyAxis, AnyTensor, AxisOrList, NameOf, On, OnBoth, Tensor, ValueType, Within } from './checks.ts'
import { operation, shapeOf } from './trace.ts'
import type { Operation } from './trace.ts'

/** Unwraps a right operand and refuses axes that the left one lacks. */
export function rightOperand(op: Operation, left: Node, right: AnyTensor | number): Node {
  if (typeof right === 'number') return left.dtype === 'i32' ? op.builder.int(right) : op.number(right)
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
export function add<A extends string, B extends string>(
  x: Tensor<A>,
  y: number | (Tensor<B> & Within<B, A>),
): Tensor<A> {
  return arithmetic('add', x, y)
}

/** x − y over x's axes; y is broadcast. */
export function sub<A extends string, B extends string>(
  x: Tensor<A>,
  y: number | (Tensor<B> & Within<B, A>),
): Tensor<A> {
  return arithmetic('sub', x, y)
}

/** x · y, elementwise, over x's axes; y is broadcast. */
export function mul<A extends string, B extends string>(
  x: Tensor<A>,
  y: number | (Tensor<B> & Within<B, A>),
): Tensor<A> {
  return arithmetic('mul', x, y)
}

/** x / y over x's axes; y is broadcast. */
export function div<A extends string, B extends string>(
  x: Tensor<A>,
  y: number | (Tensor<B> & Within<B, A>),
): Tensor<A> {
  return arithmetic('div', x, y)
}

/** The smaller of x and y over x's axes; y is broadcast. */
export function min<A extends string, B extends string>(
  x: Tensor<A>,
  y: number | (Tensor<B> & Within<B, A>),
): Tensor<A> {
  return arithmetic('min', x, y)
}

/** The greater of x and y over x's axes; y is broadcast. */
export function max<A extends string, B extends string>(
  x: Tensor<A>,
  y: number | (Tensor<B> & Within<B, A>),
): Tensor<A> {
  return arithmetic('max', x, y)
}

export type Elementwise = 'neg' | 'abs' | 'sqrt' | 'rsqrt' | 'exp' | 'log' | 'tanh' | 'erf' | 'sin' | 'cos' | 'sigmoid'

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
  return operation('float', (op) => op.number(value))
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
          : op.number(y)
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
  otherwise: number | (Tensor<B> & Within<B, A>),
): Tensor<A> {
  return operation('select', (op) => {
    const chosen = op.node(condition, 'the condition', 'bool')
    const left = op.node(x, 'x', 'f32')
    op.on(chosen.axes, left, 'x')
    return op.builder.map('select', chosen, left, rightOperand(op, left, otherwise))
  })
}
