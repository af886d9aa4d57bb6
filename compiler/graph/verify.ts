// What every graph must satisfy, whichever pass made it; the runner of passes checks after each one. A broken rule is
// ours, not the user's: it throws InternalError and names the node. Must not know what operations mean.

import { InternalError } from '../diagnostic.ts'
import { attributeAxes, attributesOf } from './attributes.ts'
import { sameAxes, sortAxes } from './axis.ts'
import type { Axis } from './axis.ts'
import { describeShape, printAttributes } from './builder.ts'
import { rootsOf, topological } from './node.ts'
import type { Declaration, Graph, GraphFunction, Node } from './node.ts'
import { printNode } from './print.ts'
import { structuralRule } from './structural.ts'
import type { InferContext, Shape } from './structural.ts'

/** Throws InternalError at the first node, declaration or function that breaks a rule of the graph. */
export function verifyGraph(graph: Graph): void {
  verifyAxes(graph.axes)
  const axes = new Set(graph.axes)
  for (const [name, declaration] of graph.declarations) verifyDeclaration(name, declaration, axes)
  verifyRows(graph)
  once(graph.functions, 'function')
  const context: InferContext = { declaration: (name) => graph.declarations.get(name) }
  const seen: Seen = { nodes: new Set(), ids: new Map(), equal: new Map() }
  for (const fn of graph.functions) {
    verifyRoots(fn, context)
    for (const node of topological(rootsOf(fn))) verifyNode(node, axes, context, seen)
  }
}

function broken(message: string): InternalError {
  return new InternalError(message)
}

function once(named: readonly { readonly name: string }[], what: string): void {
  const names = new Set<string>()
  for (const { name } of named) {
    if (names.has(name)) throw broken(`${what} '${name}' stands twice`)
    names.add(name)
  }
}

function verifyAxes(axes: readonly Axis[]): void {
  once(axes, 'axis')
  axes.forEach((axis, index) => {
    const before = axes[index - 1]
    if (before && before.order >= axis.order) throw broken(`axis '${axis.name}' is out of order`)
    if (!Number.isSafeInteger(axis.size) || axis.size < 1) throw broken(`axis '${axis.name}' has ${axis.size} places`)
  })
  const bounds = new Map<string, number>()
  for (const { name, extent, size } of axes) {
    if (extent === undefined) continue
    if ((bounds.get(extent) ?? size) !== size) throw broken(`axis '${name}' bounds extent '${extent}' otherwise`)
    bounds.set(extent, size)
  }
}

function verifyDeclaration(name: string, declaration: Declaration, axes: ReadonlySet<Axis>): void {
  if (name !== declaration.name) throw broken(`'${declaration.name}' is declared as '${name}'`)
  const flat = declaration.stored.flat()
  for (const axis of flat) if (!axes.has(axis)) throw broken(`axis '${axis.name}' of '${name}' is not of the graph`)
  if (new Set(flat).size !== flat.length) throw broken(`'${name}' is stored with an axis twice`)
}

/** Rows that are fetched lie as the ids do, then as a row of the table does. */
function verifyRows(graph: Graph): void {
  for (const { name, role, dtype, stored, rows } of graph.declarations.values()) {
    if (!rows) continue
    const table = graph.declarations.get(rows.table)
    const ids = graph.declarations.get(rows.ids)
    if (role !== 'input') throw broken(`'${name}' has rows of a table, but is ${role}`)
    if (table?.role !== 'frozen' && table?.role !== 'trainable')
      throw broken(`'${name}' has rows of '${rows.table}', which is no parameter`)
    if (ids?.role !== 'input' || ids.dtype !== 'i32')
      throw broken(`'${rows.ids}' does not say which rows '${name}' has`)
    const wanted = [...ids.stored, ...table.stored.slice(1)].flat()
    const lies = stored.flat()
    const same = lies.length === wanted.length && lies.every((axis, place) => axis === wanted[place])
    if (!same || dtype !== table.dtype) throw broken(`'${name}' does not lie as rows of '${rows.table}' do`)
  }
}

