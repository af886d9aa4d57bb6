// From scheduled nests to explicit vectors: every kernel of training small models keeps its bits through each step, and
// lanes that a guard leaves out touch nothing.

import assert from 'node:assert/strict'
import { InternalError } from '../../compiler/diagnostic.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { applyDirectives } from '../../compiler/kernel/directives.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { lowerKernel, lowerLanes, lowerUnrolled, shareLoads } from '../../compiler/kernel/vectorise.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import { resultsOf, smallKernels } from './smallKernels.ts'

describe('vectorisation', () => {
  for (const lanes of [4, 8, 16]) {
    it(`keeps the bits of every kernel of small models, with ${lanes} lanes`, () => {
      for (const { nest, directives } of smallKernels(lanes)) {
        const wanted = resultsOf(nest)
        if (lanes === 4) {
          const vectors = lowerLanes(applyDirectives(nest, directives))
          const copies = lowerUnrolled(vectors)
          for (const step of [vectors, copies, shareLoads(copies)])
            assert.ok(resultsOf(step).equals(wanted), printKernel(step))
        }
        const lowered = lowerKernel(applyDirectives(nest, directives))
        verifyKernel(lowered, { lowered: true })
        assert.ok(resultsOf(lowered).equals(wanted), printKernel(nest))
        assert.ok(!/\b(lane|unroll) \w+ in/.test(printKernel(lowered)), 'a lane or unroll loop is left')
      }
    })
  }

  const guarded = (body: string): string => `kernel guarded (sizes n <= 10) {
    read x: f32[10:1]
    write y: f32[10:1]
    register r: f32[4:1]
    serial o in (n + 3) div 4 {
      lane j in 4 {
        r[j] = 1.0
      }
      lane j in 4 {
        if (j + o*4 < n) {
          ${body}
        }
      }
      lane j in 4 {
        if (j + o*4 < n) {
          y[j + o*4] = r[j]
        }
      }
    }
  }`

  it('touches nothing beyond a guard, and keeps what a register held there', () => {
    const kernel = lowerKernel(parseKernel(guarded('r[j] = add(r[j], x[j + o*4])')))
    verifyKernel(kernel, { lowered: true })
    for (let n = 1; n <= 10; n++) {
      const y = new Float32Array(10).fill(-5)
      const x = Float32Array.from({ length: 10 }, (_, i) => i * 2)
      runKernel(kernel, { buffers: new Map([['x', x], ['y', y]]), sizes: { n }, arithmetic: float32 }) // prettier-ignore
      assert.deepEqual(
        [...y],
        Array.from({ length: 10 }, (_, i) => (i < n ? 1 + i * 2 : -5)),
      )
    }
  })

  it('refuses lanes that are stored apart, and guards that are no count', () => {
    const apart = guarded('r[j] = x[j + o*4]').replaceAll('y[j + o*4]', 'y[9 - j - o*4]')
    const uneven = guarded('r[j] = x[j + o*4]').replaceAll('j + o*4 < n', 'j*2 + o*4 < n')
    for (const [text, reason] of [
      [apart, /not stored to neighbours/],
      [uneven, /not a count/],
    ] as const) {
      // prettier-ignore
      assert.throws(() => lowerKernel(parseKernel(text)), (error) => error instanceof InternalError && reason.test(error.message))
    }
  })
})
