// Kernels that exercise everything the emitter prints besides single words, each with inputs and the result worked out
// here by other means. Shared by the differential tests of every tool chain.

import { float32 } from '../../compiler/graph/float32.ts'
import { OWN_FUNCTIONS } from '../../compiler/graph/math.ts'
import type { Scalars } from '../../compiler/graph/scalars.ts'
import {
  addIndex,
  ceilDivide,
  constantIndex,
  divideIndex,
  loadedIndex,
  minIndex,
  moduloIndex,
  scaleIndex,
  size,
  variable,
} from '../../compiler/kernel/index.ts'
import type { Index } from '../../compiler/kernel/index.ts'
import { denseDims, typeOf, valueType, wordType } from '../../compiler/kernel/ir.ts'
import type { Buffer, Expr, Kernel, Stmt, ValueType, Word } from '../../compiler/kernel/ir.ts'
import type { Job } from './emit-harness.ts'
import {
  argument,
  bytesOf,
  ELEMENTS,
  elementwise,
  expectedBits,
  load,
  operandsOf,
  operandTypes,
  randomBits,
  store,
  wordCases,
  wordKernel,
  words,
} from './emit-words.ts'

export interface Case {
  readonly name: string
  readonly kernel: Kernel
  readonly sizes: readonly number[]
  readonly args: Job['args']
  /** Bits of element `index` of the last argument; undefined where nothing is promised. */
  readonly expected: (index: number) => number | undefined
  readonly type: ValueType
}

const FILL = 0x5a5a5a5a

/** Memory that a kernel writes, filled with what shows whether it did. */
function untouched(elements: number): Uint8Array {
  return bytesOf(new Int32Array(elements).fill(FILL))
}

/** Every word, in vectors and in scalars. */
export function wordChecks(lanes: number): Case[] {
  return wordCases.flatMap((item, seed) =>
    [lanes, 1].map((width) => {
      const operands = operandsOf(operandTypes[item.word], seed + 1)
      return {
        name: `${item.word}${item.bits === undefined ? '' : ` by ${item.bits}`}, ${width} lanes`,
        kernel: wordKernel(item, width),
        sizes: [ELEMENTS],
        args: [...operands.map(bytesOf), untouched(ELEMENTS)],
        expected: (index: number) =>
          expectedBits(
            item,
            operands.map((column) => column[index] ?? 0),
          ),
        type: wordType(item.word),
      }
    }),
  )
}

/** The scalar language as kernel expressions: every word becomes a let. */
class Lets {
  readonly lets: Stmt[] = []
  readonly #lanes: number

  constructor(lanes: number) {
    this.#lanes = lanes
  }

  apply(word: Word, args: readonly Expr[], bits?: number): Expr {
    const name = `t${this.lets.length}`
    const lanes = this.#lanes
    this.lets.push({
      kind: 'let',
      name,
      value: { kind: 'apply', word, args, lanes, ...(bits === undefined ? {} : { bits }) },
    })
    return { kind: 'local', name, type: wordType(word), lanes }
  }

  get language(): Scalars<Expr> {
    const applied = words.map((word) => [
      word,
      (...operands: readonly (Expr | number)[]) => {
        const bits = operands.find((operand) => typeof operand === 'number')
        return this.apply(
          word,
          operands.filter((operand) => typeof operand !== 'number'),
          bits,
        )
      },
    ])
    const constant =
      (type: ValueType) =>
      (value: number): Expr => ({ kind: 'constant', type, value })
    return {
      ...Object.fromEntries(applied),
      float: (value: number) => constant('f32')(Math.fround(value)),
      int: constant('i32'),
    }
  }
}

