// The printed graph: one golden, numbers and names that survive the way, and text that forgets the builder's history.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { printGraph, printName, printNumber } from '../../compiler/graph/print.ts'
import { attentionGraph } from '../support/attentionGraph.ts'
import { golden } from '../support/golden.ts'

describe('printGraph', () => {
  it('prints attention and a norm', () => {
    const { graph, provenance } = attentionGraph()
    golden('graph/attention.txt', printGraph(graph, provenance))
  })

  it('gives the same text whatever the builder made before', () => {
    const build = (before: number): string => {
      const b = new GraphBuilder()
      const axis = b.axis('a', 3)
      for (let i = 0; i < before; i++) b.float(i + 100)
      const x = b.table(axis, [1, 2, 3])
      b.define({ name: 'f', outputs: [{ name: 'o', node: b.map('sub', x, b.float(2)) }], writes: [] })
      return printGraph(b.finish())
    }
    assert.equal(build(5), build(0))
  })

  it('keeps a name with line feeds on one line', () => {
    const { graph, provenance } = attentionGraph()
    const node = graph.functions[0]?.outputs[0]?.node
    assert.ok(node)
    const plain = printGraph(graph).split('\n').length
    provenance.note(node.inputs[0] ?? node, 'first\nsecond', undefined)
    assert.equal(printGraph(graph, provenance).split('\n').length, plain)
  })
})

describe('printNumber', () => {
  it('gives back every float32, shortest where it is one', () => {
    fc.assert(
      fc.property(fc.float(), (value) => {
        const text = printNumber(value)
        assert.ok(Object.is(Math.fround(Number(text)), value), text)
      }),
    )
    assert.equal(printNumber(Math.fround(0.1)), '0.1')
    assert.equal(printNumber(Math.fround(-3.0e38)), '-3e+38')
    assert.equal(printNumber(-0), '-0')
    assert.equal(printNumber(16777216), '16777216')
  })

  it('gives back every double', () => {
    fc.assert(fc.property(fc.double(), (value) => assert.ok(Object.is(Number(printNumber(value)), value))))
  })
})

describe('printName', () => {
  it('quotes what is no plain name', () => {
    assert.equal(printName('transformer.h.0.attn'), 'transformer.h.0.attn')
    assert.equal(printName('a b'), '"a b"')
    assert.equal(printName(''), '""')
    assert.equal(printName('0'), '"0"')
  })
})
