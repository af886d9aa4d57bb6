// Dense tensors over canonical axes, as the interpreter holds them, and their way from and to the stored order of a
// declaration. Knows nothing of operations.

import { InternalError } from '../diagnostic.ts'
import { sortAxes } from './axis.ts'
import type { Axis, DType } from './axis.ts'
import type { Declaration } from './node.ts'

export type Numbers = Float64Array | Float32Array | Int32Array

/** Row-major over `axes`, which are in canonical order; `extents[i]` is the run-time number of places of `axes[i]`. */
export interface Tensor {
  readonly axes: readonly Axis[]
  readonly extents: readonly number[]
  /** f32 in a Float64Array or a Float32Array, i32 and bool (0 or 1) in an Int32Array. */
  readonly data: Numbers
}

/** Run-time numbers of places, by the name of the extent. */
export type Extents = Readonly<Record<string, number>>

/** Far more than a reference interpreter can be asked for; 8 GiB of doubles. */
const mostElements = 2 ** 30

/** The run-time number of places of an axis. Throws InternalError where none is given or it is outside 1…bound. */
export function extentOf(axis: Axis, extents: Extents): number {
  if (axis.extent === undefined) return axis.size
  const extent = Object.hasOwn(extents, axis.extent) ? extents[axis.extent] : undefined
  if (extent === undefined) throw new InternalError(`no run-time extent '${axis.extent}' is given`)
  if (!Number.isSafeInteger(extent) || extent < 1 || extent > axis.size) {
    throw new InternalError(`extent '${axis.extent}' is ${extent}, outside 1…${axis.size}`)
  }
  return extent
}

/** The product of extents. Throws InternalError beyond 2³⁰ elements. */
export function countElements(extents: readonly number[]): number {
  const count = extents.reduce((product, extent) => product * extent, 1)
  if (!(count <= mostElements)) throw new InternalError(`a tensor of ${count} elements is too large to interpret`)
  return count
}

/** Elements between neighbours along each axis, rows last to first. Axes not among `axes` have stride 0: broadcasting. */
export type Strides = (axis: Axis) => number

export function rowMajorStrides(axes: readonly Axis[], extents: readonly number[]): Strides {
  const strides = new Map<Axis, number>()
  let stride = 1
  for (let index = axes.length - 1; index >= 0; index--) {
    strides.set(axes[index] as Axis, stride)
    stride *= extents[index] as number
  }
  return (axis) => strides.get(axis) ?? 0
}

/** Where each element of the row-major space over `axes` lies in an operand with the given strides. */
export function offsetsOver(axes: readonly Axis[], extents: readonly number[], strides: Strides): Int32Array {
  let offsets = new Int32Array(1)
  axes.forEach((axis, index) => {
    const extent = extents[index] as number
    const stride = strides(axis)
    const wider = new Int32Array(countElements([offsets.length, extent]))
    let next = 0
    for (const offset of offsets) {
      for (let place = 0; place < extent; place++) wider[next++] = offset + place * stride
    }
    offsets = wider
  })
  return offsets
}

/** Checked construction. Throws InternalError where axes are not canonical or the data has another length. */
export function makeTensor(axes: readonly Axis[], extents: readonly number[], data: Numbers): Tensor {
  const sorted = sortAxes(axes)
  if (sorted.length !== axes.length || sorted.some((axis, index) => axis !== axes[index])) {
    throw new InternalError('the axes of a tensor are in canonical order')
  }
  const wanted = countElements(extents)
  if (extents.length !== axes.length || data.length !== wanted) {
    throw new InternalError(`a tensor of ${wanted} elements was given ${data.length}`)
  }
  return { axes, extents, data }
}

/** A float, i32 or bool scalar as a tensor. */
export function scalarTensor(value: number, dtype: DType): Tensor {
  const integer = dtype === 'i32' || dtype === 'bool'
  return { axes: [], extents: [], data: integer ? Int32Array.of(value) : Float64Array.of(value) }
}

/** An array of the same kind, all zero. */
export function emptyLike(data: Numbers, length: number): Numbers {
  if (data instanceof Float64Array) return new Float64Array(length)
  return data instanceof Float32Array ? new Float32Array(length) : new Int32Array(length)
}

interface StoredOrder {
  readonly canonical: readonly Axis[]
  readonly extents: readonly number[]
  /** For each canonical element, its place in stored order. */
  readonly offsets: Int32Array
}

function storedOrder(declaration: Declaration, extents: Extents): StoredOrder {
  const stored = declaration.stored.flat()
  const strides = rowMajorStrides(
    stored,
    stored.map((axis) => extentOf(axis, extents)),
  )
  const canonical = sortAxes(stored)
  const sizes = canonical.map((axis) => extentOf(axis, extents))
  return { canonical, extents: sizes, offsets: offsetsOver(canonical, sizes, strides) }
}

/**
 * Values in the stored order of a declaration (dense, outermost dimension first, dynamic axes at their run-time
 * extents) as a tensor. Merged dimensions are row-major over their axes.
 */
export function fromStored(declaration: Declaration, stored: Numbers, extents: Extents = {}): Tensor {
  const order = storedOrder(declaration, extents)
  if (stored.length !== order.offsets.length) {
    throw new InternalError(`'${declaration.name}' has ${order.offsets.length} elements, ${stored.length} are given`)
  }
  const data = emptyLike(stored, stored.length)
  order.offsets.forEach((offset, index) => {
    data[index] = stored[offset] as number
  })
  return makeTensor(order.canonical, order.extents, data)
}

/** The inverse of `fromStored`: a declared value's elements in stored order. */
export function toStored(declaration: Declaration, tensor: Tensor, extents: Extents = {}): Numbers {
  const order = storedOrder(declaration, extents)
  if (tensor.data.length !== order.offsets.length || order.canonical.some((axis, i) => axis !== tensor.axes[i])) {
    throw new InternalError(`the tensor does not lie on the axes of '${declaration.name}'`)
  }
  const stored = emptyLike(tensor.data, tensor.data.length)
  order.offsets.forEach((offset, index) => {
    stored[offset] = tensor.data[index] as number
  })
  return stored
}
