// Each GPU directive alone: the nest before and after gives the same bits at sizes around its factor, and what it
// cannot do it refuses.

import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { InternalError } from '../../compiler/diagnostic.ts'
import { applyGpuDirective, applyGpuDirectives, printGpuDirective } from '../../compiler/kernel/gpuDirectives.ts'
import type { GpuDirective } from '../../compiler/kernel/gpuDirectives.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { lowerKernel } from '../../compiler/kernel/vectorise.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import { assertEqualRuns } from './equivalence.ts'

const product = (rows: number, columns: number, depth: number): Kernel =>
  parseKernel(`
kernel product (sizes seq <= ${rows}) {
  read x: f32[${rows}:${depth}, ${depth}:1]
  read w: f32[${columns}:${depth}, ${depth}:1]
  write y: f32[${rows}:${columns}, ${columns}:1]
  register acc: f32[]
  serial n in ${columns} {
    serial m in seq {
      acc[] = 0.0
      serial k in ${depth} {
        acc[] = fma(x[m, k], w[n, k], acc[])
      }
      y[m, n] = neg(acc[])
    }
  }
}`)

/** A 2×2 square of invocations with 2×2 elements each, and blocks of 2 steps. */
const tiled: readonly GpuDirective[] = [
  { do: 'split', loop: 'n', factor: 4, outer: 'nb', inner: 'ni' },
  { do: 'split', loop: 'ni', factor: 2, outer: 'nr', inner: 'nt' },
  { do: 'split', loop: 'm', factor: 4, outer: 'mb', inner: 'mi' },
  { do: 'split', loop: 'mi', factor: 2, outer: 'mr', inner: 'mt' },
  { do: 'reorder', loops: ['nb', 'mb', 'mt', 'nt', 'mr', 'nr'] },
  { do: 'bind', loop: 'nb', binding: 'grid' },
  { do: 'bind', loop: 'mb', binding: 'grid' },
  { do: 'bind', loop: 'mt', binding: 'local' },
  { do: 'bind', loop: 'nt', binding: 'local' },
  { do: 'distribute', loop: 'nr' },
  { do: 'distribute', loop: 'mr' },
  { do: 'block', loop: 'k', factor: 2, outer: 'kb', inner: 'ks' },
  { do: 'reorder', loops: ['kb', 'ks', 'mr', 'nr'] },
  {
    do: 'share',
    into: 'xs',
    accumulator: 'acc',
    operand: 0,
    at: 'kb',
    own: { outer: 'mr', local: 'mt' },
    chain: 'ks',
    other: 'nt',
    fast: 'chain',
  },
  {
    do: 'share',
    into: 'ws',
    accumulator: 'acc',
    operand: 1,
    at: 'kb',
    own: { outer: 'nr', local: 'nt' },
    chain: 'ks',
    other: 'mt',
    fast: 'own',
  },
  { do: 'unguard', buffers: ['acc'] },
]

const rowNorm = (width: number): Kernel =>
  parseKernel(`
kernel rowNorm (sizes seq <= 9) {
  read x: f32[9:${width}, ${width}:1]
  write y: f32[9:${width}, ${width}:1]
  write total: f32[9:1]
  register part: f32[16:1]
  grid r in seq {
    serial z in 16 {
      part[z] = 0.0
    }
    serial o in ${Math.ceil(width / 16)} {
      serial j in 16 {
        if (o*16 + j < ${width}) {
          part[j] = add(part[j], x[r, o*16 + j])
        }
      }
    }
    let sum = tree(add, part)
    total[r] = sum
    serial q in ${Math.ceil(width / 16)} {
      serial i in 16 {
        if (q*16 + i < ${width}) {
          y[r, q*16 + i] = div(x[r, q*16 + i], sum)
        }
      }
    }
  }
}`)

const cooperation: GpuDirective = { do: 'cooperate', column: 'lane', columns: 16, slots: ['z', 'j', 'i'], strided: [] }

describe('GPU directives', () => {
  it('spread, block and share keep every bit at any shape', function () {
    this.timeout(30_000)
    const shape = fc.tuple(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.nat(8),
    )
    fc.assert(
      fc.property(shape, ([rows, columns, depth, less]) => {
        const nest = product(rows, columns, depth)
        const sizes = { seq: Math.max(1, rows - less) }
        const spread: GpuDirective = { do: 'spread', loop: 'm', factor: 4, outer: 'mb', inner: 'mt', binding: 'serial' }
        assertEqualRuns(nest, applyGpuDirective(nest, spread), sizes)
        assertEqualRuns(
          nest,
          applyGpuDirective(nest, { do: 'block', loop: 'k', factor: 4, outer: 'kb', inner: 'ks' }),
          sizes,
        )
        let step = nest
        for (const directive of tiled) {
          step = applyGpuDirective(step, directive)
          assertEqualRuns(nest, step, sizes)
        }
        const kernel = lowerKernel(
          applyGpuDirectives(
            step,
            ['mr', 'nr'].map((loop) => ({ do: 'bind', loop, binding: 'unroll' })),
          ),
        )
        verifyKernel(kernel, { lowered: true })
        assertEqualRuns(nest, kernel, sizes)
      }),
      { numRuns: 25 },
    )
  })

  it('cooperate keeps every bit of a row, whatever its width', () => {
    for (const width of [1, 7, 15, 16, 17, 31, 33, 48]) {
      const nest = rowNorm(width)
      const kernel = applyGpuDirective(nest, cooperation)
      for (const seq of [1, 8, 9]) assertEqualRuns(nest, kernel, { seq })
      const part = kernel.locals.find((buffer) => buffer.name === 'part')
      assert.deepEqual(part?.dims, [{ size: 1, stride: 1 }], 'a partial result is private to its invocation')
    }
  })

  it('print as one line', () => {
    assert.equal(printGpuDirective(cooperation), 'cooperate slots z j i -> lane 16')
    const lines = tiled.map(printGpuDirective)
    assert.equal(lines[11], 'block k 2 -> kb ks')
    assert.equal(lines[13], 'share acc.0 at kb as xs by mr mt and ks on nt, chain fast')
    assert.equal(new Set(lines).size, lines.length)
  })

  it('refuse what does not fit', () => {
    const nest = product(4, 4, 4)
    const refused: readonly [Kernel, GpuDirective, RegExp][] = [
      [nest, { do: 'spread', loop: 'z', factor: 4, outer: 'a', inner: 'b', binding: 'grid' }, /no such loop/],
      [nest, { do: 'block', loop: 'z', factor: 4, outer: 'a', inner: 'b' }, /no such loop/],
      [rowNorm(16), { ...cooperation, columns: 8 } as GpuDirective, /'z' has not 8 iterations/],
      // The chain's loop is taken by invocations that the operand depends on.
      [
        applyGpuDirectives(nest, tiled.slice(0, 13)),
        {
          do: 'share',
          into: 's',
          accumulator: 'acc',
          operand: 0,
          at: 'kb',
          own: { outer: 'nr', local: 'nt' },
          chain: 'ks',
          other: 'mt',
          fast: 'own',
        },
        /also varies along/,
      ],
      // Partial results that a strided loop mixes: each invocation would have its own sum.
      [rowNorm(16), { ...cooperation, slots: ['z', 'i'] } as GpuDirective, /barrier is needed|also/],
    ]
    for (const [kernel, directive, message] of refused) {
      assert.throws(
        () => applyGpuDirective(kernel, directive),
        (error) => error instanceof InternalError && message.test(error.message),
        printGpuDirective(directive),
      )
    }
  })
})
