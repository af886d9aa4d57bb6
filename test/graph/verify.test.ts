// The verifier accepts what the builder makes and refuses every single mutation of it, naming the node.

import assert from 'node:assert/strict'
import { InternalError } from '../../compiler/diagnostic.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Declaration, Graph, GraphFunction, Node } from '../../compiler/graph/node.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { attentionGraph } from '../support/attentionGraph.ts'

function refused(graph: Graph, message: RegExp): void {
  assert.throws(
    () => verifyGraph(graph),
    (error: unknown) => {
      assert.ok(error instanceof InternalError, String(error))
      assert.match(error.message, message)
      return true
    },
  )
}

/** One function that gives `node`; nothing else. */
function giving(graph: Graph, node: Node): Graph {
  return { ...graph, functions: [{ name: 'f', outputs: [{ name: 'o', node }], writes: [] }] }
}

function withFunction(graph: Graph, change: Partial<GraphFunction>): Graph {
  const [first] = graph.functions
  assert.ok(first)
  return { ...graph, functions: [{ ...first, ...change }] }
}

describe('verifyGraph', () => {
  const { graph } = attentionGraph()
  const output = graph.functions[0]?.outputs[0]?.node as Node
  const written = graph.functions[0]?.writes[0]?.node as Node
  const [projectedDot] = output.inputs.filter((node) => node.op === 'dot')
  const dot = projectedDot as Node<'dot'>

  it('accepts what the builder makes', () => verifyGraph(graph))

  const mutate = (node: Node, change: object): Node => Object.freeze({ ...node, ...change }) as Node

  it('refuses wrong axes, types, order, numbers, layers, naming the node', () => {
    const name = new RegExp(
      `node ${dot.id} 'dot\\(%${dot.inputs[0]?.id}, %${dot.inputs[1]?.id}\\) over \\[head, head_dim\\]`,
    )
    refused(giving(graph, mutate(dot, { axes: dot.axes.slice(1) })), name)
    refused(giving(graph, mutate(dot, { axes: dot.axes.slice(1) })), /other axes or another type/)
    refused(giving(graph, mutate(dot, { dtype: 'i32' })), /other axes or another type/)
    refused(giving(graph, mutate(dot, { axes: dot.axes.toReversed() })), /not sorted/)
    refused(giving(graph, mutate(dot, { id: 0 })), /was made after it/)
    refused(giving(graph, mutate(dot, { layer: -1 })), /its layer is -1/)
    refused(giving(graph, mutate(dot, { layer: 0.5 })), /its layer is 0.5/)
    refused(giving(graph, mutate(dot, { inputs: dot.inputs.slice(1) })), /takes 2 operands, not 1/)
  })

  it('refuses two nodes with one number and two equal nodes', () => {
    const [x] = output.inputs
    assert.ok(x)
    const both = (other: Node): Graph =>
      withFunction(graph, { outputs: [dot, other].map((node, i) => ({ name: `${i}`, node })), writes: [] })
    refused(both(mutate(output, { id: dot.id, inputs: [x, x] })), /another node has its number/)
    refused(both(mutate(dot, { id: dot.id + 1 })), new RegExp(`equals node ${dot.id}`))
  })

  it('refuses broken attributes', () => {
    const [first, second] = dot.attrs.over
    refused(giving(graph, mutate(dot, { attrs: { over: [first, first, second] } })), /axis stands twice in 'over'/)
    const foreign = new GraphBuilder().axis('head', 3)
    refused(giving(graph, mutate(dot, { attrs: { over: [foreign, second] } })), /axis 'head' is not of the graph/)
    const b = new GraphBuilder()
    const axis = b.axis('a', 4)
    const table = b.table(axis, [1, 2, 3, 4])
    const sum = b.logSumExp(table, axis, 8)
    const own = b.finish()
    verifyGraph(giving(own, sum))
    refused(giving(own, mutate(sum, { attrs: { over: axis, block: 0 } })), /'block' is empty/)
    refused(giving(own, mutate(sum, { attrs: { over: axis, block: 1.5 } })), /'block' is no whole number/)
    refused(giving(own, mutate(table, { attrs: { axis, values: [1, 2, 3, 0.1] } })), /'values' is no float32/)
    refused(giving(own, mutate(table, { attrs: { axis, values: [1, 2, 3] } })), /3 values for 4 places/)
    refused(giving(own, mutate(b.float(1), { attrs: { value: 0.1, dtype: 'f32' } })), /'value' is no float32/)
    refused(giving(own, mutate(b.int(1), { attrs: { value: 0.5, dtype: 'i32' } })), /'value' is no i32/)
    refused(
      giving(own, mutate(b.map('sin', table), { attrs: { fn: 'wave' } })),
      /no elementwise operation is called 'wave'/,
    )
  })

  it('refuses reads and writes of what is not declared, not writable, or of another shape', () => {
    const without = new Map(graph.declarations)
    without.delete('x')
    refused({ ...graph, declarations: without }, /'x' is not declared/)
    const target = (name: string): Graph => withFunction(graph, { writes: [{ name, node: written }] })
    refused(target('nothing'), /write of 'nothing' in 'step': it is not declared/)
    refused(target('h.0.ln_1.bias'), /it is frozen/)
    refused(target('x'), /it is input/)
    refused(target('h.0.attn.c_proj.weight'), /the value is f32\(embed\)/)
    const integer = { ...(graph.declarations.get('running mean') as Declaration), dtype: 'i32' } as const
    const declarations = new Map(graph.declarations).set('running mean', integer)
    refused({ ...graph, declarations }, /the value is f32\(embed\)/)
  })

  it('refuses names that stand twice and functions without results', () => {
    refused({ ...graph, functions: [...graph.functions, ...graph.functions] }, /function 'step' stands twice/)
    const [out] = graph.functions[0]?.outputs ?? []
    const [write] = graph.functions[0]?.writes ?? []
    assert.ok(out && write)
    refused(withFunction(graph, { outputs: [out, out] }), /output of 'step' 'y' stands twice/)
    refused(withFunction(graph, { writes: [write, write] }), /write of 'step' 'running mean' stands twice/)
    refused(withFunction(graph, { outputs: [], writes: [] }), /computes nothing/)
    refused({ ...graph, axes: [...graph.axes, { name: 'seq', size: 2, order: 99 }] }, /axis 'seq' stands twice/)
  })

  it('refuses axes out of order, of no size, foreign ones and extents with two bounds', () => {
    refused({ ...graph, axes: graph.axes.toReversed() }, /out of order/)
    refused({ ...graph, axes: [...graph.axes, { name: 'z', size: 0, order: 99 }] }, /'z' has 0 places/)
    refused(
      { ...graph, axes: [...graph.axes, { name: 'z', size: 5, extent: 'seq', order: 99 }] },
      /bounds extent 'seq'/,
    )
    refused({ ...graph, axes: graph.axes.slice(0, -1) }, /axis 'key' is not of the graph|not of the graph/)
    const foreign = new GraphBuilder().axis('embed', 20)
    const stored = { ...(graph.declarations.get('running mean') as Declaration), stored: [[foreign]] }
    refused({ ...graph, declarations: new Map([['running mean', stored]]) }, /axis 'embed' of 'running mean'/)
    refused({ ...graph, declarations: new Map([['other', stored]]) }, /is declared as 'other'/)
  })
})