function verifyRoots(fn: GraphFunction, context: InferContext): void {
  once(fn.outputs, `output of '${fn.name}'`)
  once(fn.writes, `write of '${fn.name}'`)
  if (rootsOf(fn).length === 0) throw broken(`function '${fn.name}' computes nothing`)
  for (const { name, node } of [...fn.outputs, ...fn.writes]) {
    // Only a graph made around the type checker lacks one; the message must still name it.
    if ((node as Node | undefined) === undefined) throw broken(`'${name}' of function '${fn.name}' is missing`)
  }
  for (const { name, node } of fn.writes) {
    const target = context.declaration(name)
    const place = `write of '${name}' in '${fn.name}'`
    if (target === undefined) throw broken(`${place}: it is not declared`)
    if (target.role !== 'state' && target.role !== 'trainable') throw broken(`${place}: it is ${target.role}`)
    if (!fits(node, structuralRule('read').infer([], { name }, context))) {
      throw broken(`${place}: the value is ${describeShape(node)}`)
    }
  }
}

interface Seen {
  /** Verified for an earlier function. */
  readonly nodes: Set<Node>
  readonly ids: Map<number, Node>
  /** By operation, operands and attributes: equal nodes are one node. */
  readonly equal: Map<string, Node>
}

function verifyNode(node: Node, axes: ReadonlySet<Axis>, context: InferContext, seen: Seen): void {
  if (seen.nodes.has(node)) return
  const refuse = (why: string): InternalError =>
    broken(`node ${node.id} '${printNode(node, (input) => `%${input.id}`)}': ${why}`)
  for (const input of node.inputs) {
    if (input.id >= node.id) throw refuse(`its operand ${input.id} was made after it`)
  }
  if (seen.ids.has(node.id)) throw refuse('another node has its number')
  const key = `${node.op}(${node.inputs.map((input) => input.id).join()})${printAttributes(node.attrs)}`
  if (seen.equal.has(key)) throw refuse(`it equals node ${seen.equal.get(key)?.id}`)
  verifyAttributes(node, axes, refuse)
  if (node.layer !== undefined && !(Number.isSafeInteger(node.layer) && node.layer >= 0)) {
    throw refuse(`its layer is ${node.layer}`)
  }
  let shape: Shape
  try {
    shape = structuralRule(node.op).infer(node.inputs, node.attrs as never, context)
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error))
  }
  if (!fits(node, shape)) throw refuse('its operands give other axes or another type')
  if (sortAxes(node.axes).some((axis, index) => axis !== node.axes[index])) throw refuse('its axes are not sorted')
  if (!node.axes.every((axis) => axes.has(axis))) throw refuse('an axis of it is not of the graph')
  seen.nodes.add(node)
  seen.ids.set(node.id, node)
  seen.equal.set(key, node)
}

function fits(node: Node, shape: Shape): boolean {
  return node.dtype === shape.dtype && sameAxes(node.axes, shape.axes)
}

function verifyAttributes(node: Node, axes: ReadonlySet<Axis>, refuse: (why: string) => InternalError): void {
  for (const attribute of attributesOf(node)) {
    const { key, kind, value } = attribute
    const named = attributeAxes(attribute)
    for (const axis of named) if (!axes.has(axis)) throw refuse(`axis '${axis.name}' is not of the graph`)
    if (new Set(named).size !== named.length) throw refuse(`an axis stands twice in '${key}'`)
    if (kind === 'integer' && !Number.isSafeInteger(value)) throw refuse(`'${key}' is no whole number`)
    if (key === 'block' && (value as number) < 1) throw refuse(`'${key}' is empty`)
    const numbers = kind === 'numbers' ? (value as readonly number[]) : kind === 'number' ? [value as number] : []
    // Text and kernels hold float32: another number would silently change on the way.
    if (node.dtype === 'f32' && numbers.some((number) => !Object.is(Math.fround(number), number))) {
      throw refuse(`'${key}' is no float32`)
    }
    if (kind === 'number' && node.dtype === 'i32' && numbers.some((number) => number !== (number | 0))) {
      throw refuse(`'${key}' is no i32`)
    }
  }
}
