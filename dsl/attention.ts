// Attention and what belongs to it: rotary positions, masks as predicates, softmax, and the loss over a vocabulary.

import { axisNames } from '../compiler/graph/axis.ts'
import type { Axis as GraphAxis } from '../compiler/graph/axis.ts'
import { softmaxBlock } from '../compiler/graph/builder.ts'
import type { GraphBuilder } from '../compiler/graph/builder.ts'
import type { Node } from '../compiler/graph/node.ts'
import { seq } from './axes.ts'
import type { AnyAxis, AnyPredicate, NameOf, Off, On, OnBoth, Tensor } from './checks.ts'
import { rotaryTable } from './frequencies.ts'
import type { RopeScaling } from './frequencies.ts'
import { positive } from './layers.ts'
import { keepKeys } from './keptKeys.ts'
import type { Keys } from './keptKeys.ts'
import { placesAlong, positionsAlong, sameText } from './positions.ts'
import { operation, shapeOf } from './trace.ts'
import type { Operation } from './trace.ts'

/** The score of a masked key: far below any other, and finite so that a row of them has no NaN. */
const maskedScore = -3.0e38

/** eˣ / Σ eˣ along an axis, rescaled at the canonical boundaries. */
export function softmax<A extends string, O extends AnyAxis>(x: Tensor<A>, over: O & On<O, A>): Tensor<A> {
  return operation('softmax', (op) => {
    const b = op.builder
    const node = op.node(x, 'x', 'f32')
    const axis = op.axis(over)
    op.on([axis], node, 'x')
    return b.map('exp', b.map('sub', node, b.logSumExp(node, axis, softmaxBlock.keys)))
  })
}

export interface RopeOptions<A extends string, O extends AnyAxis, P extends AnyAxis> {
  /** The head dimension; its first half is rotated against its second. */
  readonly over: O & On<O, A, 'x'>
  /** The axis whose index is the position. */
  readonly at: P & On<P, A, 'x'>
  /** The base of the frequencies. */
  readonly theta: number
  /** How the frequencies are stretched for longer texts; not at all where absent. */
  readonly scaling?: RopeScaling | undefined
}

/** Rotary position embedding (Su et al. 2021) over halves. HD104 when the dimension is odd or a number makes no sense. */
export function rope<A extends string, O extends AnyAxis, P extends AnyAxis>(
  x: Tensor<A>,
  options: RopeOptions<A, O, P>,
): Tensor<A> {
  return operation('rope', (op) => {
    const b = op.builder
    const node = op.node(x, 'x', 'f32')
    const dimension = op.axis(options.over)
    const at = op.axis(options.at)
    op.on([dimension, at], node, 'x')
    const { size, name } = dimension
    if (size % 2 !== 0) op.fail('HD104', `axis '${name}' has ${size} places`, 'rotation needs an even number')
    const theta = positive(op, 'theta', options.theta)
    const { frequencies, amplitude } = rotaryTable(theta, size, checkedScaling(op, options.scaling))
    const half = op.trace.innerAxis(`${name}_half`, 2)
    const pair = op.trace.innerAxis(`${name}_pair`, size / 2)
    const [cosine, sine] = op.outsideLayers(() => {
      const table = b.table(pair, frequencies)
      const angle = b.map('mul', b.map('toFloat', positionsAlong(op, at)), table)
      const turns = [b.map('cos', angle), b.map('sin', angle)] as const
      if (amplitude === 1) return turns
      return [b.map('mul', turns[0], op.number(amplitude)), b.map('mul', turns[1], op.number(amplitude))] as const
    })
    const parts = b.split(node, dimension, [half, pair])
    const first = b.pick(parts, half, 0)
    const second = b.pick(parts, half, 1)
    const turned = [
      b.map('sub', b.map('mul', first, cosine), b.map('mul', second, sine)),
      b.map('add', b.map('mul', second, cosine), b.map('mul', first, sine)),
    ]
    return b.merge(b.stack(turned, half), [half, pair], dimension)
  })
}

/** HD104 for a scaling whose numbers make no sense. */
function checkedScaling(op: Operation, scaling: RopeScaling | undefined): RopeScaling | undefined {
  if (scaling === undefined) return undefined
  for (const [name, value] of Object.entries(scaling)) {
    if (typeof value === 'number') positive(op, `the scaling's ${name}`, value)
  }
  if (scaling.type === 'llama3' && scaling.highFrequency <= scaling.lowFrequency) {
    op.fail('HD104', `the scaling's highFrequency ${scaling.highFrequency} is not above its lowFrequency`)
  }
  return scaling
}

/** A predicate over places in the row: where it holds, a query sees a key. Made for the keys' axis of the attention it is in. */
export interface Mask {
  /** How messages call it. */
  readonly name: string
  /** The node of the predicate, given the axis of the keys. */
  readonly predicate: (op: Operation, keys: GraphAxis) => Node
}

/** A query at position i of `at` (the sequence, unless stated) sees the keys 0 … i. */
export function causal(options: { readonly at?: AnyAxis } = {}): Mask {
  const at: AnyAxis = options.at ?? seq
  return {
    name: 'causal',
    predicate: (op, keys) =>
      op.outsideLayers(() => op.builder.map('intLessEqual', op.builder.iota(keys), placesAlong(op, op.axis(at)))),
  }
}

/** Wider than any sequence, and far from where 32-bit positions overflow. */
const widestWindow = 1 << 30

