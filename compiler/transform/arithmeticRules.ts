// Simplification of elementwise arithmetic. Every rule gives the same numbers for all operands, infinities and NaN
// included; only the sign of a zero may differ (−0 + 0 is +0). So x·0 stays.

import { sameAxes, unionAxes } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import { isMap, isOp } from '../graph/node.ts'
import { eitherWay, insideOf, operandsOf } from './rewriteRules.ts'
import type { Rule } from './rewriteRules.ts'
import { isSplat } from './splat.ts'

export const arithmeticRules: readonly Rule[] = [
  {
    name: 'add zero',
    summary: 'x + 0 → x',
    apply: (b, node) => {
      const found = eitherWay(node, 'add').find(([, zero]) => isSplat(zero, 0))
      return found && b.broadcast(found[0], node.axes)
    },
  },
  {
    name: 'subtract zero',
    summary: 'x − 0 → x',
    apply: (b, node) => {
      const [x, zero] = operandsOf(node, 'sub') ?? []
      return x && zero && isSplat(zero, 0) ? b.broadcast(x, node.axes) : undefined
    },
  },
  {
    name: 'multiply by one',
    summary: 'x · 1 → x',
    apply: (b, node) => {
      const found = eitherWay(node, 'mul').find(([, one]) => isSplat(one, 1))
      return found && b.broadcast(found[0], node.axes)
    },
  },
  {
    name: 'divide by one',
    summary: 'x / 1 → x',
    apply: (b, node) => {
      const [x, one] = operandsOf(node, 'div') ?? []
      return x && one && isSplat(one, 1) ? b.broadcast(x, node.axes) : undefined
    },
  },
  {
    name: 'negate twice',
    summary: '−(−x) → x',
    apply: (_b, node) => {
      const inner = insideOf(node, 'neg')
      return inner && insideOf(inner, 'neg')
    },
  },
  {
    name: 'multiply by minus one',
    summary: 'x · (−1) → −x',
    apply: (b, node) => {
      const found = eitherWay(node, 'mul').find(([, one]) => isSplat(one, -1))
      return found && b.map('neg', b.broadcast(found[0], node.axes))
    },
  },
  {
    name: 'add a negative',
    summary: 'x + (−y) → x − y',
    apply: (b, node) => {
      for (const [x, negative] of eitherWay(node, 'add')) {
        const y = insideOf(negative, 'neg')
        if (y) return b.map('sub', x, y)
      }
      return undefined
    },
  },
  {
    name: 'subtract a negative',
    summary: 'x − (−y) → x + y',
    apply: (b, node) => {
      const [x, negative] = operandsOf(node, 'sub') ?? []
      const y = negative && insideOf(negative, 'neg')
      return x && y ? b.map('add', x, y) : undefined
    },
  },
  {
    name: 'multiply a negative',
    summary: '(−x) · y → −(x · y), so that a sum can take the sign',
    apply: (b, node) => {
      for (const [negative, y] of eitherWay(node, 'mul')) {
        const x = insideOf(negative, 'neg')
        if (x) return b.map('neg', b.map('mul', x, y))
      }
      return undefined
    },
  },
  {
    name: 'sum a negative',
    summary: 'Σ(−x) → −Σx',
    apply: (b, node) => {
      const [negative] = node.inputs
      const x = negative && insideOf(negative, 'neg')
      return isOp(node, 'sum') && x ? b.map('neg', b.sum(x, node.attrs.over)) : undefined
    },
  },
  {
    name: 'select the same',
    summary: 'c ? x : x → x',
    apply: (b, node) => {
      const [, x, y] = node.inputs
      return isMap(node, 'select') && x && x === y ? b.broadcast(x, node.axes) : undefined
    },
  },
  {
    name: 'select twice',
    summary: 'c ? (c ? x : y) : z → c ? x : z, and c ? x : (c ? y : z) → c ? x : z',
    apply: (b, node) => {
      const [condition, x, z] = node.inputs
      if (!isMap(node, 'select') || !condition || !x || !z) return undefined
      const first = selected(x, condition, 1)
      const second = selected(z, condition, 2)
      if (!first && !second) return undefined
      return b.broadcast(b.map('select', condition, first ?? x, second ?? z), node.axes)
    },
  },
  {
    name: 'broadcast into map',
    summary: 'f(x, broadcast y) → f(x, y) where x alone has all the axes',
    apply: (b, node) => {
      if (!isMap(node)) return undefined
      for (const [place, input] of node.inputs.entries()) {
        const inner = input.inputs[0]
        if (!isOp(input, 'broadcast') || !inner) continue
        const inputs = node.inputs.map((one, index) => (index === place ? inner : one))
        if (sameAxes(unionAxes(...inputs.map((one) => one.axes)), node.axes)) return b.map(node.attrs.fn, ...inputs)
      }
      return undefined
    },
  },
  {
    name: 'broadcast out of map',
    summary: 'f(broadcast x) → broadcast f(x) where no operand has the axis',
    apply: (b, node) => {
      if (!isMap(node) || !node.inputs.some((input) => isOp(input, 'broadcast'))) return undefined
      const inputs = node.inputs.map(withoutBroadcast)
      const axes = unionAxes(...inputs.map((input) => input.axes))
      return sameAxes(axes, node.axes) ? undefined : b.broadcast(b.map(node.attrs.fn, ...inputs), node.axes)
    },
  },
]

/** What `select` gave for the branch, when the node is a select by the same condition. */
function selected(node: Node, condition: Node, branch: 1 | 2): Node | undefined {
  return isMap(node, 'select') && node.inputs[0] === condition ? node.inputs[branch] : undefined
}

function withoutBroadcast(node: Node): Node {
  const inner = node.inputs[0]
  return isOp(node, 'broadcast') && inner ? inner : node
}
