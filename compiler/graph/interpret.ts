// The reference meaning of a graph: every operation in plain TypeScript over a given scalar arithmetic. With `float32`
// it defines the bits that kernels must reproduce, with `float64` it is the loose oracle. Must not know of kernels.

import { InternalError, UserError } from '../diagnostic.ts'
import type { Axis } from './axis.ts'
import { elementwiseOp } from './elementwise.ts'
import { exp, log } from './math.ts'
import { rootsOf, topological } from './node.ts'
import type { GraphFunction, Node, StructuralOp, Graph } from './node.ts'
import { randomUniform } from './random.ts'
import { maximumOf, startSoftmax, sumOf, takeBlock } from './reductions.ts'
import type { Scalars } from './scalars.ts'
import { countElements, emptyLike, extentOf, makeTensor, offsetsOver, rowMajorStrides } from './tensor.ts'
import type { Extents, Numbers, Strides, Tensor } from './tensor.ts'

export interface InterpretOptions {
  /** Declared values that the function reads, over canonical axes at run-time extents. Never changed. */
  readonly values: ReadonlyMap<string, Tensor>
  readonly extents: Extents
  readonly arithmetic: Scalars<number>
}

export interface Interpreted {
  readonly outputs: Map<string, Tensor>
  /** New values of declared ones; the caller decides when they take effect. */
  readonly writes: Map<string, Tensor>
}

/**
 * Runs one function of a graph. Floats are kept in Float32Array where the arithmetic rounds to float32, else in
 * Float64Array. Throws UserError HD206 where an index is outside its table, InternalError where values are missing or
 * do not fit.
 */
export function interpret(graph: Graph, fn: GraphFunction | string, options: InterpretOptions): Interpreted {
  const chosen = typeof fn === 'string' ? graph.functions.find((one) => one.name === fn) : fn
  if (chosen === undefined)
    throw new InternalError(`the graph has no function '${typeof fn === 'string' ? fn : fn.name}'`)
  const results = interpretNodes(rootsOf(chosen), options)
  const named = (roots: GraphFunction['outputs']): Map<string, Tensor> =>
    new Map(roots.map(({ name, node }) => [name, results.get(node) as Tensor]))
  return { outputs: named(chosen.outputs), writes: named(chosen.writes) }
}

/** The tensors of `roots`; everything between is forgotten after its last use. */
export function interpretNodes(roots: readonly Node[], options: InterpretOptions): Map<Node, Tensor> {
  const nodes = topological(roots)
  const kept = new Set(roots)
  const pending = new Map<Node, number>()
  for (const node of nodes) for (const input of node.inputs) pending.set(input, (pending.get(input) ?? 0) + 1)
  const run = new Run(options)
  const tensors = new Map<Node, Tensor>()
  for (const node of nodes) {
    const inputs = node.inputs.map((input) => tensors.get(input) as Tensor)
    tensors.set(node, run.node(node, inputs))
    for (const input of node.inputs) {
      const left = (pending.get(input) ?? 0) - 1
      pending.set(input, left)
      if (left === 0 && !kept.has(input)) tensors.delete(input)
    }
  }
  return tensors
}

/** What the rules of one run share. */
class Run {
  readonly s: Scalars<number>
  readonly values: ReadonlyMap<string, Tensor>
  readonly #extents: Extents
  readonly #single: boolean

  constructor({ values, extents, arithmetic }: InterpretOptions) {
    this.s = arithmetic
    this.values = values
    this.#extents = extents
    this.#single = arithmetic.add(1, 2 ** -40) === 1
  }

  node(node: Node, inputs: readonly Tensor[]): Tensor {
    // The table is typed by operation; here the operation is only known when it runs.
    const rule = rules[node.op] as (run: Run, node: Node, inputs: readonly Tensor[]) => Numbers
    return makeTensor(node.axes, this.extents(node.axes), rule(this, node, inputs))
  }