/**
 * A query at position i of `at` (the sequence, unless stated) sees the `window` keys i − window + 1 … i, as transformers
 * counts them. Blocks of keys outside of every window are not computed.
 *
 * @throws UserError HD104 unless the window is a positive integer
 */
export function sliding(window: number, options: { readonly at?: AnyAxis } = {}): Mask {
  const at: AnyAxis = options.at ?? seq
  const upTo = causal(options)
  return {
    name: 'sliding',
    predicate: (op, keys) => {
      if (!Number.isSafeInteger(window) || window < 1) {
        op.fail('HD104', `the window is ${window}`, 'it is a positive integer')
      }
      const along = op.axis(at)
      const isEarlier = upTo.predicate(op, keys)
      // No sequence is longer than the window, so that it closes nothing.
      if (window >= Math.min(keys.size, widestWindow)) return isEarlier
      return op.outsideLayers(() => {
        const b = op.builder
        const before = b.map('intSub', placesAlong(op, along), b.int(window))
        return b.map('and', isEarlier, b.map('intLess', before, b.iota(keys)))
      })
    },
  }
}

export interface AttendOptions<A extends string, B extends string, O extends AnyAxis, K extends AnyAxis> {
  /** The head dimension that queries and keys are contracted over. */
  readonly over: O & OnBoth<O, A, B>
  /** The axis of keys and values, which the result lacks. */
  readonly keys: K & Off<K, A> & On<K, B, 'the keys'>
  /** Who sees whom: `causal()`, `sliding(window)`, a predicate tensor, or everything where absent. */
  readonly mask?: Mask | AnyPredicate
  /** What the scores are multiplied with, usually the head dimension to the power −½. */
  readonly scale: number
}

/**
 * softmax(scale · q·k, masked) · v. Queries may have axes that keys and values lack: that is grouped-query attention.
 * Streams over keys: the matrix of scores never exists (Dao et al. 2022).
 *
 * @throws UserError HD103 for an axis that is missing or a mask on axes that the scores lack
 */
export function attend<A extends string, B extends string, C extends string, O extends AnyAxis, K extends AnyAxis>(
  q: Tensor<A>,
  k: Tensor<B>,
  v: Tensor<C>,
  options: AttendOptions<A, B, O, K>,
): Tensor<Exclude<Exclude<A | B, NameOf<O>> | C, NameOf<K>>> {
  return operation('attend', (op) => {
    const b = op.builder
    const queries = op.node(q, 'q', 'f32')
    const keyed = op.node(k, 'k', 'f32')
    const values = op.node(v, 'v', 'f32')
    const over = op.axis(options.over)
    const keys = op.axis(options.keys)
    for (const [node, which] of [
      [queries, 'q'],
      [keyed, 'k'],
    ] as const)
      op.on([over], node, which)
    for (const [node, which] of [
      [keyed, 'k'],
      [values, 'v'],
    ] as const)
      op.on([keys], node, which)
    op.off([keys], queries, 'q')
    const seen = keepKeys(op, { keyed, values, axis: keys })
    const scores = b.map('mul', b.dot(queries, seen.keyed, [over]), op.number(positive(op, 'scale', options.scale)))
    const masked = maskScores(op, scores, seen, options.mask)
    return b.softmaxDot(masked, seen.values, seen.axis, softmaxBlock.keys)
  })
}

function maskScores(op: Operation, scores: Node, seen: Keys, mask: Mask | AnyPredicate | undefined): Node {
  const keys = seen.axis
  const within = sameText(op, scores, keys)
  if (mask === undefined) return within ? op.builder.map('select', within, scores, op.number(maskedScore)) : scores
  const isMask = 'predicate' in mask
  const stated = isMask ? mask.predicate(op, keys) : seen.mask(op.node(mask, 'the mask', 'bool'))
  const predicate = within ? op.outsideLayers(() => op.builder.map('and', stated, within)) : stated
  const wrong = predicate.axes.find((axis) => !scores.axes.includes(axis))
  if (wrong) {
    const called = isMask ? `the ${mask.name} mask` : 'the mask'
    op.fail(
      'HD103',
      `${called} (${axisNames(predicate.axes)}) has axis '${wrong.name}', which the scores ${shapeOf(scores)} lack`,
    )
  }
  return op.builder.map('select', predicate, scores, op.number(maskedScore))
}

/** −log softmax(logits)[target] in nats, over the vocabulary's axis. */
export function crossEntropy<A extends string, B extends string, O extends AnyAxis>(
  logits: Tensor<A>,
  targets: Tensor<B, 'i32'>,
  over: O & On<O, A, 'the logits'> & Off<O, B>,
): Tensor<Exclude<A, NameOf<O>> | B> {
  return operation('crossEntropy', (op) => {
    const b = op.builder
    const scores = op.node(logits, 'the logits', 'f32')
    const wanted = op.node(targets, 'the targets', 'i32')
    const axis = op.axis(over)
    op.on([axis], scores, 'the logits')
    op.off([axis], wanted, 'the targets')
    return surprise(b, scores, wanted, axis)
  })
}

/** logSumExp(logits) − logits[target] along the vocabulary, which is blocked at its own canonical boundaries. */
export function surprise(b: GraphBuilder, logits: Node, targets: Node, vocabulary: GraphAxis): Node {
  const total = b.logSumExp(logits, vocabulary, softmaxBlock.vocabulary)
  return b.map('sub', total, b.gather(logits, targets, vocabulary))
}
