// Adapters and the choice of what is trained.

import assert from 'node:assert/strict'
import { UserError } from '../../compiler/diagnostic.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { lora, trainable } from '../../compiler/transform/adapt.ts'
import type { AdaptableModule, LoraOptions } from '../../compiler/transform/adapt.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { evaluation } from '../../compiler/transform/evaluation.ts'
import { golden } from '../support/golden.ts'
import { oracleCase } from '../support/oracle.ts'
import { session, through, traceCase, transformed } from './oracleModel.ts'

const model = `
axis batch <= 2 extent batch
axis seq <= 5 extent seq
axis embed = 6
axis head = 2
axis dim = 3
axis rank = 4

input x: f32[batch, seq, embed]
input seed: i32[]
frozen h.0.attn.weight: bf16[(head dim), embed]
frozen h.0.attn.bias: f32[(head dim)]
frozen h.1.proj.weight: f16[(head dim), (rank)]

function loss {
  %0 = read x : f32(batch, seq, embed)
  %1 = read h.0.attn.weight : f32(embed, head, dim) layer 0
  %2 = dot(%0, %1) over [embed] : f32(batch, seq, head, dim) layer 0
  %3 = read h.0.attn.bias : f32(head, dim) layer 0
  %4 = add(%2, %3) : f32(batch, seq, head, dim) layer 0
  %5 = read h.1.proj.weight : f32(head, dim, rank) layer 1
  %6 = dot(%4, %5) over [head, dim] : f32(batch, seq, rank) layer 1
  %7 = sum(%6) over rank : f32(batch, seq)
  %8 = sum(%7) over seq : f32(batch)
  %9 = sum(%8) over batch : f32()
  %10 = constant 1 : f32()
  output loss = %9
  output weight = %10
}

function predict {
  %0 = read x : f32(batch, seq, embed)
  %1 = read h.0.attn.weight : f32(embed, head, dim) layer 0
  %2 = dot(%0, %1) over [embed] : f32(batch, seq, head, dim) layer 0
  output logits = %2
}
`

function parsed(): { graph: Graph; modules: AdaptableModule[] } {
  const { graph } = parseGraph(model)
  const axis = (name: string) => graph.axes.find((one) => one.name === name)!
  return {
    graph,
    modules: [
      { path: 'h.0.attn', weight: 'h.0.attn.weight', inputs: [axis('embed')], outputs: [axis('head'), axis('dim')] },
      { path: 'h.1.proj', weight: 'h.1.proj.weight', inputs: [axis('head'), axis('dim')], outputs: [axis('rank')] },
    ],
  }
}

function nodesOf(graph: Graph, name: string): Node[] {
  return topological(rootsOf(graph.functions.find((fn) => fn.name === name)!))
}

const plain = { rank: 2, alpha: 4 } as const

