// The wasm driver and run-time, with Node alone; and the parts of a driver that are the same wherever a program runs.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { idBounds } from '../../backends/neon/driver/ids.ts'
import { initialData } from '../../backends/neon/driver/initial.ts'
import { ReplyReader } from '../../backends/neon/driver/replies.ts'
import type { Reply } from '../../backends/neon/driver/replies.ts'
import { requireFusedMultiplyAdd } from '../../backends/neon/driver/wasmModule.ts'
import { InternalError, UserError } from '../../compiler/diagnostic.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { parseKernels } from '../../compiler/kernel/parse.ts'
import type { Program, ProgramValue } from '../../compiler/plan/program.ts'
import { describeDevice } from './driverSuite.ts'
import { lineProgram, tableSize } from './runtimeProgram.ts'

describe('wasm session', function () {
  // The first compilation of a process starts clang.
  this.timeout(120_000)
  describeDevice('wasm', [1, 2, 4])
})

describe('probe of the multiply-add', () => {
  it('takes one rounding and refuses two', () => {
    requireFusedMultiplyAdd({ heddle_wasm_multiply_add: (a, b, c) => float32.fma(a, b, c) })
    assert.throws(
      () => requireFusedMultiplyAdd({ heddle_wasm_multiply_add: (a, b, c) => float32.add(float32.mul(a, b), c) }),
      (error) => error instanceof UserError && error.code === 'HD710',
    )
  })
})

describe('first values', () => {
  const value = (name: string, shape: number[], initial: ProgramValue['initial'], dtype: 'f32' | 'i32' = 'f32'): ProgramValue => ({
    name, shape, dtype, role: 'state', bytes: 0, place: { space: 'state', offset: 0 }, ...(initial ? { initial } : {}),
  }) // prettier-ignore

  it('draws a normal of the deviation asked for, with its moments', () => {
    const data = [...initialData(value('w', [200, 1003], { kind: 'normal', deviation: 0.02 }), 1)]
    const moment = (power: number): number => data.reduce((sum, x) => sum + (x / 0.02) ** power, 0) / data.length
    assert.ok(Math.abs(moment(1)) < 0.01)
    assert.ok(Math.abs(moment(2) - 1) < 0.02)
    assert.ok(Math.abs(moment(3)) < 0.04)
    // Twelve uniforms: an excess of −0.1.
    assert.ok(Math.abs(moment(4) - 2.9) < 0.1)
    assert.ok(data.every((x) => Math.abs(x) <= 0.12))
  })

  it('draws a uniform that fills its interval evenly, without the bound itself', () => {
    const data = initialData(value('w', [100_003], { kind: 'uniform', bound: 0.75 }), 1)
    const counts = Array.from({ length: 10 }, () => 0)
    for (const x of data) {
      assert.ok(Math.abs(x) < 0.75)
      const bin = Math.floor((x / 0.75 + 1) * 5)
      counts[bin] = (counts[bin] ?? 0) + 1
    }
    for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, `${counts.join(' ')}`)
  })

  it('depends on name, seed and both halves of it, and never on the other elements', () => {
    const draw = (name: string, seed: number, shape = [64]) =>
      initialData(value(name, shape, { kind: 'uniform', bound: 1 }), seed)
    const draws = [draw('a', 0), draw('b', 0), draw('a', 1), draw('a', 2 ** 32), draw('a', -1)]
    const all = draws.flatMap((data) => [...data])
    assert.equal(new Set(all).size, all.length)
    assert.deepEqual(draw('a', 7, [2, 3]), draw('a', 7).slice(0, 6))
    assert.throws(() => draw('a', 0.5), InternalError)
  })

  it('are the same bits for ever', () => {
    const bits = (kind: ProgramValue['initial']) =>
      [...new Int32Array(initialData(value('lora_A', [3], kind), 42).buffer)].map((word) => (word >>> 0).toString(16))
    assert.deepEqual(bits({ kind: 'uniform', bound: 0.3 }), UNIFORM)
    assert.deepEqual(bits({ kind: 'normal', deviation: 0.3 }), NORMAL)
  })

  it('repeat constants and tables, whole numbers too', () => {
    assert.deepEqual(
      initialData(value('w', [2, 2], { kind: 'constant', value: 0.1 }), 1),
      Float32Array.of(0.1, 0.1, 0.1, 0.1),
    )
    assert.deepEqual(initialData(value('w', [2], { kind: 'constant', value: 3 }, 'i32'), 1), Int32Array.of(3, 3))
    assert.deepEqual(initialData(value('w', [2], { kind: 'values', values: [1.5, 2] }), 1), Float32Array.of(1.5, 2))
    assert.throws(
      () => initialData(value('w', [3], { kind: 'values', values: [1.5, 2] }), 1),
      /3 elements and 2 first values/,
    )
    assert.throws(() => initialData(value('w', [3], { kind: 'uniform', bound: 1 }, 'i32'), 1), InternalError)
  })
})

