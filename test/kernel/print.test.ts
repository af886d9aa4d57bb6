// The text of kernels, written out: what a person reads in a dump.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import {
  addIndex,
  ceilDivide,
  divideIndex,
  loadedIndex,
  minIndex,
  moduloIndex,
  scaleIndex,
  size,
  subtractIndex,
  variable,
} from '../../compiler/kernel/index.ts'
import { denseDims } from '../../compiler/kernel/ir.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { printExpr, printFloat, printIndex, printKernel, printStatement } from '../../compiler/kernel/print.ts'
import { anyFloat32 } from './randomKernel.ts'

const i = variable('i')
const row = addIndex(scaleIndex(variable('m0'), 12), variable('m1'))

const linear: Kernel = {
  name: 'linear_0',
  sizes: [{ name: 'seq', bound: 128 }],
  arguments: [
    { name: 'x', dtype: 'bf16', space: 'argument', dims: denseDims([128, 768]), access: 'read' },
    { name: 'y', dtype: 'f32', space: 'argument', dims: denseDims([128, 768]), access: 'write' },
  ],
  locals: [{ name: 'acc', dtype: 'f32', space: 'register', dims: denseDims([12, 2, 16]) }],
  body: [
    {
      kind: 'for',
      variable: 'm0',
      extent: ceilDivide(size('seq'), 12),
      binding: 'grid',
      body: [
        {
          kind: 'for',
          variable: 'm1',
          extent: addIndex(12),
          binding: 'serial',
          body: [
            {
              kind: 'let',
              name: 'a',
              value: {
                kind: 'load',
                buffer: 'x',
                indices: [row, addIndex(0)],
                type: 'f32',
                lanes: 16,
                valid: addIndex(size('seq'), -1),
              },
            },
            {
              kind: 'if',
              conditions: [
                { left: row, right: size('seq') },
                { left: addIndex(0), right: variable('m1') },
              ],
              body: [
                {
                  kind: 'store',
                  buffer: 'y',
                  indices: [row, scaleIndex(variable('m1'), 16)],
                  lanes: 16,
                  valid: addIndex(7),
                  value: {
                    kind: 'apply',
                    word: 'fma',
                    lanes: 16,
                    args: [
                      { kind: 'local', name: 'a', type: 'f32', lanes: 16 },
                      { kind: 'splat', value: { kind: 'constant', type: 'f32', value: 1 }, lanes: 16 },
                      {
                        kind: 'load',
                        buffer: 'acc',
                        indices: [0, 1, 0].map((at) => addIndex(at)),
                        type: 'f32',
                        lanes: 16,
                      },
                    ],
                  },
                },
              ],
            },
            { kind: 'barrier' },
          ],
        },
      ],
    },
  ],
}

describe('kernel text', () => {
  it('is what a person would write', () => {
    assert.equal(
      printKernel(linear),
      `kernel linear_0 (sizes seq <= 128) {
  read x: bf16[128:768, 768:1]
  write y: f32[128:768, 768:1]
  register acc: f32[12:32, 2:16, 16:1]
  grid m0 in (seq + 11) div 12 {
    serial m1 in 12 {
      let a = x[m0*12 + m1, 0]:16 valid seq - 1
      if (m0*12 + m1 < seq and 0 < m1) {
        y[m0*12 + m1, m1*16]:16 valid 7 = fma(a, splat(1.0):16, acc[0, 1, 0]:16)
      }
      barrier
    }
  }
}
`,
    )
    assert.equal(printKernel({ ...linear, sizes: [], arguments: [], locals: [], body: [] }), 'kernel linear_0 {\n}\n')
    assert.equal(printStatement({ kind: 'barrier' }), 'barrier')
    assert.equal(printStatement({ kind: 'transpose', buffer: 'square' }), 'transpose square')
  })

  it('puts indices into parentheses only where they are needed', () => {
    const id = loadedIndex({ kind: 'load', buffer: 'ids', indices: [i], type: 'i32', lanes: 1 }, 1003)
    const cases: [string, ReturnType<typeof addIndex>][] = [
      ['0', addIndex(0)],
      ['-3', addIndex(-3)],
      ['-i', scaleIndex(i, -1)],
      ['-i*2 + j - 1', addIndex(scaleIndex(i, -2), variable('j'), -1)],
      ['i div 64', divideIndex(i, 64)],
      ['(i div 64)*3', scaleIndex(divideIndex(i, 64), 3)],
      ['(i div 64) mod 5', moduloIndex(divideIndex(i, 64), 5)],
      ['(i*3) div 2 + 1', divideIndex(addIndex(scaleIndex(i, 3), 2), 2)],
      ['(-i) mod 2', moduloIndex(scaleIndex(i, -1), 2)],
      ['min(64, seq - kb*64)', minIndex(64, subtractIndex(size('seq'), scaleIndex(variable('kb'), 64)))],
      ['value(ids[i] below 1003)*768', scaleIndex(id, 768)],
    ]
    for (const [text, index] of cases) assert.equal(printIndex(index), text)
  })

  it('shows words, shifts, constants and vectors', () => {
    const three = { kind: 'constant', type: 'i32', value: -3 } as const
    assert.equal(
      printExpr({ kind: 'apply', word: 'intShiftSigned', args: [three], bits: 23, lanes: 1 }),
      'intShiftSigned<23>(-3)',
    )
    assert.equal(printExpr({ kind: 'constant', type: 'bool', value: 1 }), 'true')
    assert.equal(printExpr({ kind: 'pack', args: [three, { kind: 'index', index: i }] }), 'pack(-3, index(i))')
    assert.equal(printExpr({ kind: 'ramp', index: i, lanes: 8 }), 'ramp(i):8')
    assert.equal(printExpr({ kind: 'tree', word: 'max', buffer: 'p' }), 'tree(max, p)')
  })

  it('writes floats as short as they can be', () => {
    const cases: [number, string][] = [
      [0, '0.0'],
      [-0, '-0.0'],
      [1, '1.0'],
      [-2.5, '-2.5'],
      [Math.fround(0.1), '0.1'],
      [Math.fround(1e-9), '1e-9'],
      [16777216, '16777216.0'],
      [3.4028234663852886e38, '3.4028235e+38'],
      [2 ** -149, '1e-45'],
      [NaN, 'nan'],
      [-Infinity, '-inf'],
    ]
    for (const [value, text] of cases) assert.equal(printFloat(value), text)
  })

  it('writes floats so that rounding gives them back, with at most nine digits', () => {
    fc.assert(
      fc.property(anyFloat32, (value) => {
        const text = printFloat(value)
        if (!Number.isFinite(value)) return
        assert.ok(Object.is(Math.fround(Number(text)), value), text)
        const [mantissa = ''] = text.split('e')
        const digits = mantissa.replace('-', '').replace('.', '').replace(/^0+/, '').replace(/0+$/, '')
        assert.ok(digits.length <= 9, text)
      }),
      { numRuns: 2000 },
    )
  })
})