  extent(axis: Axis): number {
    return extentOf(axis, this.#extents)
  }

  extents(axes: readonly Axis[]): number[] {
    return axes.map((axis) => this.extent(axis))
  }

  count(axes: readonly Axis[]): number {
    return countElements(this.extents(axes))
  }

  floats(length: number): Float64Array | Float32Array {
    return this.#single ? new Float32Array(length) : new Float64Array(length)
  }

  /** Whether data of this kind is what the results of a node are kept in. */
  isKept(node: Node, data: Numbers): boolean {
    if (node.dtype === 'i32' || node.dtype === 'bool') return data instanceof Int32Array
    return this.#single ? data instanceof Float32Array : data instanceof Float64Array
  }

  /** Room for the result of a node. */
  room(node: Node): Numbers {
    const length = this.count(node.axes)
    return node.dtype === 'i32' || node.dtype === 'bool' ? new Int32Array(length) : this.floats(length)
  }

  /** For each element over `axes`, where it lies in `tensor`; axes that it lacks do not move it. */
  offsets(axes: readonly Axis[], tensor: Tensor): Int32Array {
    return this.offsetsBy(axes, stridesOf(tensor))
  }

  offsetsBy(axes: readonly Axis[], strides: Strides): Int32Array {
    return offsetsOver(axes, this.extents(axes), strides)
  }
}

function stridesOf(tensor: Tensor): Strides {
  return rowMajorStrides(tensor.axes, tensor.extents)
}

function operand(inputs: readonly Tensor[], index: number): Tensor {
  const tensor = inputs[index]
  if (tensor === undefined) throw new InternalError(`operand ${index + 1} is missing`)
  return tensor
}

function copyOf(data: Numbers, offsets: Int32Array): Numbers {
  const copy = emptyLike(data, offsets.length)
  for (let index = 0; index < copy.length; index++) copy[index] = data[offsets[index] as number] as number
  return copy
}

/** As doubles, which hold every value exactly: loops over one kind of array are several times as fast as over three. */
function doubles(data: Numbers): Float64Array {
  return data instanceof Float64Array ? data : new Float64Array(data)
}

function spread(data: Float64Array, offsets: Int32Array): Float64Array {
  const copy = new Float64Array(offsets.length)
  for (let index = 0; index < copy.length; index++) copy[index] = data[offsets[index] as number] as number
  return copy
}

function rest(axes: readonly Axis[], removed: readonly Axis[]): Axis[] {
  return axes.filter((axis) => !removed.includes(axis))
}

/** Rows of an operand along one axis, copied into scratch: how every reduction over one axis reads. */
function reduceRows(run: Run, node: Node, x: Tensor, over: Axis, reduceRow: (row: Float64Array) => number): Numbers {
  const row = new Float64Array(run.extent(over))
  const step = stridesOf(x)(over)
  const starts = run.offsets(node.axes, x)
  const result = run.floats(starts.length)
  for (let index = 0; index < result.length; index++) {
    const start = starts[index] as number
    for (let place = 0; place < row.length; place++) row[place] = x.data[start + place * step] as number
    result[index] = reduceRow(row)
  }
  return result
}

function checkedIndex(index: number, axis: Axis, places: number, op: string): number {
  if (index >= 0 && index < places) return index
  throw new UserError('HD206', `${op}: index ${index} is outside axis '${axis.name}' of ${places} places`)
}

type Rule<K extends StructuralOp> = (run: Run, node: Node<K>, inputs: readonly Tensor[]) => Numbers

const rules = {
  read: (run, node) => {
    const { name } = node.attrs
    const value = run.values.get(name)
    if (value === undefined) throw new InternalError(`no value of '${name}' is given`)
    const extents = run.extents(node.axes)
    const fits = (axis: Axis, index: number): boolean =>
      axis === value.axes[index] && extents[index] === value.extents[index]
    if (value.axes.length !== node.axes.length || !node.axes.every(fits)) {
      throw new InternalError(`the value of '${name}' has other axes or extents than the graph reads`)
    }
    // What is kept in doubles may be given as float32, and the other way round.
    if (run.isKept(node, value.data)) return value.data
    const room = run.room(node)
    room.set(value.data)
    return room
  },
  constant: (run, node) => {
    const room = run.room(node)
    room[0] = node.dtype === 'f32' ? run.s.float(node.attrs.value) : node.attrs.value
    return room
  },
  table: (run, node) => {
    const room = run.room(node)
    for (let index = 0; index < room.length; index++) room[index] = run.s.float(node.attrs.values[index] as number)
    return room
  },
  iota: (run, node) => Int32Array.from({ length: run.extent(node.attrs.axis) }, (_, index) => index),
  extent: (run, node) => Int32Array.of(run.extent(node.attrs.axis)),
  random: (run, node, inputs) => {
    const seed = operand(inputs, 0).data[0] as number
    const { axes, stream } = node.attrs
    // Over the bounds, so that a value does not depend on the length of the step; 32 bits, wrapping.
    let stride = 1
    const strides = new Map<Axis, number>()
    for (const axis of [...axes].reverse()) {
      strides.set(axis, stride)
      stride = Math.imul(stride, axis.size)
    }
    const counters = run.offsetsBy(axes, (axis) => strides.get(axis) ?? 0)
    return run.floats(counters.length).map((_, index) => {
      return randomUniform(run.s, seed, stream, counters[index] as number)
    })
  },

  map: (run, node, inputs) => {
    const op = elementwiseOp(node.attrs.fn)
    if (op === undefined) throw new InternalError(`no elementwise operation is called '${node.attrs.fn}'`)
    const room = run.room(node)
    const results = new Float64Array(room.length)
    const operands = inputs.map((input) => {
      const data = doubles(input.data)
      return data.length === room.length ? data : spread(data, run.offsets(node.axes, input))
    })
    const args = new Float64Array(inputs.length) as unknown as number[]
    for (let index = 0; index < results.length; index++) {
      for (let which = 0; which < args.length; which++) args[which] = (operands[which] as Float64Array)[index] as number
      results[index] = op.meaning(run.s, args)
    }
    room.set(results)
    return room
  },

  sum: (run, node, inputs) => reduceRows(run, node, operand(inputs, 0), node.attrs.over, (row) => sumOf(run.s, row)),
  maximum: (run, node, inputs) => {
    return reduceRows(run, node, operand(inputs, 0), node.attrs.over, (row) => {
      return maximumOf(run.s, row, row.length, -Infinity)
    })
  },
  dot: (run, node, inputs) => {
    const x = operand(inputs, 0)
    const y = operand(inputs, 1)
    const { s } = run
    const { over } = node.attrs
    const [xStart, yStart] = [run.offsets(node.axes, x), run.offsets(node.axes, y)]
    const [xStep, yStep] = [run.offsets(over, x), run.offsets(over, y)]
    const [xData, yData] = [doubles(x.data), doubles(y.data)]
    const room = run.floats(xStart.length)
    for (let index = 0; index < room.length; index++) {
      const xFrom = xStart[index] as number
      const yFrom = yStart[index] as number
      let chain = 0
      for (let k = 0; k < xStep.length; k++) {
        const xValue = xData[xFrom + (xStep[k] as number)] as number
        chain = s.fma(xValue, yData[yFrom + (yStep[k] as number)] as number, chain)
      }
      room[index] = chain
    }
    return room
  },

  logSumExp: (run, node, inputs) => {
    const { over, block } = node.attrs
    const { s } = run
    const exponential = (x: number): number => exp(s, x)
    return reduceRows(run, node, operand(inputs, 0), over, (row) => {
      const state = startSoftmax(s)
      for (let from = 0; from < row.length; from += block) {
        const scores = row.subarray(from, from + block)
        takeBlock(s, exponential, state, scores, scores.length)
      }
      return s.add(state.maximum, log(s, state.total))
    })
  },
  softmaxDot: (run, node, inputs) => {
    const { over, block } = node.attrs
    const { s } = run
    const scores = operand(inputs, 0)
    const values = operand(inputs, 1)
    const exponential = (x: number): number => exp(s, x)
    const rowAxes = rest(scores.axes, [over])
    const inner = rest(values.axes, scores.axes)
    const resultStrides = rowMajorStrides(node.axes, run.extents(node.axes))
    const [scoreStart, valueStart] = [run.offsets(rowAxes, scores), run.offsets(rowAxes, values)]
    const resultStart = run.offsetsBy(rowAxes, resultStrides)
    const [valueInner, resultInner] = [run.offsets(inner, values), run.offsetsBy(inner, resultStrides)]
    const [scoreStep, valueStep] = [stridesOf(scores)(over), stridesOf(values)(over)]
    const keys = run.extent(over)
    const weights = new Float64Array(Math.min(block, keys))
    const sums = new Float64Array(valueInner.length)
    const room = run.floats(run.count(node.axes))
    for (let row = 0; row < scoreStart.length; row++) {
      const [scoreFrom, valueFrom, resultFrom] = [scoreStart[row], valueStart[row], resultStart[row]] as number[]
      const state = startSoftmax(s)
      sums.fill(0)
      for (let from = 0; from < keys; from += block) {
        const count = Math.min(block, keys - from)
        for (let key = 0; key < count; key++) {
          weights[key] = scores.data[(scoreFrom as number) + (from + key) * scoreStep] as number
        }
        const rescale = takeBlock(s, exponential, state, weights, count)
        for (let element = 0; element < sums.length; element++) {
          const start = (valueFrom as number) + (valueInner[element] as number) + from * valueStep
          let chain = s.mul(sums[element] as number, rescale)
          for (let key = 0; key < count; key++) {
            chain = s.fma(weights[key] as number, values.data[start + key * valueStep] as number, chain)
          }
          sums[element] = chain
        }
      }
      for (let element = 0; element < sums.length; element++) {
        room[(resultFrom as number) + (resultInner[element] as number)] = s.div(sums[element] as number, state.total)
      }
    }
    return room
  },

  gather: (run, node, inputs) => {
    const table = operand(inputs, 0)
    const index = operand(inputs, 1)
    const { axis } = node.attrs
    const stride = stridesOf(table)(axis)
    const places = run.extent(axis)
    const [rows, indices] = [run.offsets(node.axes, table), run.offsets(node.axes, index)]
    return copyOf(
      table.data,
      rows.map((row, element) => {
        const place = index.data[indices[element] as number] as number
        return row + checkedIndex(place, axis, places, 'gather') * stride
      }),
    )
  },
  scatterAdd: (run, node, inputs) => {
    const base = operand(inputs, 0)
    const index = operand(inputs, 1)
    const updates = operand(inputs, 2)
    const { axis } = node.attrs
    const stride = stridesOf(base)(axis)
    const places = run.extent(axis)
    const [rows, indices] = [run.offsets(updates.axes, base), run.offsets(updates.axes, index)]
    const room = base.data.slice()
    // One element's updates come in the row-major order of the updates, hence of the index axes.
    updates.data.forEach((update: number, element: number) => {
      const place = checkedIndex(index.data[indices[element] as number] as number, axis, places, 'scatterAdd')
      const target = (rows[element] as number) + place * stride
      room[target] = run.s.add(room[target] as number, update)
    })
    return room
  },

  rename: (run, node, inputs) => {
    const x = operand(inputs, 0)
    const strides = stridesOf(x)
    const { from, to } = node.attrs
    return copyOf(
      x.data,
      run.offsetsBy(node.axes, (axis) => strides(axis === to ? from : axis)),
    )
  },
  split: (run, node, inputs) => {
    const x = operand(inputs, 0)
    const { axis, into } = node.attrs
    sameProduct(run, axis, into)
    const strides = stridesOf(x)
    const within = rowMajorStrides(into, run.extents(into))
    return copyOf(
      x.data,
      run.offsetsBy(node.axes, (part) => (into.includes(part) ? within(part) * strides(axis) : strides(part))),
    )
  },
  merge: (run, node, inputs) => {
    const x = operand(inputs, 0)
    const { axes, into } = node.attrs
    sameProduct(run, into, axes)
    // The merged axis counts through its parts, the last one fastest: put in its place they enumerate the result.
    return copyOf(
      x.data,
      run.offsets(
        node.axes.flatMap((axis) => (axis === into ? axes : [axis])),
        x,
      ),
    )
  },
  pick: (run, node, inputs) => {
    const x = operand(inputs, 0)
    const { axis, index } = node.attrs
    checkedIndex(index, axis, run.extent(axis), 'pick')
    const start = index * stridesOf(x)(axis)
    return copyOf(
      x.data,
      run.offsets(node.axes, x).map((offset) => offset + start),
    )
  },
  stack: (run, node, inputs) => {
    const { axis } = node.attrs
    if (run.extent(axis) !== inputs.length) throw new InternalError(`'${axis.name}' is stacked at another extent`)
    const strides = rowMajorStrides(node.axes, run.extents(node.axes))
    const offsets = run.offsetsBy(operand(inputs, 0).axes, strides)
    const room = run.room(node)
    inputs.forEach((part, place) => {
      for (let index = 0; index < offsets.length; index++) {
        room[(offsets[index] as number) + place * strides(axis)] = part.data[index] as number
      }
    })
    return room
  },
  broadcast: (run, node, inputs) => {
    const x = operand(inputs, 0)
    return copyOf(x.data, run.offsets(node.axes, x))
  },
  barrier: (_run, _node, inputs) => operand(inputs, 0).data,
} satisfies { [K in StructuralOp]: Rule<K> }

function sameProduct(run: Run, whole: Axis, parts: readonly Axis[]): void {
  if (run.count(parts) === run.extent(whole)) return
  throw new InternalError(`'${whole.name}' and its parts have different run-time extents`)
}