describe('inputs that are ids', () => {
  it('are found through the kernels that index with them, by the least bound', () => {
    assert.deepEqual([...idBounds(lineProgram)], [['ids', tableSize]])
    const kernels = parseKernels(`
kernel named {
  read ids: i32[4:1]
  read table: f32[9:1]
  write y: f32[4:1]
  serial i in 4 {
    if (i < 3) {
      let id = ids[i]
      y[i] = neg(table[value(id below 9)])
    }
  }
}
kernel scattered {
  read x: f32[4:1]
  read rows: i32[4:1]
  update table: f32[7:1]
  serial i in 4 {
    table[value(rows[i] below 7)] = x[i]
  }
}`)
    const input = (name: string, offset: number) =>
      ({ name, role: 'input', dtype: 'i32', shape: [4], bytes: 16, place: { space: 'inputs', offset } }) as const
    const arena = (offset: number) => ({ space: 'arena', offset }) as const
    const { place: first } = input('first', 0)
    const { place: second } = input('second', 64)
    const program: Program = {
      ...lineProgram,
      kernels,
      values: [input('first', 0), input('second', 64), input('third', 128)],
      functions: [
        {
          name: 'f',
          launches: [
            { kernel: 0, arguments: [first, arena(0), arena(64)], label: '' },
            { kernel: 1, arguments: [arena(64), first, arena(0)], label: '' },
            { kernel: 0, arguments: [second, arena(0), arena(64)], label: '' },
          ],
          outputs: [],
        },
      ],
    }
    assert.deepEqual([...idBounds(program)], [['first', 7], ['second', 9]]) // prettier-ignore
  })
})

describe('replies of a compiled program', () => {
  const replies = [
    { fields: { ok: true }, payload: new Uint8Array(0) },
    { fields: { ok: true, payload: 5 }, payload: Uint8Array.of(10, 10, 123, 0, 255) },
    { fields: { ok: false, message: 'naïve "text" \n' }, payload: new Uint8Array(0) },
    { fields: { payload: 0 }, payload: new Uint8Array(0) },
    { fields: { payload: 1 }, payload: Uint8Array.of(10) },
  ]
  const stream = Buffer.concat(
    replies.flatMap(({ fields, payload }) => [Buffer.from(`${JSON.stringify(fields)}\n`), payload]),
  )

  it('come out the same however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length)), (cuts) => {
        const got: Reply[] = []
        const reader = new ReplyReader((reply) => got.push(reply))
        const places = [0, ...cuts.toSorted((a, b) => a - b), stream.length]
        for (let index = 1; index < places.length; index++) {
          assert.equal(reader.take(stream.subarray(places[index - 1], places[index])), undefined)
        }
        assert.deepEqual(got, replies)
      }),
    )
  })

  it('are refused when they are none', () => {
    const problem = (text: string) => new ReplyReader(() => assert.fail('delivered')).take(Buffer.from(text))
    assert.match(problem('Segmentation fault\n') ?? '', /Segmentation/)
    assert.match(problem('null\n') ?? '', /null/)
    assert.match(problem('{"payload":-1}\n') ?? '', /payload/)
    assert.match(problem('{"payload":1e300}\n') ?? '', /payload/)
    assert.match(problem('{"payload":"9"}\n') ?? '', /payload/)
  })
})

/** Worked out by another implementation, in Python. */
const UNIFORM = ['3e01444d', '3e8233a0', '3e169c50']
const NORMAL = ['bde81400', 'befa0033', '3d2bf4cd']