/** The project's own exp, log, … as kernels, on hard and random operands. */
export function functionChecks(lanes: number): Case[] {
  return Object.entries(OWN_FUNCTIONS).flatMap(([name, meaning], seed) =>
    [lanes, 1].map((width) => {
      const operands = operandsOf(['f32'], 100 + seed)
      const kernel = elementwise(`${name} ${width}`, ['f32'], 'f32', width, (args) => {
        const lets = new Lets(width)
        const result = meaning(lets.language, args[0] as Expr)
        return { lets: lets.lets, result }
      })
      const expected = (index: number): number =>
        float32.bitsOf(meaning(float32, float32.fromBits(operands[0]?.[index] ?? 0)))
      return {
        name: `${name} of math.ts, ${width} lanes`,
        kernel,
        sizes: [ELEMENTS],
        args: [...operands.map(bytesOf), untouched(ELEMENTS)],
        expected,
        type: 'f32' as const,
      }
    }),
  )
}

/** A random chain of words over three floats and an integer; the same chain evaluated in exact arithmetic. */
export function randomChecks(lanes: number, count: number): Case[] {
  return Array.from({ length: count }, (_, seed) => {
    const width = seed % 2 === 0 ? lanes : 1
    const types = ['f32', 'f32', 'f32', 'i32', 'bool'] as const
    const operands = operandsOf(types, 1000 + seed)
    const kernel = elementwise(`random ${seed}`, types, 'f32', width, (args) => {
      const lets = new Lets(width)
      return { lets: lets.lets, result: randomChain(lets.language, args, typeOf, seed) }
    })
    const expected = (index: number): number => {
      const values = types.map((type, k): [number, ValueType] => {
        const bits = operands[k]?.[index] ?? 0
        return [type === 'f32' ? float32.fromBits(bits) : bits, type]
      })
      const typed = new Map<object, ValueType>()
      const boxed = values.map(([value, type]) => box(typed, value, type))
      return float32.bitsOf(randomChain(boxedLanguage(typed), boxed, (value) => typed.get(value) ?? 'f32', seed).value)
    }
    return {
      name: `random chain ${seed}, ${width} lanes`,
      kernel,
      sizes: [ELEMENTS],
      args: [...operands.map(bytesOf), untouched(ELEMENTS)],
      expected,
      type: 'f32' as const,
    }
  })
}

interface Box {
  readonly value: number
}

function box(types: Map<object, ValueType>, value: number, type: ValueType): Box {
  const result = { value }
  types.set(result, type)
  return result
}

/** Exact arithmetic on values that remember their types. */
function boxedLanguage(types: Map<object, ValueType>): Scalars<Box> {
  const applied = words.map((word) => [
    word,
    (...operands: readonly (Box | number)[]) => {
      const plain = operands.map((operand) => (typeof operand === 'number' ? operand : operand.value))
      return box(types, (float32[word] as (...values: number[]) => number)(...plain), wordType(word))
    },
  ])
  return {
    ...Object.fromEntries(applied),
    float: (value: number) => box(types, Math.fround(value), 'f32'),
    int: (value: number) => box(types, value, 'i32'),
  }
}

function randomChain<V>(s: Scalars<V>, inputs: readonly V[], typeOfValue: (value: V) => ValueType, seed: number): V {
  const random = randomBits(seed * 7919 + 5)
  const pool = [...inputs, s.float(0.75), s.int(-3)]
  const pick = (type: ValueType): V => {
    const fitting = pool.filter((value) => typeOfValue(value) === type)
    // Later values are likelier, so that chains get long.
    const back = Math.min((random() >>> 0) % fitting.length, (random() >>> 0) % fitting.length)
    return fitting[fitting.length - 1 - back] as V
  }
  for (let step = 0; step < 40; step++) {
    const word = words[(random() >>> 0) % words.length] as Word
    let operands = operandTypes[word].map(pick)
    // Where the language leaves freedom (an integer out of range, the payload of a NaN) the chain keeps out.
    if (word === 'toInt') operands = operands.map((value) => s.max(s.min(value, s.float(1e9)), s.float(-1e9)))
    if (word === 'bitsOf') operands = operands.map((value) => s.select(s.equal(value, value), value, s.float(1)))
    const apply = s[word] as (...operands: unknown[]) => V
    pool.push(word.startsWith('intShift') ? apply(operands[0], (random() >>> 0) % 32) : apply(...operands))
  }
  return pick('f32')
}

