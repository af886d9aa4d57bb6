// Loops peeled instead of guarded, and a broadcast operand held in vectors of which one lane at a time is taken: the bits
// stay at every size, after every step of lowering, and what cannot be held is refused.

import assert from 'node:assert/strict'
import { InternalError } from '../../compiler/diagnostic.ts'
import { applyDirective, applyDirectives, printDirective } from '../../compiler/kernel/directives.ts'
import type { Directive } from '../../compiler/kernel/directives.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { lowerKernel, lowerLanes, lowerUnrolled, shareLoads } from '../../compiler/kernel/vectorise.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import { golden } from '../support/golden.ts'
import { resultsOf } from './smallKernels.ts'

/** y[seq, 8] = a·b, tiles of `rows` × 4 as the schedule has them before lanes; a lies along k, or along the rows. */
function tiled(depth: number, rows: number, broadcast: 'k' | 'm', length = 11): Kernel {
  const [a, read] =
    broadcast === 'k' ? [`[${length}:${depth}, ${depth}:1]`, '[m, k]'] : [`[${depth}:${length}, ${length}:1]`, '[k, m]']
  const nest = parseKernel(`kernel product (sizes seq <= ${length}) {
    read a: f32${a}
    read b: f32[${depth}:8, 8:1]
    write y: f32[${length}:8, 8:1]
    register acc: f32[]
    serial n in 8 {
      serial m in seq {
        acc[] = 0.0
        serial k in ${depth} {
          acc[] = fma(a${read}, b[k, n], acc[])
        }
        y[m, n] = acc[]
      }
    }
  }`)
  return applyDirectives(nest, [
    { do: 'split', loop: 'n', factor: 4, outer: 'nv', inner: 'nl' },
    { do: 'split', loop: 'm', factor: rows, outer: 'mt', inner: 'mr' },
    { do: 'reorder', loops: ['mt', 'nv', 'mr', 'nl'] },
    { do: 'distribute', loop: 'nl' },
    { do: 'distribute', loop: 'mr' },
    { do: 'unguard', buffers: ['acc'] },
    { do: 'reorder', loops: ['k', 'mr', 'nl'] },
    { do: 'bind', loop: 'nl', binding: 'lane' },
    { do: 'bind', loop: 'mr', binding: 'unroll' },
  ])
}

const group: Directive = { do: 'peel', loop: 'k', factor: 4, outer: 'ko', inner: 'ks', rest: 'kr' }
const unrolled: Directive = { do: 'bind', loop: 'ks', binding: 'unroll' }
const held = { do: 'hold', into: 'h', operand: 0, accumulator: 'acc', lanes: 4 } as const
const alongChain: readonly Directive[] = [group, { ...held, at: 'ko', order: ['mr', 'ks'] }, unrolled]
const alongRows: readonly Directive[] = [{ ...held, at: 'k', order: ['mr'] }, group, unrolled]

function assertSame(kernel: Kernel, directives: readonly Directive[]): Kernel {
  const wanted = resultsOf(kernel)
  let changed = kernel
  for (const directive of directives) {
    changed = applyDirective(changed, directive)
    verifyKernel(changed)
    assert.ok(resultsOf(changed).equals(wanted), printDirective(directive))
    assert.deepEqual(parseKernel(printKernel(changed)), changed)
  }
  const vectors = lowerLanes(changed)
  const copies = lowerUnrolled(vectors)
  const lowered = lowerKernel(changed)
  verifyKernel(lowered, { lowered: true })
  for (const step of [vectors, copies, shareLoads(copies), lowered]) {
    assert.ok(resultsOf(step).equals(wanted), printKernel(step))
  }
  assert.deepEqual(parseKernel(printKernel(lowered)), lowered)
  return lowered
}

describe('peel', () => {
  for (const depth of [1, 3, 4, 7, 8, 9, 31, 33]) {
    it(`keeps the order of ${depth} steps and guards none`, () => {
      const text = printKernel(assertSame(tiled(depth, 3, 'k'), [group, unrolled]))
      assert.equal(/serial ko\b/.test(text), depth >= 4)
      assert.equal(/serial kr\b/.test(text), depth % 4 !== 0)
    })
  }

  it('of an extent that a step has', () => {
    const kernel = parseKernel(`kernel total (sizes seq <= 11) {
      read x: f32[11:1]
      write y: f32[1:1]
      register acc: f32[]
      acc[] = 0.0
      serial k in seq {
        acc[] = add(x[k], acc[])
      }
      y[0] = acc[]
    }`)
    for (const factor of [1, 2, 4, 16]) assertSame(kernel, [{ ...group, factor }])
  })

  it('refuses a loop that is not there', () => {
    assert.throws(() => applyDirective(tiled(4, 2, 'k'), { ...group, loop: 'q' }), /cannot peel q/)
  })
})

describe('hold', () => {
  for (const depth of [4, 5, 7, 8, 9, 31, 33]) {
    it(`loads four of ${depth} steps at once`, () => {
      const text = printKernel(assertSame(tiled(depth, 3, 'k'), alongChain))
      assert.match(text, /h\[2, 0\]:4 = a\[min\(mt\*3 \+ 2, seq - 1\), ko\*4\]:4/)
      assert.match(text, /fma\(splat\(h\[2, 3\]\):4, /)
    })
  }

  for (const [rows, length] of [
    [4, 3],
    [4, 6],
    [4, 13],
    [8, 11],
    [8, 33],
  ] as const) {
    it(`loads ${rows} rows of ${length} at once where all of them lie inside`, () => {
      const text = printKernel(assertSame(tiled(6, rows, 'm', length), alongRows))
      // A tile at the edge is left as it was; where none lies inside as a whole, all are.
      assert.match(text, /splat\(a\[/)
      assert.equal(text.includes(':4 = a['), length >= rows)
    })
  }

  it('reads as text', () => {
    const directives = [...alongChain.map(printDirective), '', ...alongRows.map(printDirective)]
    const kernels = [lowerKernel(applyDirectives(tiled(6, 2, 'k'), alongChain)), lowerKernel(applyDirectives(tiled(4, 4, 'm'), alongRows))] // prettier-ignore
    golden('kernel/by-lane.txt', `${directives.join('\n')}\n\n${kernels.map(printKernel).join('\n').trimEnd()}\n`)
  })

  const refused: readonly (readonly [Partial<Extract<Directive, { do: 'hold' }>>, RegExp])[] = [
    [{ at: 'q' }, /no such multiply-add/],
    [{ order: ['mr', 'q'] }, /'q' is not a loop inside 'ko'/],
    [{ order: ['ks'] }, /varies along another loop/],
    [{ order: ['mr', 'ks'], lanes: 8 }, /'ks' is not counted in vectors of 8/],
  ]
  for (const [change, message] of refused) {
    it(`refuses what it could not load in vectors: ${message.source}`, () => {
      const kernel = applyDirective(tiled(9, 2, 'k'), group)
      assert.throws(
        () => applyDirective(kernel, { ...held, at: 'ko', order: ['mr', 'ks'], ...change }),
        (error) => error instanceof InternalError && message.test(error.message),
      )
    })
  }
})
