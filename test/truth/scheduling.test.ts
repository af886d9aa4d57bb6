// What the mutations of tools/mutate.ts found untested in the schedule: kernels that would read what another of their own
// iterations computes, and attention that only looks as if it streamed.

import assert from 'node:assert/strict'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Axis } from '../../compiler/graph/axis.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { backwards, expected, firstDifference, launch, smallProfile, verifyScheduled } from '../schedule/launch.ts'

/** What the one function of a graph gives, before and after directives, against the interpreter. */
function checkBits(graph: Graph, values: ReadonlyMap<string, Tensor>): void {
  const [fn] = graph.functions
  assert.ok(fn)
  const wanted = expected(graph, fn, values, {})
  for (const lanes of [4, 16]) {
    const scheduled = scheduleFunction(graph, fn, smallProfile(lanes))
    verifyScheduled(scheduled)
    for (const stage of ['nest', 'kernel'] as const) {
      const got = launch({ graph, scheduled, values, extents: {}, stage, gridOrder: backwards })
      assert.equal(firstDifference(got, wanted), undefined)
    }
  }
}

function floatsOver(axes: readonly Axis[], phase: number): Tensor {
  const sizes = axes.map((axis) => axis.size)
  const length = sizes.reduce((product, size) => product * size, 1)
  return makeTensor(
    axes,
    sizes,
    Float64Array.from({ length }, (_, place) => Math.fround(Math.sin(place * 1.3 + phase))),
  )
}

describe('a row that reads another row of the same kernel', () => {
  it('gets the other row', () => {
    const [rows, width] = [7, 19]
    const b = new GraphBuilder()
    const row = b.axis('row', rows)
    const inner = b.axis('inner', width)
    const other = b.axis('other', rows)
    b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[row], [inner]] })
    b.declare({ name: 'index', role: 'input', dtype: 'i32', stored: [[row]] })
    const sums = b.sum(b.map('mul', b.read('x'), b.read('x')), inner)
    const elsewhere = b.gather(b.rename(sums, row, other), b.read('index'), other)
    const outputs = [
      { name: 'sums', node: sums },
      { name: 'differences', node: b.map('sub', sums, elsewhere) },
      { name: 'elsewhere', node: elsewhere },
    ]
    b.define({ name: 'step', outputs, writes: [] })
    const graph = b.finish()
    const index = Int32Array.from({ length: rows }, (_, place) => (place * 3 + 1) % rows)
    const values = new Map([
      ['x', floatsOver([row, inner], 1)],
      ['index', makeTensor([row], [rows], index)],
    ])
    checkBits(graph, values)
  })
})

describe('attention whose queries are others for every key', () => {
  it('is not taken for a product of rows and columns', () => {
    const b = new GraphBuilder()
    const [row, key, dim, width] = [b.axis('row', 9), b.axis('key', 70), b.axis('dim', 5), b.axis('width', 3)]
    b.declare({ name: 'q', role: 'input', dtype: 'f32', stored: [[row], [key], [dim]] })
    b.declare({ name: 'k', role: 'input', dtype: 'f32', stored: [[key], [dim]] })
    b.declare({ name: 'v', role: 'input', dtype: 'f32', stored: [[key], [width]] })
    const scores = b.dot(b.read('q'), b.read('k'), [dim])
    const attended = b.softmaxDot(scores, b.read('v'), key, 64)
    b.define({ name: 'step', outputs: [{ name: 'attended', node: attended }], writes: [] })
    const values = new Map([
      ['q', floatsOver([row, key, dim], 1)],
      ['k', floatsOver([key, dim], 2)],
      ['v', floatsOver([key, width], 3)],
    ])
    checkBits(b.finish(), values)
  })
})
