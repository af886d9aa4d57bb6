// Lines that end in "wrong" must be refused by type; all others must pass.
import { add, axis, compare, dot, float, iota, like, merge, mul, pick, rename, seq, split, sum } from 'heddle'
import type { Axis, ParameterScope, Tensor } from 'heddle'

const embed = axis('embed', 6)
const mlp = axis('mlp', 9)
const head = axis('head', 2)
const dim = axis('dim', 3)
declare const x: Tensor<'batch' | 'seq' | 'embed'>
declare const w: Tensor<'mlp' | 'embed'>
declare const heads: Tensor<'batch' | 'head' | 'dim'>
declare const ids: Tensor<'batch' | 'seq', 'i32'>
declare const p: ParameterScope
declare const text: string
declare const either: 'a' | 'b'
declare const oneOrOther: Axis<'embed'> | Axis<'mlp'>

axis(text, 3) // wrong
axis(either, 3) // wrong
like(embed, either) // wrong
dot(x, w, mlp) // wrong
dot(x, w, head) // wrong
dot(w, x, mlp) // wrong
dot(w, w, oneOrOther) // wrong
dot(heads, heads, [head, embed]) // wrong
const contracted: Tensor<'batch' | 'seq' | 'mlp'> = dot(x, w, embed)
const both: Tensor<'batch'> = dot(heads, heads, [head, dim])
add(x, w) // wrong
add(w, x) // wrong
add(x, ids) // wrong
mul(add(x, 2), float(3))
sum(x, mlp) // wrong
const summed: Tensor<'seq'> = sum(x, embed) // wrong
rename(x, mlp, head) // wrong
rename(x, embed, seq) // wrong
rename(x, embed, oneOrOther) // wrong
split(x, embed, [head, dim])
split(x, embed, [head, seq]) // wrong
merge(heads, [head, mlp], embed) // wrong
pick(x, head, 0) // wrong
compare('less', iota(seq), iota(embed))
compare('less', iota(seq), x) // wrong
p.param('square', [embed, embed]) // wrong
p.param('merged', [[head, dim, head], embed]) // wrong
p.param('both', [[head, embed], embed]) // wrong
const stored: Tensor<'head' | 'dim' | 'embed'> = p.param('weight', [[head, dim], embed])

export function generic<A extends string>(h: Tensor<A | 'embed'>) {
  add(h, w) // wrong
  return dot(h, w, embed)
}
export const results = [contracted, both, summed, stored, generic(x)]
