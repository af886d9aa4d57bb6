// AdamW (Loshchilov and Hutter 2019) as two functions of the graph: `measure` looks at what was accumulated, `apply`
// updates the trainables from it. Between them the run-time can refuse a step that has bad numbers.

import { UserError } from '../diagnostic.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import { rootsOf } from '../graph/node.ts'
import type { Declaration, GraphFunction, Node } from '../graph/node.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier } from './rebuild.ts'
import { checkSchedule, rateAt } from './learningRate.ts'
import type { RateSchedule } from './learningRate.ts'
import * as state from './states.ts'

export interface AdamWOptions {
  readonly schedule: RateSchedule
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  /** Decoupled; acts on every trainable, as in PyTorch with one parameter group. */
  readonly weightDecay: number
  /** Greatest global 2-norm of the gradient; absent for no clipping. */
  readonly clip?: number
}

/** Added to the norm before dividing by it, as PyTorch's clip_grad_norm_ does. */
const normEpsilon = 1e-6

/**
 * Adds `measure` and `apply`. With G what `accumulate` added up, W the summed weight, g = G / W:
 *
 *     measure   norm2/p := Σ G² / W²      report/gradient_norm := √Σₚ norm2/p      report/loss := sum/loss / W
 *               report/rate := the rate of the update that follows
 *     apply     g ← g · min(1, clip / (norm + 1e-6))
 *               m ← β₁m + (1 − β₁)g       v ← β₂v + (1 − β₂)g²      c₁ ← β₁c₁ + (1 − β₁)     c₂ ← β₂c₂ + (1 − β₂)
 *               p ← p·(1 − rate·decay) − (rate / c₁) · m / (√v · (1/√c₂) + ε)
 *
 * `apply` reads the norm that `measure` reported, and sets gradients and sums back to 0. Without any weight (W = 0) all
 * of it is NaN, which the run-time refuses.
 *
 * @throws UserError HD301 for an option out of range
 */
export function adamW(options: AdamWOptions): Pass {
  checkOptions(options)
  return {
    name: 'adamW',
    summary: 'functions `measure` and `apply` update the trainables',
    run: (graph, { provenance }) => {
      const parameters = state.trainables(graph)
      const builder = builderAfter(graph, statesOf(parameters))
      const copier = new Copier(builder, provenance)
      copier.add(graph.functions.flatMap(rootsOf))
      const [first, ...others] = graph.functions.map((fn) => copier.fn(fn))
      if (first) builder.define(first)
      builder.define(measure(builder, parameters, options))
      builder.define(apply(builder, parameters, options))
      for (const fn of others) builder.define(fn)
      return builder.finish()
    },
  }
}

function checkOptions({ schedule, beta1, beta2, epsilon, weightDecay, clip }: AdamWOptions): void {
  checkSchedule(schedule)
  const refuse = (what: string, value: number, range: string): UserError =>
    new UserError('HD301', `adamW: ${what} is ${value}`, { mend: `it is ${range}` })
  if (!(beta1 >= 0 && beta1 < 1)) throw refuse('beta1', beta1, 'at least 0 and below 1')
  if (!(beta2 >= 0 && beta2 < 1)) throw refuse('beta2', beta2, 'at least 0 and below 1')
  if (!(epsilon > 0 && Number.isFinite(epsilon))) throw refuse('epsilon', epsilon, 'a positive number')
  if (!(weightDecay >= 0 && Number.isFinite(weightDecay))) throw refuse('weightDecay', weightDecay, 'a number from 0')
  if (clip !== undefined && !(clip > 0 && Number.isFinite(clip))) throw refuse('clip', clip, 'a positive number')
}

function statesOf(parameters: readonly Declaration[]): Declaration[] {
  const scalars = [
    state.reportedLoss,
    state.reportedNorm,
    state.reportedRate,
    state.firstCorrection,
    state.secondCorrection,
  ]
  return [
    ...parameters.map(({ name }) => state.zeroState(state.squaredNormOf(name), [])),
    ...parameters.flatMap(({ name, stored }) => [
      state.zeroState(state.firstMomentOf(name), stored),
      state.zeroState(state.secondMomentOf(name), stored),
    ]),
    state.zeroState(state.stepCount, [], 'i32'),
    ...scalars.map((name) => state.zeroState(name, [])),
  ]
}

type Write = GraphFunction['writes'][number]