describe('lora', () => {
  it('adapts what is chosen, with dropout in the loss only', () => {
    const { graph, modules } = parsed()
    const adapted = through(graph, lora({ ...plain, dropout: 0.25, targets: ['attn'], modules }), evaluation())
    verifyGraph(adapted)
    golden('transform/lora.txt', printGraph(adapted))
    const draws = (name: string): number => nodesOf(adapted, name).filter((node) => isOp(node, 'random')).length
    assert.deepEqual([draws('loss'), draws('evaluate'), draws('predict')], [1, 0, 0])
    assert.ok(
      nodesOf(adapted, 'predict').some((node) => isOp(node, 'read') && node.attrs.name === 'h.0.attn.lora_B.weight'),
    )
  })

  it('finds modules by their last component, several, or the whole path', () => {
    const { graph, modules } = parsed()
    const trained = (targets: string[]): string[] => {
      const adapted = through(graph, lora({ ...plain, targets, modules }))
      return [...adapted.declarations.values()].filter(({ role }) => role === 'trainable').map(({ name }) => name)
    }
    assert.deepEqual(trained(['proj']), ['h.1.proj.lora_A.weight', 'h.1.proj.lora_B.weight'])
    assert.deepEqual(trained(['h.1.proj']), trained(['1.proj']))
    assert.equal(trained(['proj', 'attn']).length, 4)
  })

  it('draws other random numbers for each module', () => {
    const { graph, modules } = parsed()
    const adapted = through(graph, lora({ ...plain, dropout: 0.5, targets: ['attn', 'proj'], modules }))
    const streams = nodesOf(adapted, 'loss').flatMap((node) => (isOp(node, 'random') ? [node.attrs.stream] : []))
    assert.equal(new Set(streams).size, 2)
    assert.ok(streams.every((stream) => stream >= 1 << 16))
  })

  it('scales by alpha / rank, or by its root', () => {
    const { graph, modules } = parsed()
    const scales = (rslora: boolean): number[] => {
      const adapted = through(graph, lora({ rank: 4, alpha: 3, rslora, targets: ['attn'], modules }))
      return nodesOf(adapted, 'predict').flatMap((node) => (isOp(node, 'constant') ? [node.attrs.value] : []))
    }
    assert.deepEqual([scales(false), scales(true)], [[0.75], [1.5]])
  })

  it('refuses with a sentence', () => {
    const { graph, modules } = parsed()
    const refused = (options: Partial<LoraOptions>): string => {
      try {
        through(graph, lora({ ...plain, targets: ['attn'], modules, ...options }))
      } catch (error) {
        if (error instanceof UserError) return error.sentence
      }
      return ''
    }
    assert.equal(
      refused({ targets: ['q_proj'] }),
      "HD302 lora: no linear module is called 'q_proj'; there are attn, proj",
    )
    assert.equal(refused({ targets: ['tn'] }).slice(0, 5), 'HD302')
    assert.equal(refused({ rank: 0 }), 'HD301 lora: the rank is 0; it is a whole number from 1')
    assert.equal(refused({ alpha: NaN }).slice(0, 5), 'HD301')
    assert.equal(refused({ dropout: 1 }).slice(0, 5), 'HD301')
    assert.equal(refused({ targets: [] }).slice(0, 5), 'HD301')
    const unused = { path: 'h.0.attn', weight: 'h.0.attn.bias', inputs: [], outputs: [] }
    assert.equal(refused({ modules: [unused] }).slice(0, 5), 'HD302')
  })

  it('starts as the model without it: B is zero', () => {
    const oracle = oracleCase('gpt2-small/lora')
    const one = traceCase(oracle)
    const { lora: options, baseLogits } = oracle
    const graph = transformed(one.traced, [lora({ ...options!, modules: one.traced.modules })])
    const run = session(one, graph, float64)
    for (const { name, initial } of graph.declarations.values()) {
      if (initial?.kind !== 'constant') continue
      const tensor = run.values.get(name)!
      run.values.set(name, { ...tensor, data: tensor.data.map(() => initial.value) })
    }
    run.setBatch(oracle.batch)
    const samples = baseLogits.samples.filter(([sequence, position]) => position === 11 || sequence === 1)
    for (const [sequence, position, token, logit] of samples) {
      run.values.set('position', { ...run.values.get('position')!, ...positionOf(graph, position) })
      const logits = run.run('predict').get('logits')!
      const vocabulary = logits.extents[1]!
      assert.ok(Math.abs(logits.data[sequence * vocabulary + token]! - logit) < 1e-5)
    }
  })
})

function positionOf(graph: Graph, position: number) {
  const batch = graph.axes.find(({ name }) => name === 'batch')!
  return { axes: [batch], extents: [2], data: Int32Array.of(position, position) }
}

describe('trainable', () => {
  it('changes role and type by name, last components or first', () => {
    const { graph } = parsed()
    const trained = (names: string[] | 'all'): string[] => {
      const chosen = through(graph, trainable(names))
      verifyGraph(chosen)
      const found = [...chosen.declarations.values()].filter(({ role }) => role === 'trainable')
      assert.ok(found.every(({ dtype }) => dtype === 'f32'))
      return found.map(({ name }) => name)
    }
    assert.deepEqual(trained('all'), ['h.0.attn.weight', 'h.0.attn.bias', 'h.1.proj.weight'])
    assert.deepEqual(trained(['bias']), ['h.0.attn.bias'])
    assert.deepEqual(trained(['h.0']), ['h.0.attn.weight', 'h.0.attn.bias'])
    assert.deepEqual(trained(['h.1.proj.weight']), ['h.1.proj.weight'])
    assert.equal(graph.declarations.get('h.0.attn.weight')?.role, 'frozen')
  })

  it('refuses a name that is none', () => {
    const { graph } = parsed()
    assert.throws(
      () => through(graph, trainable(['ias'])),
      (error) => error instanceof UserError && error.code === 'HD302',
    )
    assert.throws(
      () => through(graph, trainable(['x'])),
      (error) => error instanceof UserError && error.code === 'HD302',
    )
  })
})

describe('evaluation', () => {
  it('equals the loss where nothing is dropped, and leaves other selections alone', () => {
    const text = model.replace(
      '%7 = sum(%6)',
      '%20 = less(%6, %6) : bool(batch, seq, rank)\n  %21 = select(%20, %6, %6) : f32(batch, seq, rank)\n  %7 = sum(%21)',
    )
    const { graph } = parseGraph(text)
    const evaluated = through(graph, evaluation())
    const evaluate = evaluated.functions.find(({ name }) => name === 'evaluate')!
    assert.deepEqual(evaluate.outputs, evaluated.functions.find(({ name }) => name === 'loss')!.outputs)
    assert.equal(through(evaluated, evaluation()), evaluated)
  })

  it('is kept by differentiation, which drops the loss', () => {
    const { graph, modules } = parsed()
    const adapted = through(
      graph,
      lora({ ...plain, dropout: 0.1, targets: ['attn'], modules }),
      evaluation(),
      differentiate(),
    )
    assert.deepEqual(
      adapted.functions.map(({ name }) => name),
      ['accumulate', 'predict', 'evaluate'],
    )
  })
})
