// The model being built: which graph axis stands behind an axis object, which node behind a tensor, which place behind
// a node. Every operation of the language goes through `operation`; nothing else touches the builder.

import { UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import { axisNames } from '../compiler/graph/axis.ts'
import type { Axis as GraphAxis, DType } from '../compiler/graph/axis.ts'
import { GraphBuilder } from '../compiler/graph/builder.ts'
import { Provenance } from '../compiler/graph/node.ts'
import type { Node } from '../compiler/graph/node.ts'
import { ShapeError } from '../compiler/graph/structural.ts'
import type { AnyAxis, AnyTensor, AxisOrList, Tensor, ValueType } from './checks.ts'
import { callPlace, plainPlace, thrownInside } from './place.ts'

/** One weight matrix that a linear layer contracts with: what adapters and their file formats need to know. */
export interface LinearModule {
  /** Path of the module in the checkpoint: `model.layers.0.self_attn.q_proj`. */
  readonly path: string
  /** Name of the declared weight: `${path}.weight`. */
  readonly weight: string
  /** Contracted axes, in stored order. */
  readonly inputs: readonly GraphAxis[]
  /** Axes of the result, in stored order. */
  readonly outputs: readonly GraphAxis[]
  /** Stored `[in, out]` (GPT-2's Conv1D, PEFT's `fan_in_fan_out`) rather than PyTorch's `[out, in]`. */
  readonly storedTransposed: boolean
}

export interface TraceOptions {
  /** Sequences of one micro-batch: the size of `batch`. */
  readonly sequences: number
  /** The greatest length of a sequence: the bound of `seq`. */
  readonly length: number
  /** How the checkpoint stores a parameter; f32 where absent. */
  readonly storedDType?: (name: string) => DType
  /**
   * Rows hold several texts one behind the other: inputs `segments` (i32 over batch and seq, equal for the tokens of one
   * text) and `positions` (i32, from 0 within a text) say which and where, and attention stays within a text.
   */
  readonly packed?: boolean
  /**
   * The model is read for generating text with keys and values that are kept, for texts of at most so many tokens: the
   * graph has the functions of `decoding.ts` instead of those of training, and `length` bounds what one call adds.
   */
  readonly kept?: number
  /** The variable that a call initialises, by its place (see the frontend's `nameValues`). */
  readonly names?: (place: Place) => string | undefined
}

/** What stands for the tokens of a call while the model is read, where it is not their index that says where they are. */
export interface Reading {
  /** Input that says where each token stands in its text (i32, over batch and seq). */
  readonly positions: string
  /** Keys and values of earlier calls, which attention sees as well. */
  readonly kept?: KeptKeys
}

export interface KeptKeys {
  /** The axis of everything kept: a run-time extent of its own. */
  readonly context: GraphAxis
  /** Which of the call's tokens exist (bool, over batch and seq); all of them where absent. */
  readonly isToken: Node | undefined
  /** What is to be written back, by name of the declared state, in the order of the attentions. */
  readonly writes: Map<string, Node>
}

export class Trace {
  readonly builder = new GraphBuilder()
  readonly provenance = new Provenance()
  readonly modules: LinearModule[] = []
  readonly options: TraceOptions
  /** Dropout acts while the loss is traced and is the identity elsewhere. */
  training: boolean
  /** Random streams given out so far; each dropout takes the next. */
  streams = 0
  /** Path of the repeated layer that is being traced. */
  scope = ''
  reading: Reading | undefined
  /** Axes along which a text's tokens lie: `seq`, `key` and what is like them. */
  readonly sequences = new Set<GraphAxis>()
  readonly #axes = new Map<AnyAxis, GraphAxis>()
  readonly #inner = new Map<string, GraphAxis>()
  #parameters = new Set<string>()
  #declared = new Set<string>()

  constructor(options: TraceOptions) {
    this.options = options
    this.training = options.kept === undefined
    if (options.packed === true) this.reading = { positions: 'positions' }
  }

  bind(axis: AnyAxis, name: string, size: number, extent?: string): GraphAxis {
    this.#declared.add(name)
    const made = this.#readAgain(name, size, extent) ?? this.builder.axis(this.freeName(name), size, extent)
    this.#axes.set(axis, made)
    return made
  }

  /** Whether this reading of the model has declared an axis of that name, or the language has made one. */
  hasAxis(name: string): boolean {
    return this.#declared.has(name) || [...this.#inner.values()].some((axis) => axis.name === name)
  }

  /** The axis of an earlier reading of the model, where this one declares the same. */
  #readAgain(name: string, size: number, extent: string | undefined): GraphAxis | undefined {
    const known = this.builder.axisNamed(name)
    return known?.size === size && known.extent === extent ? known : undefined
  }

  /** The name, or one made of it that no axis has. */
  freeName(name: string): string {
    let free = name
    for (let suffix = 2; this.builder.hasAxis(free); suffix++) free = `${name}_${suffix}`
    return free
  }

  graphAxis(axis: AnyAxis): GraphAxis | undefined {
    return this.#axes.get(axis)
  }

  /** An axis that the language makes for itself; asked for again under the same purpose it is the same one. */
  innerAxis(name: string, size: number): GraphAxis {
    const key = `${name} ${size}`
    const known = this.#inner.get(key)
    if (known) return known
    const made = this.builder.axis(this.freeName(name), size)
    this.#inner.set(key, made)
    return made
  }

  /** A second reading of the model (for `predict`) meets every parameter once more. */
  nextPass(): void {
    this.#parameters = new Set()
    this.training = false
  }

  /** The model's function is run again, with a `seq` and a `key` of other sizes: it declares its axes once more. */
  nextReading(): void {
    this.nextPass()
    this.#declared = new Set()
    this.sequences.clear()
  }

  /** False when this pass has met the name already. */
  meet(parameter: string): boolean {
    if (this.#parameters.has(parameter)) return false
    this.#parameters.add(parameter)
    return true
  }
}

let current: Trace | undefined

export function currentTrace(): Trace | undefined {
  return current
}

/** Runs `build` with `trace` as the model being built. */
export function within<R>(trace: Trace, build: () => R): R {
  const outer = current
  current = trace
  try {
    return build()
  } finally {
    current = outer
  }
}

class TensorValue {
  readonly axes: readonly string[]
  readonly dtype: DType
  readonly #node: Node
  readonly #trace: Trace

  constructor(node: Node, trace: Trace) {
    this.axes = node.axes.map((axis) => axis.name)
    this.dtype = node.dtype
    this.#node = node
    this.#trace = trace
    Object.freeze(this)
  }

  static nodeOf(value: unknown, trace: Trace): Node | undefined {
    return value instanceof TensorValue && value.#trace === trace ? value.#node : undefined
  }

  toString(): string {
    return shapeOf(this.#node)
  }
}

/** What a person reads of a value's shape. */
export function shapeOf(node: Node): string {
  return node.axes.length === 0 ? 'a scalar' : `(${axisNames(node.axes)})`
}

/** One call of the language while a model is built: unwraps operands, refuses what does not belong. */
export class Operation {
  readonly name: string
  readonly trace: Trace
  readonly place: Place
  /** The variable that the researcher gives the result to. */
  readonly variable: string | undefined

  constructor(name: string, trace: Trace, place: Place, variable?: string) {
    this.name = name
    this.trace = trace
    this.place = place
    this.variable = variable
  }

  get builder(): GraphBuilder {
    return this.trace.builder
  }

  /** The node behind a tensor. HD106 when the value is no tensor of this model or has another dtype. */
  node(value: AnyTensor, which: string, dtype?: ValueType): Node {
    const node = TensorValue.nodeOf(value, this.trace)
    if (!node) {
      const other = (value as unknown) instanceof TensorValue ? 'belongs to another model' : 'is not a tensor'
      return this.fail('HD106', `${which} ${other}`)
    }
    if (dtype !== undefined && node.dtype !== dtype) this.fail('HD106', `${which} is ${node.dtype}, not ${dtype}`)
    return node
  }

  /** The graph's axis behind an axis object. HD102 when it was made elsewhere. */
  axis(axis: AnyAxis): GraphAxis {
    const found = this.trace.graphAxis(axis)
    if (found) return found
    const name = axisNameOf(axis)
    if (name === undefined) return this.fail('HD102', 'an axis was expected, made with axis() or like()')
    return this.fail('HD102', `axis '${name}' belongs to another model`, 'make it inside this defineModel()')
  }

  axes(list: AxisOrList): GraphAxis[] {
    const given = Array.isArray(list) ? (list as readonly AnyAxis[]) : [list as AnyAxis]
    const found = given.map((axis) => this.axis(axis))
    if (new Set(found).size !== found.length) this.fail('HD103', `an axis stands twice in (${axisNames(found)})`)
    if (found.length === 0) this.fail('HD103', 'the list of axes is empty')
    return found
  }

  /** HD103 unless every axis is on the operand. */
  on(axes: readonly GraphAxis[], node: Node, which: string): void {
    for (const axis of axes) {
      if (!node.axes.includes(axis)) this.fail('HD103', `axis '${axis.name}' is not on ${which} ${shapeOf(node)}`)
    }
  }

  /** HD103 when the axis is on the operand already. */
  off(axes: readonly GraphAxis[], node: Node, which: string): void {
    for (const axis of axes) {
      if (node.axes.includes(axis)) this.fail('HD103', `axis '${axis.name}' is already on ${which} ${shapeOf(node)}`)
    }
  }

  /** A constant; equal ones are shared by all layers. */
  number(value: number): Node {
    return this.outsideLayers(() => this.builder.float(value))
  }

  /** Nodes that every layer shares belong to none of them. */
  outsideLayers<R>(build: () => R): R {
    const { builder } = this
    const layer = builder.layer
    builder.layer = undefined
    try {
      return build()
    } finally {
      builder.layer = layer
    }
  }

  wrap<A extends string, T extends ValueType>(node: Node): Tensor<A, T> {
    this.#note(node)
    return new TensorValue(node, this.trace) as unknown as Tensor<A, T>
  }

  /** What the graph refuses becomes HD103 at the researcher's line. */
  guard<R>(build: () => R): R {
    try {
      return build()
    } catch (error) {
      if (error instanceof ShapeError) return this.fail('HD103', error.message.replace(`${this.name}: `, ''))
      // From JavaScript anything may be handed in; what is missing altogether shows as a TypeError of our own.
      if (error instanceof TypeError && thrownInside(error)) {
        throw userError('HD106', `${this.name}: an argument is missing or of the wrong kind`, this.place)
      }
      throw error
    }
  }

  fail(code: string, sentence: string, mend?: string): never {
    throw userError(code, `${this.name}: ${sentence}`, this.place, mend)
  }

  #note(node: Node): void {
    const { provenance, scope } = this.trace
    const { variable } = this
    const name = variable === undefined || scope === '' ? variable : `${scope}.${variable}`
    provenance.note(node, name, undefined)
    // The nodes an operation makes on its way have its place too; those that others made before keep theirs.
    const open = [node]
    for (let next = open.pop(); next; next = open.pop()) {
      if (provenance.place(next) !== undefined) continue
      provenance.note(next, undefined, this.place)
      open.push(...next.inputs)
    }
  }
}

/**
 * Runs one operation of the language under its name and the place of the researcher's call. What the graph refuses
 * becomes a UserError HD103 there; HD102 outside a model.
 */
export function operation<A extends string, T extends ValueType>(
  name: string,
  build: (op: Operation) => Node,
  place?: Place,
): Tensor<A, T> {
  const op = beginOperation(name, place)
  return op.guard(() => op.wrap(build(op)))
}

/** An operation at the researcher's call, or at `place` where that call was made earlier than it takes effect. */
export function beginOperation(name: string, place: Place = callPlace()): Operation {
  if (!current) throw userError('HD102', `${name}: called outside a model`, place, 'call it inside defineModel()')
  return new Operation(name, current, place, current.options.names?.(plainPlace(place)))
}

export function userError(code: string, sentence: string, place: Place, mend?: string): UserError {
  return new UserError(code, sentence, { place: plainPlace(place), ...(mend === undefined ? {} : { mend }) })
}

function axisNameOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('name' in value)) return undefined
  return typeof value.name === 'string' ? value.name : undefined
}
