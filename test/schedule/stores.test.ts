// What is worked out again rather than stored: values that users can make from fewer, in a few operations. The bits are those
// of the interpreter by `random.test.ts`; here it is counted what lies in memory.

import assert from 'node:assert/strict'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { smallProfile, verifyScheduled } from './launch.ts'

/** f(x)·(y·w) for an elementwise f, whose kernel comes before the product's. */
function scaled(f: (b: GraphBuilder, x: Node) => { readonly early: readonly Node[]; readonly factor: Node }): {
  readonly scheduled: ScheduledFunction
  readonly written: number
} {
  const b = new GraphBuilder()
  const [row, wide, inner] = [b.axis('row', 5), b.axis('wide', 19), b.axis('inner', 7)]
  b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[row], [wide]] })
  b.declare({ name: 'y', role: 'input', dtype: 'f32', stored: [[row], [inner]] })
  b.declare({ name: 'w', role: 'input', dtype: 'f32', stored: [[inner], [wide]] })
  const { early, factor } = f(b, b.read('x'))
  const product = b.dot(b.read('y'), b.read('w'), [inner])
  const outputs = [...early, b.map('mul', factor, product)].map((node, place) => ({ name: `${place}`, node }))
  b.define({ name: 'run', outputs, writes: [] })
  const graph = b.finish()
  const scheduled = scheduleFunction(graph, graph.functions[0] as (typeof graph.functions)[0], smallProfile(4))
  verifyScheduled(scheduled)
  const rows = scheduled.regions.filter(({ region }) => region.kind === 'rows')
  const written = rows.flatMap(({ kernel }) => kernel.arguments.filter(({ access }) => access !== 'read')).length
  return { scheduled, written }
}

describe('stores', () => {
  it('of what follows from one dear value: that one alone', () => {
    const { written } = scaled((b, x) => {
      const t = b.map('tanh', x)
      const [more, slope] = [b.map('add', b.float(1), t), b.map('sub', b.float(1), b.map('mul', t, t))]
      return { early: [], factor: b.map('add', b.map('mul', more, b.map('mul', x, b.float(0.5))), slope) }
    })
    assert.ok(written <= 1, `${written} arrays`)
  })

  it('of what is cheap to make from what is there: none, nor a kernel for it', () => {
    const { scheduled, written } = scaled((b, x) => {
      return { early: [], factor: b.map('sub', b.map('add', x, x), b.float(1)) }
    })
    assert.equal(written, 0)
    assert.deepEqual(
      scheduled.regions.map(({ region }) => region.kind),
      ['contraction'],
    )
  })

  it('of what the caller wants, though it is cheap', () => {
    const { written } = scaled((b, x) => {
      const twice = b.map('add', x, x)
      return { early: [twice], factor: twice }
    })
    assert.equal(written, 1)
  })
})
