// The table of structural operations: operands, result axes and derivative of each. With `elementwise.ts` this is the
// one op table. The reference meaning of each entry is in `interpret.ts`, typed so that a forgotten one does not compile.

import { axisNames, hasAxes, sameAxes, sortAxes, unionAxes, withoutAxes } from './axis.ts'
import type { Axis, DType } from './axis.ts'
import type { GraphBuilder } from './builder.ts'
import { elementwiseOp } from './elementwise.ts'
import type { Attributes, Declaration, Node, StructuralOp } from './node.ts'
import { indexSource } from './ranges.ts'
import { largestReduction } from './reductions.ts'
import type { Range } from './ranges.ts'

export interface Shape {
  readonly axes: readonly Axis[]
  readonly dtype: DType
}

/** What a rule may ask of its surroundings. */
export interface InferContext {
  declaration(name: string): Declaration | undefined
}

/** No kernel checks an index: it is known to exist, or a run-time has checked it when the input was given. */
function indexes(index: Node, axis: Axis, context: InferContext): void {
  need(index.dtype === 'i32', () => `the index is ${index.dtype}, not i32`)
  const source = indexSource(index, (name) => context.declaration(name))
  if (source === 'checked input') return
  need(source !== undefined, () => `the index is computed, and may lie outside of '${axis.name}'`)
  const { low, high } = source as Range
  need(
    low >= 0 && high < axis.size,
    () => `the index is from ${low} to ${high}, but '${axis.name}' has ${axis.size} places`,
  )
}

/** A broken rule, as a sentence without a place; the builder's caller knows the place. */
export class ShapeError extends Error {}

export interface StructuralRule<K extends StructuralOp> {
  readonly infer: (inputs: readonly Node[], attrs: Attributes[K], context: InferContext) => Shape
  /** Cotangents of the operands. Absent where nothing differentiable goes in. */
  readonly derivative?: (b: GraphBuilder, g: Node, node: Node<K>) => readonly (Node | null)[]
}

function need(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new ShapeError(message())
}

function operand(inputs: readonly Node[], index: number): Node {
  const node = inputs[index]
  need(node !== undefined, () => `operand ${index + 1} is missing`)
  return node
}

function count(inputs: readonly Node[], wanted: number): void {
  need(inputs.length === wanted, () => `takes ${wanted} operand${wanted === 1 ? '' : 's'}, not ${inputs.length}`)
}

function onAxes(axis: Axis, node: Node, which: string): void {
  need(node.axes.includes(axis), () => `axis '${axis.name}' is not on ${which} (${axisNames(node.axes)})`)
}

function offAxes(axis: Axis, node: Node, which: string): void {
  need(!node.axes.includes(axis), () => `axis '${axis.name}' is already on ${which} (${axisNames(node.axes)})`)
}

function float(node: Node, which: string): void {
  need(node.dtype === 'f32', () => `${which} is ${node.dtype}, not f32`)
}

function reduction(inputs: readonly Node[], over: Axis): Shape {
  count(inputs, 1)
  const x = operand(inputs, 0)
  float(x, 'the operand')
  onAxes(over, x, 'the operand')
  need(over.size <= largestReduction, () => `'${over.name}' has ${over.size} places, more than ${largestReduction}`)
  return { axes: withoutAxes(x.axes, [over]), dtype: 'f32' }
}

