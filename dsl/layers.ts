// Layers a researcher could have written: linear maps, embeddings, norms, activations, dropout. Each is a few graph
// operations in a fixed order, because the order is what the numeric contract promises.

import { withoutAxes } from '../compiler/graph/axis.ts'
import type { Axis as GraphAxis } from '../compiler/graph/axis.ts'
import type { Node } from '../compiler/graph/node.ts'
import type { AnyAxis, AnyTensor, LinearStored, NameOf, Off, On, Stored, Tensor } from './checks.ts'
import { declareParameter, join, printLayout } from './parameters.ts'
import type { ParameterScope } from './parameters.ts'
import { positionsAlong } from './positions.ts'
import { operation, shapeOf } from './trace.ts'
import type { Operation } from './trace.ts'

export interface LinearOptions {
  /** The module has a `bias` too. */
  readonly bias?: boolean
}

/**
 * The linear module `name`: contracts x with `name.weight` over the stored side that lies on x, in stored order, and adds
 * `name.bias` when there is one. `[[out…], [in…]]` is PyTorch's layout, `[[in…], [out…]]` that of GPT-2's Conv1D.
 *
 * @throws UserError HD103 unless exactly one side is wholly on x and the other not at all
 */
export function linear<A extends string, const L extends Stored>(
  x: Tensor<A>,
  p: ParameterScope,
  name: string,
  stored: L & LinearStored<A, L>,
  options: LinearOptions = {},
): Tensor<Exclude<A, NameOf<L>> | Exclude<NameOf<L>, A>> {
  return operation('linear', (op) => linearNode(op, x, p, name, stored, options))
}

/** What `linear` adds to the graph, for layers that contain one. */
export function linearNode(
  op: Operation,
  x: AnyTensor,
  p: ParameterScope,
  name: string,
  stored: Stored,
  options: LinearOptions,
): Node {
  const b = op.builder
  const input = op.node(x, 'x', 'f32')
  const path = join(p.path, name)
  const weight = declareParameter(op, `${path}.weight`, stored)
  const { inputs, outputs, transposed } = sides(op, path, weight.stored, input)
  if (!op.trace.modules.some((known) => known.path === path)) {
    op.trace.modules.push({ path, weight: weight.name, inputs, outputs, storedTransposed: transposed })
  }
  const product = b.dot(input, b.read(weight.name), inputs)
  if (options.bias !== true) return product
  const bias = declareParameter(op, `${path}.bias`, stored.slice(transposed ? 1 : 0, transposed ? 2 : 1))
  return b.map('add', product, b.read(bias.name))
}

function sides(
  op: Operation,
  path: string,
  stored: readonly (readonly GraphAxis[])[],
  input: Node,
): { inputs: readonly GraphAxis[]; outputs: readonly GraphAxis[]; transposed: boolean } {
  const [first, second] = stored
  if (stored.length !== 2 || !first || !second) {
    return op.fail('HD103', `the weight of '${path}' is stored with ${stored.length} dimensions, not two`)
  }
  const printed = printLayout(stored)
  const transposed = withoutAxes(first, input.axes).length === 0
  const [inputs, outputs] = transposed ? [first, second] : [second, first]
  const missing = inputs.find((axis) => !input.axes.includes(axis))
  if (missing) {
    return op.fail('HD103', `no side of '${path}' ${printed} lies wholly on x ${shapeOf(input)}`)
  }
  const present = outputs.find((axis) => input.axes.includes(axis))
  if (present) {
    const sentence = `axis '${present.name}' of the output side of '${path}' ${printed} is on x ${shapeOf(input)} too`
    return op.fail('HD103', sentence, 'make a new one with like()')
  }
  return { inputs, outputs, transposed }
}

/** Rows of a table at token ids. */
export function embedding<A extends string, B extends string, O extends AnyAxis>(
  table: Tensor<A>,
  ids: Tensor<B, 'i32'>,
  rows: O & On<O, A, 'the table'> & Off<O, B>,
): Tensor<Exclude<A, NameOf<O>> | B> {
  return operation('embedding', (op) => {
    const values = op.node(table, 'the table', 'f32')
    const index = op.node(ids, 'the ids', 'i32')
    const axis = op.axis(rows)
    op.on([axis], values, 'the table')
    op.off([axis], index, 'the ids')
    return op.builder.gather(values, index, axis)
  })
}

/** The axis that a norm takes its statistics over, and what is added to the variance. */
export interface NormOptions<A extends string, O extends AnyAxis> {
  readonly over: O & On<O, A, 'x'>
  readonly eps: number
}

/** Σx / n, by multiplication with 1/n where n is known while compiling. */
function mean(op: Operation, x: Node, over: GraphAxis): Node {
  const b = op.builder
  if (over.extent === undefined) return b.map('mul', b.sum(x, over), op.number(1 / over.size))
  return b.map('div', b.sum(x, over), b.map('toFloat', b.extent(over)))
}

/** A norm's parameter, which may not widen x. */
function parameterOn(op: Operation, value: AnyTensor, x: Node, which: string): Node {
  const node = op.node(value, which, 'f32')
  const extra = node.axes.find((axis) => !x.axes.includes(axis))
  if (extra) op.fail('HD103', `axis '${extra.name}' of ${which} ${shapeOf(node)} is not on x ${shapeOf(x)}`)
  return node
}

