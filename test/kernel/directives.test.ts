// Each directive leaves a kernel's results as they are: every kernel of training small models, one directive at a time.
// What must not be done is refused.

import assert from 'node:assert/strict'
import { InternalError } from '../../compiler/diagnostic.ts'
import { applyDirective, printDirective } from '../../compiler/kernel/directives.ts'
import type { Directive } from '../../compiler/kernel/directives.ts'
import { constantIndex } from '../../compiler/kernel/index.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import { resultsOf, smallKernels } from './smallKernels.ts'

describe('directives', () => {
  it('keep the bits of every kernel of small models, one by one', () => {
    const seen = new Set<string>()
    for (const { nest, directives } of smallKernels(4)) {
      const wanted = resultsOf(nest)
      let kernel = nest
      for (const directive of directives) {
        seen.add(directive.do)
        kernel = applyDirective(kernel, directive)
        // Bindings change nothing for the interpreter; the kernel they end in is checked by vectorise.test.ts.
        if (directive.do === 'bind' && directive !== directives.at(-1)) continue
        assert.ok(resultsOf(kernel).equals(wanted), `${printDirective(directive)}\n${printKernel(nest)}`)
      }
    }
    assert.deepEqual([...seen].sort(), [
      'bind',
      'chain',
      'distribute',
      'prefetch',
      'reorder',
      'split',
      'stage',
      'trim',
      'unguard',
    ])
  })

  const product = parseKernel(`kernel product {
    read a: f32[5:7, 7:1]
    read b: f32[7:9, 9:1]
    write y: f32[5:9, 9:1]
    register acc: f32[]
    serial n in 9 {
      serial m in 5 {
        acc[] = 0.0
        serial k in 7 {
          acc[] = fma(a[m, k], b[k, n], acc[])
        }
        y[m, n] = acc[]
      }
    }
  }`)

  const refused: readonly (readonly [Directive, RegExp])[] = [
    [{ do: 'split', loop: 'q', factor: 2, outer: 'a0', inner: 'a1' }, /cannot split q/],
    [{ do: 'reorder', loops: ['k', 'n'] }, /not perfectly nested/],
    [{ do: 'distribute', loop: 'k' }, /no such loop with several statements/],
    [{ do: 'trim', loop: 'q', from: constantIndex(0), to: constantIndex(3) }, /cannot trim q/],
    [
      { do: 'stage', into: 's', operand: 1, accumulator: 'acc', at: 'm', order: ['n', 'k'], fast: 'n', lanes: 1 },
      /'n' is not a loop inside 'm'/,
    ],
    [
      { do: 'stage', into: 's', operand: 0, accumulator: 'acc', at: 'n', order: ['k'], fast: 'k', lanes: 1 },
      /also varies along 'm'/,
    ],
  ]
  for (const [directive, message] of refused) {
    it(`refuse '${printDirective(directive)}' where it would change the meaning`, () => {
      assert.throws(
        () => applyDirective(product, directive),
        (error) => error instanceof InternalError && message.test(error.message),
      )
    })
  }

  it('leave out the ends of a loop', () => {
    const part = { do: 'trim', loop: 'n', from: constantIndex(2), to: constantIndex(6) } as const
    const trimmed = applyDirective(product, part)
    verifyKernel(trimmed)
    assert.match(printKernel(trimmed), /serial n in 4 /)
    assert.match(printKernel(trimmed), /y\[m, n \+ 2\] = acc/)
    assert.equal(printDirective(part), 'trim n from 2 to 6')
  })

  it('guard what a split that does not divide leaves over', () => {
    for (const factor of [1, 2, 4, 9, 16]) {
      const split = applyDirective(product, { do: 'split', loop: 'n', factor, outer: 'n0', inner: 'n1' })
      verifyKernel(split)
      assert.ok(resultsOf(split).equals(resultsOf(product)))
      assert.equal(printKernel(split).includes('if '), 9 % factor !== 0)
    }
  })

  it('in another order of a chain give other bits', () => {
    const text = printKernel(product).replace('fma(a[m, k], b[k, n], acc[])', 'fma(a[m, 6 - k], b[6 - k, n], acc[])')
    assert.ok(!resultsOf(parseKernel(text)).equals(resultsOf(product)))
  })
})