const widenings = {
  f16: (bits: number): number => {
    const exponent = (bits >> 10) & 31
    const fraction = bits & 1023
    const sign = bits & 0x8000 ? -1 : 1
    if (exponent === 31) return fraction ? NaN : sign * Infinity
    return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
  },
  bf16: (bits: number): number => float32.fromBits(bits << 16),
}

/** Every pattern of the 16-bit floats, widened by vectors and by scalars. */
export function wideningChecks(lanes: number): Case[] {
  return (['f16', 'bf16'] as const).flatMap((dtype) =>
    [lanes, 1].map((width) => {
      const count = 65536
      const input = argument('x', dtype, count, 'read')
      const output = argument('out', 'f32', count, 'write')
      const at = scaleIndex(variable('v'), width)
      const body = [store(output, at, load(input, at, 'f32', width), width)]
      return {
        name: `${dtype} widened, ${width} lanes`,
        kernel: {
          name: `widen ${dtype} ${width}`,
          sizes: [],
          arguments: [input, output],
          locals: [],
          body: [{ kind: 'for', variable: 'v', extent: constantIndex(count / width), binding: 'grid', body }],
        } satisfies Kernel,
        sizes: [],
        args: [bytesOf(Uint16Array.from({ length: count }, (_, bits) => bits)), untouched(count)],
        expected: (index: number) => float32.bitsOf(widenings[dtype](index)),
        type: 'f32' as const,
      }
    }),
  )
}

/**
 * Partial loads and stores with 0 … lanes + 1 lanes inside and fewer than none. Loads are stored whole, so that the
 * zeros behind them show; stores must leave what lies behind them alone.
 */
export function partialChecks(lanes: number): Case[] {
  return (['f32', 'i32', 'bool', 'f16', 'bf16'] as const).flatMap((dtype) =>
    Array.from({ length: lanes + 2 }, (_, count) => count).flatMap((count) => {
      const type = valueType(dtype)
      const input = argument('x', dtype, lanes + 1, 'read')
      const whole = argument('out', type, 3 * lanes, 'write')
      const at = variable('v')
      const valid = addIndex(size('n'), scaleIndex(at, -lanes))
      const place = scaleIndex(at, lanes)
      const body = [store(whole, place, load(input, place, type, lanes, valid), lanes)]
      const bits = Array.from({ length: lanes + 1 }, (_, index) => (dtype === 'bool' ? 1 : 0x3c00 + index))
      const given = dtype === 'f16' || dtype === 'bf16' ? Uint16Array.from(bits) : Int32Array.from(bits)
      const widened = (index: number): number => {
        const stored = bits[index] ?? 0
        return dtype === 'f16' || dtype === 'bf16' ? float32.bitsOf(widenings[dtype](stored)) : stored
      }
      const loads: Case = {
        name: `${count} of ${lanes} lanes of ${dtype} loaded`,
        kernel: {
          name: `partial load ${dtype}`,
          sizes: [{ name: 'n', bound: lanes + 1 }],
          arguments: [input, whole],
          locals: [],
          body: [{ kind: 'for', variable: 'v', extent: constantIndex(3), binding: 'grid', body }],
        },
        sizes: [count],
        args: [bytesOf(given.slice(0, count)), untouched(3 * lanes)],
        expected: (index) => (index < count ? widened(index) : 0),
        type,
      }
      if (dtype === 'f16' || dtype === 'bf16') return [loads]
      const source = argument('x', dtype, 3 * lanes, 'read')
      const partial = argument('out', dtype, lanes + 1, 'write')
      const full = Int32Array.from({ length: 3 * lanes }, (_, index) => (dtype === 'bool' ? 1 : 1000 + index))
      const stores: Case = {
        name: `${count} of ${lanes} lanes of ${dtype} stored`,
        kernel: {
          ...loads.kernel,
          name: `partial store ${dtype}`,
          arguments: [source, partial],
          body: [
            {
              kind: 'for',
              variable: 'v',
              extent: constantIndex(3),
              binding: 'grid',
              body: [store(partial, place, load(source, place, type, lanes), lanes, valid)],
            },
          ],
        },
        sizes: [count],
        args: [bytesOf(full), untouched(count)],
        expected: (index) => full[index],
        type,
      }
      return [loads, stores]
    }),
  )
}

