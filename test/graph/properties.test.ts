// What holds for every well-typed graph: it verifies, prints and parses to the same text and the same bits, and the
// generator really reaches every operation.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Axis } from '../../compiler/graph/axis.ts'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { structural } from '../../compiler/graph/structural.ts'
import { fromStored, makeTensor, toStored } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { randomGraph } from '../support/randomGraph.ts'
import type { RandomGraph } from '../support/randomGraph.ts'

/** The same values on the axes of another graph with the same names. */
function moved(values: ReadonlyMap<string, Tensor>, graph: Graph): Map<string, Tensor> {
  const axes = new Map(graph.axes.map((axis) => [axis.name, axis]))
  return new Map(
    [...values].map(([name, { axes: old, extents, data }]) => {
      return [
        name,
        makeTensor(
          old.map((axis) => axes.get(axis.name) as Axis),
          extents,
          data,
        ),
      ]
    }),
  )
}

function results({ graph, values, extents }: RandomGraph, arithmetic = float32): [string, Tensor][] {
  return graph.functions.flatMap((fn) => {
    const { outputs, writes } = interpret(graph, fn, { values, extents, arithmetic })
    return [...outputs, ...writes].map(([name, tensor]): [string, Tensor] => [`${fn.name} ${name}`, tensor])
  })
}

const names = (one: RandomGraph): Set<string> =>
  new Set(
    one.graph.functions.flatMap((fn) => topological(rootsOf(fn)).map((n) => (isOp(n, 'map') ? n.attrs.fn : n.op))),
  )

const layers = (graph: Graph): (number | undefined)[] =>
  graph.functions.flatMap((fn) => topological(rootsOf(fn)).map((node) => node.layer))

describe('random graphs', () => {
  it('verify, and print(parse(print(g))) is print(g)', () => {
    fc.assert(
      fc.property(randomGraph(), ({ graph }) => {
        verifyGraph(graph)
        const text = printGraph(graph)
        const again = parseGraph(text).graph
        assert.equal(printGraph(again), text)
        assert.deepEqual(layers(again), layers(graph))
      }),
      { numRuns: 60 },
    )
  })

  it('mean the same after the way through text, bit for bit', () => {
    fc.assert(
      fc.property(randomGraph({ steps: 16, elements: 1500 }), (one) => {
        const { graph } = parseGraph(printGraph(one.graph))
        const again = results({ graph, values: moved(one.values, graph), extents: one.extents })
        const before = results(one)
        assert.equal(again.length, before.length)
        before.forEach(([name, tensor], i) => {
          assert.deepEqual([again[i]?.[0], again[i]?.[1].data], [name, tensor.data])
        })
      }),
      { numRuns: 25 },
    )
  })

  it('reach every operation, stay finite mostly, and depend on their inputs', () => {
    const seen = new Set<string>()
    let finite = 0
    let all = 0
    let moving = 0
    const samples = fc.sample(randomGraph({ elements: 1500 }), { numRuns: 60, seed: 20 })
    for (const one of samples) {
      for (const name of names(one)) seen.add(name)
      const values = new Map(
        [...one.values].map(([name, tensor]) => [name, tensor.data instanceof Int32Array ? tensor : shifted(tensor)]),
      )
      const other = results({ ...one, values }, float64)
      results(one, float64).forEach(([, { data }], i) => {
        all++
        if (Array.from(data).every(Number.isFinite)) finite++
        if (Array.from(data).some((x, n) => x !== other[i]?.[1].data[n])) moving++
      })
    }
    const wanted = [...Object.keys(structural).filter((op) => op !== 'map'), ...Object.keys(elementwise)]
    assert.deepEqual(
      wanted.filter((op) => !seen.has(op)),
      [],
    )
    assert.ok(finite > 0.97 * all, `${finite} of ${all} results are finite`)
    assert.ok(moving > 0.4 * all, `${moving} of ${all} results depend on a float input`)
  })
})

function shifted(tensor: Tensor): Tensor {
  return { ...tensor, data: (tensor.data as Float64Array).map((x) => x * 0.75 + 0.125) }
}

describe('stored order', () => {
  it('to and from canonical order are inverse for any stored layout', () => {
    fc.assert(
      fc.property(randomGraph({ steps: 0 }), fc.array(fc.nat(100), { minLength: 12, maxLength: 12 }), (one, keys) => {
        const [a, b, c] = ['few', 'part', 'seq'].map(
          (name) => one.graph.axes.find((axis) => axis.name === name) as Axis,
        )
        const order = [a, b, c]
          .map((axis, i) => ({ axis: axis as Axis, key: keys[i] ?? 0 }))
          .sort((x, y) => x.key - y.key)
        const flat = order.map(({ axis }) => axis)
        const stored = (keys[3] ?? 0) % 2 === 0 ? flat.map((axis) => [axis]) : [flat.slice(0, 2), flat.slice(2)]
        const declaration = { name: 'd', role: 'input', dtype: 'f32', stored } as const
        const length = flat.reduce((n, axis) => n * (axis.extent ? (one.extents[axis.extent] ?? 0) : axis.size), 1)
        const data = Float64Array.from({ length }, (_, i) => i)
        const tensor = fromStored(declaration, data, one.extents)
        const single = flat.filter(({ size }) => size === 1)
        assert.deepEqual(
          [single, flat.filter((axis) => !single.includes(axis))].flatMap((part) =>
            part.map((axis) => axis.order).sort((x, y) => x - y),
          ),
          tensor.axes.map((axis) => axis.order),
        )
        assert.deepEqual(toStored(declaration, tensor, one.extents), data)
      }),
      { numRuns: 40 },
    )
  })
})
