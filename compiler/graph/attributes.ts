// How every attribute of every structural operation is written in graph text, and where axes hide in attributes.
// Read by the printer, the parser and the verifier; knows nothing of meaning. Typed so that a forgotten one is an error.

import type { Axis } from './axis.ts'
import type { Attributes, Node, StructuralOp } from './node.ts'

/**
 * `function` is the name the operation is printed under, `type` is taken from the result's type; neither is written
 * among the attributes. `name` is a declared name, `text` is always in quotes.
 */
export type AttributeKind = 'axis' | 'axes' | 'integer' | 'number' | 'numbers' | 'name' | 'text' | 'function' | 'type'

/** Keys in the order in which they print, which is the order in which the builder makes them. */
type AttributeKinds<K extends StructuralOp> = { readonly [A in keyof Attributes[K]]-?: AttributeKind }

const attributeKinds = {
  read: { name: 'name' },
  constant: { value: 'number', dtype: 'type' },
  table: { axis: 'axis', values: 'numbers' },
  iota: { axis: 'axis' },
  extent: { axis: 'axis' },
  random: { axes: 'axes', stream: 'integer' },
  map: { fn: 'function' },
  sum: { over: 'axis' },
  maximum: { over: 'axis' },
  dot: { over: 'axes' },
  logSumExp: { over: 'axis', block: 'integer' },
  softmaxDot: { over: 'axis', block: 'integer' },
  gather: { axis: 'axis' },
  scatterAdd: { axis: 'axis' },
  rename: { from: 'axis', to: 'axis' },
  split: { axis: 'axis', into: 'axes' },
  merge: { axes: 'axes', into: 'axis' },
  pick: { axis: 'axis', index: 'integer' },
  stack: { axis: 'axis' },
  broadcast: { axes: 'axes' },
  barrier: { tag: 'text' },
} as const satisfies { [K in StructuralOp]: AttributeKinds<K> }

/** One attribute as it is written: `label value`, or the value alone where there is no label. */
export interface AttributeForm {
  readonly key: string
  readonly kind: AttributeKind
  readonly label: string | undefined
}

/** The only attribute of these says what the operation is about and needs no label: `read wte.weight`. */
const bare: ReadonlySet<StructuralOp> = new Set<StructuralOp>(['read', 'constant'])

const forms = new Map<StructuralOp, readonly AttributeForm[]>(
  Object.entries(attributeKinds).map(([op, kinds]) => [
    op as StructuralOp,
    Object.entries(kinds).map(([key, kind]) => ({ key, kind, label: bare.has(op as StructuralOp) ? undefined : key })),
  ]),
)

export function isStructuralOp(op: string): op is StructuralOp {
  return Object.hasOwn(attributeKinds, op)
}

/** The attributes of `op` in the order in which they are written. */
export function attributeForms(op: StructuralOp): readonly AttributeForm[] {
  return forms.get(op) ?? []
}

export interface NamedAttribute extends AttributeForm {
  readonly value: unknown
}

/** The attributes of a node with their forms. */
export function attributesOf(node: Node): NamedAttribute[] {
  const attrs = node.attrs as unknown as Record<string, unknown>
  return attributeForms(node.op).map((form) => ({ ...form, value: attrs[form.key] }))
}

/** The axes that one attribute names; none for the other kinds. */
export function attributeAxes(attribute: NamedAttribute): readonly Axis[] {
  if (attribute.kind === 'axis') return [attribute.value as Axis]
  if (attribute.kind === 'axes') return attribute.value as readonly Axis[]
  return []
}
