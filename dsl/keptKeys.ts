// Attention over more than the tokens of a call: keys and values of earlier calls are kept in declared states, to which
// a call adds its own rows. Who sees whom is a predicate over places, so it is stated for what is kept as it was for
// the call. Knows no model.

import { withoutAxes } from '../compiler/graph/axis.ts'
import type { Axis as GraphAxis } from '../compiler/graph/axis.ts'
import { isOp } from '../compiler/graph/node.ts'
import type { Declaration, Node } from '../compiler/graph/node.ts'
import { printLayout } from './parameters.ts'
import { alongTwin, positionsAlong } from './positions.ts'
import type { KeptKeys, Operation } from './trace.ts'

/** What an attention looks over. */
export interface Keys {
  readonly keyed: Node
  readonly values: Node
  readonly axis: GraphAxis
  /** A predicate over the call's keys, over those that are looked at. */
  readonly mask: (predicate: Node) => Node
}

/** The keys and values of the whole text where they are kept, those of the call otherwise, or where they are no tokens. */
export function keepKeys(op: Operation, call: Omit<Keys, 'mask'>): Keys {
  const kept = op.trace.reading?.kept
  if (!kept || !op.trace.sequences.has(call.axis)) return { ...call, mask: (predicate) => predicate }
  const attention = kept.writes.size / 2
  return {
    keyed: added(op, kept, call.keyed, call.axis, `kept/${attention}/keys`),
    values: added(op, kept, call.values, call.axis, `kept/${attention}/values`),
    axis: kept.context,
    mask: (predicate) => op.outsideLayers(() => overKept(op, predicate, call.axis, kept.context)),
  }
}

/** A state with the call's rows added at their places, which are zero until then. */
function added(op: Operation, { context, isToken, writes }: KeptKeys, rows: Node, axis: GraphAxis, name: string): Node {
  const { builder: b, trace } = op
  const places = op.outsideLayers(() => positionsAlong(op, axis))
  const inner = withoutAxes(rows.axes, [axis, ...places.axes])
  const stored = [...withoutAxes(places.axes, [axis]), context, ...inner].map((one) => [one])
  const known = b.declaration(name)
  const declaration: Declaration = {
    name,
    role: 'state',
    dtype: 'f32',
    stored,
    initial: { kind: 'constant', value: 0 },
  }
  if (!known) b.declare(declaration)
  else if (printLayout(known.stored) !== printLayout(stored)) {
    op.fail('HD103', 'the keys lie on other axes when the model is read once more', 'build it the same way each time')
  }
  const whole = b.broadcast(rows, [...stored.flat().filter((one) => one !== context), axis])
  // What fills a row up behind its last token must leave no trace.
  const own = isToken ? b.map('select', alongTwin(op, isToken, axis), whole, op.number(0)) : whole
  const sum = b.scatterAdd(b.read(name), places, own, context)
  writes.set(name, sum)
  trace.provenance.note(sum, name, undefined)
  return sum
}

/** HD114 where the predicate depends on more than where the keys are. */
function overKept(op: Operation, predicate: Node, keys: GraphAxis, context: GraphAxis): Node {
  const { builder: b } = op
  const places = positionsAlong(op, keys)
  const copies = new Map<Node, Node>()
  const copy = (node: Node): Node => {
    if (!node.axes.includes(keys)) return node
    const known = copies.get(node)
    if (known) return known
    const made = remade(node)
    copies.set(node, made)
    return made
  }
  const remade = (node: Node): Node => {
    // A key stands at the place it is kept at.
    if (node === places || isOp(node, 'iota')) return b.iota(context)
    if (!isOp(node, 'map')) return op.fail('HD114', `the mask is made by '${node.op}' from the keys of one call`, mend)
    return b.map(node.attrs.fn, ...node.inputs.map(copy))
  }
  return copy(predicate)
}

const mend = "where keys are kept a mask compares places, iota(seq) and iota(key); 'generate --recompute' keeps none"
