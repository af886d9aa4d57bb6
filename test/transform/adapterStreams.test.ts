// Dropout of adapters whose module is used more than once: every use draws numbers of its own, and no two modules' uses
// share any.

import assert from 'node:assert/strict'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { lora } from '../../compiler/transform/adapt.ts'
import { randomValues } from './gradients.ts'
import { through } from './oracleModel.ts'

/** Two modules, each used twice on activations that are equal in value and apart in the graph. */
const model = `
axis row = 40
axis in = 6
axis out = 3

input x: f32[row, in]
input y: f32[row, in]
input seed: i32[]
frozen a.weight: f32[out, in]
frozen b.weight: f32[out, in]

function loss {
  %0 = read x : f32(row, in)
  %1 = read y : f32(row, in)
  %2 = read a.weight : f32(in, out)
  %3 = read b.weight : f32(in, out)
  %4 = dot(%0, %2) over [in] : f32(row, out)
  %5 = dot(%1, %2) over [in] : f32(row, out)
  %6 = dot(%0, %3) over [in] : f32(row, out)
  %7 = dot(%1, %3) over [in] : f32(row, out)
  output ax = %4
  output ay = %5
  output bx = %6
  output by = %7
}
`

function adapted(): Graph {
  const { graph } = parseGraph(model)
  const axis = (name: string) => graph.axes.find((one) => one.name === name)!
  const modules = ['a', 'b'].map((path) => ({
    path,
    weight: `${path}.weight`,
    inputs: [axis('in')],
    outputs: [axis('out')],
  }))
  return through(graph, lora({ rank: 2, alpha: 4, dropout: 0.5, targets: ['a', 'b'], modules }))
}

describe('dropout of adapters', () => {
  it('takes another stream for every use of every module', () => {
    const graph = adapted()
    const loss = graph.functions.find(({ name }) => name === 'loss')!
    const draws = topological(rootsOf(loss)).flatMap((node) => (isOp(node, 'random') ? [node.attrs.stream] : []))
    assert.equal(draws.length, 4)
    assert.equal(new Set(draws).size, 4)
  })

  it('drops other elements at a second use, though the activations are the same', () => {
    const graph = adapted()
    const values = randomValues(graph, {})
    values.set('y', { ...values.get('x')!, axes: values.get('y')!.axes })
    // One adapter for both modules: results differ by what was dropped alone.
    for (const part of ['weight', 'lora_A.weight', 'lora_B.weight']) {
      values.set(`b.${part}`, { ...values.get(`a.${part}`)!, axes: values.get(`b.${part}`)!.axes })
    }
    const { outputs } = interpret(graph, 'loss', { values, extents: {}, arithmetic: float64 })
    const texts = [...outputs.values()].map(({ data }) => data.join())
    assert.equal(texts.length, 4)
    assert.equal(new Set(texts).size, 4)
  })
})