const register = (name: string, sizes: readonly number[]): Buffer => ({
  name,
  dtype: 'f32',
  space: 'register',
  dims: denseDims(sizes),
})

/** The tree over 16 partial results, kept in vectors and kept in scalars, on rows of hard values. */
export function treeChecks(lanes: number): Case[] {
  const rows = 150
  const [column] = operandsOf(['f32'], 77) as [Int32Array]
  return (['add', 'max'] as const).flatMap((word) =>
    [lanes, 1].map((width) => {
      const input = argument('x', 'f32', rows * 16, 'read')
      const output = argument('out', 'f32', rows, 'write')
      const partial = register('partial', [16])
      const row = variable('row')
      const fill = Array.from({ length: 16 / width }, (_, k): Stmt => {
        const at = addIndex(scaleIndex(row, 16), k * width)
        return store(partial, constantIndex(k * width), load(input, at, 'f32', width), width)
      })
      const body = [...fill, store(output, row, { kind: 'tree', word, buffer: 'partial' }, 1)]
      return {
        name: `tree of ${word}, ${width} lanes`,
        kernel: {
          name: `tree ${word} ${width}`,
          sizes: [],
          arguments: [input, output],
          locals: [partial],
          body: [{ kind: 'for', variable: 'row', extent: constantIndex(rows), binding: 'grid', body }],
        } satisfies Kernel,
        sizes: [],
        args: [bytesOf(column.slice(0, rows * 16)), untouched(rows)],
        expected: (index: number) => {
          let level = Array.from({ length: 16 }, (_, k) => float32.fromBits(column[index * 16 + k] ?? 0))
          for (let half = 8; half >= 1; half /= 2) {
            level = level.slice(0, half).map((value, k) => float32[word](value, level[k + half] ?? 0))
          }
          return float32.bitsOf(level[0] ?? 0)
        },
        type: 'f32' as const,
      }
    }),
  )
}

/**
 * Everything about loops and places at once: three grid loops whose names are C++ keywords and parameters, div, mod,
 * min, a loaded index, a condition, scratch, a register array with a run-time index, ramp, pack and splat.
 */
