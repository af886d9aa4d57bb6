// What is said of a program's kernels: exact where it can be worked out by hand, whole where parts must sum up.

import assert from 'node:assert/strict'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import { explainProgram, totalBytes } from '../../compiler/plan/explain.ts'
import type { KernelReport } from '../../compiler/plan/explain.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { smallProfile } from '../schedule/launch.ts'
import { training } from '../schedule/trainings.ts'

/** y = x·w with w stored [in, out] in 16 bits, named as a researcher would. */
function product(m: number, n: number, k: number): readonly KernelReport[] {
  const b = new GraphBuilder()
  const [rows, inner, columns] = [b.axis('rows', m), b.axis('inner', k), b.axis('columns', n)]
  b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[rows], [inner]] })
  b.declare({ name: 'net.weight', role: 'frozen', dtype: 'bf16', stored: [[inner], [columns]] })
  const y = b.dot(b.read('x'), b.read('net.weight'), [inner])
  b.define({ name: 'contract', outputs: [{ name: 'y', node: y }], writes: [] })
  const graph = b.finish()
  const provenance = new Provenance()
  provenance.note(y, 'y', { file: '/home/me/net.ts', line: 7, column: 3 })
  const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, smallProfile(8)))
  const planned = planProgram('product', graph, functions, provenance)
  return explainProgram(planned, 1 << 20)[0]?.kernels ?? []
}

describe("a program's kernels explained", () => {
  for (const [m, n, k] of [
    [5, 37, 11],
    [12, 32, 16],
    [1, 9, 3],
  ] as const) {
    it(`count what a product of ${m}×${n}×${k} means, and beside it what its tiles execute`, () => {
      const [report, ...more] = product(m, n, k)
      assert.ok(report)
      assert.equal(more.length, 0)
      assert.equal(report.multiplyAdds, m * n * k)
      const { tile } = report
      assert.ok(tile && tile.rows > 0 && tile.columns % 8 === 0)
      const up = (value: number, to: number): number => Math.ceil(value / to) * to
      // Whole tiles at least; whole panels of a block beyond them are the schedule's business.
      assert.ok(report.executed >= up(m, tile.rows) * up(n, tile.columns) * k && report.executed % k === 0)
      assert.deepEqual(report.compulsory, { read: 4 * m * k + 2 * k * n, written: 4 * m * n })
      assert.deepEqual([report.moved, report.passes], [report.compulsory, 1])
      assert.equal(report.intensity, (m * n * k) / totalBytes(report.compulsory))
      assert.deepEqual(
        report.arguments.map(({ value, dtype, access }) => [value, dtype, access]),
        [
          ['x', 'f32', 'read'],
          ['net.weight', 'bf16', 'read'],
          ['y', 'f32', 'write'],
        ],
      )
    })
  }

  it('say what is packed, how large it is, and where it comes from', () => {
    const [report] = product(5, 37, 4)
    const { packing = [], directives = [], results = [], scratchBytes } = report ?? {}
    assert.deepEqual(
      packing.map(({ from, words }) => [from, words]),
      [[['net.weight'], []]],
    )
    assert.equal(packing[0]?.bytes, scratchBytes)
    assert.ok(directives.some((line) => line.startsWith('stage ') && line.includes(packing[0]?.into ?? '?')))
    assert.deepEqual(results, [
      {
        fn: 'contract',
        layer: undefined,
        names: ['y'],
        places: [{ file: '/home/me/net.ts', line: 7, column: 3 }],
      },
    ])
  })

  it('are all there, and sum up', () => {
    const { graph } = training({ model: 'qwen2', adaptation: 'lora', length: 19 })
    const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, smallProfile(8)))
    const planned = planProgram('qwen2', graph, functions, new Provenance())
    const reports = explainProgram(planned, 1 << 12)
    assert.deepEqual(
      reports.map(({ name }) => name),
      planned.program.functions.map(({ name }) => name),
    )
    let repeated = 0
    for (const fn of reports) {
      const sum = (of: (kernel: KernelReport) => number): number =>
        fn.kernels.reduce((total, kernel) => total + kernel.launches * of(kernel), 0)
      assert.equal(
        sum(() => 1),
        fn.launches,
      )
      assert.equal(
        sum((kernel) => kernel.multiplyAdds),
        fn.multiplyAdds,
      )
      assert.equal(
        sum((kernel) => totalBytes(kernel.moved)),
        totalBytes(fn.moved),
      )
      for (const kernel of fn.kernels) {
        assert.equal(kernel.results.length, kernel.launches)
        assert.ok(kernel.executed >= kernel.multiplyAdds, kernel.kernel)
        for (const one of kernel.arguments) {
          assert.ok(one.moved.read >= one.compulsory.read && one.moved.written >= one.compulsory.written)
        }
        if (kernel.passes > 1) repeated++
      }
    }
    assert.ok(repeated > 0, 'in so small a cache something must move again')
  })
})
