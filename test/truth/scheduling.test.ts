// What the mutations of tools/mutate.ts found untested in the schedule: kernels that would read what another of their own
// iterations computes, attention that only looks as if it streamed, and masks that leave every row its own place.

import assert from 'node:assert/strict'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Axis } from '../../compiler/graph/axis.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { scoreConditions } from '../../compiler/schedule/live.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { tileOnlyValues } from '../../compiler/schedule/scores.ts'
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

describe('scores', () => {
  it('exist as tiles only where a row of results has a width that is known, and lies in one piece', () => {
    const b = new GraphBuilder()
    const [row, key, dim] = [b.axis('row', 9), b.axis('key', 70), b.axis('dim', 5)]
    const [width, length] = [b.axis('width', 3), b.axis('length', 4, 'length')]
    const read = (name: string, ...axes: Axis[]): Node => {
      b.declare({ name, role: 'input', dtype: 'f32', stored: axes.map((axis) => [axis]) })
      return b.read(name)
    }
    const scores = b.dot(read('q', row, dim), read('k', key, dim), [dim])
    const tilesFor = (values: Node, layout: (node: Node) => readonly Axis[]): number => {
      const attended = b.softmaxDot(scores, values, key, 64)
      return tileOnlyValues([scores, attended], new Map([[scores, [attended]]]), new Set(), layout).size
    }
    const wide = read('wide', key, width)
    assert.equal(
      tilesFor(wide, () => [row, width]),
      1,
    )
    assert.equal(
      tilesFor(wide, () => [width, row]),
      0,
    )
    assert.equal(
      tilesFor(read('narrow', key), () => [row]),
      0,
    )
    assert.equal(
      tilesFor(read('long', key, length), () => [row, length]),
      0,
    )
  })
})

describe('a mask by position', () => {
  it('leaves blocks out where a row sees its own place, whatever else is asked of a key', () => {
    const b = new GraphBuilder()
    const [seq, key, far] = [b.axis('seq', 100), b.axis('key', 100), b.axis('far', 120)]
    for (const name of ['segment', 'other']) b.declare({ name, role: 'input', dtype: 'i32', stored: [[seq]] })
    for (const [name, axis] of Object.entries({ s: seq, distant: far })) {
      b.declare({ name, role: 'input', dtype: 'f32', stored: [[axis], [key]] })
    }
    const roomsOf = (seen: Node, scores = 's'): number[] =>
      scoreConditions(b.map('select', seen, b.read(scores), b.float(-3e38))).map(({ room }) => room)
    const causal = b.map('intLessEqual', b.iota(key), b.iota(seq))
    const causalAnd = (also: Node): number[] => roomsOf(b.map('and', causal, also))
    const [own, other] = [b.read('segment'), b.read('other')]
    for (const compare of ['intEqual', 'intLessEqual']) {
      assert.deepEqual(causalAnd(b.map(compare, own, b.rename(own, seq, key))), [0], compare)
      assert.deepEqual(causalAnd(b.map(compare, b.rename(own, seq, key), own)), [0], compare)
      assert.deepEqual(causalAnd(b.map(compare, own, b.rename(other, seq, key))), [], compare)
    }
    assert.deepEqual(causalAnd(b.map('intEqual', b.iota(key), b.iota(seq))), [0])
    assert.deepEqual(causalAnd(b.map('intEqual', b.iota(seq), b.iota(key))), [0])
    assert.deepEqual(causalAnd(b.map('intLess', own, b.rename(own, seq, key))), [])
    assert.deepEqual(causalAnd(b.map('intEqual', own, b.int(3))), [])
    // Of a longer row some places have none of their own.
    assert.deepEqual(roomsOf(b.map('intLessEqual', b.iota(key), b.iota(far)), 'distant'), [])
  })
})
