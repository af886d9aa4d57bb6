// What a causal language model consists of, and the two functions its graph gets: `loss` for training and evaluation,
// `predict` for the next token. Knows no architecture and no objective but the next token.

import { axisNames, sameAxes } from '../compiler/graph/axis.ts'
import type { Axis as GraphAxis, DType } from '../compiler/graph/axis.ts'
import type { Node } from '../compiler/graph/node.ts'
import { surprise } from './attention.ts'
import { batch, seq } from './axes.ts'
import type { AnyAxis, AnyTensor, Axis, NameOf, On, Tensor } from './checks.ts'
import { linearNode } from './layers.ts'
import type { ParameterScope } from './parameters.ts'
import { callPlace } from './place.ts'
import { operation } from './trace.ts'
import type { Operation } from './trace.ts'

declare const languageModelBrand: unique symbol

/** What a model's function returns; only `causalLM` makes it. */
export interface LanguageModel {
  readonly [languageModelBrand]: true
}

/** The parts of a causal language model; `E` is the width's axis, `V` the vocabulary's. */
export interface CausalParts<E extends string, V extends string> {
  readonly vocabulary: Axis<V>
  readonly embed: (tokens: Tensor<'batch' | 'seq', 'i32'>) => Tensor<'batch' | 'seq' | E>
  readonly blocks: (x: Tensor<'batch' | 'seq' | E>) => Tensor<'batch' | 'seq' | E>
  readonly norm: (x: Tensor<'batch' | 'seq' | E>) => Tensor<'batch' | 'seq' | E>
  /** Logits of each position by itself: `predict` calls it for one position of each sequence. */
  readonly head: Head<NoInfer<E>, NoInfer<V>>
}

/** A projection to the vocabulary. */
export type Head<E extends string, V extends string> = (x: Tensor<'batch' | 'seq' | E>) => Tensor<'batch' | 'seq' | V>

export interface BuiltParts {
  readonly vocabulary: AnyAxis
  readonly embed: (tokens: AnyTensor) => AnyTensor
  readonly blocks: (x: AnyTensor) => AnyTensor
  readonly norm: (x: AnyTensor) => AnyTensor
  readonly head: (x: AnyTensor) => AnyTensor
}

const built = new WeakMap<LanguageModel, BuiltParts>()

/** A language model that predicts each token from those before it. */
export function causalLM<E extends string, V extends string>(parts: CausalParts<E, V>): LanguageModel {
  const model = Object.freeze({}) as LanguageModel
  built.set(model, parts as unknown as BuiltParts)
  return model
}

/** The head whose weight is the embedding table: one parameter used twice. */
export function tied<A extends string, O extends AnyAxis>(
  table: Tensor<A>,
  over: O & On<O, A, 'the table'>,
): Head<NameOf<O>, Exclude<A, NameOf<O>>> {
  const place = callPlace()
  return (x) =>
    operation(
      'tied',
      (op) => {
        const input = op.node(x, 'x', 'f32')
        const weight = op.node(table, 'the table', 'f32')
        const axis = op.axis(over)
        op.on([axis], input, 'x')
        op.on([axis], weight, 'the table')
        return op.builder.dot(input, weight, [axis])
      },
      place,
    )
}

/** A head with a weight of its own, `name.weight` stored `[vocabulary, over]`. */
export function untied<E extends string, V extends string>(
  p: ParameterScope,
  name: string,
  vocabulary: Axis<V>,
  over: Axis<E>,
): Head<E, V> {
  const place = callPlace()
  return (x) => operation('untied', (op) => linearNode(op, x, p, name, [vocabulary, over], {}), place)
}

/** The parts behind what a model's function returned; undefined when it did not come from `causalLM`. */
export function partsOf(model: LanguageModel): BuiltParts | undefined {
  return typeof model === 'object' && model !== null ? built.get(model) : undefined
}

