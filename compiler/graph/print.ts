// The graph as text: axes, declarations, one line a node. The same graph gives the same text whatever its builder did
// before, and `parse.ts` reads it back. Must not know what operations mean.

import { InternalError } from '../diagnostic.ts'
import { attributesOf, isStructuralOp } from './attributes.ts'
import type { NamedAttribute } from './attributes.ts'
import type { Axis } from './axis.ts'
import { isOp, rootsOf, topological } from './node.ts'
import type { Declaration, Graph, GraphFunction, Initial, Node, Provenance, StoredLayout } from './node.ts'

const bareName = /^[A-Za-z_][A-Za-z0-9_.]*$/

/** A name as it stands in text: bare where it can be, in quotes elsewhere. */
export function printName(name: string): string {
  return bareName.test(name) ? name : JSON.stringify(name)
}

/** The shortest decimal that rounds to the same number: as float32 where it is one, else as float64. */
export function printNumber(value: number): string {
  if (Object.is(value, -0)) return '-0'
  if (!Number.isFinite(value) || Math.fround(value) !== value) return String(value)
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return String(short)
  }
  return String(Number(value.toPrecision(9)))
}

function printAxes(axes: readonly Axis[]): string {
  return axes.map((axis) => printName(axis.name)).join(', ')
}

function printAxis(axis: Axis): string {
  return axis.extent === undefined
    ? `axis ${printName(axis.name)} = ${axis.size}`
    : `axis ${printName(axis.name)} <= ${axis.size} extent ${printName(axis.extent)}`
}

function printStored(stored: StoredLayout): string {
  const dimensions = stored.map((dimension) => {
    const names = dimension.map((axis) => printName(axis.name))
    return names.length === 1 ? names.join('') : `(${names.join(' ')})`
  })
  return `[${dimensions.join(', ')}]`
}

function printInitial(initial: Initial): string {
  switch (initial.kind) {
    case 'constant':
      return `constant ${initial.value}`
    case 'uniform':
      return `uniform ${initial.bound}`
    case 'normal':
      return `normal ${initial.deviation}`
  }
}

export function printDeclaration(declaration: Declaration): string {
  const { role, name, dtype, stored, initial, rows } = declaration
  const first = initial ? ` = ${printInitial(initial)}` : ''
  const fetched = rows ? ` rows ${printName(rows.ids)} of ${printName(rows.table)}` : ''
  return `${role} ${printName(name)}: ${dtype}${printStored(stored)}${first}${fetched}`
}

function printAttribute({ kind, label, value }: NamedAttribute): string {
  const before = label === undefined ? ' ' : ` ${label} `
  switch (kind) {
    case 'axis':
      return before + printAxes([value as Axis])
    case 'axes':
      return `${before}[${printAxes(value as readonly Axis[])}]`
    case 'integer':
    case 'number':
      return before + printNumber(value as number)
    case 'numbers':
      return `${before}[${(value as readonly number[]).map(printNumber).join(', ')}]`
    case 'name':
      return before + printName(value as string)
    case 'text':
      return before + JSON.stringify(value)
    case 'function':
    case 'type':
      return ''
  }
}

function printedOp(node: Node): string {
  if (!isOp(node, 'map')) return node.op
  if (isStructuralOp(node.attrs.fn)) {
    throw new InternalError(`the elementwise operation '${node.attrs.fn}' has the name of a structural one`)
  }
  return printName(node.attrs.fn)
}

/** One node as it stands behind `%n = `; `operand` says how its inputs are called. */
export function printNode(node: Node, operand: (input: Node) => string): string {
  const operands = node.inputs.length === 0 ? '' : `(${node.inputs.map(operand).join(', ')})`
  const attributes = attributesOf(node).map(printAttribute).join('')
  const layer = node.layer === undefined ? '' : ` layer ${node.layer}`
  return `${printedOp(node)}${operands}${attributes} : ${node.dtype}(${printAxes(node.axes)})${layer}`
}

/** One function; values are numbered from 0 in the order in which they were created. */
export function printFunction(fn: GraphFunction, provenance?: Provenance): string {
  const nodes = topological(rootsOf(fn))
  const numbers = new Map(nodes.map((node, index) => [node, `%${index}`]))
  const numberOf = (node: Node): string => {
    const number = numbers.get(node)
    if (number === undefined) throw new InternalError(`function '${fn.name}' uses a node that it does not reach`)
    return number
  }
  const lines = nodes.map((node) => {
    const name = provenance?.name(node)
    // A name may be anything; a line of text must stay one line.
    const comment = name === undefined ? '' : `  // ${name.replace(/\s+/g, ' ').trim()}`
    return `  ${numberOf(node)} = ${printNode(node, numberOf)}${comment}`
  })
  const roots = [
    ...fn.outputs.map(({ name, node }) => `  output ${printName(name)} = ${numberOf(node)}`),
    ...fn.writes.map(({ name, node }) => `  write ${printName(name)} = ${numberOf(node)}`),
  ]
  return [`function ${printName(fn.name)} {`, ...lines, ...roots, '}'].join('\n')
}

/** The whole graph; with `provenance`, each node's name stands behind its line. Ends in a line feed. */
export function printGraph(graph: Graph, provenance?: Provenance): string {
  const sections = [
    graph.axes.map(printAxis).join('\n'),
    [...graph.declarations.values()].map(printDeclaration).join('\n'),
    ...graph.functions.map((fn) => printFunction(fn, provenance)),
  ]
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`
}
