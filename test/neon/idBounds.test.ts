// The bound of an input of ids is the least of all tables it is looked up in, in whatever order kernels and statements
// come: an id that is checked against a larger one reads outside the smaller table.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { idBounds } from '../../backends/neon/driver/ids.ts'
import { parseKernels } from '../../compiler/kernel/parse.ts'
import type { Place, Program, ProgramFunction } from '../../compiler/plan/program.ts'

const ids = { space: 'inputs', offset: 0 } as const

/** One kernel for each list of bounds, which looks the ids up in a table of each size, one after another. */
function lookups(kernels: readonly (readonly number[])[], through: 'load' | 'store' | 'local'): Program {
  const text = kernels.map((bounds, index) => {
    const access = through === 'store' ? 'update' : 'read'
    const tables = bounds.map((bound, place) => `  ${access} table${place}: f32[${bound}:1]\n`).join('')
    const body = bounds.map((bound, place) => {
      if (through === 'store') return `    table${place}[value(ids[i] below ${bound})] = 1.0\n`
      if (through === 'load') return `    y${place}[i] = neg(table${place}[value(ids[i] below ${bound})])\n`
      return `    let id${place} = ids[i]\n    y${place}[i] = neg(table${place}[value(id${place} below ${bound})])\n`
    })
    const results = through === 'store' ? '' : bounds.map((_, place) => `  write y${place}: f32[4:1]\n`).join('')
    return `kernel look${index} {\n  read ids: i32[4:1]\n${tables}${results}  serial i in 4 {\n${body.join('')}  }\n}\n`
  })
  const arena = (index: number): Place => ({ space: 'arena', offset: 4096 * index })
  const parsed = parseKernels(text.join(''))
  return {
    name: 'lookups',
    sizes: [],
    kernels: parsed,
    values: [{ name: 'ids', role: 'input', dtype: 'i32', shape: [4], bytes: 16, place: ids }],
    functions: [
      {
        name: 'f',
        launches: parsed.map((kernel, index) => ({
          kernel: index,
          arguments: kernel.arguments.map((_, argument) => (argument === 0 ? ids : arena(argument))),
          label: '',
        })),
        outputs: [],
      },
    ],
    arenaBytes: 1 << 20,
    stateBytes: 0,
    inputBytes: 64,
    frozenCount: 0,
    storedCount: 0,
  }
}

describe('the bound of ids', () => {
  for (const through of ['load', 'store', 'local'] as const) {
    it(`is the least of one kernel's tables, in any order: ${through}`, () => {
      for (const bounds of [[7, 9], [9, 7], [9, 7, 8], [5]]) {
        assert.deepEqual([...idBounds(lookups([bounds], through))], [['ids', Math.min(...bounds)]], bounds.join())
      }
    })

    it(`is the least of all kernels', in any order: ${through}`, () => {
      for (const bounds of [
        [7, 9],
        [9, 7],
        [9, 7, 8],
      ]) {
        const kernels = bounds.map((bound) => [bound])
        assert.deepEqual([...idBounds(lookups(kernels, through))], [['ids', Math.min(...bounds)]], bounds.join())
      }
    })
  }

  it('is the least of all functions', () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const program = lookups([[6], [11]], 'load')
      const [fn] = program.functions
      const functions = order.map((index) => ({ name: `f${index}`, launches: fn!.launches.slice(index, index + 1), outputs: [] })) // prettier-ignore
      assert.deepEqual([...idBounds({ ...program, functions })], [['ids', 6]])
    }
  })

  it('is that of the rows which the run-time brings by them, too', () => {
    const stored = { space: 'stored', index: 1 } as const
    const value = { role: 'state', dtype: 'f32', shape: [5, 6], bytes: 120, streamed: true } as const
    const table = { name: 'table', ...value, place: stored }
    const other = { name: 'other', ...value, bytes: 24, place: { space: 'frozen', index: 1 } } as const
    const bounded = (known: number, more: Partial<ProgramFunction>): number | undefined => {
      const program = lookups([[known]], 'load')
      const functions = program.functions.map((fn) => ({ ...fn, ...more }))
      return idBounds({ ...program, functions, values: [...program.values, other, table] }).get('ids')
    }
    const to: Place = { space: 'arena', offset: 0 }
    const rows = [{ tensor: stored, ids, to, count: 4, rowBytes: 24 }]
    const named = { ids, firsts: 0, count: 4, rowBytes: 24 }
    const transfers = [{ kind: 'write', tensor: stored, from: 0, bytes: 96, offset: 0, after: 0, rows: named }] as const
    for (const more of [{ rows }, { transfers }]) {
      assert.equal(bounded(9, more), 5)
      assert.equal(bounded(3, more), 3)
    }
  })

  it('is the least, whatever the kernels are', () => {
    const bounds = fc.array(fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 }) // prettier-ignore
    fc.assert(
      fc.property(bounds, fc.constantFrom('load' as const, 'store' as const, 'local' as const), (kernels, through) => {
        assert.equal(idBounds(lookups(kernels, through)).get('ids'), Math.min(...kernels.flat()))
      }),
      { numRuns: 50 },
    )
  })
})
