// How many multiply-adds the graph asks of each kernel, from what its contractions are: every place of the result times
// every place that is summed over. Knows nothing of how a kernel computes them, or of any processor.

import { elementCount, unionAxes, withoutAxes } from '../../compiler/graph/axis.ts'
import type { Axis } from '../../compiler/graph/axis.ts'
import { printAttributes } from '../../compiler/graph/builder.ts'
import { elementwiseOp } from '../../compiler/graph/elementwise.ts'
import { isOp } from '../../compiler/graph/node.ts'
import type { Node } from '../../compiler/graph/node.ts'
import type { Program } from '../../compiler/plan/program.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'

/** Multiply-adds of all launches of a kernel. */
export interface Work {
  readonly launches: number
  /** What was computed for the first time. A mask counts as nothing: attention is counted as the whole square. */
  readonly useful: number
  /** What an earlier launch had computed already: scores in a backward pass, layers that were not kept. */
  readonly recomputed: number
  /** Names of results, for people. */
  readonly labels: readonly string[]
}

/** Work by kernel of the functions that a run calls, in the order in which it calls them. */
export function workOf(
  program: Program,
  scheduled: readonly ScheduledFunction[],
  called: readonly string[],
): ReadonlyMap<number, Work> {
  const work = new Map<number, Work>()
  const identities = new Identities()
  const done = new Set<number>()
  for (const name of called) {
    const launches = program.functions.find((fn) => fn.name === name)?.launches
    const regions = scheduled.find(({ fn }) => fn.name === name)?.regions
    if (!launches || launches.length !== regions?.length) throw new Error(`function '${name}' is not in the program`)
    const members = new Set(regions.flatMap(({ region }) => region.nodes))
    for (const [index, { kernel, label }] of launches.entries()) {
      const known = work.get(kernel) ?? { launches: 0, useful: 0, recomputed: 0, labels: [] }
      let [useful, recomputed] = [known.useful, known.recomputed]
      for (const node of contractionsIn(regions[index] as LoweredRegion, members)) {
        const identity = identities.of(node)
        if (done.has(identity)) recomputed += multiplyAddsOf(node)
        else useful += multiplyAddsOf(node)
        done.add(identity)
      }
      const labels = known.labels.includes(label) ? known.labels : [...known.labels, label]
      work.set(kernel, { launches: known.launches + 1, useful, recomputed, labels })
    }
  }
  return work
}

/** Contractions that a region computes: its own, and those of values that no kernel stores. */
function contractionsIn({ region }: LoweredRegion, stored: ReadonlySet<Node>): readonly Node[] {
  const found: Node[] = []
  const seen = new Set<Node>()
  const visit = (node: Node): void => {
    if (seen.has(node)) return
    seen.add(node)
    if (isOp(node, 'dot') || isOp(node, 'softmaxDot')) found.push(node)
    for (const input of node.inputs) if (region.nodes.includes(input) || !stored.has(input)) visit(input)
  }
  region.nodes.forEach(visit)
  return found.sort((a, b) => a.id - b.id)
}

function multiplyAddsOf(node: Node): number {
  const over: readonly Axis[] = isOp(node, 'dot') ? node.attrs.over : isOp(node, 'softmaxDot') ? [node.attrs.over] : []
  const axes = unionAxes(...node.inputs.map((input) => input.axes))
  return elementCount(withoutAxes(axes, over)) * elementCount(over)
}

/** Numbers that are equal for nodes that compute the same, however often the graph has them. */
class Identities {
  readonly #ofNode = new Map<Node, number>()
  readonly #ofText = new Map<string, number>()

  of(node: Node): number {
    const known = this.#ofNode.get(node)
    if (known !== undefined) return known
    const identity = this.#find(node)
    this.#ofNode.set(node, identity)
    return identity
  }

  #find(node: Node): number {
    const first = node.inputs[0]
    // What keeps a recomputation apart is no computation.
    if (isOp(node, 'barrier') && first) return this.of(first)
    const inputs = node.inputs.map((input) => this.of(input))
    // The builder puts operands that may change places in the order of their creation, which differs between copies.
    if (isOp(node, 'map') && elementwiseOp(node.attrs.fn)?.commutative) inputs.sort((a, b) => a - b)
    const text = `${node.op}(${inputs.join()})${printAttributes(node.attrs)}`
    const known = this.#ofText.get(text) ?? this.#ofText.size
    this.#ofText.set(text, known)
    return known
  }
}