export function placeCheck(lanes: number): Case {
  const [a, b, n] = [3, 5, 37]
  const table = argument('linux', 'i32', 8, 'read')
  const output = argument('while', 'i32', a * b * 48, 'write')
  const out: Buffer = { ...output, dims: denseDims([a, b, 48]) }
  const scratch: Buffer = { name: 'scratch', dtype: 'i32', space: 'scratch', dims: denseDims([3, 16]) }
  const picked: Buffer = { name: 'int', dtype: 'i32', space: 'register', dims: denseDims([4]) }
  const [i, j, k, m] = ['begin', 'int', 'sizes', 'm'].map(variable) as [Index, Index, Index, Index]
  const chunks = ceilDivide(size('seq'), lanes)
  const at = scaleIndex(k, lanes)
  const looked = loadedIndex(load(table, moduloIndex(addIndex(i, j), 8), 'i32', 1), 100)
  const one = (value: Expr): Expr => ({ kind: 'splat', value, lanes })
  const lane = (value: Index): Expr => ({ kind: 'index', index: value })
  const sum = (x: Expr, y: Expr): Expr => ({ kind: 'apply', word: 'intAdd', args: [x, y], lanes })
  const packed: Expr = {
    kind: 'pack',
    args: Array.from({ length: lanes }, (_, l) => lane(scaleIndex(divideIndex(addIndex(at, l), 3), 1000))),
  }
  const body: Stmt[] = [
    { kind: 'let', name: 'unused', value: lane(i) },
    {
      kind: 'for',
      variable: 'm',
      extent: minIndex(addIndex(j, 1), 4),
      binding: 'serial',
      body: [{ kind: 'store', buffer: 'int', indices: [m], value: lane(addIndex(scaleIndex(m, 7), looked)), lanes: 1 }],
    },
    {
      kind: 'store',
      buffer: 'scratch',
      indices: [constantIndex(2), constantIndex(0)],
      value: sum({ kind: 'ramp', index: addIndex(at, scaleIndex(i, 100000)), lanes }, packed),
      lanes,
    },
    {
      kind: 'if',
      conditions: [
        { left: constantIndex(0), right: j },
        { left: i, right: constantIndex(2) },
      ],
      body: [
        {
          kind: 'let',
          name: 'while',
          value: { kind: 'load', buffer: 'int', indices: [minIndex(j, 3)], type: 'i32', lanes: 1 },
        },
        {
          kind: 'store',
          buffer: 'while',
          indices: [i, j, at],
          value: sum(
            { kind: 'load', buffer: 'scratch', indices: [constantIndex(2), constantIndex(0)], type: 'i32', lanes },
            one({ kind: 'local', name: 'while', type: 'i32', lanes: 1 }),
          ),
          lanes,
          valid: addIndex(size('seq'), scaleIndex(at, -1)),
        },
      ],
    },
  ]
  const grid = (name: string, extent: Index, inner: readonly Stmt[]): Stmt => ({
    kind: 'for',
    variable: name,
    extent,
    binding: 'grid',
    body: inner,
  })
  const looks = Int32Array.from({ length: 8 }, (_, index) => (index * 37) % 100)
  return {
    name: 'places, conditions and names',
    kernel: {
      name: 'int main(',
      sizes: [{ name: 'seq', bound: 48 }],
      arguments: [table, out],
      locals: [scratch, picked],
      body: [grid('begin', constantIndex(a), [grid('int', constantIndex(b), [grid('sizes', chunks, body)])])],
    },
    sizes: [n],
    args: [bytesOf(looks), untouched(a * b * 48)],
    expected: (index) => {
      const position = index % 48
      const second = Math.floor(index / 48) % b
      const first = Math.floor(index / 48 / b)
      if (position >= n || second === 0 || first >= 2) return FILL
      const row = Math.min(second, 3)
      return position + first * 100000 + Math.floor(position / 3) * 1000 + row * 7 + (looks[(first + second) % 8] ?? 0)
    },
    type: 'i32',
  }
}

/** Squares of hard values, transposed in registers. */
export function transposeCheck(lanes: number): Case {
  const count = 40
  const [column] = operandsOf(['f32'], 78) as [Int32Array]
  const elements = count * lanes * lanes
  const values = Int32Array.from({ length: elements }, (_, index) => column[index % column.length] ?? 0)
  const input = argument('x', 'f32', elements, 'read')
  const output = argument('out', 'f32', elements, 'write')
  const square = register('square', [lanes, lanes])
  const rows = Array.from({ length: lanes }, (_, row) => ({
    inside: [constantIndex(row), constantIndex(0)],
    outside: addIndex(scaleIndex(variable('block'), lanes * lanes), row * lanes),
  }))
  const body: Stmt[] = [
    ...rows.map(({ inside, outside }): Stmt => {
      return { kind: 'store', buffer: 'square', indices: inside, value: load(input, outside, 'f32', lanes), lanes }
    }),
    { kind: 'transpose', buffer: 'square' },
    ...rows.map(({ inside, outside }): Stmt => {
      const value: Expr = { kind: 'load', buffer: 'square', indices: inside, type: 'f32', lanes }
      return { kind: 'store', buffer: 'out', indices: [outside], value, lanes }
    }),
  ]
  return {
    name: `transposition of ${lanes} vectors`,
    kernel: {
      name: 'transpose',
      sizes: [],
      arguments: [input, output],
      locals: [square],
      body: [{ kind: 'for', variable: 'block', extent: constantIndex(count), binding: 'grid', body }],
    },
    sizes: [],
    args: [bytesOf(values), untouched(elements)],
    expected: (index) => {
      const [block, row, place] = [Math.floor(index / lanes / lanes), Math.floor(index / lanes) % lanes, index % lanes]
      return values[(block * lanes + place) * lanes + row] ?? 0
    },
    type: 'f32',
  }
}

