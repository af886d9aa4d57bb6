// Parameters: what the checkpoint holds, by its own names and in its own stored order.

import type { Axis as GraphAxis } from '../compiler/graph/axis.ts'
import { isOp } from '../compiler/graph/node.ts'
import type { Declaration, StoredLayout } from '../compiler/graph/node.ts'
import type { AnyAxis, AnyTensor, AxisOrList, Distinct, NameOf, Stored, Tensor } from './checks.ts'
import { beginOperation, operation } from './trace.ts'
import type { Operation } from './trace.ts'

/** Makes parameters whose names begin with a module's path. */
export interface ParameterScope {
  /** Path of the module, empty for the model itself. */
  readonly path: string
  /**
   * The parameter `path.name` of the checkpoint, stored as stated: dimensions outermost first, each an axis or a list of
   * merged axes.
   *
   * @throws UserError HD105 when the name is taken or an axis stands twice
   */
  param<const L extends Stored>(name: string, stored: L & Distinct<L>): Tensor<NameOf<L>>
  /** The scope of a module inside this one. */
  within(name: string): ParameterScope
}

const namePattern = /^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$/

export function parameterScope(path: string): ParameterScope {
  return Object.freeze({
    path,
    param<const L extends Stored>(name: string, stored: L & Distinct<L>): Tensor<NameOf<L>> {
      return operation('param', (op) => op.builder.read(declareParameter(op, join(path, name), stored).name))
    },
    within: (name: string) => parameterScope(join(path, name)),
  })
}

export function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

/** Declares a frozen parameter, or finds it again when the model is read a second time. */
export function declareParameter(op: Operation, name: string, stored: Stored): Declaration {
  if (!namePattern.test(name)) op.fail('HD105', `${JSON.stringify(name)} is no name for a parameter`)
  if (!Array.isArray(stored)) op.fail('HD105', `'${name}' has no stored order`, 'state it as a list of axes')
  const layout = stored.map((dimension) => dimensionAxes(op, dimension))
  const flat = layout.flat()
  const twice = flat.find((axis, index) => flat.indexOf(axis) !== index)
  if (twice) op.fail('HD105', `axis '${twice.name}' stands twice in the stored order of '${name}'`, 'use like()')
  const dynamic = flat.find((axis) => axis.extent !== undefined)
  if (dynamic) op.fail('HD105', `'${name}' cannot be stored along '${dynamic.name}', whose length varies`)
  if (!op.trace.meet(name)) op.fail('HD105', `parameter '${name}' is made twice`, 'make it once and use it twice')
  const known = op.builder.declaration(name)
  if (known) {
    // An input is declared before the model runs; anything else of this name stems from an earlier reading.
    if (known.role === 'input') op.fail('HD105', `'${name}' is an input of every model`)
    if (printLayout(known.stored) !== printLayout(layout)) {
      op.fail(
        'HD105',
        `parameter '${name}' is stored as ${printLayout(layout)} here and ${printLayout(known.stored)} before`,
      )
    }
    return known
  }
  const dtype = op.trace.options.storedDType?.(name) ?? 'f32'
  const declaration: Declaration = { name, role: 'frozen', dtype, stored: layout }
  op.builder.declare(declaration)
  return declaration
}

/** Significant bits of the formats that floats are stored in, and the exponents between which they have that many. */
const precision = {
  f32: { bits: 24, lowest: -126, highest: 127 },
  f16: { bits: 11, lowest: -14, highest: 15 },
  bf16: { bits: 8, lowest: -126, highest: 127 },
} as const

/**
 * A number rounded to the format that the checkpoint stores a parameter in (to nearest, ties to even): what becomes of
 * constants that a model keeps in the type of its weights. Of a parameter that is trained, that format is f32.
 *
 * @throws UserError HD106 when `parameter` is no parameter, HD104 when the number lies beyond what the format holds
 */
export function roundedAs(parameter: AnyTensor, value: number): number {
  const op = beginOperation('roundedAs')
  const node = op.node(parameter, 'the parameter', 'f32')
  const dtype = isOp(node, 'read') ? op.builder.declaration(node.attrs.name)?.dtype : undefined
  if (dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16') return op.fail('HD106', 'a parameter was expected')
  const { bits, lowest, highest } = precision[dtype]
  const single = Math.fround(value)
  if (single === 0) return single
  let exponent = 0
  while (Math.abs(single) >= 2 ** (exponent + 1) && exponent <= highest) exponent++
  while (Math.abs(single) < 2 ** exponent && exponent >= lowest) exponent--
  const unit = 2 ** (exponent - bits + 1)
  // Exact: scaling by a power of two. Adding 1.5 · 2^52 and taking it off again leaves an integer, ties to even.
  const rounded = (single / unit + 6755399441055744 - 6755399441055744) * unit
  const fits = exponent >= lowest && exponent <= highest && Math.abs(rounded) < 2 ** (highest + 1)
  if (!fits) op.fail('HD104', `${value} cannot be held in ${dtype}`)
  return rounded
}

function dimensionAxes(op: Operation, dimension: AxisOrList): GraphAxis[] {
  const list = Array.isArray(dimension) ? (dimension as readonly AnyAxis[]) : [dimension as AnyAxis]
  if (list.length === 0) op.fail('HD105', 'a stored dimension has no axis')
  return list.map((axis) => op.axis(axis))
}

/** A stored order as it is written: `[[head, dim], embed]`. */
export function printLayout(stored: StoredLayout): string {
  const sides = stored.map((side) => {
    const names = side.map((axis) => axis.name).join(', ')
    return side.length === 1 ? names : `[${names}]`
  })
  return `[${sides.join(', ')}]`
}
