// The interpreter against plain loops, and everything that it must refuse to do.

import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { InternalError } from '../../compiler/diagnostic.ts'
import { float32, fusedMultiplyAdd } from '../../compiler/graph/float32.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray } from '../../compiler/kernel/interpret.ts'
import { narrowBf16, narrowF16, widenBf16 } from '../../compiler/kernel/halves.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { handKernels } from './handKernels.ts'

/** Deterministic float32 in [−1, 1). */
function randomFloats(length: number, seed = 1): Float32Array {
  let state = seed
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  })
}

function run(
  text: string,
  buffers: Record<string, KernelArray>,
  sizes: Record<string, number> = {},
  gridOrder?: (count: number) => number[],
): void {
  runKernel(parseKernel(text), { buffers: new Map(Object.entries(buffers)), sizes, arithmetic: float32, gridOrder })
}

function refuses(
  text: string,
  buffers: Record<string, KernelArray>,
  message: RegExp,
  sizes: Record<string, number> = {},
): void {
  assert.throws(
    () => run(text, buffers, sizes),
    (error) => {
      assert.ok(error instanceof InternalError, String(error))
      assert.match(error.message, message)
      return true
    },
  )
}

describe('kernel interpreter', () => {
  it('runs a tiled contraction as one chain of multiply-adds per element, at every kind of edge', () => {
    const [x, w] = [randomFloats(77 * 160, 3), randomFloats(437 * 160, 4)]
    for (const seq of [1, 12, 77]) {
      const y = new Float32Array(77 * 437).fill(-7)
      run(handKernels.contraction, { x, w, y }, { seq })
      for (let m = 0; m < 77; m++) {
        for (let n = 0; n < 437; n++) {
          let sum = 0
          for (let k = 0; k < 160; k++) sum = fusedMultiplyAdd(x[m * 160 + k] as number, w[n * 160 + k] as number, sum)
          assert.equal(y[m * 437 + n], m < seq ? sum : -7, `seq ${seq}, element ${m}, ${n}`)
        }
      }
    }
  })

  it('gives the same bits in any order of grid iterations', () => {
    const [x, w] = [randomFloats(77 * 160, 5), randomFloats(437 * 160, 6)]
    const [forward, backward] = [new Float32Array(77 * 437), new Float32Array(77 * 437)]
    run(handKernels.contraction, { x, w, y: forward }, { seq: 13 })
    const orders: number[] = []
    run(handKernels.contraction, { x, w, y: backward }, { seq: 13 }, (count) => {
      orders.push(count)
      return Array.from({ length: count }, (_, place) => count - 1 - place)
    })
    assert.deepEqual(orders, [28])
    assert.deepEqual(backward, forward)
  })

  it('sums sixteen partial results by the fixed tree', () => {
    const x = randomFloats(9 * 437, 7)
    const total = new Float32Array(9)
    run(handKernels.rowSum, { x, total }, { rows: 9 })
    const f = Math.fround
    for (let row = 0; row < 9; row++) {
      const p = new Float32Array(16)
      for (let i = 0; i < 437; i++) p[i % 16] = (p[i % 16] as number) + (x[row * 437 + i] as number)
      const pair = (i: number): number => f((p[i] as number) + (p[i + 8] as number))
      const four = (i: number): number => f(pair(i) + pair(i + 4))
      assert.equal(total[row], f(f(four(0) + four(2)) + f(four(1) + four(3))))
    }
  })

  it('takes the max by the same tree', () => {
    const text = `kernel k {
      read x: f32[16:1]
      write y: f32[]
      register p: f32[16:1]
      p[0]:16 = x[0]:16
      y[] = tree(max, p)
    }`
    for (let greatest = 0; greatest < 16; greatest++) {
      const x = randomFloats(16, 9)
      x[greatest] = 2
      const y = new Float32Array(1)
      run(text, { x, y })
      assert.equal(y[0], 2)
    }
  })

  it('gathers rows by loaded index, widening bf16 and narrowing to f16', () => {
    const ids = Int32Array.from({ length: 33 }, (_, t) => (t * 31) % 1003)
    const table = Uint16Array.from(randomFloats(1003 * 7, 11), narrowBf16)
    const y = new Uint16Array(33 * 7)
    run(handKernels.gather, { ids, table, y }, { seq: 31 })
    for (let t = 0; t < 33; t++) {
      for (let c = 0; c < 7; c++) {
        const row = ids[t] as number
        assert.equal(y[t * 7 + c], t < 31 ? narrowF16(widenBf16(table[row * 7 + c] as number)) : 0)
      }
    }
  })

  it('refuses a loaded index beyond its bound', () => {
    const table = new Uint16Array(1003 * 7)
    for (const wrong of [-1, 1003]) {
      const ids = new Int32Array(33).fill(wrong)
      refuses(handKernels.gather, { ids, table, y: new Uint16Array(33 * 7) }, /is -?\d+, not in \[0, 1003\)/, {
        seq: 1,
      })
    }
  })

  it('cuts vectors at their valid lanes and leaves the rest of memory alone', () => {
    const x = randomFloats(77, 13)
    for (const seq of [1, 15, 16, 17, 77]) {
      const y = new Float32Array(77).fill(5)
      run(handKernels.partialLanes, { x, y }, { seq })
      for (let i = 0; i < 77; i++) assert.equal(y[i], i < seq ? fusedMultiplyAdd(x[i] as number, 2, i) : 5)
    }
  })

  it('reads zero in lanes that are not valid', () => {
    const text = `kernel k {
      read x: f32[5:1]
      write y: f32[8:1]
      write z: f32[2:1]
      y[0]:8 = x[1]:8 valid 3
      z[0] = x[4] valid 1
      z[1] = x[9] valid 0 - 2
    }`
    const [y, z] = [new Float32Array(8), new Float32Array(2)]
    run(text, { x: Float32Array.of(1, 2, 3, 4, 5), y, z })
    assert.deepEqual([...y], [2, 3, 4, 0, 0, 0, 0, 0])
    assert.deepEqual([...z], [5, 0])
  })

  it('runs blocks whose last one is short', () => {
    const x = randomFloats(437, 17)
    for (const seq of [1, 64, 65, 437]) {
      const greatest = new Float32Array(7)
      run(handKernels.blocks, { x, greatest }, { seq })
      for (let block = 0; block * 64 < seq; block++) {
        assert.equal(greatest[block], Math.max(...x.subarray(block * 64, Math.min(seq, block * 64 + 64))))
      }
    }
  })

  it('transposes through packed scratch', () => {
    const x = randomFloats(31 * 9, 19)
    for (const seq of [1, 16, 23, 31]) {
      const y = new Float32Array(9 * 31)
      run(handKernels.transposed, { x, y }, { seq })
      for (let c = 0; c < 9; c++) for (let s = 0; s < 31; s++) assert.equal(y[c * 31 + s], s < seq ? x[s * 9 + c] : 0)
    }
  })

  it('divides and takes remainders of indices', () => {
    const x = randomFloats(33, 23)
    const y = new Float32Array(33)
    run(handKernels.flattened, { x, y }, { batch: 2, seq: 5 })
    for (let p = 0; p < 33; p++) assert.equal(y[p], p < 22 && p % 11 < 5 ? -(x[p] as number) : 0)
  })

  it('floors quotients of negative indices', () => {
    const text = `kernel k {
      write y: i32[6:1]
      serial i in 6 {
        y[i] = intAdd(intMul(index((i - 4) div 3), 10), index((i - 4) mod 3))
      }
    }`
    const y = new Int32Array(6)
    run(text, { y })
    assert.deepEqual([...y], [-18, -10, -9, -8, 0, 1])
  })

  it('runs the invocations of a workgroup from barrier to barrier', () => {
    const x = randomFloats(40, 29)
    const y = new Float32Array(40)
    run(handKernels.workgroup, { x, y }, { seq: 5 })
    for (let r = 0; r < 5; r++) {
      for (let t = 0; t < 8; t++) {
        let sum = 0
        for (let step = 0; step < 8; step++) sum = Math.fround(sum + (x[r * 8 + ((t + step) % 8)] as number))
        assert.equal(y[r * 8 + t], sum)
      }
    }
  })

  it('notices a missing barrier, and one that not all invocations reach', () => {
    const buffers = { x: randomFloats(40), y: new Float32Array(40) }
    const open = handKernels.workgroup.replaceAll('barrier', '')
    refuses(open, buffers, /of 'shared' is read before it is written/, { seq: 1 })
    const uneven = handKernels.workgroup.replace('barrier\n      serial', 'if (t < 7) {\nbarrier\n}\n      serial')
    refuses(uneven, buffers, /not all invocations meet/, { seq: 1 })
  })

  it('keeps registers of invocations apart', () => {
    const text = `kernel k {
      write y: f32[4:1]
      register r: f32[]
      local t in 4 {
        r[] = toFloat(index(t))
        barrier
        y[t] = r[]
      }
    }`
    const y = new Float32Array(4)
    run(text, { y })
    assert.deepEqual([...y], [0, 1, 2, 3])
  })

  it('refuses accesses outside a buffer, dimension by dimension', () => {
    const text = (index: string): string =>
      `kernel k {\nwrite y: f32[3:4, 4:1]\nserial i in 4 {\ny[${index}] = 1.0\n}\n}`
    const y = new Float32Array(12)
    refuses(text('0, i + 1'), { y }, /k at 'y\[0, i \+ 1\] = 1.0': index i \+ 1 of 'y' is 4, outside \[0, 4\)/)
    refuses(text('1, i - 1'), { y }, /is -1, outside/)
    refuses(text('i, 0'), { y }, /is 3, outside \[0, 3\)/)
    run(text('2, i'), { y })
  })

  it('refuses a vector that reaches over the end', () => {
    const text = (valid: number): string =>
      `kernel k {\nread x: f32[9:1]\nwrite y: f32[9:1]\ny[5]:8 valid ${valid} = x[5]:8 valid ${valid}\n}`
    const buffers = { x: new Float32Array(9), y: new Float32Array(9) }
    run(text(4), buffers)
    refuses(text(5), buffers, /is 5 to 9, outside \[0, 9\)/)
  })

  it('transposes a square of registers', () => {
    const text = `kernel k {
      read x: f32[9:1]
      write y: f32[9:1]
      register p: f32[3:3, 3:1]
      serial i in 3 {
        p[i, 0]:3 = x[i*3]:3
      }
      transpose p
      serial i in 3 {
        y[i*3]:3 = p[i, 0]:3
      }
    }`
    const y = new Float32Array(9)
    run(text, { x: Float32Array.from({ length: 9 }, (_, index) => index), y })
    assert.deepEqual([...y], [0, 3, 6, 1, 4, 7, 2, 5, 8])
    refuses(
      text.replace('serial i in 3', 'serial i in 2'),
      { x: y, y },
      /element 6 of 'p' is read before it is written/,
    )
  })

  it('refuses to read what was never written', () => {
    const kernel = (rest: string): string => `kernel k {\nwrite y: f32[2:1]\nregister p: f32[16:1]\n${rest}\n}`
    const y = new Float32Array(2)
    refuses(kernel('y[0] = p[0]'), { y }, /'p' is read before it is written/)
    refuses(kernel('y[0] = y[1]'), { y }, /'y' is read before it is written/)
    refuses(kernel('lane i in 15 {\np[i] = 1.0\n}\ny[0] = tree(add, p)'), { y }, /element 15 of 'p' is read/)
  })

  it('forgets the memory of a thread between grid iterations', () => {
    const text = `kernel k {
      write y: f32[2:1]
      scratch s: f32[]
      grid i in 2 {
        if (i < 1) {
          s[] = 1.0
        }
        y[i] = s[]
      }
    }`
    refuses(text, { y: new Float32Array(2) }, /'s' is read before it is written/)
  })

  it('refuses grid iterations that depend on each other', () => {
    const twice = 'kernel k {\nwrite y: f32[]\ngrid i in 2 {\ny[] = 1.0\n}\n}'
    refuses(twice, { y: new Float32Array(1) }, /written by two grid iterations/)
    const chain = 'kernel k {\nupdate y: f32[3:1]\ngrid i in 2 {\ny[i + 1] = y[i]\n}\n}'
    refuses(chain, { y: new Float32Array(3) }, /was written by another grid iteration/)
    const y = Float32Array.of(1, 2, 3)
    run(chain.replace('grid', 'serial'), { y })
    assert.deepEqual([...y], [1, 1, 1])
  })

  it('does not read the lanes that a masked store keeps', () => {
    const text = (kept: string, valid = 3): string => `kernel k {
      write y: f32[4:1]
      register r: f32[4:1]
      r[0]:4 = select(intLess(ramp(0):4, splat(3):4), splat(2.0):4, ${kept})
      y[0]:4 valid ${valid} = r[0]:4 valid ${valid}
    }`
    const y = new Float32Array(4).fill(9)
    run(text('r[0]:4'), { y })
    assert.deepEqual([...y], [2, 2, 2, 9])
    refuses(text('neg(r[0]:4)'), { y }, /'r' is read before it is written/)
    refuses(text('r[0]:4', 4), { y }, /element 3 of 'r' is read before it is written/)
  })

  it('keeps lets of sibling blocks and iterations apart', () => {
    const text = `kernel k {
      write y: f32[6:1]
      serial i in 3 {
        let a = toFloat(index(i))
        if (i < 2) {
          let b = mul(a, 10.0)
          y[i] = b
        }
        if (1 < i) {
          let b = mul(a, 100.0)
          y[i] = b
        }
        y[i + 3] = a
      }
    }`
    const y = new Float32Array(6)
    run(text, { y })
    assert.deepEqual([...y], [0, 10, 200, 0, 1, 2])
  })

  it('runs integer words, shifts and bits', () => {
    const text = `kernel k {
      read x: f32[]
      write y: i32[2:1]
      y[0] = intShiftRight<3>(bitsOf(x[]))
      y[1] = intSelect(less(x[], 0.5), toInt(x[]), -5)
    }`
    const y = new Int32Array(2)
    run(text, { x: Float32Array.of(-2.5), y })
    assert.deepEqual([...y], [0xc0200000 >>> 3, -2])
  })

  it('refuses arrays, sizes and orders that do not fit', () => {
    const [x, y] = [new Float32Array(77), new Float32Array(77)]
    const sizes = { seq: 77 }
    refuses(handKernels.partialLanes, { x }, /no array is given for argument 'y'/, sizes)
    refuses(handKernels.partialLanes, { x: x.subarray(1), y }, /'x' needs 77 elements, but its array has 76/, sizes)
    refuses(handKernels.partialLanes, { x: new Int32Array(77), y }, /'x' is f32, but its array is a Int32Array/, sizes)
    for (const seq of [0, 78, 1.5]) refuses(handKernels.partialLanes, { x, y }, /not in \[1, 77\]/, { seq })
    assert.throws(() => run(handKernels.partialLanes, { x, y }, sizes, () => [0, 0, 1, 2, 3]), /no permutation of 5/)
  })
})