/** (x − mean) / √(variance + eps) · weight + bias, statistics over one axis (Ba et al. 2016). */
export function layerNorm<A extends string, W extends string, B extends string, O extends AnyAxis>(
  x: Tensor<A>,
  weight: Tensor<W>,
  bias: Tensor<B>,
  options: NormOptions<A, O>,
): Tensor<A> {
  return operation('layerNorm', (op) => {
    const b = op.builder
    const node = op.node(x, 'x', 'f32')
    const over = op.axis(options.over)
    op.on([over], node, 'x')
    const scale = parameterOn(op, weight, node, 'the weight')
    const shift = parameterOn(op, bias, node, 'the bias')
    const centred = b.map('sub', node, mean(op, node, over))
    const variance = mean(op, b.map('mul', centred, centred), over)
    const inverse = b.map('rsqrt', b.map('add', variance, op.number(positive(op, 'eps', options.eps))))
    return b.map('add', b.map('mul', b.map('mul', centred, inverse), scale), shift)
  })
}

/** x / √(mean x² + eps) · weight, over one axis (Zhang and Sennrich 2019). */
export function rmsNorm<A extends string, W extends string, O extends AnyAxis>(
  x: Tensor<A>,
  weight: Tensor<W>,
  options: NormOptions<A, O>,
): Tensor<A> {
  return operation('rmsNorm', (op) => {
    const b = op.builder
    const node = op.node(x, 'x', 'f32')
    const over = op.axis(options.over)
    op.on([over], node, 'x')
    const scale = parameterOn(op, weight, node, 'the weight')
    const square = mean(op, b.map('mul', node, node), over)
    const inverse = b.map('rsqrt', b.map('add', square, op.number(positive(op, 'eps', options.eps))))
    return b.map('mul', b.map('mul', node, inverse), scale)
  })
}

/** x · sigmoid(x). */
export function silu<A extends string>(x: Tensor<A>): Tensor<A> {
  return operation('silu', (op) => {
    const node = op.node(x, 'x', 'f32')
    return op.builder.map('mul', node, op.builder.map('sigmoid', node))
  })
}

/** `tanh` is the approximation GPT-2 was trained with (`gelu_new`); `erf` is exact (Hendrycks and Gimpel 2016). */
export type GeluForm = 'tanh' | 'erf'

/** x · Φ(x), Φ the normal distribution function. */
export function gelu<A extends string>(x: Tensor<A>, form: GeluForm): Tensor<A> {
  return operation('gelu', (op) => {
    const b = op.builder
    const node = op.node(x, 'x', 'f32')
    const half = b.map('mul', node, op.number(0.5))
    const inner = form === 'erf' ? b.map('erf', b.map('mul', node, op.number(Math.SQRT1_2))) : tanhForm(op, node)
    return b.map('mul', half, b.map('add', inner, op.number(1)))
  })
}

/** tanh(√(2/π) · (x + 0.044715 x³)). */
function tanhForm(op: Operation, x: Node): Node {
  const b = op.builder
  const cube = b.map('mul', b.map('mul', x, x), x)
  const argument = b.map('add', x, b.map('mul', cube, op.number(0.044715)))
  return b.map('tanh', b.map('mul', argument, op.number(Math.sqrt(2 / Math.PI))))
}

/**
 * Zeroes elements with probability p and scales the rest by 1/(1 − p), while training; the identity otherwise. Counter-
 * based: the same step drops the same elements wherever and however often it is recomputed.
 */
export function dropout<A extends string>(x: Tensor<A>, p: number): Tensor<A> {
  return operation('dropout', (op) => {
    const b = op.builder
    const node = op.node(x, 'x', 'f32')
    if (!(p >= 0 && p < 1)) op.fail('HD104', `the probability is ${p}`, 'it is at least 0 and below 1')
    if (p === 0 || !op.trace.training) return node
    const kept = b.map('less', b.random(b.read('seed'), node.axes, op.trace.streams++), op.number(1 - p))
    return b.map('select', kept, b.map('mul', node, op.number(1 / (1 - p))), op.number(0))
  })
}

export function positive(op: Operation, which: string, value: number): number {
  if (!(value > 0 && Number.isFinite(value))) op.fail('HD104', `${which} is ${value}`, 'it is a positive number')
  return value
}

/**
 * Learned positions: the table's rows 0, 1, 2, … along `at`.
 *
 * @throws UserError HD104 when `at` may be longer than the table
 */
export function positionEmbedding<A extends string, O extends AnyAxis, P extends AnyAxis>(
  table: Tensor<A>,
  rows: O & On<O, A, 'the table'>,
  at: P & Off<P, A>,
): Tensor<Exclude<A, NameOf<O>> | NameOf<P>> {
  return operation('positionEmbedding', (op) => {
    const values = op.node(table, 'the table', 'f32')
    const axis = op.axis(rows)
    const along = op.axis(at)
    op.on([axis], values, 'the table')
    const kept = op.trace.sequences.has(along) ? op.trace.reading?.kept : undefined
    const places = kept?.context.size ?? along.size
    if (places > axis.size) {
      const sentence = `'${along.name}' has up to ${places} places and the table only ${axis.size}`
      op.fail('HD104', sentence, `set the recipe's batch.length to at most ${axis.size}`)
    }
    return op.outsideLayers(() => op.builder.gather(values, positionsAlong(op, along), axis))
  })
}
