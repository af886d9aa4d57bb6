// Recomputation changes no bit, keeps nothing of a chosen layer for the backward pass, and stands where it is needed.

import assert from 'node:assert/strict'
import { float32 } from '../../compiler/graph/float32.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { printFunction, printGraph } from '../../compiler/graph/print.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { checkpointLayers } from '../../compiler/transform/checkpoint.ts'
import type { KeptValues } from '../../compiler/transform/checkpoint.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { golden } from '../support/golden.ts'
import { oracleCase } from '../support/oracle.ts'
import { adaptation, session, through, traceCase, transformed } from './oracleModel.ts'
import type { TracedCase } from './oracleModel.ts'

/** Two layers of one weight each, with a mask over positions and dropout inside the layers. */
const model = `
axis seq <= 5 extent seq
axis embed = 6
axis mid = 4

input x: f32[seq, embed]
input seed: i32[]
trainable w.0: f32[mid, embed]
trainable v.0: f32[embed, mid]
trainable w.1: f32[mid, embed]
trainable v.1: f32[embed, mid]

function loss {
  %0 = read x : f32(seq, embed)
  %1 = iota axis seq : i32(seq)
  %2 = constant 3 : i32()
  %3 = intLess(%1, %2) : bool(seq)
  %4 = read seed : i32()
  %5 = exp(%0) : f32(seq, embed)
  %6 = read w.0 : f32(embed, mid) layer 0
  %7 = dot(%5, %6) over [embed] : f32(seq, mid) layer 0
  %8 = tanh(%7) : f32(seq, mid) layer 0
  %9 = random(%4) axes [seq, mid] stream 0 : f32(seq, mid) layer 0
  %10 = constant 0.5 : f32()
  %11 = less(%9, %10) : bool(seq, mid) layer 0
  %12 = constant 0 : f32()
  %13 = select(%11, %8, %12) : f32(seq, mid) layer 0
  %14 = read v.0 : f32(embed, mid) layer 0
  %15 = dot(%13, %14) over [mid] : f32(seq, embed) layer 0
  %16 = add(%5, %15) : f32(seq, embed) layer 0
  %17 = read w.1 : f32(embed, mid) layer 1
  %18 = dot(%16, %17) over [embed] : f32(seq, mid) layer 1
  %19 = tanh(%18) : f32(seq, mid) layer 1
  %20 = select(%3, %19, %12) : f32(seq, mid) layer 1
  %21 = read v.1 : f32(embed, mid) layer 1
  %22 = dot(%20, %21) over [mid] : f32(seq, embed) layer 1
  %23 = add(%16, %22) : f32(seq, embed) layer 1
  %24 = mul(%23, %23) : f32(seq, embed)
  %25 = sum(%24) over embed : f32(seq)
  %26 = sum(%25) over seq : f32()
  %27 = constant 1 : f32()
  output loss = %26
  output weight = %27
}
`

/** These layers keep nothing. */
function wholly(...layers: number[]): ReadonlyMap<number, KeptValues> {
  return new Map(layers.map((layer) => [layer, new Set<number>()]))
}

function nodesOf(graph: Graph, name = 'accumulate'): Node[] {
  return topological(rootsOf(graph.functions.find((fn) => fn.name === name)!))
}

function forwardOf(graph: Graph): Set<Node> {
  const { writes } = graph.functions.find((fn) => fn.name === 'accumulate')!
  return new Set(topological(writes.filter(({ name }) => name.startsWith('sum/')).map(({ node }) => node)))
}

/** Forward values of a layer that its backward pass reads, without those that are there anyway. */
function kept(graph: Graph, layer: number): string[] {
  const forward = forwardOf(graph)
  const found = new Set<Node>()
  for (const node of nodesOf(graph)) {
    if (forward.has(node)) continue
    for (const input of node.inputs)
      if (forward.has(input) && input.layer === layer && input.inputs.length > 0) found.add(input)
  }
  return [...found].map((node) => (isOp(node, 'map') ? node.attrs.fn : node.op)).sort()
}

/** The bits of everything that `accumulate` writes. */
function bits(one: TracedCase, graph: Graph): Map<string, string> {
  const run = session(one, graph, float32)
  run.setBatch(one.oracle.batch)
  run.run('accumulate')
  const written = graph.functions.find((fn) => fn.name === 'accumulate')!.writes
  return new Map(
    written.map(({ name }) => [name, Buffer.from(Float32Array.from(run.stored(name)).buffer).toString('hex')]),
  )
}

