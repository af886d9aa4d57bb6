// Operations that move values between axes without computing: renaming, taking apart, joining, choosing. The physical
// order of memory is the compiler's business, so none of them says anything about it.

import { seq } from './axes.ts'
import type { AnyAxis, Axis, NameOf, Off, On, Tensor, ValueType } from './checks.ts'
import { placesAlong } from './positions.ts'
import { operation } from './trace.ts'

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

/** 0, 1, 2, … along an axis: of `seq`, the place in the row. */
export function iota<N extends string>(axis: Axis<N>): Tensor<N, 'i32'> {
  return operation('iota', (op) => {
    const along = op.axis(axis)
    // As keys, tokens stand where they are kept: `attend` sees to that.
    return along === op.axis(seq) ? placesAlong(op, along) : op.builder.iota(along)
  })
}
