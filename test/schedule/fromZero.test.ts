// A kernel that begins a sum makes of any memory what the kernel that adds to it makes of zeros, to the bit: every kernel of random
// trainings that can, and kernels written down that must not.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { fromZero } from '../../compiler/schedule/fromZero.ts'
import { emptyArray } from './rowsInMemory.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray } from '../../compiler/kernel/interpret.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { randomTraining } from '../plan/randomTrainings.ts'
import { storageOf } from '../plan/streaming.ts'
import { smallProfile } from './launch.ts'

const MODELS = 8

/** What it leaves in its arguments, `sums` of which begin as `given` says. */
function run(kernel: Kernel, sums: ReadonlySet<number>, given: 'zeros' | 'rubbish', sizes: Record<string, number>) {
  const buffers = new Map(
    kernel.arguments.map((buffer, argument): [string, KernelArray] => {
      const array = emptyArray(buffer.dtype, bufferElements(buffer))
      const isIds = buffer.dtype === 'i32'
      for (let place = 0; place < array.length; place++)
        array[place] = isIds ? place % 5 : buffer.dtype === 'f32' ? ((place * 37 + argument) % 17) / 8 - 1 : 16000
      if (sums.has(argument)) array.fill(given === 'zeros' ? 0 : NaN)
      return [buffer.name, array]
    }),
  )
  runKernel(kernel, { buffers, sizes, arithmetic: float32 })
  return [...sums].map((argument) => buffers.get(kernel.arguments[argument]?.name ?? ''))
}

describe('kernels that begin a sum', () => {
  it('make what the kernel that adds makes of zeros', () => {
    let [begun, kept] = [0, 0]
    const kinds = new Set<string>()
    const numbers = fc.array(fc.nat(2 ** 20), { minLength: 40, maxLength: 100, size: 'max' })
    for (const [turn, one] of fc.sample(numbers, { numRuns: MODELS, seed: 5 }).entries()) {
      const shardBytes = [96, 700, 4000][turn % 3] ?? 96
      const { graph, extents } = randomTraining(one, storageOf(shardBytes, true))
      const profile = { ...smallProfile(turn % 2 === 0 ? 4 : 8), shardBytes, shardsState: true }
      for (const fn of graph.functions) {
        for (const region of scheduleFunction(graph, fn, profile).regions) {
          if (region.references.some(({ kind }) => kind === 'named' || kind === 'firsts')) continue
          region.kernel.arguments.forEach(({ access }, argument) => {
            if (access !== 'update' || region.references[argument]?.kind !== 'declared') return
            const sums = new Set([argument])
            const begins = fromZero(region, sums)
            if (!begins) return void kept++
            verifyKernel(begins.kernel)
            assert.equal(begins.kernel.arguments[argument]?.access, 'write')
            for (const stage of ['nest', 'kernel'] as const) {
              const sizes = Object.fromEntries(
                region[stage].sizes.map(({ name, bound }) => [name, extents[name] ?? bound]),
              )
              assert.deepEqual(run(begins[stage], sums, 'rubbish', sizes), run(region[stage], sums, 'zeros', sizes))
            }
            kinds.add(region.region.kind)
            begun++
          })
        }
      }
    }
    assert.ok(begun >= 40 && kept >= 10, `${begun} begun, ${kept} not`)
    assert.deepEqual([...kinds].sort(), ['contraction', 'rows', 'stream'])
  })

  const begins = (text: string, ...sums: number[]): boolean => {
    const nest = parseKernel(text)
    return fromZero({ nest, kernel: nest, directives: [] } as unknown as LoweredRegion, new Set(sums)) !== undefined
  }
  const adding = (loops: string, place: string, value = `add(x[0], s[${place}])`, dims = '6:4, 4:1'): string =>
    `kernel k {\n  update s: f32[${dims}]\n  read x: f32[1:1]\n${loops.replace('BODY', `s[${place}] = ${value}`)}\n}`
  const nested = 'grid i in 6 {\nserial j in 4 {\nBODY\n}\n}'

  it('store every element once', () => {
    assert.ok(begins(adding(nested, 'i, j'), 0))
    assert.ok(begins(adding(nested, '-i + 5, j'), 0) === false, 'backwards')
    assert.ok(begins(adding('grid i in 3 {\nserial b in 2 {\nserial j in 4 {\nBODY\n}\n}\n}', 'i*2 + b, j'), 0))
    // Blocks of which the last is shorter.
    assert.ok(begins(adding('grid b in 2 {\nserial i in min(4, -b*4 + 6) {\nserial j in 4 {\nBODY\n}\n}\n}', 'b*4 + i, j'), 0)) // prettier-ignore
    for (const [loops, place] of [
      ['grid i in 5 {\nserial j in 4 {\nBODY\n}\n}', 'i, j'],
      ['grid i in 6 {\nserial j in 4 {\nserial k in 2 {\nBODY\n}\n}\n}', 'i, j'],
      ['grid i in 3 {\nserial b in 2 {\nserial j in 4 {\nBODY\n}\n}\n}', 'i + b, j'],
      ['grid i in 6 {\nserial j in 4 {\nif (j < 3) {\nBODY\n}\n}\n}', 'i, j'],
      ['grid i in 6 {\nserial j in 4 {\nBODY\nBODY\n}\n}', 'i, j'],
    ] as const) {
      assert.equal(begins(adding(loops.replaceAll('BODY\nBODY', 's[i, j] = x[0]\nBODY'), place), 0), false, loops)
    }
  })

  it('read no sum but where they store it', () => {
    assert.equal(begins(adding(nested, 'i, j', 'add(s[i, j], mul(s[i, j], x[0]))'), 0), true)
    assert.equal(begins(adding(nested, 'i, j', 'add(s[0, j], x[0])'), 0), false)
    assert.equal(begins(adding('grid i in 6 {\nserial j in 4 {\nlet v = s[i, j]\nBODY\n}\n}', 'i, j', 'add(v, x[0])'), 0), false) // prettier-ignore
    assert.equal(begins(adding(nested, 'i, j'), 1), false)
    assert.equal(begins(adding(nested, 'i, j'), 7), false)
  })
})
