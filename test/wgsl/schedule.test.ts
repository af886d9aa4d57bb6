// GPU schedules mean what the nest means, to the bit: of whole models, and of attention at sizes around its tiles.

import assert from 'node:assert/strict'
import type { Graph } from '../../compiler/graph/node.ts'
import { InternalError } from '../../compiler/diagnostic.ts'
import type { Kernel, Stmt } from '../../compiler/kernel/ir.ts'
import { mapBlocks } from '../../compiler/kernel/rewrite.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import { gpuRegion, scheduleForGpu, workgroupBytes } from '../../compiler/schedule/gpu.ts'
import type { GpuRegion } from '../../compiler/schedule/gpu.ts'
import { nestProfile } from '../../compiler/schedule/gpuProfile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { webgpu } from '../../devices/webgpu.ts'
import { attentionGraph } from '../support/attentionGraph.ts'
import { assertEqualRuns } from './equivalence.ts'
import { loraGraph } from './tinyModel.ts'

/** Every different kernel of a graph. */
function regionsOf(graph: Graph): GpuRegion[] {
  const seen = new Map<string, GpuRegion>()
  for (const fn of graph.functions)
    for (const one of scheduleForGpu(graph, fn, webgpu)) seen.set(printKernel(one.nest), one)
  return [...seen.values()]
}

/** A size below every bound that is no multiple of anything, so that the last tile of each loop is cut. */
function oddSizes(kernel: Kernel, size: (bound: number) => number): Record<string, number> {
  return Object.fromEntries(kernel.sizes.map(({ name, bound }) => [name, Math.max(1, Math.min(bound, size(bound)))]))
}

function regionOf(graph: Graph, kind: GpuRegion['region']['kind'], fn = 'step'): GpuRegion {
  const [step] = graph.functions.filter((candidate) => candidate.name === fn)
  assert.ok(step)
  const found = scheduleForGpu(graph, step, webgpu).find((one) => one.region.kind === kind)
  assert.ok(found, `no ${kind} in ${fn}`)
  return found
}

describe('the GPU schedule', () => {
  for (const fixture of ['gpt2-small', 'qwen2-small'] as const) {
    it(`keeps every bit of every kernel of ${fixture} with LoRA`, function () {
      this.timeout(120_000)
      const regions = regionsOf(loraGraph(fixture, 19))
      const kinds = new Set(regions.map((one) => one.region.kind))
      for (const kind of ['contraction', 'rows', 'softmax', 'stream'] as const) assert.ok(kinds.has(kind), `no ${kind}`)
      for (const { nest, kernel } of regions) {
        verifyKernel(kernel, { lowered: true })
        assertEqualRuns(
          nest,
          kernel,
          oddSizes(nest, (bound) => bound - 2),
        )
      }
    })
  }

  it('keeps every bit of norm, contraction, attention and sums at sizes around a tile', function () {
    this.timeout(60_000)
    const graphs = [attentionGraph(), attentionGraph({ embed: 20, head: 3, dim: 7, seq: 70, block: 64 })]
    for (const { nest, kernel } of graphs.flatMap(({ graph }) => regionsOf(graph))) {
      verifyKernel(kernel, { lowered: true })
      for (const seq of [1, 16, 33, 64, 70])
        assertEqualRuns(
          nest,
          kernel,
          oddSizes(nest, () => seq),
        )
    }
  })

  it('stages both operands of a contraction in workgroup memory', () => {
    const { kernel } = regionOf(attentionGraph().graph, 'contraction')
    const shared = kernel.locals.filter((buffer) => buffer.space === 'workgroup')
    assert.equal(shared.length, 2)
    assert.equal(kernel.locals.find((buffer) => buffer.space === 'register')?.dims.length, 2)
  })

  it('takes fewer rows where the memory of a workgroup is small', function () {
    this.timeout(30_000)
    const { graph } = attentionGraph({ embed: 20, head: 3, dim: 7, seq: 70, block: 64 })
    const rows = (kernel: Kernel): number | undefined =>
      kernel.locals.find((buffer) => buffer.name === 'lane_partials')?.dims[0]?.size
    const whole = regionOf(graph, 'softmax')
    assert.equal(rows(whole.kernel), 16)
    const step = graph.functions.find((fn) => fn.name === 'step')
    assert.ok(step)
    const lowered = scheduleFunction(graph, step, nestProfile(webgpu)).regions.find(
      (one) => one.region.kind === 'softmax',
    )
    assert.ok(lowered)
    const small = (workgroupMemory: number) => ({
      ...webgpu,
      limits: { ...webgpu.limits, workgroupBytes: workgroupMemory },
    })
    const cut = gpuRegion(lowered, small(2048))
    assert.equal(rows(cut.kernel), 4)
    assert.ok(workgroupBytes(cut.kernel) <= 2048)
    assertEqualRuns(cut.nest, cut.kernel, { batch: 2, seq: 67 })
    assert.throws(() => gpuRegion(lowered, small(64)), InternalError)
  })

  it('needs the barriers that it puts', function () {
    this.timeout(30_000)
    const { graph } = attentionGraph({ embed: 20, head: 3, dim: 7, seq: 70, block: 64 })
    for (const kind of ['contraction', 'softmax', 'rows'] as const) {
      const { nest, kernel } = regionOf(graph, kind)
      const without = {
        ...kernel,
        body: mapBlocks(kernel.body, (stmt): Stmt[] => (stmt.kind === 'barrier' ? [] : [stmt])),
      }
      assert.notEqual(printKernel(without), printKernel(kernel), `${kind} has no barrier`)
      assert.throws(() => assertEqualRuns(nest, without, { batch: 2, seq: 37 }))
    }
  })
})
