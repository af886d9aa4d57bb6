// Values that are the same number everywhere, which several passes have to recognise.

import { isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'

/** The number that every element of the node is, when that is plain to see. */
export function splatValue(node: Node): number | undefined {
  if (isOp(node, 'constant')) return node.attrs.value
  const [inner] = node.inputs
  return isOp(node, 'broadcast') && inner ? splatValue(inner) : undefined
}

export function isSplat(node: Node, value: number): boolean {
  return splatValue(node) === value
}
