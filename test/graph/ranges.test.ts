// Rows are looked up only at indices that exist: computed ones are bounded before anything runs, inputs when they are given.

import assert from 'node:assert/strict'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { indexSource } from '../../compiler/graph/ranges.ts'

function setting() {
  const b = new GraphBuilder()
  const [row, wide, table] = [b.axis('row', 5), b.axis('wide', 3), b.axis('table', 9)]
  b.declare({ name: 'values', role: 'frozen', dtype: 'f32', stored: [[table]] })
  b.declare({ name: 'ids', role: 'input', dtype: 'i32', stored: [[row]] })
  b.declare({ name: 'kept', role: 'state', dtype: 'i32', stored: [[row]] })
  const source = (node: Node) => indexSource(node, (name) => b.declaration(name))
  const look = (index: Node) => b.gather(b.read('values'), index, table)
  return { b, row, wide, table, source, look }
}

describe('indices', () => {
  it('have the range of what they are computed from', () => {
    const { b, row, wide, source } = setting()
    const [i, j] = [b.iota(row), b.iota(wide)]
    assert.deepEqual(source(i), { low: 0, high: 4 })
    assert.deepEqual(source(b.map('intAdd', b.map('intMul', b.int(3), i), j)), { low: 0, high: 14 })
    assert.deepEqual(source(b.map('intSub', i, b.int(4))), { low: -4, high: 0 })
    assert.deepEqual(source(b.map('intMul', b.map('intSub', i, b.int(2)), b.int(-3))), { low: -6, high: 6 })
    assert.deepEqual(source(b.extent(row)), { low: 1, high: 5 })
    assert.equal(source(b.map('intMul', b.int(2 ** 30), b.int(2))), undefined)
    assert.equal(source(b.rename(b.read('ids'), row, b.axis('other', 5))), 'checked input')
    assert.equal(source(b.map('intAdd', b.read('ids'), b.int(0))), undefined)
    assert.equal(source(b.read('kept')), undefined)
  })

  it('that do not exist are refused where the look-up is written', () => {
    const { b, row, look } = setting()
    const i = b.iota(row)
    look(i)
    look(b.map('intAdd', i, b.int(4)))
    look(b.read('ids'))
    assert.throws(
      () => look(b.map('intAdd', i, b.int(5))),
      /gather: the index is from 5 to 9, but 'table' has 9 places/,
    )
    assert.throws(() => look(b.map('intSub', i, b.int(1))), /gather: the index is from -1 to 3/)
    assert.throws(() => look(b.map('intAdd', b.read('ids'), b.int(0))), /gather: the index is computed, and may lie/)
    assert.throws(() => look(b.read('kept')), /may lie outside of 'table'/)
  })
})
