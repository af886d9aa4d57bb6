// Simplification of what only moves values: views that cancel, and the stacks of zeros that derivatives of picks leave.

import { sameAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isMap, isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import type { Rule } from './rewriteRules.ts'
import { isSplat } from './splat.ts'

export const viewRules: readonly Rule[] = [
  {
    name: 'rename twice',
    summary: 'rename a→b→c → rename a→c, or nothing where c is a',
    apply: (b, node) => {
      const inner = node.inputs[0]
      const x = inner?.inputs[0]
      if (!isOp(node, 'rename') || !inner || !isOp(inner, 'rename') || !x || inner.attrs.to !== node.attrs.from)
        return undefined
      return inner.attrs.from === node.attrs.to ? x : b.rename(x, inner.attrs.from, node.attrs.to)
    },
  },
  {
    name: 'split a merge',
    summary: 'split(merge x) → x where the parts are the same',
    apply: (_b, node) => {
      const inner = node.inputs[0]
      if (!isOp(node, 'split') || !inner || !isOp(inner, 'merge') || inner.attrs.into !== node.attrs.axis)
        return undefined
      return sameOrder(inner.attrs.axes, node.attrs.into) ? inner.inputs[0] : undefined
    },
  },
  {
    name: 'merge a split',
    summary: 'merge(split x) → x where the parts are the same',
    apply: (_b, node) => {
      const inner = node.inputs[0]
      if (!isOp(node, 'merge') || !inner || !isOp(inner, 'split') || inner.attrs.axis !== node.attrs.into)
        return undefined
      return sameOrder(inner.attrs.into, node.attrs.axes) ? inner.inputs[0] : undefined
    },
  },
  {
    name: 'pick from a stack',
    summary: 'pick i of stack(…) → part i',
    apply: (_b, node) => {
      const inner = node.inputs[0]
      if (!isOp(node, 'pick') || !inner || !isOp(inner, 'stack') || inner.attrs.axis !== node.attrs.axis)
        return undefined
      return inner.inputs[node.attrs.index]
    },
  },
  {
    name: 'stack of picks',
    summary: 'stack(pick 0 of x, pick 1 of x, …) → x',
    apply: (_b, node) => {
      if (!isOp(node, 'stack')) return undefined
      const whole = node.inputs[0]?.inputs[0]
      const { axis } = node.attrs
      const complete = node.inputs.every((part, index) => {
        return isOp(part, 'pick') && part.attrs.axis === axis && part.attrs.index === index && part.inputs[0] === whole
      })
      return complete ? whole : undefined
    },
  },
  {
    name: 'sum of stacks',
    summary: 'stack(x, 0) + stack(0, y) → stack(x, y)',
    apply: (b, node) => {
      const [x, y] = node.inputs
      if (!isMap(node, 'add') || !x || !y || !isOp(x, 'stack') || !isOp(y, 'stack')) return undefined
      if (x.attrs.axis !== y.attrs.axis || !sameAxes(x.axes, y.axes)) return undefined
      const parts = x.inputs.map((part, index) => eitherPart(part, y.inputs[index]))
      return parts.every((part) => part !== undefined) ? b.stack(parts, x.attrs.axis) : undefined
    },
  },
  {
    name: 'broadcast twice',
    summary: 'broadcast(broadcast x) → broadcast x',
    apply: (b, node) => {
      const inner = node.inputs[0]
      const x = inner?.inputs[0]
      return isOp(node, 'broadcast') && inner && isOp(inner, 'broadcast') && x ? b.broadcast(x, node.axes) : undefined
    },
  },
  {
    name: 'broadcast to the same',
    summary: 'broadcast x to its own axes → x',
    apply: (_b, node) => {
      const x = node.inputs[0]
      return isOp(node, 'broadcast') && x && x.axes.length === node.axes.length ? x : undefined
    },
  },
  {
    name: 'view of a number',
    summary: 'a view of a value that is the same everywhere → that value',
    apply: (b, node) => {
      const inner = node.inputs[0]
      const number = inner?.inputs[0]
      const view = isOp(node, 'rename') || isOp(node, 'split') || isOp(node, 'merge') || isOp(node, 'pick')
      // One broadcast directly over the number: `broadcast twice` has seen to that.
      return view && inner && isOp(inner, 'broadcast') && number && isOp(number, 'constant')
        ? b.broadcast(number, node.axes)
        : undefined
    },
  },
]

function sameOrder(a: readonly Axis[], b: readonly Axis[]): boolean {
  return a.length === b.length && a.every((axis, index) => axis === b[index])
}

function eitherPart(x: Node, y: Node | undefined): Node | undefined {
  if (!y) return undefined
  if (isSplat(x, 0)) return y
  return isSplat(y, 0) ? x : undefined
}
