// The C++ of hand-written kernels, one golden per instruction set: what a change of the emitter or a table does to the
// text must show in review. And what the emitter refuses.

import assert from 'node:assert/strict'
import { emitKernel, emitProgram, scratchBytes } from '../../backends/neon/emit/index.ts'
import { instructionSets, isaOf } from '../../backends/neon/isa/index.ts'
import { InternalError } from '../../compiler/diagnostic.ts'
import { addIndex, ceilDivide, constantIndex, scaleIndex, size, variable } from '../../compiler/kernel/index.ts'
import { denseDims } from '../../compiler/kernel/ir.ts'
import type { Binding, Buffer, Expr, Kernel, Stmt } from '../../compiler/kernel/ir.ts'
import type { Part, Program } from '../../compiler/plan/program.ts'
import { golden } from '../support/golden.ts'
import { laneCheck } from './emit-cases.ts'
import { contraction } from './emit-contraction.ts'
import { storedProgram } from './storedProgram.ts'

/** A sum of squares per row: partial results in 16 lanes, the tree, a scratch row and a condition. */
function rowNorm(lanes: number): Kernel {
  const width = 64
  const input: Buffer = { name: 'x', dtype: 'bf16', space: 'argument', dims: denseDims([9, width]), access: 'read' }
  const output: Buffer = { name: 'y', dtype: 'f32', space: 'argument', dims: denseDims([9]), access: 'update' }
  const partial: Buffer = { name: 'partial', dtype: 'f32', space: 'register', dims: denseDims([16]) }
  const row: Buffer = { name: 'row', dtype: 'f32', space: 'scratch', dims: denseDims([width]) }
  const float = (value: number): Expr => ({ kind: 'constant', type: 'f32', value })
  const apply = (word: 'mul' | 'fma' | 'sqrt' | 'less' | 'select', args: Expr[], wide: number): Expr => ({
    kind: 'apply',
    word,
    args,
    lanes: wide,
  })
  const blocks = Array.from({ length: 16 / lanes }, (_, k) => constantIndex(k * lanes))
  const widened: Expr = {
    kind: 'load',
    buffer: 'x',
    indices: [variable('r'), scaleIndex(variable('c'), lanes)],
    type: 'f32',
    lanes,
    valid: addIndex(size('width'), scaleIndex(variable('c'), -lanes)),
  }
  const body: Stmt[] = [
    {
      kind: 'for',
      variable: 'c',
      extent: constantIndex(width / lanes),
      binding: 'serial',
      body: [
        { kind: 'let', name: 'x', value: widened },
        {
          kind: 'store',
          buffer: 'row',
          indices: [scaleIndex(variable('c'), lanes)],
          value: apply('mul', [{ kind: 'local', name: 'x', type: 'f32', lanes }, float(0.5)], lanes),
          lanes,
        },
      ],
    },
    ...blocks.map((block): Stmt => ({
      kind: 'store',
      buffer: 'partial',
      indices: [block],
      value: { kind: 'splat', value: float(0), lanes },
      lanes,
    })),
    {
      kind: 'for',
      variable: 'block',
      extent: constantIndex(width / 16),
      binding: 'serial',
      body: blocks.flatMap((block, k): Stmt[] => {
        const at = addIndex(scaleIndex(variable('block'), 16), block)
        const loaded: Expr = { kind: 'load', buffer: 'row', indices: [at], type: 'f32', lanes }
        const known: Expr = { kind: 'load', buffer: 'partial', indices: [block], type: 'f32', lanes }
        const value: Expr = { kind: 'local', name: `v${k}`, type: 'f32', lanes }
        return [
          { kind: 'let', name: `v${k}`, value: loaded },
          {
            kind: 'store',
            buffer: 'partial',
            indices: [block],
            value: apply('fma', [value, value, known], lanes),
            lanes,
          },
        ]
      }),
    },
    { kind: 'let', name: 'sum', value: { kind: 'tree', word: 'add', buffer: 'partial' } },
    {
      kind: 'if',
      conditions: [{ left: variable('r'), right: constantIndex(8) }],
      body: [
        {
          kind: 'store',
          buffer: 'y',
          indices: [variable('r')],
          value: apply('sqrt', [{ kind: 'local', name: 'sum', type: 'f32', lanes: 1 }], 1),
          lanes: 1,
        },
      ],
    },
  ]
  return {
    name: 'row norm',
    sizes: [{ name: 'width', bound: width }],
    arguments: [input, output],
    locals: [partial, row],
    body: [{ kind: 'for', variable: 'r', extent: constantIndex(9), binding: 'grid', body }],
  }
}

