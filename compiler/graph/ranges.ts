// What numbers an integer value can have, as far as that is known before it is computed: rows are only looked up at indices
// that are known to exist. Knows no kernel.

import { isOp } from './node.ts'
import type { Declaration, Node } from './node.ts'

/** Both ends included. */
export interface Range {
  readonly low: number
  readonly high: number
}

/** Where the numbers of an index come from: a range, or an input, whose numbers a run-time checks when they are given. */
export type IndexSource = Range | 'checked input' | undefined

const largest = 2 ** 31 - 1
const views: ReadonlySet<string> = new Set(['rename', 'split', 'merge', 'pick', 'broadcast', 'barrier'])

/** Undefined where nothing is known. */
export function indexSource(node: Node, declaration: (name: string) => Declaration | undefined): IndexSource {
  const [first] = node.inputs
  if (isOp(node, 'constant')) return { low: node.attrs.value, high: node.attrs.value }
  if (isOp(node, 'iota')) return { low: 0, high: node.attrs.axis.size - 1 }
  if (isOp(node, 'extent')) return { low: 1, high: node.attrs.axis.size }
  if (isOp(node, 'read')) return declaration(node.attrs.name)?.role === 'input' ? 'checked input' : undefined
  if (first && views.has(node.op)) return indexSource(first, declaration)
  const sources = node.inputs.map((input) => indexSource(input, declaration))
  const ranges = sources.filter((source) => typeof source === 'object')
  if (isOp(node, 'stack')) return ranges.length === sources.length ? union(ranges) : undefined
  if (!isOp(node, 'map')) return undefined
  const [a, b] = ranges
  return a && b && ranges.length === sources.length ? inWord(arithmetic(node.attrs.fn, a, b)) : undefined
}

function union(ranges: readonly Range[]): Range {
  return { low: Math.min(...ranges.map(({ low }) => low)), high: Math.max(...ranges.map(({ high }) => high)) }
}

function arithmetic(fn: string, a: Range, b: Range): Range | undefined {
  if (fn === 'intAdd') return { low: a.low + b.low, high: a.high + b.high }
  if (fn === 'intSub') return { low: a.low - b.high, high: a.high - b.low }
  if (fn !== 'intMul') return undefined
  const corners = [a.low, a.high].flatMap((x) => [x * b.low, x * b.high])
  return { low: Math.min(...corners), high: Math.max(...corners) }
}

/** What does not fit into 32 bits wraps around and may be anything. */
function inWord(range: Range | undefined): Range | undefined {
  return range && range.low >= -largest && range.high <= largest ? range : undefined
}
