// The table of elementwise operations: one entry says what it means (in the scalar language, so that the interpreter
// and every backend share it), what its derivative is (in graph operations) and what it costs. Adding an entry is all
// that a new elementwise operation takes.

import type { DType } from './axis.ts'
import type { GraphBuilder } from './builder.ts'
import * as math from './math.ts'
import type { Node } from './node.ts'
import type { Scalars } from './scalars.ts'

/** The cotangents of a map's operands, given the result's; null where no gradient flows (integers, conditions). */
export type MapDerivative = (
  b: GraphBuilder,
  cotangent: Node,
  inputs: readonly Node[],
  output: Node,
) => readonly (Node | null)[]

export interface ElementwiseOp {
  /** Dtypes of the operands, in order. */
  readonly takes: readonly DType[]
  readonly gives: DType
  /** Floating-point operations an element costs; what a fused-multiply-add pipe does in one step counts as one. */
  readonly flops: number
  readonly meaning: <V>(s: Scalars<V>, args: readonly V[]) => V
  readonly derivative: MapDerivative
  /** Operands may be exchanged; the builder orders them for sharing. */
  readonly commutative?: true
}

const F = 'f32' as const
const I = 'i32' as const
const B = 'bool' as const

const at = <V>(args: readonly V[], index: number): V => args[index] as V
const none = (count: number): MapDerivative => {
  const nothing = Array.from({ length: count }, () => null)
  return () => nothing
}

type Unary = <V>(s: Scalars<V>, x: V) => V
type Binary = <V>(s: Scalars<V>, x: V, y: V) => V

function unary(
  flops: number,
  meaning: Unary,
  derivative: (b: GraphBuilder, g: Node, x: Node, y: Node) => Node,
): ElementwiseOp {
  return {
    takes: [F],
    gives: F,
    flops,
    meaning: (s, args) => meaning(s, at(args, 0)),
    derivative: (b, g, inputs, output) => [derivative(b, g, at(inputs, 0), output)],
  }
}

function binary(
  flops: number,
  meaning: Binary,
  derivative: (b: GraphBuilder, g: Node, x: Node, y: Node) => readonly [Node | null, Node | null],
  commutative?: true,
): ElementwiseOp {
  return {
    takes: [F, F],
    gives: F,
    flops,
    meaning: (s, args) => meaning(s, at(args, 0), at(args, 1)),
    derivative: (b, g, inputs) => derivative(b, g, at(inputs, 0), at(inputs, 1)),
    ...(commutative ? { commutative } : {}),
  }
}

function predicate(takes: readonly DType[], meaning: Binary): ElementwiseOp {
  return {
    takes,
    gives: B,
    flops: 1,
    meaning: (s, args) => meaning(s, at(args, 0), at(args, 1)),
    derivative: none(takes.length),
  }
}

function integer(meaning: Binary): ElementwiseOp {
  return {
    takes: [I, I],
    gives: I,
    flops: 1,
    meaning: (s, args) => meaning(s, at(args, 0), at(args, 1)),
    derivative: none(2),
  }
}

