// Lines that end in "wrong" must be refused by type; all others must pass.
import {
  add,
  attend,
  axis,
  causal,
  causalLM,
  crossEntropy,
  embedding,
  key,
  layer,
  layerNorm,
  linear,
  rename,
} from 'heddle'
import { rmsNorm, rope, select, seq, sliding, softmax, stack, tied } from 'heddle'
import type { ParameterScope, Tensor } from 'heddle'

const embed = axis('embed', 6)
const mlp = axis('mlp', 9)
const head = axis('head', 2)
const dim = axis('dim', 4)
const vocab = axis('vocab', 11)
const pair = axis('pair', 2)
declare const x: Tensor<'batch' | 'seq' | 'embed'>
declare const q: Tensor<'batch' | 'seq' | 'head' | 'dim'>
declare const ids: Tensor<'batch' | 'seq', 'i32'>
declare const table: Tensor<'vocab' | 'embed'>
declare const scale: Tensor<'embed'>
declare const visible: Tensor<'seq' | 'key', 'bool'>
declare const p: ParameterScope

const up: Tensor<'batch' | 'seq' | 'mlp'> = linear(x, p, 'up', [mlp, embed], { bias: true })
const out: Tensor<'batch' | 'seq' | 'embed'> = linear(q, p, 'out', [embed, [head, dim]])
linear(x, p, 'up', [mlp, head]) // wrong
linear(x, p, 'square', [embed, embed]) // wrong
linear(x, p, 'flat', [embed]) // wrong
// prettier-ignore
linear(x, p, 'half', [[head, dim], [dim, head]]) // wrong
linear(q, p, 'partial', [embed, [head, mlp]]) // wrong
linear(x, p, 'kept', [[head, seq], embed]) // wrong
rmsNorm(x, scale, { over: head, eps: 1e-6 }) // wrong
layerNorm(x, scale, scale, { over: mlp, eps: 1e-5 }) // wrong
rope(q, { over: embed, at: seq, theta: 1e4 }) // wrong
rope(q, { over: dim, at: key, theta: 1e4 }) // wrong
softmax(x, head) // wrong
const k = rename(q, seq, key)
const seen: Tensor<'batch' | 'seq' | 'head' | 'dim'> = attend(q, k, k, {
  over: dim,
  keys: key,
  mask: causal(),
  scale: 1,
})
attend(q, k, k, { over: dim, keys: key, mask: visible, scale: 1 })
attend(q, k, k, { over: embed, keys: key, scale: 1 }) // wrong
attend(q, q, q, { over: dim, keys: seq, scale: 1 }) // wrong
attend(q, k, k, { over: dim, keys: key, mask: x, scale: 1 }) // wrong
embedding(table, ids, embed)
embedding(table, x, vocab) // wrong
crossEntropy(x, ids, vocab) // wrong
select(visible, x, 0) // wrong
stack([x, q], pair) // wrong
layer(2, 'h', (h: Tensor<'batch' | 'seq' | 'embed'>, p) => linear(h, p, 'up', [mlp, embed])) // wrong
const kinds: readonly ('sliding' | 'full')[] = ['full', 'sliding']
layer(kinds, 'h', (h: Tensor<'batch' | 'seq' | 'embed'>, _p, kind) => (kind === 'full' ? h : add(h, 1)))
layer(kinds, 'h', (h: Tensor<'batch' | 'seq' | 'embed'>, _p, kind) => (kind === 'global' ? h : add(h, 1))) // wrong
layer(3, 'h', (h: Tensor<'batch' | 'seq' | 'embed'>, _p, index) => add(h, index))
layer('h', 'h', (h: Tensor<'batch' | 'seq' | 'embed'>) => h) // wrong
attend(q, k, k, { over: dim, keys: key, mask: sliding(8), scale: 1 })
attend(q, k, k, { over: dim, keys: key, mask: sliding, scale: 1 }) // wrong
rope(q, { over: dim, at: seq, theta: 1e4, scaling: { type: 'linear', factor: 8 } })
rope(q, { over: dim, at: seq, theta: 1e4, scaling: { type: 'llama3', factor: 8 } }) // wrong
causalLM({
  vocabulary: vocab,
  embed: (tokens) => embedding(table, tokens, vocab),
  blocks: layer(2, 'h', (h: Tensor<'batch' | 'seq' | 'embed'>) => h),
  norm: (h) => softmax(h, embed),
  head: tied(table, mlp), // wrong
})
export const results = [up, out, seen]
