// Reverse-mode differentiation of the function `loss`, which becomes `accumulate`: it adds the gradient of every
// trainable to a state. What an operation's derivative is stands in the op tables; this file only sums cotangents.

import { InternalError, UserError } from '../diagnostic.ts'
import { axisNames, sameAxes, withoutAxes } from '../graph/axis.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import { isOp, rootsOf, topological } from '../graph/node.ts'
import type { Graph, GraphFunction, Node, Provenance } from '../graph/node.ts'
import { structuralRule } from '../graph/structural.ts'
import { functionNamed } from './pass.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier } from './rebuild.ts'
import { isSplat } from './splat.ts'
import { gradientOf, lossSum, trainables, weightSum, zeroState } from './states.ts'

/**
 * Replaces `loss` by `accumulate`, which adds d loss / d p to the state `grad/p` of every trainable p, and the loss and
 * weight to `sum/loss` and `sum/weight`. Only what lies between a trainable and the loss gets a cotangent.
 *
 * Invariants for later passes: the forward pass of `accumulate` is what its writes of `sum/loss` and `sum/weight` need;
 * everything else is backward, was made after it, and carries the layer of the forward node it differentiates.
 * Cotangents are added in the order in which they arrive, which is that of the reversed forward pass, dense ones before
 * scattered rows (of a tied weight: head first, then the targets' rows, then the embedding's).
 *
 * @throws UserError HD303 for a trainable that the loss does not depend on
 */
export function differentiate(): Pass {
  return {
    name: 'differentiate',
    summary: 'a function `accumulate` adds up the gradients of all trainables',
    run: (graph, { provenance }) => {
      const parameters = trainables(graph)
      const gradients = parameters.map(({ name, stored }) => zeroState(gradientOf(name), stored))
      const builder = builderAfter(graph, [...gradients, zeroState(lossSum, []), zeroState(weightSum, [])])
      const copier = new Copier(builder, provenance)
      copier.add(graph.functions.flatMap(rootsOf))
      const loss = copier.fn(functionNamed(graph, 'loss'))
      const running = (name: string, output: string): { name: string; node: Node } => ({
        name,
        node: builder.map('add', builder.read(name), outputOf(loss, output)),
      })
      const sums = [running(lossSum, 'loss'), running(weightSum, 'weight')]
      const totals = gradientsOf(builder, graph, outputOf(loss, 'loss'), provenance)
      const writes = parameters.map(({ name }) => ({ name: gradientOf(name), node: found(totals, name, provenance) }))
      builder.define({ name: 'accumulate', outputs: [], writes: [...writes, ...sums] })
      for (const fn of graph.functions) if (fn.name !== 'loss') builder.define(copier.fn(fn))
      return builder.finish()
    },
  }
}

function outputOf(fn: GraphFunction, name: string): Node {
  const output = fn.outputs.find((one) => one.name === name)
  if (output === undefined) throw new InternalError(`function '${fn.name}' has no output '${name}'`)
  return output.node
}

interface Total {
  readonly parameter: Node
  /** Undefined when nothing arrived. */
  readonly gradient: Node | undefined
}

function found(totals: ReadonlyMap<string, Total>, name: string, provenance: Provenance): Node {
  const total = totals.get(name)
  if (total?.gradient) return total.gradient
  const place = total && provenance.place(total.parameter)
  throw new UserError('HD303', `the loss does not depend on '${name}', which is to be trained`, {
    ...(place ? { place } : {}),
    mend: 'freeze it',
  })
}

