// Which values a function computes twice: those that checkpoints clone, and no other.

import assert from 'node:assert/strict'
import { rootsOf, topological } from '../../compiler/graph/node.ts'
import type { GraphFunction } from '../../compiler/graph/node.ts'
import { computedAgain } from '../../compiler/plan/again.ts'
import { functionNamed } from '../../compiler/transform/pass.ts'
import { training } from '../schedule/trainings.ts'

describe('values computed again', () => {
  const accumulate = (checkpoints: 'none' | 'every'): GraphFunction =>
    functionNamed(training({ model: 'gpt2', adaptation: 'lora', checkpoints, length: 9 }).graph, 'accumulate')

  it('are the clones of checkpoints, which wait for their cotangents, and none without', () => {
    assert.equal(computedAgain(accumulate('none')).size, 0)
    const fn = accumulate('every')
    const nodes = topological(rootsOf(fn))
    const again = computedAgain(fn)
    // Without barriers every expression is one node: interning sees to it.
    const behind = new Set<unknown>()
    for (const node of nodes) {
      const waits = node.op === 'barrier' && node.inputs.length > 1
      if (waits || node.inputs.some((input) => behind.has(input))) behind.add(node)
    }
    for (const node of again) assert.ok(behind.has(node), node.op)
    assert.ok([...again].some(({ op }) => op === 'dot'))
    assert.ok([...again].every(({ layer }) => layer === 0))
    assert.ok(again.size < nodes.length / 2)
  })
})