/** Open on purpose: a researcher's operation is one more entry. */
export const elementwise: Record<string, ElementwiseOp> = {
  add: binary(
    1,
    (s, x, y) => s.add(x, y),
    (_b, g) => [g, g],
    true,
  ),
  sub: binary(
    1,
    (s, x, y) => s.sub(x, y),
    (b, g) => [g, b.map('neg', g)],
  ),
  mul: binary(
    1,
    (s, x, y) => s.mul(x, y),
    (b, g, x, y) => [b.map('mul', g, y), b.map('mul', g, x)],
    true,
  ),
  div: binary(
    4,
    (s, x, y) => s.div(x, y),
    (b, g, x, y) => {
      const dx = b.map('div', g, y)
      return [dx, b.map('neg', b.map('mul', dx, b.map('div', x, y)))]
    },
  ),
  min: binary(
    1,
    (s, x, y) => s.min(x, y),
    (b, g, x, y) => [
      b.map('select', b.map('less', x, y), g, b.float(0)),
      b.map('select', b.map('less', x, y), b.float(0), g),
    ],
  ),
  max: binary(
    1,
    (s, x, y) => s.max(x, y),
    (b, g, x, y) => [
      b.map('select', b.map('less', y, x), g, b.float(0)),
      b.map('select', b.map('less', y, x), b.float(0), g),
    ],
  ),
  fma: {
    takes: [F, F, F],
    gives: F,
    flops: 1,
    meaning: (s, args) => s.fma(at(args, 0), at(args, 1), at(args, 2)),
    derivative: (b, g, inputs) => [b.map('mul', g, at(inputs, 1)), b.map('mul', g, at(inputs, 0)), g],
  },

  neg: unary(
    1,
    (s, x) => s.neg(x),
    (b, g) => b.map('neg', g),
  ),
  abs: unary(
    1,
    (s, x) => s.abs(x),
    (b, g, x) => b.map('select', b.map('less', x, b.float(0)), b.map('neg', g), g),
  ),
  sqrt: unary(
    6,
    (s, x) => s.sqrt(x),
    (b, g, _x, y) => b.map('div', b.map('mul', g, b.float(0.5)), y),
  ),
  rsqrt: unary(
    10,
    (s, x) => math.reciprocalSqrt(s, x),
    (b, g, _x, y) => b.map('mul', b.map('mul', g, b.float(-0.5)), b.map('mul', b.map('mul', y, y), y)),
  ),
  exp: unary(
    12,
    (s, x) => math.exp(s, x),
    (b, g, _x, y) => b.map('mul', g, y),
  ),
  log: unary(
    16,
    (s, x) => math.log(s, x),
    (b, g, x) => b.map('div', g, x),
  ),
  tanh: unary(
    22,
    (s, x) => math.tanh(s, x),
    (b, g, _x, y) => b.map('mul', g, b.map('sub', b.float(1), b.map('mul', y, y))),
  ),
  erf: unary(
    28,
    (s, x) => math.erf(s, x),
    (b, g, x) =>
      b.map('mul', g, b.map('mul', b.float(2 / Math.sqrt(Math.PI)), b.map('exp', b.map('neg', b.map('mul', x, x))))),
  ),
  sin: unary(
    16,
    (s, x) => math.sin(s, x),
    (b, g, x) => b.map('mul', g, b.map('cos', x)),
  ),
  cos: unary(
    16,
    (s, x) => math.cos(s, x),
    (b, g, x) => b.map('neg', b.map('mul', g, b.map('sin', x))),
  ),
  sigmoid: unary(
    18,
    (s, x) => math.sigmoid(s, x),
    (b, g, _x, y) => b.map('mul', g, b.map('mul', y, b.map('sub', b.float(1), y))),
  ),

  less: predicate([F, F], (s, x, y) => s.less(x, y)),
  lessEqual: predicate([F, F], (s, x, y) => s.lessEqual(x, y)),
  equal: predicate([F, F], (s, x, y) => s.equal(x, y)),
  intLess: predicate([I, I], (s, x, y) => s.intLess(x, y)),
  intLessEqual: predicate([I, I], (s, x, y) => s.intLessEqual(x, y)),
  intEqual: predicate([I, I], (s, x, y) => s.intEqual(x, y)),
  and: predicate([B, B], (s, x, y) => s.and(x, y)),
  or: predicate([B, B], (s, x, y) => s.or(x, y)),
  not: { takes: [B], gives: B, flops: 1, meaning: (s, args) => s.not(at(args, 0)), derivative: none(1) },
  select: {
    takes: [B, F, F],
    gives: F,
    flops: 1,
    meaning: (s, args) => s.select(at(args, 0), at(args, 1), at(args, 2)),
    derivative: (b, g, inputs) => [
      null,
      b.map('select', at(inputs, 0), g, b.float(0)),
      b.map('select', at(inputs, 0), b.float(0), g),
    ],
  },
  intAdd: integer((s, x, y) => s.intAdd(x, y)),
  intSub: integer((s, x, y) => s.intSub(x, y)),
  intMul: integer((s, x, y) => s.intMul(x, y)),
  toFloat: { takes: [I], gives: F, flops: 1, meaning: (s, args) => s.toFloat(at(args, 0)), derivative: none(1) },
}

export function elementwiseOp(fn: string): ElementwiseOp | undefined {
  return Object.hasOwn(elementwise, fn) ? elementwise[fn] : undefined
}
