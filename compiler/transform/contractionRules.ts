// Rewrites that decide whether large intermediates exist: rows are gathered before they are contracted, and what a
// softmax weighs is streamed. The first keep every chain of multiply-adds as it is; the last defines a new order.

import { withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import { isMap, isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import { operandsOf } from './rewriteRules.ts'
import type { Rule } from './rewriteRules.ts'

export const contractionRules: readonly Rule[] = [
  {
    name: 'gather before dot',
    summary: 'gather(dot(x, w)) → dot(x, gather w) where w is a weight and only it has the axis',
    apply: (b, node) => {
      const [dot, index] = node.inputs
      if (!isOp(node, 'gather') || !dot || !index || !isOp(dot, 'dot')) return undefined
      const place = gatherableOperand(dot, index, node.attrs.axis)
      if (place === undefined) return undefined
      const inputs = dot.inputs.map((input, at) => (at === place ? b.gather(input, index, node.attrs.axis) : input))
      return b.make('dot', inputs, dot.attrs)
    },
  },
  {
    name: 'gather before map',
    summary: 'gather(f(x, y)) → f(gather x, gather y) where a contraction is behind f',
    apply: (b, node) => {
      const [mapped, index] = node.inputs
      if (!isOp(node, 'gather') || !mapped || !index || !isMap(mapped) || !leadsToDot(node)) return undefined
      const { axis } = node.attrs
      const inputs = mapped.inputs.map((input) => (input.axes.includes(axis) ? b.gather(input, index, axis) : input))
      return b.map(mapped.attrs.fn, ...inputs)
    },
  },
  {
    name: 'gather before rename',
    summary: 'gather(rename x) → rename(gather x) where a contraction is behind it',
    apply: (b, node) => {
      const [renamed, index] = node.inputs
      const x = renamed?.inputs[0]
      if (!isOp(node, 'gather') || !index || !renamed || !isOp(renamed, 'rename') || !x || !leadsToDot(node))
        return undefined
      const { from, to } = renamed.attrs
      if (index.axes.includes(from) || index.axes.includes(to)) return undefined
      return node.attrs.axis === to ? b.gather(x, index, from) : b.rename(b.gather(x, index, node.attrs.axis), from, to)
    },
  },
  {
    name: 'gather before pick',
    summary: 'gather(pick x) → pick(gather x) where a contraction is behind it',
    apply: (b, node) => {
      const [picked, index] = node.inputs
      const x = picked?.inputs[0]
      if (!isOp(node, 'gather') || !index || !picked || !isOp(picked, 'pick') || !x || !leadsToDot(node))
        return undefined
      const { axis, index: place } = picked.attrs
      return index.axes.includes(axis) ? undefined : b.pick(b.gather(x, index, node.attrs.axis), axis, place)
    },
  },
  {
    name: 'stream a softmax',
    summary: 'dot(exp(s − logSumExp s) · c, v) → c · softmaxDot(s, v) where c is the same for all of the axis',
    apply: (b, node) => {
      const over = isOp(node, 'dot') && node.attrs.over.length === 1 ? node.attrs.over[0] : undefined
      const [x, y] = node.inputs
      if (!over || !x || !y) return undefined
      return streamed(b, x, y, over) ?? streamed(b, y, x, over)
    },
  },
]

/** The operand of a dot that a gather along `axis` of its result can go to instead. */
function gatherableOperand(dot: Node<'dot'>, index: Node, axis: Axis): number | undefined {
  // Along a contracted axis the index would no longer pick rows of the result but terms of the sum.
  if (index.axes.some((one) => dot.attrs.over.includes(one))) return undefined
  const places = dot.inputs.flatMap((input, place) => (input.axes.includes(axis) ? [place] : []))
  const [place] = places
  const operand = place === undefined ? undefined : dot.inputs[place]
  // Rows of a weight are at hand; those of an activation would only make it live longer.
  return places.length === 1 && operand && isStored(operand) ? place : undefined
}

/** A declared value, or a view of one. */
function isStored(node: Node): boolean {
  const [inner] = node.inputs
  if (isOp(node, 'read')) return true
  const view = isOp(node, 'rename') || isOp(node, 'split') || isOp(node, 'merge') || isOp(node, 'pick')
  return view && inner !== undefined && isStored(inner)
}

/** Whether pushing this gather through elementwise operations and views brings it to a contraction that it can enter. */
function leadsToDot(gather: Node<'gather'>): boolean {
  const [start, index] = gather.inputs
  const open: [Node, Axis][] = start ? [[start, gather.attrs.axis]] : []
  const seen = new Set<Node>()
  for (let next = open.pop(); next; next = open.pop()) {
    const [node, axis] = next
    if (seen.has(node) || !node.axes.includes(axis)) continue
    seen.add(node)
    if (isOp(node, 'dot') && index && gatherableOperand(node, index, axis) !== undefined) return true
    if (isMap(node) || isOp(node, 'pick')) for (const input of node.inputs) open.push([input, axis])
    if (isOp(node, 'rename'))
      for (const input of node.inputs) open.push([input, axis === node.attrs.to ? node.attrs.from : axis])
  }
  return false
}

/** `weights` as softmax over `over` times factors without that axis, applied to `values`. */
function streamed(b: GraphBuilder, weights: Node, values: Node, over: Axis): Node | undefined {
  const factors = factorsOf(weights)
  const along = factors.filter((factor) => factor.axes.includes(over))
  const [softmax] = along
  if (along.length !== 1 || !softmax) return undefined
  const difference = isMap(softmax, 'exp') ? softmax.inputs[0] : undefined
  const [scores, normaliser] = (difference && operandsOf(difference, 'sub')) ?? []
  if (!scores || !normaliser || !isOp(normaliser, 'logSumExp')) return undefined
  if (normaliser.attrs.over !== over || normaliser.inputs[0] !== scores) return undefined
  const sum = b.softmaxDot(scores, values, over, normaliser.attrs.block)
  const others = factors.filter((factor) => factor !== softmax)
  const [first, ...rest] = others
  if (!first) return sum
  // Factors first: there are far fewer of them than elements of the sum.
  const scale = rest.reduce((product, factor) => b.map('mul', product, factor), first)
  return withoutAxes(scale.axes, sum.axes).length === 0 ? b.map('mul', sum, scale) : undefined
}

/** The factors of a product, however it is associated. */
function factorsOf(node: Node): Node[] {
  const operands = operandsOf(node, 'mul')
  return operands ? operands.flatMap(factorsOf) : [node]
}
