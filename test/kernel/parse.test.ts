// Kernel text there and back, and what the parser says about text that is wrong, huge or hostile.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { UserError } from '../../compiler/diagnostic.ts'
import { addIndex, divideIndex, scaleIndex, size, variable } from '../../compiler/kernel/index.ts'
import { parseKernel, parseKernels } from '../../compiler/kernel/parse.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { handKernelNames, handKernels } from './handKernels.ts'
import { randomKernel } from './randomKernel.ts'

function sentence(text: string): string {
  try {
    parseKernels(text, 'some.kernel')
  } catch (error) {
    assert.ok(error instanceof UserError, error instanceof Error ? error.stack : String(error))
    return error.sentence
  }
  return 'accepted'
}

describe('kernel parser', () => {
  for (const name of handKernelNames) {
    it(`reads ${name} and its print alike`, () => {
      const kernel = parseKernel(handKernels[name])
      const text = printKernel(kernel)
      assert.deepStrictEqual(parseKernel(text), kernel)
      assert.equal(printKernel(parseKernel(text)), text)
    })
  }

  it('gives back every random kernel, node by node', () => {
    const kinds = new Set<string>()
    fc.assert(
      fc.property(randomKernel, (kernel) => {
        const text = printKernel(kernel)
        const parsed = parseKernel(text)
        assert.deepStrictEqual(parsed, kernel, text)
        assert.equal(printKernel(parsed), text)
        for (const [, kind] of JSON.stringify(kernel).matchAll(/"kind":"(\w+)"/g)) kinds.add(kind as string)
      }),
      { numRuns: 600 },
    )
    // Every kind of expression, statement and atom took part.
    const all = [
      'constant',
      'index',
      'local',
      'load',
      'apply',
      'splat',
      'ramp',
      'pack',
      'tree',
      'for',
      'if',
      'store',
      'let',
      'barrier',
      'transpose',
    ]
    for (const kind of [...all, 'variable', 'size', 'div', 'mod', 'min', 'value']) assert.ok(kinds.has(kind), kind)
  })

  it('brings indices into canonical form', () => {
    const text =
      'kernel k (sizes seq <= 9) {\nserial i in 2 + seq - 3 + seq div 1 {\nserial j in (8 + i*4) div 4*3 {\n}\n}\n}'
    const [first] = parseKernel(text).body
    assert.ok(first?.kind === 'for')
    assert.deepStrictEqual(first.extent, addIndex(scaleIndex(size('seq'), 2), -1))
    const [second] = first.body
    assert.ok(second?.kind === 'for')
    assert.deepStrictEqual(second.extent, scaleIndex(divideIndex(addIndex(8, scaleIndex(variable('i'), 4)), 4), 3))
  })

  it('takes comments, and several kernels in a row', () => {
    const kernels = parseKernels('# one\nkernel a {\n}\nkernel b { # two\n}')
    assert.deepEqual(
      kernels.map((kernel) => kernel.name),
      ['a', 'b'],
    )
    assert.throws(() => parseKernel('kernel a {\n}\nkernel b {\n}'), /one kernel is expected, not 2/)
    assert.deepEqual(parseKernels(''), [])
  })

  it('says where a mistake stands', () => {
    const inside = (statement: string): string => `kernel k {\n  read x: f32[4:1]\n  ${statement}\n}`
    const cases: [string, RegExp][] = [
      ['kernel k {', /^HD601 some.kernel:1:10 the end is not expected here/],
      ['kernel k { ? }', /^HD601 some.kernel:1:12 '\?' is no part of kernel text/],
      [inside('x[0] 1.0'), /^HD601 some.kernel:3:8 '1.0' is not expected here \(store\)/],
      [inside('x[0] = 1.0 +'), /^HD601 some.kernel:3:14 '\+' is not expected here/],
      [inside('z[0] = 1.0'), /^HD602 some.kernel:3:3 no buffer 'z' is declared/],
      [inside('x[0] = a'), /^HD602 some.kernel:3:10 no value 'a' is defined here/],
      [inside('if (0 < 1) {\nlet a = 1.0\n}\nx[0] = a'), /^HD602 some.kernel:6:8 no value 'a' is defined here/],
      [inside('x[0] = exp(1.0)'), /^HD602 some.kernel:3:10 'exp' is no word of the scalar language/],
      [inside('x[0] = tree(mul, x)'), /^HD602 some.kernel:3:15 a tree adds or takes the max, not 'mul'/],
      ['kernel k {\nread x: f32[]\nwrite x: f32[]\n}', /^HD602 some.kernel:3:7 buffer 'x' is declared twice/],
      [inside('x[99999999999999999999] = 1.0'), /^HD603 some.kernel:3:5 99999999999999999999 is too large a number/],
      [inside('x[0] = toFloat(2147483648)'), /^HD603 some.kernel:3:18 2147483648 does not fit into 32 bits/],
      [inside('x[0]:2048 = 1.0'), /^HD603 some.kernel:3:7 a vector has 1 to 1024 lanes, not 2048/],
      [inside('x[0]:0 = 1.0'), /^HD603 .* not 0/],
      [inside('serial i in 2 {\nx[i div 0] = 1.0\n}'), /^HD603 some.kernel:4:5 an index is divided by zero/],
      [inside('serial i in 2 {\nx[i*99999999999*99999999999] = 1.0\n}'), /^HD603 .* beyond what a number holds/],
      [inside('x[0] = -true'), /^HD601 .* 'true' has no sign/],
      ['kernel true {\n}', /^HD601 some.kernel:1:8 'true' is not expected here/],
    ]
    for (const [text, expected] of cases) assert.match(sentence(text), expected, text)
  })

  it('reads down to its nesting limit and refuses what is deeper, without running out of stack', () => {
    const nested = (depth: number): string =>
      `kernel k {\nwrite y: f32[]\ny[] = ${'neg('.repeat(depth)}1.0${')'.repeat(depth)}\n}`
    assert.equal(sentence(nested(199)), 'accepted')
    assert.match(sentence(nested(200)), /^HD603 some.kernel:3:\d+ brackets are nested more than 200 deep/)
    assert.match(sentence(nested(50_000)), /^HD603/)
    const loops = (depth: number): string => `kernel k {\n${'if (0 < 1) {'.repeat(depth)}${'}'.repeat(depth)}\n}`
    assert.equal(sentence(loops(198)), 'accepted')
    assert.match(sentence(loops(5000)), /^HD603/)
    const parens = (depth: number): string =>
      `kernel k {\nserial i in ${'('.repeat(depth)}1${')'.repeat(depth)} {\n}\n}`
    assert.equal(sentence(parens(198)), 'accepted')
  })

  it('refuses text that is too long before it looks at it', () => {
    assert.match(sentence(' '.repeat(16 * 2 ** 20 + 1)), /^HD603 some.kernel kernel text is longer than/)
  })

  it('answers any damage to a kernel with a kernel or a UserError, never with another exception', () => {
    const texts = handKernelNames.map((name) => handKernels[name])
    fc.assert(
      fc.property(
        fc.constantFrom(...texts),
        fc.nat(),
        fc.nat(40),
        fc.string({ maxLength: 4 }),
        (text, start, length, by) => {
          const from = start % text.length
          sentence(text.slice(0, from) + by + text.slice(from + length))
        },
      ),
      { numRuns: 300 },
    )
  })
})
