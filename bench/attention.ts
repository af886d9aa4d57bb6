// Causal attention by itself, forward alone and with its backward pass, to hold against the rate of contractions.

import type { Axis } from '../compiler/graph/axis.ts'
import { GraphBuilder, softmaxBlock } from '../compiler/graph/builder.ts'
import { Provenance } from '../compiler/graph/node.ts'
import type { Node } from '../compiler/graph/node.ts'
import { planProgram } from '../compiler/plan/place.ts'
import { scheduleFunction } from '../compiler/schedule/schedule.ts'
import type { ScheduleProfile } from '../compiler/schedule/profile.ts'
import { differentiate } from '../compiler/transform/differentiate.ts'
import { rematerialise } from '../compiler/transform/rematerialise.ts'
import { runPasses } from '../compiler/transform/runner.ts'
import { separateWrites } from '../compiler/transform/separateWrites.ts'
import { simplify } from '../compiler/transform/simplify.ts'
import type { Measured } from '../evaluate/speed/machine.ts'

export interface AttentionShape {
  readonly sequences: number
  readonly length: number
  readonly heads: number
  readonly width: number
}

/** Products of a forward pass; of a backward pass, in which the scores are computed again: dV, dP, dQ and dK besides. */
const products = { forward: 2, backward: 5 } as const

/** Of what is declared as q along `seq`, k and v along `key`, all of them along `dim`. */
export function causalAttention(b: GraphBuilder, seq: Axis, key: Axis, dim: Axis): Node {
  const scores = b.map('mul', b.dot(b.read('q'), b.read('k'), [dim]), b.float(dim.size ** -0.5))
  const causal = b.map('intLessEqual', b.iota(key), b.iota(seq))
  const masked = b.map('select', causal, scores, b.float(Math.fround(-3e38)))
  return b.softmaxDot(masked, b.read('v'), key, softmaxBlock.keys)
}

/** y[batch, seq, head, dim] of q, k and v, each stored so. */
function trainedAttention(b: GraphBuilder, { sequences, length, heads, width }: AttentionShape): Node {
  const batch = b.axis('batch', sequences)
  const seq = b.axis('seq', length)
  const key = b.axis('key', length)
  const head = b.axis('head', heads)
  const dim = b.axis('dim', width)
  b.declare({ name: 'q', role: 'trainable', dtype: 'f32', stored: [[batch], [seq], [head], [dim]] })
  for (const name of ['k', 'v'])
    b.declare({ name, role: 'trainable', dtype: 'f32', stored: [[batch], [key], [head], [dim]] })
  b.declare({ name: 'dy', role: 'input', dtype: 'f32', stored: [[batch], [seq], [head], [dim]] })
  return causalAttention(b, seq, key, dim)
}

/**
 * Operations are those of the products under the mask, T·(T + 1) / 2 pairs: whole blocks on the diagonal are computed, so that
 * what is executed is more.
 */
export function attentionProgram(shape: AttentionShape, isWhole: boolean, profile: ScheduleProfile): Measured {
  const b = new GraphBuilder()
  const y = trainedAttention(b, shape)
  const loss = b.dot(y, b.read('dy'), y.axes)
  const name = isWhole ? 'loss' : 'forward'
  const outputs = isWhole ? [{ name: 'loss', node: loss }, { name: 'weight', node: b.float(1) }] : [{ name: 'y', node: y }] // prettier-ignore
  b.define({ name, outputs, writes: [] })
  const provenance = new Provenance()
  const passes = isWhole ? [simplify(), differentiate(), simplify(), rematerialise(), separateWrites()] : [simplify()]
  const { graph } = runPasses(b.finish(), passes, { provenance })
  const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
  const { program } = planProgram('attention', graph, functions, provenance)
  const { sequences, length, heads, width } = shape
  const pairs = (sequences * length * (length + 1)) / 2
  const count = products.forward + (isWhole ? products.backward : 0)
  return { program, fn: isWhole ? 'accumulate' : 'forward', operations: 2 * count * pairs * width * heads }
}