/** A chain of multiply-adds whose factors are lanes of vectors that registers hold, as first and as second operand. */
export function laneCheck(lanes: number): Case {
  const [a, b] = operandsOf(['f32', 'f32'], 79) as [Int32Array, Int32Array]
  const count = Math.floor(ELEMENTS / 2 / lanes)
  const inputs = ['x', 'w'].map((name) => argument(name, 'f32', ELEMENTS, 'read')) as [Buffer, Buffer]
  const output = argument('out', 'f32', count * lanes, 'write')
  const held = register('held', [2, lanes])
  const sums = register('sums', [lanes])
  const at = (row: number): Index => addIndex(scaleIndex(variable('block'), 2 * lanes), row * lanes)
  const kept = (indices: readonly Index[], buffer: string, wide: number): Expr => {
    return { kind: 'load', buffer, indices, type: 'f32', lanes: wide }
  }
  const zero = [constantIndex(0)]
  const step = (row: number, lane: number): Stmt => {
    const one: Expr = { kind: 'splat', value: kept([constantIndex(row), constantIndex(lane)], 'held', 1), lanes }
    const other = load(inputs[1], at(row), 'f32', lanes)
    const args = [...(lane % 2 === 0 ? [one, other] : [other, one]), kept(zero, 'sums', lanes)]
    const value: Expr = { kind: 'apply', word: 'fma', args, lanes }
    return { kind: 'store', buffer: 'sums', indices: zero, value, lanes }
  }
  const places = [0, 1].flatMap((row) => Array.from({ length: lanes }, (_, lane) => ({ row, lane })))
  const body: Stmt[] = [
    ...[0, 1].map((row): Stmt => {
      const value = load(inputs[0], at(row), 'f32', lanes)
      return { kind: 'store', buffer: 'held', indices: [constantIndex(row), constantIndex(0)], value, lanes }
    }),
    { kind: 'store', buffer: 'sums', indices: zero, value: load(inputs[1], at(1), 'f32', lanes), lanes },
    ...places.map(({ row, lane }) => step(row, lane)),
    // A lane on its own is a scalar like any other.
    {
      kind: 'store',
      buffer: 'out',
      indices: [scaleIndex(variable('block'), lanes)],
      value: {
        kind: 'apply',
        word: 'add',
        args: [kept(zero, 'sums', lanes), { kind: 'splat', value: kept([constantIndex(1), constantIndex(lanes - 1)], 'held', 1), lanes }],
        lanes,
      },
      lanes,
    },
  ] // prettier-ignore
  const first = (block: number, row: number): number => block * 2 * lanes + row * lanes
  const bits = (column: Int32Array, place: number): number => float32.fromBits(column[place] ?? 0)
  return {
    name: `multiply-adds by lane of ${lanes}`,
    kernel: {
      name: 'by lane',
      sizes: [],
      arguments: [...inputs, output],
      locals: [held, sums],
      body: [{ kind: 'for', variable: 'block', extent: constantIndex(count), binding: 'grid', body }],
    },
    sizes: [],
    args: [bytesOf(a), bytesOf(b), untouched(count * lanes)],
    expected: (index) => {
      const [block, place] = [Math.floor(index / lanes), index % lanes]
      const sum = places.reduce(
        (total, { row, lane }) =>
          float32.fma(bits(a, first(block, row) + lane), bits(b, first(block, row) + place), total),
        bits(b, first(block, 1) + place),
      )
      return float32.bitsOf(float32.add(sum, bits(a, first(block, 1) + lanes - 1)))
    },
    type: 'f32',
  }
}

export function allCases(lanes: number): Case[] {
  return [
    ...wordChecks(lanes),
    ...functionChecks(lanes),
    ...randomChecks(lanes, 12),
    ...wideningChecks(lanes),
    ...partialChecks(lanes),
    ...treeChecks(lanes),
    transposeCheck(lanes),
    laneCheck(lanes),
    placeCheck(lanes),
  ]
}