function nothing(body: readonly Stmt[], more: Partial<Kernel> = {}): Kernel {
  return { name: 'refused', sizes: [], arguments: [], locals: [], body, ...more }
}

function loop(binding: Binding, body: readonly Stmt[] = []): Stmt {
  return { kind: 'for', variable: 'i', extent: constantIndex(4), binding, body }
}

const target: Buffer = { name: 'y', dtype: 'f32', space: 'argument', dims: denseDims([64]), access: 'write' }

function storing(value: Expr, lanes: number): Stmt {
  return { kind: 'store', buffer: 'y', indices: [constantIndex(0)], value, lanes }
}

const wide = (lanes: number): Expr => ({
  kind: 'splat',
  value: { kind: 'constant', type: 'f32', value: 1 },
  lanes,
})

describe('emitted C++', () => {
  for (const isa of Object.values(instructionSets)) {
    it(`of a contraction and a norm for ${isa.name}`, () => {
      const shape = { rows: 2, vectors: 2, lanes: isa.lanes, depth: 7, columns: 3 * isa.lanes + 1 }
      golden(`neon/contraction.${isa.name}.cpp`, emitKernel(contraction(shape), isa))
      golden(`neon/row-norm.${isa.name}.cpp`, emitKernel(rowNorm(isa.lanes), isa))
      if (isa.vector.byLane) golden(`neon/by-lane.${isa.name}.cpp`, emitKernel(laneCheck(isa.lanes).kernel, isa))
    })
  }

  it('finds tables by name and refuses others', () => {
    assert.equal(isaOf('avx512').lanes, 16)
    assert.throws(() => isaOf('toString'), InternalError)
  })

  it('counts scratch in multiples of 64 bytes per buffer', () => {
    const scratch = (name: string, count: number): Buffer => ({
      name,
      dtype: 'f32',
      space: 'scratch',
      dims: denseDims([count]),
    })
    assert.equal(scratchBytes(nothing([], { locals: [scratch('a', 1), scratch('b', 17), target] })), 192)
  })

  it('prints kernels with the order of sizes of the program', () => {
    const extents = [ceilDivide(size('b'), 2)]
    const kernel = nothing(
      [{ kind: 'for', variable: 'i', extent: extents[0] ?? constantIndex(1), binding: 'grid', body: [] }],
      {
        sizes: [{ name: 'b', bound: 8 }],
      },
    )
    assert.match(emitKernel(kernel, isaOf('neon'), { sizes: ['a', 'b'] }), /const int64_t b = sizes\[1\];/)
    assert.throws(() => emitKernel(kernel, isaOf('neon'), { sizes: ['a'] }), /size 'b' is none of the program's/)
  })

  it('refuses what is not lowered', () => {
    const neon = isaOf('neon')
    const refused: readonly [Kernel, RegExp][] = [
      [nothing([loop('serial', [loop('unroll')])]), /loop i is 'unroll'/],
      [nothing([loop('lane')]), /loop i is 'lane'/],
      [nothing([loop('local')]), /loop i is 'local'/],
      [nothing([loop('serial', [loop('grid')])]), /loop i is 'grid'/],
      [nothing([{ kind: 'barrier' }]), /barrier/],
      [nothing([storing(wide(8), 8)], { arguments: [target] }), /8 lanes, but neon has 4/],
      [nothing([storing(wide(4), 1)], { arguments: [target] }), /4 lanes where 1 are wanted/],
      [nothing([storing(wide(4), 4)]), /no buffer 'y'/],
      [
        nothing([storing({ kind: 'local', name: 'a', type: 'f32', lanes: 1 }, 1)], { arguments: [target] }),
        /no local 'a'/,
      ],
      [nothing([storing({ kind: 'constant', type: 'i32', value: 1 }, 1)], { arguments: [target] }), /i32 stored in y/],
      [nothing([storing(wide(4), 4)], { arguments: [{ ...target, dtype: 'f16' }] }), /y is f16: only read/],
      [nothing([], { locals: [{ ...target, space: 'workgroup' }] }), /workgroup memory/],
    ]
    for (const [kernel, message] of refused) {
      assert.throws(
        () => emitKernel(kernel, neon),
        (error) => error instanceof InternalError && message.test(error.message),
      )
    }
  })
})

describe('an emitted program', () => {
  const source: Buffer = { ...target, name: 'x', access: 'read' }
  const value: Expr = { kind: 'load', buffer: 'x', indices: [constantIndex(0)], type: 'f32', lanes: 1 }
  const program: Program = {
    name: 'two "words"??/\n',
    sizes: [{ name: 'seq', bound: 128 }],
    kernels: [nothing([storing(value, 1)], { name: 'copy', arguments: [source, target] })],
    values: [
      {
        name: 'weight.ü',
        role: 'trainable',
        dtype: 'f32',
        shape: [8, 8],
        bytes: 256,
        place: { space: 'state', offset: 0 },
        initial: { kind: 'normal', deviation: 0.02 },
      },
      { name: 'step', role: 'input', dtype: 'i32', shape: [], bytes: 4, place: { space: 'inputs', offset: 0 } },
      { name: 'table', role: 'frozen', dtype: 'bf16', shape: [3], bytes: 6, place: { space: 'frozen', index: 0 } },
    ],
    functions: [
      {
        name: 'forward',
        launches: [
          {
            kernel: 0,
            arguments: [
              { space: 'state', offset: 0 },
              { space: 'arena', offset: 256 },
            ],
            label: 'loss',
          },
        ],
        outputs: [{ name: 'loss', dtype: 'f32', shape: [], place: { space: 'arena', offset: 256 } }],
      },
      { name: 'nothing', launches: [], outputs: [] },
    ],
    arenaBytes: 512,
    stateBytes: 256,
    inputBytes: 64,
    frozenCount: 1,
    storedCount: 0,
  }

  /** The same program with other places in its one launch. */
  function launched(...places: Program['functions'][number]['launches'][number]['arguments']): Program {
    return {
      ...program,
      functions: [{ name: 'forward', launches: [{ kernel: 0, arguments: places, label: 'loss' }], outputs: [] }],
    }
  }

  it('prints its tables', () => {
    const text = emitProgram(program, isaOf('neon'))
    golden('neon/program-tables.cpp', text.slice(text.indexOf('static int64_t kernel_0')))
  })

  it('prints what moves between memory and storage', () => {
    const text = emitProgram(storedProgram, isaOf('neon'))
    golden('neon/stored-tables.cpp', text.slice(text.indexOf('static const int64_t shapes')))
  })

  it('refuses launches that do not fit', () => {
    const state = { space: 'state', offset: 0 } as const
    const refused: [Program, RegExp][] = [
      [launched(state), /1 places for 2 arguments/],
      [launched(state, { space: 'state', offset: 0 }), /y is written but shares memory with x/],
      [launched(state, { space: 'arena', offset: 320 }), /y at arena \+ 320 does not fit/],
      [launched(state, { space: 'arena', offset: 4 }), /y at arena \+ 4 does not fit/],
      [launched(state, { space: 'frozen', index: 0 }), /y cannot be checkpoint tensor 0/],
      [launched({ space: 'frozen', index: 1 }, { space: 'arena', offset: 0 }), /x cannot be checkpoint tensor 1/],
    ]
    const inStorage = (parts: readonly Part[] | undefined, index = 0, storedCount = 1): Program => {
      const places = [state, { space: 'stored', index }] as const
      const launch = { kernel: 0, arguments: places, label: 'loss', ...(parts ? { parts } : {}) }
      return { ...program, storedCount, functions: [{ name: 'forward', launches: [launch], outputs: [] }] }
    }
    const window = { argument: 1, from: 0, offset: 0 }
    const part = { begin: 0, end: 1, transfers: 0, windows: [window] }
    refused.push(
      [inStorage([part], 1), /y cannot be stored value 1/],
      [inStorage(undefined), /nothing brings y from storage/],
      [inStorage([]), /nothing brings y from storage/],
      [inStorage([part, { ...part, windows: [{ ...window, argument: 0 }] }]), /nothing brings y from storage/],
    )
    assert.doesNotThrow(() => emitProgram(inStorage([part]), isaOf('neon')))
    for (const [wrong, message] of refused) assert.throws(() => emitProgram(wrong, isaOf('neon')), message)
    assert.doesNotThrow(() => emitProgram(launched(state, { space: 'arena', offset: 256 }), isaOf('neon')))
  })
})
