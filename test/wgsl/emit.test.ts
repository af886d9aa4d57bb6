// WGSL of the same nests that the CPU prints as C++: goldens side by side, Tint's judgement of every kernel of a model,
// and what the emitter refuses.

import assert from 'node:assert/strict'
import { emitKernel } from '../../backends/neon/emit/index.ts'
import { isaOf } from '../../backends/neon/isa/index.ts'
import { emitShader, workgroupCounts } from '../../backends/wgsl/emit/index.ts'
import { InternalError } from '../../compiler/diagnostic.ts'
import { constantIndex, size, variable } from '../../compiler/kernel/index.ts'
import { denseDims, wordType } from '../../compiler/kernel/ir.ts'
import type { Binding, Buffer, Expr, Kernel, Stmt, ValueType, Word } from '../../compiler/kernel/ir.ts'
import { isShift, wordOperands } from '../../compiler/kernel/words.ts'
import { printGpuDirective } from '../../compiler/kernel/gpuDirectives.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { scheduleForGpu } from '../../compiler/schedule/gpu.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { webgpu } from '../../devices/webgpu.ts'
import { attentionGraph } from '../support/attentionGraph.ts'
import { golden } from '../support/golden.ts'
import { loraGraph } from './tinyModel.ts'
import { openTint } from './tint.ts'

const { limits } = webgpu
/** What Chromium's and SwiftShader's adapters give when asked. */
const adapterLimits = { ...limits, storageBuffers: 10 }

const neonProfile: ScheduleProfile = {
  name: 'neon',
  lanes: 4,
  tile: { rows: 2, vectors: 2 },
  privateCache: 1 << 15,
  threads: 2,
}

const target: Buffer = { name: 'y', dtype: 'f32', space: 'argument', dims: denseDims([64]), access: 'write' }

function kernelOf(body: readonly Stmt[], more: Partial<Kernel> = {}): Kernel {
  return { name: 'made', sizes: [], arguments: [target], locals: [], body, ...more }
}

function loop(binding: Binding, extent: number, body: readonly Stmt[] = [], name = 'i'): Stmt {
  return { kind: 'for', variable: name, extent: constantIndex(extent), binding, body }
}

function storing(value: Expr, buffer = 'y'): Stmt {
  return { kind: 'store', buffer, indices: [constantIndex(0)], value, lanes: 1 }
}

const float = (value: number): Expr => ({ kind: 'constant', type: 'f32', value })

