// Random graphs through the scheduler: kernels give the interpreter's bits before and after their directives, for any
// vector width and any order of grid iterations, and the verifier accepts every one of them.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import { rootsOf, topological } from '../../compiler/graph/node.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { structural, structuralRule } from '../../compiler/graph/structural.ts'
import type { StructuralOp } from '../../compiler/graph/node.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { growGraph } from '../support/randomGraph.ts'
import type { RandomGraph, RandomGraphOptions } from '../support/randomGraph.ts'
import { flowsBack, nameOf, withGradients } from './differentiated.ts'
import { backwards, expected, firstDifference, launch, roundNarrow, smallProfile, verifyScheduled } from './launch.ts'

const widths = [4, 8, 16] as const

/** Graphs of one seed; `turn` rotates which of the runs goes through its grid backwards. */
function grown(count: number, seed: number, options: RandomGraphOptions): RandomGraph[] {
  const numbers = fc.array(fc.nat(2 ** 20), { minLength: 40, maxLength: 300, size: 'max' })
  return fc.sample(numbers, { numRuns: count, seed }).map((one) => growGraph(one, options))
}

function checkBits({ graph, values, extents }: RandomGraph, turn: number): void {
  roundNarrow(graph, values)
  for (const fn of graph.functions) {
    const wanted = expected(graph, fn, values, extents)
    for (const [place, lanes] of widths.entries()) {
      const scheduled = scheduleFunction(graph, fn, smallProfile(lanes, 1 + ((turn + place) % 2)))
      verifyScheduled(scheduled)
      for (const stage of ['nest', 'kernel'] as const) {
        const isBackward = (turn + place + (stage === 'nest' ? 0 : 1)) % 2 === 0
        const run = { graph, scheduled, values, extents, stage, ...(isBackward ? { gridOrder: backwards } : {}) }
        const difference = firstDifference(launch(run), wanted)
        if (difference !== undefined) {
          assert.fail(`${stage} of '${fn.name}' with ${lanes} lanes: ${difference}\n${printGraph(graph)}`)
        }
      }
    }
  }
}

describe('random graphs through the scheduler', () => {
  const seen = new Set<string>()
  const seenBackwards = new Set<string>()

  const batches: readonly (readonly [string, number, number, RandomGraphOptions])[] = [
    ['few operations', 90, 7, { steps: 8, elements: 6000 }],
    ['many operations', 50, 11, { steps: 24, elements: 4000 }],
    ['sizes about vectors and blocks', 30, 13, { steps: 8, elements: 20000, sizes: [1, 16, 65, 129] }],
  ]
  for (const [name, count, seed, options] of batches) {
    it(`${name}: ${count} graphs give the interpreter's bits`, () => {
      for (const [turn, one] of grown(count, seed, options).entries()) {
        for (const node of topological(one.graph.functions.flatMap(rootsOf))) seen.add(nameOf(node)).add(node.op)
        checkBits(one, turn)
      }
    })
  }

  it("40 graphs with all their gradients give the interpreter's bits", () => {
    for (const [turn, one] of grown(40, 23, { steps: 32, elements: 1500 }).entries()) {
      const adjoint = withGradients(one, turn % 2 === 0 ? [] : [simplify()])
      for (const name of adjoint.differentiated) seenBackwards.add(name)
      checkBits(adjoint, turn)
    }
  })

  it('every operation occurred, and every derivative', () => {
    const ops = Object.keys(structural) as StructuralOp[]
    const unseen = [...ops, ...Object.keys(elementwise)].filter((op) => !seen.has(op))
    assert.deepEqual(unseen, [])
    assert.equal(ops.length, 21)
    const flowing = ops.filter((op) => op !== 'map' && op !== 'random' && structuralRule(op).derivative)
    const untried = [...flowing, ...Object.keys(elementwise).filter(flowsBack)].filter((op) => !seenBackwards.has(op))
    assert.deepEqual(untried, [])
  })
})