/** By the name of the trainable: its state `grad/…` with everything added that flows back from `loss`. */
function gradientsOf(b: GraphBuilder, graph: Graph, loss: Node, provenance: Provenance): Map<string, Total> {
  const forward = topological([loss])
  const names = new Map(trainables(graph).map(({ name }) => [b.read(name), name]))
  const wanted = between(forward, (node) => names.has(node))
  // Totals of trainables begin with what is accumulated already, so that a scatter can go straight into it.
  const totals = new Map<Node, Node>([[loss, b.float(1)]])
  // Rows come last: they are scattered in place into whatever dense contributions add up to.
  const scattered = new Map<Node, Node[]>()
  for (const node of [...forward].reverse()) {
    const cotangent = totals.get(node)
    if (cotangent === undefined || node.inputs.length === 0) continue
    b.layer = node.layer
    const name = provenance.name(node)
    provenance.note(cotangent, name === undefined ? undefined : `d ${name}`, provenance.place(node))
    for (const [input, arriving] of contributions(b, node, cotangent, wanted)) {
      const start = names.get(input)
      if (start !== undefined && isScatterOfZeros(arriving)) {
        scattered.set(input, [...(scattered.get(input) ?? []), arriving])
        continue
      }
      const before = totals.get(input) ?? (start === undefined ? undefined : b.read(gradientOf(start)))
      totals.set(input, before === undefined ? arriving : sumOfCotangents(b, before, arriving))
    }
  }
  b.layer = undefined
  for (const [parameter, parts] of scattered) {
    const base = totals.get(parameter) ?? b.read(gradientOf(names.get(parameter) as string))
    totals.set(
      parameter,
      parts.reduce((total, part) => sumOfCotangents(b, total, part), base),
    )
  }
  return new Map([...names].map(([parameter, name]) => [name, { parameter, gradient: totals.get(parameter) }]))
}

/** The nodes through which a change of a chosen node reaches the others. */
function between(nodes: readonly Node[], isStart: (node: Node) => boolean): ReadonlySet<Node> {
  const reached = new Set<Node>()
  for (const node of nodes) {
    if (isStart(node) || node.inputs.some((input) => reached.has(input))) reached.add(node)
  }
  return reached
}

/** What a node's cotangent contributes to each of its wanted operands, on the operand's own axes. */
function contributions(
  b: GraphBuilder,
  node: Node,
  cotangent: Node,
  wanted: ReadonlySet<Node>,
): (readonly [Node, Node])[] {
  if (!node.inputs.some((input) => wanted.has(input))) return []
  const { derivative } = structuralRule(node.op)
  if (!derivative) throw new InternalError(`'${node.op}' has operands and no derivative`)
  const parts = derivative(b, cotangent, node)
  return node.inputs.flatMap((input, index) => {
    const part = parts[index]
    return part && wanted.has(input) ? [[input, onAxesOf(b, part, input)] as const] : []
  })
}

/** Sums over the axes along which the operand was broadcast. */
function onAxesOf(b: GraphBuilder, cotangent: Node, operand: Node): Node {
  const narrow = b.sumAll(cotangent, withoutAxes(cotangent.axes, operand.axes))
  if (sameAxes(narrow.axes, operand.axes)) return narrow
  const wide = axisNames(operand.axes)
  throw new InternalError(`a cotangent of (${wide}) came out on (${axisNames(cotangent.axes)}): a derivative is wrong`)
}

/** Adds; rows that would be scattered into zeros are scattered into the other part, so that the zeros never exist. */
function sumOfCotangents(b: GraphBuilder, before: Node, arriving: Node): Node {
  return scatteredInto(b, arriving, before) ?? scatteredInto(b, before, arriving) ?? b.map('add', before, arriving)
}

function isScatterOfZeros(node: Node): boolean {
  return isOp(node, 'scatterAdd') && node.inputs[0] !== undefined && isSplat(node.inputs[0], 0)
}

function scatteredInto(b: GraphBuilder, scattered: Node, base: Node): Node | undefined {
  const [zeros, index, updates] = scattered.inputs
  if (!isOp(scattered, 'scatterAdd') || !zeros || !index || !updates || !isSplat(zeros, 0)) return undefined
  return b.scatterAdd(base, index, updates, scattered.attrs.axis)
}