describe('emitted WGSL', function () {
  this.timeout(60_000)
  let tint: Awaited<ReturnType<typeof openTint>>
  before(async () => {
    tint = await openTint()
  })
  after(() => tint.close())

  for (const [title, kind] of [
    ['norm', 'rows'],
    ['contraction', 'contraction'],
    ['attention', 'softmax'],
  ] as const) {
    it(`of the ${title} stands beside the C++ of the same nest`, async () => {
      const { graph } = attentionGraph({ embed: 20, head: 3, dim: 7, seq: 70, block: 64 })
      const step = graph.functions.find((fn) => fn.name === 'step')
      assert.ok(step)
      const gpu = scheduleForGpu(graph, step, webgpu).find((one) => one.region.kind === kind)
      // Rows of which a mask leaves nothing are left out on a processor alone.
      const whole = { ...neonProfile, wholeBlocks: true }
      const cpu = scheduleFunction(graph, step, whole).regions.find((one) => one.region.kind === kind)
      assert.ok(gpu && cpu)
      assert.equal(printKernel(gpu.nest), printKernel(cpu.nest), 'both start from one nest')
      const { code } = emitShader(gpu.kernel, limits)
      assert.deepEqual(await tint.errors(code), [])
      const sections = [
        ['nest', printKernel(gpu.nest)],
        ['GPU directives', `${gpu.directives.map(printGpuDirective).join('\n')}\n`],
        ['WGSL', code],
        ['NEON C++', emitKernel(cpu.kernel, isaOf('neon'))],
      ]
      golden(`wgsl/${title}.txt`, sections.map(([name, text]) => `==== ${name} ====\n${text}`).join('\n'))
    })
  }

  for (const [fixture, length] of [
    ['gpt2-odd', 77],
    ['qwen2-odd', 77],
  ] as const) {
    it(`is accepted by Tint for every kernel of ${fixture} with LoRA`, async () => {
      const graph = loraGraph(fixture, length)
      const codes = new Set<string>()
      let beyondDefault = 0
      for (const fn of graph.functions) {
        for (const { kernel } of scheduleForGpu(graph, fn, webgpu)) {
          const { code } = emitShader(kernel, adapterLimits)
          if (codes.has(code)) continue
          codes.add(code)
          if (kernel.arguments.length > limits.storageBuffers) {
            beyondDefault++
            assert.throws(() => emitShader(kernel, limits), /storage buffers, but 8 is the limit/)
          }
          assert.deepEqual(await tint.errors(code), [], code)
        }
      }
      assert.ok(codes.size > 40, `${codes.size} kernels`)
      assert.ok(beyondDefault < codes.size / 5, `${beyondDefault} kernels bind more than the default allows`)
    })
  }

  it('spells every word, uncommon constants and 16-bit loads so that Tint accepts them', async () => {
    const types = { f32: 'x', i32: 'ids', bool: 'flags' } as const satisfies Record<ValueType, string>
    const argument = (name: string, dtype: Buffer['dtype']): Buffer => ({ ...target, name, dtype, access: 'read' })
    const read = (type: ValueType): Expr => ({
      kind: 'load',
      buffer: types[type],
      indices: [variable('i')],
      type,
      lanes: 1,
    })
    const outputs = { f32: 'y', i32: 'n', bool: 'b' } as const
    const values = (Object.keys(wordOperands) as Word[]).map((word): Expr => ({
      kind: 'apply',
      word,
      args: wordOperands[word].map(read),
      lanes: 1,
      ...(isShift(word) ? { bits: 31 } : {}),
    }))
    const wide = ['half', 'brain'].map((buffer): Expr => ({
      kind: 'load',
      buffer,
      indices: [variable('i')],
      type: 'f32',
      lanes: 1,
    }))
    const constants = [Infinity, -Infinity, NaN, -0, 3.4028234663852886e38, 1.401298464324817e-45].map(float)
    const extreme: Expr = { kind: 'constant', type: 'i32', value: -2147483648 }
    const stores = [
      ...values.map((value) => storing(value, outputs[value.kind === 'apply' ? wordType(value.word) : 'f32'])),
      ...[...wide, ...constants].map((value) => storing(value)),
      storing(extreme, 'n'),
    ]
    const kernel = kernelOf([loop('grid', 64, stores)], {
      arguments: [
        argument('x', 'f32'),
        argument('ids', 'i32'),
        argument('flags', 'bool'),
        argument('half', 'f16'),
        argument('brain', 'bf16'),
        target,
        { ...target, name: 'n', dtype: 'i32' },
        { ...target, name: 'b', dtype: 'bool' },
      ],
    })
    assert.deepEqual(await tint.errors(emitShader(kernel, limits).code), [])
  })

  it('gives names that WGSL reserves another spelling', async () => {
    const body: Stmt[] = [loop('grid', 4, [storing({ kind: 'index', index: size('loop') }, 'workgroup')], 'var')]
    const kernel = kernelOf(body, {
      name: 'switch ü',
      sizes: [{ name: 'loop', bound: 8 }],
      arguments: [{ ...target, name: 'workgroup', dtype: 'i32' }],
    })
    const { code, entry } = emitShader(kernel, limits, { sizes: ['sizes', 'loop'] })
    assert.equal(entry, 'kernel_switch')
    assert.match(code, /sizes_2: i32,\n {2}loop_2: i32,/)
    assert.deepEqual(await tint.errors(code), [])
  })

  it('counts workgroups along two directions', () => {
    const grid = (a: number, b: number): Kernel =>
      kernelOf([loop('grid', a, [loop('grid', b, [storing(float(1))], 'j')])])
    assert.deepEqual(workgroupCounts(grid(3, 5), {}, limits), [15, 1, 1])
    assert.deepEqual(workgroupCounts(grid(1000, 100), {}, limits), [65535, 2, 1])
    assert.throws(() => workgroupCounts(grid(70000, 70000), {}, limits), InternalError)
  })

  it('refuses what breaks a limit or is not lowered', () => {
    const space = (where: Buffer['space'], bytes: number): Partial<Kernel> => ({
      locals: [{ name: 's', dtype: 'f32', space: where, dims: denseDims([bytes / 4]) }],
    })
    const inputs = (count: number): Partial<Kernel> => ({
      arguments: Array.from({ length: count }, (_, place): Buffer => ({
        ...target,
        name: `x${place}`,
        access: 'read',
      })),
    })
    const local = (extent: number, body: readonly Stmt[] = []): Stmt => loop('local', extent, body)
    const tree: Expr = { kind: 'tree', word: 'add', buffer: 's' }
    const refused: readonly [Kernel, RegExp][] = [
      [kernelOf([], space('workgroup', 16388)), /16388 bytes of workgroup memory, but 16384 is the limit/],
      [kernelOf([], space('scratch', 8196)), /8196 bytes of private memory/],
      [kernelOf([], inputs(9)), /9 storage buffers, but 8 is the limit/],
      [kernelOf([local(257)]), /257 invocations/],
      [kernelOf([loop('local', 65, [loop('local', 1, [loop('local', 1, [], 'k')], 'j')])]), /65 invocations/],
      [kernelOf([loop('serial', 4, [loop('unroll', 2, [], 'j')])]), /loop j is 'unroll'/],
      [kernelOf([loop('serial', 4, [loop('grid', 2, [], 'j')])]), /loop j is 'grid'/],
      [kernelOf([storing({ kind: 'splat', value: float(1), lanes: 4 })]), /4 lanes, which this dialect has not/],
      [kernelOf([storing(tree)], space('register', 64)), /a tree over s/],
      [kernelOf([storing({ kind: 'constant', type: 'i32', value: 1 })]), /i32 stored in y/],
      [kernelOf([storing(float(1))], { arguments: [{ ...target, dtype: 'bf16' }] }), /y is bf16: only read/],
      [kernelOf([storing(float(1), 'z')]), /no buffer 'z'/],
    ]
    for (const [kernel, message] of refused) {
      assert.throws(
        () => emitShader(kernel, limits),
        (error) => error instanceof InternalError && message.test(error.message),
      )
    }
    assert.doesNotThrow(() => emitShader(kernelOf([local(256)], inputs(8)), limits))
    assert.throws(
      () => emitShader(kernelOf([], { sizes: [{ name: 'a', bound: 2 }] }), limits, { sizes: [] }),
      /size 'a' is none/,
    )
  })
})
