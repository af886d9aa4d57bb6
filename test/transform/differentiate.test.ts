// Which cotangents exist, in which order they are added, and what is refused. Their numbers: `derivatives.test.ts`.

import assert from 'node:assert/strict'
import { UserError } from '../../compiler/diagnostic.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { printFunction, printGraph } from '../../compiler/graph/print.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { lora, trainable } from '../../compiler/transform/adapt.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { golden } from '../support/golden.ts'
import { oracleCase } from '../support/oracle.ts'
import { through, traceCase, trainingPasses, transformed } from './oracleModel.ts'

const model = (roles: { readonly table?: string; readonly first?: string; readonly second?: string }): string => `
axis seq <= 5 extent seq
axis vocab = 7
axis embed = 6
axis mid = 4

input tokens: i32[seq]
${roles.table ?? 'frozen'} table: f32[vocab, embed]
${roles.first ?? 'frozen'} first: f32[mid, embed]
${roles.second ?? 'frozen'} second: f32[embed, mid]

function loss {
  %0 = read table : f32(vocab, embed)
  %1 = read tokens : i32(seq)
  %2 = gather(%0, %1) axis vocab : f32(seq, embed)
  %3 = read first : f32(embed, mid) layer 0
  %4 = dot(%2, %3) over [embed] : f32(seq, mid) layer 0
  %5 = tanh(%4) : f32(seq, mid) layer 0
  %6 = read second : f32(embed, mid) layer 1
  %7 = dot(%5, %6) over [mid] : f32(seq, embed) layer 1
  %8 = dot(%7, %0) over [embed] : f32(seq, vocab)
  %9 = logSumExp(%8) over vocab block 256 : f32(seq)
  %10 = sum(%9) over seq : f32()
  %11 = extent axis seq : i32()
  %12 = toFloat(%11) : f32()
  output loss = %10
  output weight = %12
}
`

function differentiated(roles: Parameters<typeof model>[0]): Graph {
  const graph = through(parseGraph(model(roles)).graph, differentiate(), simplify())
  verifyGraph(graph)
  return graph
}

function accumulate(graph: Graph): Node[] {
  return topological(rootsOf(graph.functions.find(({ name }) => name === 'accumulate')!))
}

/** Nodes of the backward pass: not needed by the loss. */
function backward(graph: Graph): Node[] {
  const fn = graph.functions.find(({ name }) => name === 'accumulate')!
  const sums = fn.writes.filter(({ name }) => name.startsWith('sum/')).map(({ node }) => node)
  const forward = new Set(topological(sums))
  return accumulate(graph).filter((node) => !forward.has(node))
}

describe('differentiate', () => {
  it('adds up gradients', () => {
    golden('transform/differentiate.txt', printGraph(differentiated({ first: 'trainable' })))
  })

  it('adds the head to a tied table first, and scatters the embedding into the sum', () => {
    const graph = differentiated({ table: 'trainable' })
    golden('transform/differentiate-tied.txt', printFunction(graph.functions[0]!))
    const [write] = graph.functions[0]!.writes
    assert.equal(write!.name, 'grad/table')
    const last = write!.node
    assert.ok(
      isOp(last, 'scatterAdd') &&
        last.inputs[0]?.inputs.some((input) => isOp(input, 'read') && input.attrs.name === 'grad/table'),
    )
    // No zeros the size of the table are made for the rows to be added to.
    assert.ok(!accumulate(graph).some((node) => isOp(node, 'broadcast') && node.axes.length > 1))
  })

  it('makes no cotangent that only frozen parameters need', () => {
    const count = (roles: Parameters<typeof model>[0]): number => {
      return backward(differentiated(roles)).filter((node) => isOp(node, 'dot') || isOp(node, 'scatterAdd')).length
    }
    // The head's rows by streaming; then the weight's own product; then through it, and so on.
    assert.equal(count({ second: 'trainable' }), 1)
    assert.equal(count({ first: 'trainable' }), 2)
    assert.equal(count({ first: 'trainable', second: 'trainable' }), 3)
    assert.equal(count({ table: 'trainable' }), 4)
    assert.equal(count({ table: 'trainable', first: 'trainable', second: 'trainable' }), 6)
  })

  it('prunes everything before the first adapted layer', () => {
    const one = traceCase(oracleCase('gpt2-small/lora'))
    const { modules } = one.traced
    const backwardDots = (targets: string[]): number => {
      const options = { rank: 2, alpha: 2, targets, modules }
      const graph = transformed(one.traced, [lora(options), simplify(), differentiate(), simplify()])
      return backward(graph).filter((node) => isOp(node, 'dot')).length
    }
    // The last product of the last layer: A's and B's gradients, and what carries B's cotangent to A.
    assert.equal(backwardDots(['transformer.h.1.mlp.c_proj']), 3)
    assert.ok(backwardDots(['transformer.h.0.mlp.c_proj']) > 3)
  })

  it('gives backward nodes the layer of what they differentiate, behind the whole forward pass', () => {
    const graph = differentiated({ first: 'trainable', second: 'trainable' })
    const after = backward(graph)
    const products = after.flatMap((node) => (isOp(node, 'dot') ? [node.layer] : []))
    assert.deepEqual(products, [1, 1, 0])
    const forward = accumulate(graph).filter((node) => !after.includes(node))
    const own = after.filter((node) => node.inputs.length > 0)
    assert.ok(Math.max(...forward.map(({ id }) => id)) < Math.min(...own.map(({ id }) => id)))
  })

  it('refuses a trainable that the loss does not depend on', () => {
    const unused = model({ first: 'trainable' }).replace('\nfunction', 'trainable unused: f32[mid]\n\nfunction')
    const one = (text: string) => () => through(parseGraph(text).graph, differentiate())
    assert.throws(one(unused), (error) => {
      return (
        error instanceof UserError &&
        error.sentence === "HD303 the loss does not depend on 'unused', which is to be trained; freeze it"
      )
    })
    // Read, but only for a condition.
    const condition = model({ first: 'trainable' }).replace(
      '%10 = sum(%9)',
      '%20 = less(%9, %9) : bool(seq)\n  %21 = constant 1 : f32()\n  %22 = select(%20, %21, %21) : f32(seq)\n  %10 = sum(%22)',
    )
    assert.throws(one(condition), (error) => error instanceof UserError && error.code === 'HD303')
  })

  it('leaves the graph that it is given as it was', () => {
    const { graph } = parseGraph(model({ first: 'trainable' }))
    const before = printGraph(graph)
    through(graph, differentiate())
    assert.equal(printGraph(graph), before)
  })

  it('makes the same text again, and text that parses', () => {
    const one = traceCase(oracleCase('qwen2-small/full'))
    const run = () => printGraph(runPasses(one.traced.graph, trainingPasses(one, [simplify()]), one.traced).graph)
    const text = run()
    assert.equal(run(), text)
    assert.equal(printGraph(parseGraph(text).graph), text)
  })

  it('trains everything that is asked for', () => {
    const one = traceCase(oracleCase('gpt2-small/full'))
    const graph = transformed(one.traced, [trainable(['bias']), differentiate()])
    const written = graph.functions[0]!.writes.map(({ name }) => name)
    assert.ok(written.length > 10 && written.every((name) => name.endsWith('.bias') || name.startsWith('sum/')))
  })
})