describe('checkpointLayers', () => {
  const small = (...layers: number[]): Graph => {
    const graph = through(parseGraph(model).graph, differentiate(), simplify(), checkpointLayers(wholly(...layers)))
    verifyGraph(graph)
    return graph
  }

  it('computes chosen layers again from their input', () => {
    const graph = small(0)
    golden('transform/checkpoint.txt', printFunction(graph.functions[0]!))
    assert.deepEqual(kept(graph, 0), ['add'])
    // Only its output is left, which layer 1 begins with; layer 1 itself is as it was.
    assert.deepEqual(kept(graph, 1), ['add', 'select', 'tanh'])
    assert.deepEqual(kept(small(), 0), ['add', 'less', 'select', 'tanh'])
    assert.deepEqual(kept(small(0, 1), 1), ['add'])
  })

  it('begins each layer behind a barrier that waits for its cotangent', () => {
    const graph = small(0, 1)
    const forward = forwardOf(graph)
    const barriers = nodesOf(graph).filter((node) => isOp(node, 'barrier'))
    assert.deepEqual(
      barriers.map((node) => node.attrs.tag),
      ['layer 1', 'layer 0', 'layer 0'],
    )
    for (const barrier of barriers) {
      const [value, after] = barrier.inputs
      assert.ok(value && forward.has(value))
      assert.ok(after && !forward.has(after) && after.layer !== barrier.layer && after.inputs.length > 0)
    }
    // Everything of layer 1's backward pass comes before the recomputation of layer 0.
    const zero = barriers.find((node) => node.layer === 0)!
    const one = nodesOf(graph).filter((node) => !forward.has(node) && node.layer === 1 && isOp(node, 'dot'))
    assert.ok(one.length >= 4 && one.every((node) => node.id < zero.id))
  })

  it('draws random numbers again and shares masks', () => {
    const graph = small(0, 1)
    const nodes = nodesOf(graph)
    assert.equal(nodes.filter((node) => isOp(node, 'random')).length, 2)
    assert.equal(nodes.filter((node) => isOp(node, 'map') && node.attrs.fn === 'intLess').length, 1)
  })

  it('takes what a layer computes outside of itself as given', () => {
    const text = model.replace('tanh(%7) : f32(seq, mid) layer 0', 'tanh(%7) : f32(seq, mid)')
    const passes = [differentiate(), simplify(), checkpointLayers('every')]
    const graph = through(parseGraph(text).graph, ...passes)
    verifyGraph(graph)
    const tanh = nodesOf(graph).filter((node) => isOp(node, 'map') && node.attrs.fn === 'tanh')
    // Layer 1's twice, the other once.
    assert.deepEqual(
      tanh.map(({ layer }) => layer ?? -1).sort((a, b) => a - b),
      [-1, 1, 1],
    )
  })

  it('changes nothing for no layer', () => {
    const graph = through(parseGraph(model).graph, differentiate())
    assert.equal(through(graph, checkpointLayers('none')), graph)
    assert.equal(printGraph(through(graph, checkpointLayers(wholly(7)))), printGraph(graph))
  })

  for (const name of ['gpt2-small/lora', 'gpt2-small/full', 'qwen2-small/full']) {
    it(`${name}: the same bits with dropout, whichever layers are computed again`, () => {
      const one = traceCase(oracleCase(name))
      const before = [adaptation(one, 0.1), simplify(), differentiate(), simplify()]
      const without = transformed(one.traced, before)
      const expected = bits(one, without)
      for (const layers of ['every', wholly(1)] as const) {
        const graph = transformed(one.traced, [...before, checkpointLayers(layers)])
        verifyGraph(graph)
        assert.ok(nodesOf(graph).length > nodesOf(without).length + 40)
        // Of a layer that is computed again nothing is kept but its result, where the next one begins with it.
        const left = kept(graph, 0).length
        assert.ok(layers === 'every' ? left <= 1 : left > 5, `${left} values are kept`)
        assert.ok(kept(graph, 1).length <= 1)
        assert.deepEqual(bits(one, graph), expected)
      }
    })
  }
})