export const structural = {
  read: {
    infer: (inputs, attrs, context) => {
      count(inputs, 0)
      const declared = context.declaration(attrs.name)
      need(declared !== undefined, () => `'${attrs.name}' is not declared`)
      const narrow = declared.dtype === 'i32' || declared.dtype === 'bool'
      return { axes: sortAxes(declared.stored.flat()), dtype: narrow ? declared.dtype : 'f32' }
    },
  },
  constant: { infer: (_inputs, attrs) => ({ axes: [], dtype: attrs.dtype }) },
  table: {
    infer: (_inputs, attrs) => {
      need(attrs.values.length === attrs.axis.size, () => `${attrs.values.length} values for ${attrs.axis.size} places`)
      return { axes: [attrs.axis], dtype: 'f32' }
    },
  },
  iota: { infer: (_inputs, attrs) => ({ axes: [attrs.axis], dtype: 'i32' }) },
  extent: { infer: () => ({ axes: [], dtype: 'i32' }) },
  random: {
    infer: (inputs, attrs) => {
      count(inputs, 1)
      const seed = operand(inputs, 0)
      need(seed.dtype === 'i32' && seed.axes.length === 0, () => 'the seed is one i32')
      return { axes: sortAxes(attrs.axes), dtype: 'f32' }
    },
    derivative: () => [null],
  },

  map: {
    infer: (inputs, attrs) => {
      const op = elementwiseOp(attrs.fn)
      need(op !== undefined, () => `no elementwise operation is called '${attrs.fn}'`)
      count(inputs, op.takes.length)
      op.takes.forEach((dtype, index) => {
        const given = operand(inputs, index)
        need(given.dtype === dtype, () => `operand ${index + 1} is ${given.dtype}, not ${dtype}`)
      })
      return { axes: unionAxes(...inputs.map((input) => input.axes)), dtype: op.gives }
    },
    derivative: (b, g, node) => elementwiseOp(node.attrs.fn)?.derivative(b, g, node.inputs, node) ?? [],
  },

  sum: {
    infer: (inputs, attrs) => reduction(inputs, attrs.over),
    derivative: (b, g, node) => [b.broadcast(g, operand(node.inputs, 0).axes)],
  },
  maximum: {
    infer: (inputs, attrs) => reduction(inputs, attrs.over),
    // Equal largest elements share the cotangent, as in PyTorch's amax.
    derivative: (b, g, node) => {
      const x = operand(node.inputs, 0)
      const hit = b.map('select', b.map('equal', x, node), b.float(1), b.float(0))
      return [b.map('mul', hit, b.map('div', g, b.sum(hit, node.attrs.over)))]
    },
  },
  dot: {
    infer: (inputs, attrs) => {
      count(inputs, 2)
      const a = operand(inputs, 0)
      const c = operand(inputs, 1)
      float(a, 'the first operand')
      float(c, 'the second operand')
      need(attrs.over.length > 0, () => 'contracts over no axis')
      for (const axis of attrs.over) {
        onAxes(axis, a, 'the first operand')
        onAxes(axis, c, 'the second operand')
      }
      return { axes: withoutAxes(unionAxes(a.axes, c.axes), attrs.over), dtype: 'f32' }
    },
    derivative: (b, g, node) => {
      const x = operand(node.inputs, 0)
      const y = operand(node.inputs, 1)
      return [b.product(g, y, withoutAxes(y.axes, x.axes)), b.product(g, x, withoutAxes(x.axes, y.axes))]
    },
  },

  logSumExp: {
    infer: (inputs, attrs) => reduction(inputs, attrs.over),
    derivative: (b, g, node) => {
      const s = operand(node.inputs, 0)
      return [b.map('mul', b.map('exp', b.map('sub', s, node)), g)]
    },
  },
  softmaxDot: {
    infer: (inputs, attrs) => {
      count(inputs, 2)
      const s = operand(inputs, 0)
      const v = operand(inputs, 1)
      float(s, 'the scores')
      float(v, 'the values')
      onAxes(attrs.over, s, 'the scores')
      onAxes(attrs.over, v, 'the values')
      return { axes: withoutAxes(unionAxes(s.axes, v.axes), [attrs.over]), dtype: 'f32' }
    },
    // With p = softmax(s) and o = Σ p·v: dv = Σ p·g, ds = p·(g·v − Σ g·o); Dao et al. 2022, section 3.
    derivative: (b, g, node) => {
      const s = operand(node.inputs, 0)
      const v = operand(node.inputs, 1)
      const { over, block } = node.attrs
      const p = b.map('exp', b.map('sub', s, b.logSumExp(s, over, block)))
      const inner = withoutAxes(v.axes, s.axes)
      const dp = b.product(g, v, inner)
      const delta = b.sumAll(b.map('mul', g, node), inner)
      return [b.map('mul', p, b.map('sub', dp, delta)), b.product(p, g, withoutAxes(s.axes, v.axes))]
    },
  },

  gather: {
    infer: (inputs, attrs, context) => {
      count(inputs, 2)
      const table = operand(inputs, 0)
      const index = operand(inputs, 1)
      onAxes(attrs.axis, table, 'the table')
      offAxes(attrs.axis, index, 'the index')
      indexes(index, attrs.axis, context)
      return { axes: unionAxes(withoutAxes(table.axes, [attrs.axis]), index.axes), dtype: table.dtype }
    },
    derivative: (b, g, node) => {
      const table = operand(node.inputs, 0)
      const zero = b.broadcast(b.float(0), table.axes)
      return [b.scatterAdd(zero, operand(node.inputs, 1), g, node.attrs.axis), null]
    },
  },
  /** base with updates[…, t, …] added at row index[t] along `axis`, in canonical order of the index axes. */
  scatterAdd: {
    infer: (inputs, attrs, context) => {
      count(inputs, 3)
      const base = operand(inputs, 0)
      const index = operand(inputs, 1)
      const updates = operand(inputs, 2)
      onAxes(attrs.axis, base, 'the base')
      offAxes(attrs.axis, updates, 'the updates')
      indexes(index, attrs.axis, context)
      need(
        sameAxes(updates.axes, unionAxes(withoutAxes(base.axes, [attrs.axis]), index.axes)),
        () => `the updates lie on (${axisNames(updates.axes)})`,
      )
      return { axes: base.axes, dtype: 'f32' }
    },
    derivative: (b, g, node) => [g, null, b.gather(g, operand(node.inputs, 1), node.attrs.axis)],
  },

  rename: {
    infer: (inputs, { from, to }) => {
      count(inputs, 1)
      const x = operand(inputs, 0)
      onAxes(from, x, 'the operand')
      offAxes(to, x, 'the operand')
      need(from.size === to.size && from.extent === to.extent, () => `'${from.name}' and '${to.name}' differ in size`)
      return { axes: sortAxes([...withoutAxes(x.axes, [from]), to]), dtype: x.dtype }
    },
    derivative: (b, g, node) => [b.rename(g, node.attrs.to, node.attrs.from)],
  },
  split: {
    infer: (inputs, { axis, into }) => {
      count(inputs, 1)
      const x = operand(inputs, 0)
      onAxes(axis, x, 'the operand')
      for (const part of into) offAxes(part, x, 'the operand')
      const product = into.reduce((size, part) => size * part.size, 1)
      need(product === axis.size, () => `'${axis.name}' has ${axis.size} places, its parts ${product}`)
      return { axes: sortAxes([...withoutAxes(x.axes, [axis]), ...into]), dtype: x.dtype }
    },
    derivative: (b, g, node) => [b.merge(g, node.attrs.into, node.attrs.axis)],
  },
  merge: {
    infer: (inputs, { axes, into }) => {
      count(inputs, 1)
      const x = operand(inputs, 0)
      for (const part of axes) onAxes(part, x, 'the operand')
      offAxes(into, x, 'the operand')
      const product = axes.reduce((size, part) => size * part.size, 1)
      need(product === into.size, () => `'${into.name}' has ${into.size} places, its parts ${product}`)
      return { axes: sortAxes([...withoutAxes(x.axes, axes), into]), dtype: x.dtype }
    },
    derivative: (b, g, node) => [b.split(g, node.attrs.into, node.attrs.axes)],
  },
  pick: {
    infer: (inputs, { axis, index }) => {
      count(inputs, 1)
      const x = operand(inputs, 0)
      onAxes(axis, x, 'the operand')
      need(Number.isInteger(index) && index >= 0 && index < axis.size, () => `'${axis.name}' has no place ${index}`)
      return { axes: withoutAxes(x.axes, [axis]), dtype: x.dtype }
    },
    derivative: (b, g, node) => {
      const { axis, index } = node.attrs
      const zero = b.broadcast(b.float(0), g.axes)
      return [
        b.stack(
          Array.from({ length: axis.size }, (_, place) => (place === index ? g : zero)),
          axis,
        ),
      ]
    },
  },
  stack: {
    infer: (inputs, { axis }) => {
      count(inputs, axis.size)
      const first = operand(inputs, 0)
      offAxes(axis, first, 'the operands')
      for (const input of inputs) {
        need(sameAxes(input.axes, first.axes) && input.dtype === first.dtype, () => 'the operands differ in their axes')
      }
      return { axes: sortAxes([...first.axes, axis]), dtype: first.dtype }
    },
    derivative: (b, g, node) => node.inputs.map((_, index) => b.pick(g, node.attrs.axis, index)),
  },
  broadcast: {
    infer: (inputs, { axes }) => {
      count(inputs, 1)
      const x = operand(inputs, 0)
      need(hasAxes(axes, x.axes), () => `(${axisNames(x.axes)}) does not widen to (${axisNames(axes)})`)
      return { axes: sortAxes(axes), dtype: x.dtype }
    },
    derivative: (b, g, node) => [b.sumAll(g, withoutAxes(g.axes, operand(node.inputs, 0).axes))],
  },
  barrier: {
    infer: (inputs) => {
      const x = operand(inputs, 0)
      return { axes: x.axes, dtype: x.dtype }
    },
    derivative: (_b, g, node) => node.inputs.map((_, index) => (index === 0 ? g : null)),
  },
} satisfies { [K in StructuralOp]: StructuralRule<K> }

export function structuralRule<K extends StructuralOp>(op: K): StructuralRule<K> {
  return structural[op] as unknown as StructuralRule<K>
}