function measure(b: GraphBuilder, parameters: readonly Declaration[], { schedule }: AdamWOptions): GraphFunction {
  const weight = b.read(state.weightSum)
  const square = b.map('mul', weight, weight)
  const norms = parameters.map(({ name, stored }): Write => {
    const sum = b.read(state.gradientOf(name))
    // As it lies in memory: one pass over what is by far the largest sum of a step.
    const raw = stored.flat().reduceRight((rest: Node, axis) => b.sum(rest, axis), b.map('mul', sum, sum))
    return { name: state.squaredNormOf(name), node: b.map('div', raw, square) }
  })
  const total = norms.map(({ node }) => node).reduce((sum, norm) => b.map('add', sum, norm))
  const writes: Write[] = [
    ...norms,
    { name: state.reportedNorm, node: b.map('sqrt', total) },
    { name: state.reportedLoss, node: b.map('div', b.read(state.lossSum), weight) },
    { name: state.reportedRate, node: rateAt(b, schedule, nextStep(b)) },
  ]
  return { name: 'measure', outputs: [], writes }
}

function nextStep(b: GraphBuilder): Node {
  return b.map('intAdd', b.read(state.stepCount), b.int(1))
}

/** What every parameter's update needs of the step: scalars, computed once. */
interface StepScalars {
  /** From the accumulated sum to the clipped gradient of the mean. */
  readonly gradientScale: Node
  /** What a weight keeps of itself; undefined where it keeps everything. */
  readonly keep: Node | undefined
  /** rate / c₁ */
  readonly size: Node
  /** 1 / √c₂ */
  readonly inverseRoot: Node
}

function apply(b: GraphBuilder, parameters: readonly Declaration[], options: AdamWOptions): GraphFunction {
  const step = nextStep(b)
  const rate = rateAt(b, options.schedule, step)
  const first = movingAverage(b, state.firstCorrection, options.beta1, undefined)
  const second = movingAverage(b, state.secondCorrection, options.beta2, undefined)
  const decay = options.weightDecay
  const scalars: StepScalars = {
    gradientScale: gradientScale(b, options.clip),
    keep: decay === 0 ? undefined : b.map('sub', b.float(1), b.map('mul', rate, b.float(decay))),
    size: b.map('div', rate, first),
    inverseRoot: b.map('div', b.float(1), b.map('sqrt', second)),
  }
  const writes: Write[] = [
    ...parameters.flatMap(({ name }) => update(b, name, scalars, options)),
    { name: state.lossSum, node: b.float(0) },
    { name: state.weightSum, node: b.float(0) },
    { name: state.stepCount, node: step },
    { name: state.firstCorrection, node: first },
    { name: state.secondCorrection, node: second },
  ]
  return { name: 'apply', outputs: [], writes }
}

function gradientScale(b: GraphBuilder, clip: number | undefined): Node {
  const weight = b.read(state.weightSum)
  if (clip === undefined) return b.map('div', b.float(1), weight)
  const norm = b.map('add', b.read(state.reportedNorm), b.float(normEpsilon))
  // A NaN goes second, where `min` lets it through.
  const coefficient = b.map('min', b.float(1), b.map('div', b.float(clip), norm))
  return b.map('div', coefficient, weight)
}

/** β · state + (1 − β) · value; the value is 1 where none is given. */
function movingAverage(b: GraphBuilder, name: string, beta: number, value: Node | undefined): Node {
  const share = b.float(1 - beta)
  return b.map('fma', b.read(name), b.float(beta), value === undefined ? share : b.map('mul', value, share))
}

function update(b: GraphBuilder, name: string, scalars: StepScalars, { beta1, beta2, epsilon }: AdamWOptions): Write[] {
  const parameter = b.read(name)
  const gradient = b.map('mul', b.read(state.gradientOf(name)), scalars.gradientScale)
  const first = movingAverage(b, state.firstMomentOf(name), beta1, gradient)
  const second = movingAverage(b, state.secondMomentOf(name), beta2, b.map('mul', gradient, gradient))
  const root = b.map('mul', b.map('sqrt', second), scalars.inverseRoot)
  const direction = b.map('div', first, b.map('add', root, b.float(epsilon)))
  const kept = scalars.keep === undefined ? parameter : b.map('mul', parameter, scalars.keep)
  return [
    { name, node: b.map('sub', kept, b.map('mul', direction, scalars.size)) },
    { name: state.firstMomentOf(name), node: first },
    { name: state.secondMomentOf(name), node: second },
    { name: state.gradientOf(name), node: b.broadcast(b.float(0), parameter.axes) },
  ]
}