/**
 * Declares what every call of a language model is given: `tokens`, `targets` (i32) and `weights` (f32) over batch and
 * seq, `position` (i32, over batch: where `predict` reads) and the scalar `seed` of dropout; `segments` and `positions`
 * (i32 over batch and seq) where rows hold several texts.
 */
export function declareInputs(op: Operation): void {
  const sequences = op.axis(batch)
  const positions = op.axis(seq)
  const declare = (name: string, dtype: DType, axes: readonly GraphAxis[]) =>
    op.builder.declare({ name, role: 'input', dtype, stored: axes.map((axis) => [axis]) })
  declare('tokens', 'i32', [sequences, positions])
  declare('targets', 'i32', [sequences, positions])
  declare('weights', 'f32', [sequences, positions])
  declare('position', 'i32', [sequences])
  declare('seed', 'i32', [])
  if (op.trace.options.packed !== true) return
  declare('segments', 'i32', [sequences, positions])
  declare('positions', 'i32', [sequences, positions])
}

/**
 * Defines three functions. `loss` has outputs `loss` = Σ weights · (logSumExp(logits) − logits[target]) in nats and
 * `weight` = Σ weights; the sums run over seq, then batch, and are not divided, so that micro-batches add up first. `score`
 * has the sums over seq alone (`losses`, over batch) and `predict` the `logits` (batch, vocabulary) at `position` of each
 * sequence, both without dropout.
 */
export function defineFunctions(op: Operation, parts: BuiltParts): void {
  const b = op.builder
  const { trace } = op
  const sequences = op.axis(batch)
  const positions = op.axis(seq)
  const vocabulary = op.axis(parts.vocabulary)
  const tokens = op.wrap<string, 'i32'>(b.read('tokens'))
  const hidden = () => parts.norm(parts.blocks(parts.embed(tokens)))

  const states = hidden()
  const losses = b.sum(weightedSurprise(op, parts, states), positions)
  const weight = b.sum(b.sum(b.read('weights'), positions), sequences)
  const loss = b.sum(losses, sequences)
  b.define({ name: 'loss', outputs: [output(op, 'loss', loss), output(op, 'weight', weight)], writes: [] })

  // Prediction has no dropout: only a model that drew random numbers has to be read again without.
  trace.nextPass()
  const isSettled = trace.streams === 0
  const settled = isSettled ? states : hidden()
  const scores = isSettled ? losses : b.sum(weightedSurprise(op, parts, settled), positions)
  b.define({ name: 'score', outputs: [output(op, 'losses', scores)], writes: [] })
  const last = op.wrap<string, 'f32'>(
    b.gather(op.node(settled, 'the normalised states', 'f32'), b.read('position'), positions),
  )
  const next = logitsOf(op, parts, last, [sequences, vocabulary])
  b.define({ name: 'predict', outputs: [output(op, 'logits', next)], writes: [] })
}

/** weights · surprise of every target, over batch and seq. */
function weightedSurprise(op: Operation, parts: BuiltParts, states: AnyTensor): Node {
  const b = op.builder
  const vocabulary = op.axis(parts.vocabulary)
  const logits = logitsOf(op, parts, states, [op.axis(batch), op.axis(seq), vocabulary])
  return b.map('mul', b.read('weights'), surprise(b, logits, b.read('targets'), vocabulary))
}

export function logitsOf(op: Operation, parts: BuiltParts, states: AnyTensor, axes: readonly GraphAxis[]): Node {
  const logits = op.node(parts.head(states), 'the logits', 'f32')
  if (!sameAxes(logits.axes, axes)) {
    op.fail('HD103', `the head gives logits on (${axisNames(logits.axes)}), not on (${axisNames(axes)})`)
  }
  return logits
}

export function output(op: Operation, name: string, node: Node): { name: string; node: Node } {
  op.trace.provenance.note(node, name, undefined)
  op.wrap(node)
  return { name, node }
}
