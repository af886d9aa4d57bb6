// A small hand-made graph as models make them: layer norm, causal attention with a fused weight, a residual, and a
// running mean of the result as state. For goldens and for comparing arithmetics.

import { sortAxes } from '../../compiler/graph/axis.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'

export interface AttentionSizes {
  readonly embed: number
  readonly head: number
  readonly dim: number
  /** Bound of `seq` and `key`. */
  readonly seq: number
  readonly block: number
}

export const attentionSizes: AttentionSizes = { embed: 20, head: 3, dim: 7, seq: 33, block: 8 }

export function attentionGraph(sizes: AttentionSizes = attentionSizes): { graph: Graph; provenance: Provenance } {
  const b = new GraphBuilder()
  const provenance = new Provenance()
  const named = (name: string, node: Node): Node => {
    provenance.note(node, name, undefined)
    return node
  }
  const batch = b.axis('batch', 2, 'batch')
  const seq = b.axis('seq', sizes.seq, 'seq')
  const embed = b.axis('embed', sizes.embed)
  const qkv = b.axis('qkv', 3)
  const head = b.axis('head', sizes.head)
  const dim = b.axis('head_dim', sizes.dim)
  const key = b.axis('key', sizes.seq, 'seq')
  b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[batch], [seq], [embed]] })
  b.declare({ name: 'h.0.ln_1.weight', role: 'frozen', dtype: 'bf16', stored: [[embed]] })
  b.declare({ name: 'h.0.ln_1.bias', role: 'frozen', dtype: 'bf16', stored: [[embed]] })
  b.declare({ name: 'h.0.attn.c_attn.weight', role: 'trainable', dtype: 'f32', stored: [[embed], [qkv, head, dim]] })
  b.declare({ name: 'h.0.attn.c_proj.weight', role: 'trainable', dtype: 'f32', stored: [[head, dim], [embed]] })
  const zero = { kind: 'constant', value: 0 } as const
  b.declare({ name: 'running mean', role: 'state', dtype: 'f32', stored: [[embed]], initial: zero })

  b.layer = 0
  const x = b.read('x')
  const inverse = b.float(1 / sizes.embed)
  const mean = named('mean', b.map('mul', b.sum(x, embed), inverse))
  const centred = b.map('sub', x, mean)
  const variance = named('variance', b.map('mul', b.sum(b.map('mul', centred, centred), embed), inverse))
  const scale = b.map('rsqrt', b.map('add', variance, b.float(1e-5)))
  const weighted = b.map('mul', b.map('mul', centred, scale), b.read('h.0.ln_1.weight'))
  const norm = named('ln_1', b.map('add', weighted, b.read('h.0.ln_1.bias')))
  const fused = named('c_attn', b.dot(norm, b.read('h.0.attn.c_attn.weight'), [embed]))
  const q = named('q', b.pick(fused, qkv, 0))
  const k = named('k', b.rename(b.pick(fused, qkv, 1), seq, key))
  const v = named('v', b.rename(b.pick(fused, qkv, 2), seq, key))
  const scores = b.map('mul', b.dot(q, k, [dim]), b.float(sizes.dim ** -0.5))
  const causal = b.map('intLessEqual', b.iota(key), b.iota(seq))
  const masked = named('scores', b.map('select', causal, scores, b.float(-3.0e38)))
  const attended = named('attention', b.softmaxDot(masked, v, key, sizes.block))
  const projected = named('c_proj', b.dot(attended, b.read('h.0.attn.c_proj.weight'), [head, dim]))
  const y = named('y', b.map('add', x, projected))
  b.layer = undefined
  const total = b.sumAll(y, [batch, seq])
  const tokens = b.map('toFloat', b.map('intMul', b.extent(batch), b.extent(seq)))
  b.define({
    name: 'step',
    outputs: [
      { name: 'y', node: y },
      { name: 'mean', node: mean },
    ],
    writes: [{ name: 'running mean', node: b.map('div', total, tokens) }],
  })
  b.define({ name: 'scores', outputs: [{ name: 'log sum', node: b.logSumExp(masked, key, sizes.block) }], writes: [] })
  return { graph: b.finish(), provenance }
}

/** Smooth values for every declaration, float32 numbers in doubles. */
export function attentionValues(graph: Graph, extents: Extents): Map<string, Tensor> {
  const values = new Map<string, Tensor>()
  for (const { name, stored } of graph.declarations.values()) {
    const axes = sortAxes(stored.flat())
    const sizes = axes.map((axis) => extentOf(axis, extents))
    const length = sizes.reduce((product, size) => product * size, 1)
    const phase = values.size + 1
    const data = Float64Array.from({ length }, (_, i) => Math.fround(Math.sin(i * 0.7 * phase + phase) * 0.8))
    values.set(name, makeTensor(axes, sizes, data))
  }
  return values
}
