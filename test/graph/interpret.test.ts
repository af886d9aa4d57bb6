// Every operation against formulas written with named coordinates: nothing of the interpreter's strides is used here.

import assert from 'node:assert/strict'
import { InternalError, UserError } from '../../compiler/diagnostic.ts'
import type { Axis } from '../../compiler/graph/axis.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import { erf, float64 } from '../../compiler/graph/float64.ts'
import { interpret, interpretNodes } from '../../compiler/graph/interpret.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { fromStored, makeTensor, toStored } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'

type Place = Record<string, number>

/** The element at named coordinates; coordinates of other axes are ignored. */
function at(tensor: Tensor, place: Place): number {
  let index = 0
  tensor.axes.forEach((axis, i) => {
    index = index * (tensor.extents[i] ?? 0) + (place[axis.name] ?? 0)
  })
  return tensor.data[index] as number
}

function places(tensor: Tensor): Place[] {
  let all: Place[] = [{}]
  tensor.axes.forEach((axis, i) => {
    all = all.flatMap((place) =>
      Array.from({ length: tensor.extents[i] ?? 0 }, (_, n) => ({ ...place, [axis.name]: n })),
    )
  })
  return all
}

function close(actual: number, expected: number, what: string): void {
  const fine = Object.is(actual, expected) || Math.abs(actual - expected) <= 1e-12 * Math.max(1, Math.abs(expected))
  assert.ok(fine, `${what}: ${actual}, expected ${expected}`)
}

/** A bench: dynamic batch (2 of 4) and seq/key (5 of 9), static odd sizes, floats x, y, z, integers, conditions. */
function bench() {
  const b = new GraphBuilder()
  const extents: Extents = { batch: 2, seq: 5 }
  const values = new Map<string, Tensor>()
  const axes = {
    batch: b.axis('batch', 4, 'batch'),
    seq: b.axis('seq', 9, 'seq'),
    row: b.axis('row', 3),
    column: b.axis('column', 17),
    wide: b.axis('wide', 6),
    left: b.axis('left', 2),
    right: b.axis('right', 3),
    key: b.axis('key', 9, 'seq'),
  }
  const give = (name: string, dtype: 'f32' | 'i32' | 'bool', on: Axis[], value: (i: number) => number): Node => {
    b.declare({ name, role: 'input', dtype, stored: on.map((axis) => [axis]) })
    const node = b.read(name)
    const sizes = node.axes.map((axis) => (axis.extent ? (extents[axis.extent] ?? 0) : axis.size))
    const length = sizes.reduce((n, size) => n * size, 1)
    const data = Array.from({ length }, (_, i) => value(i))
    values.set(name, makeTensor(node.axes, sizes, dtype === 'f32' ? Float64Array.from(data) : Int32Array.from(data)))
    return node
  }
  const float = (name: string, ...on: Axis[]): Node =>
    give(name, 'f32', on, (i) => Math.sin(i * 1.3 + name.charCodeAt(0)) * 1.5)
  const integer = (name: string, below: number, ...on: Axis[]): Node =>
    give(name, 'i32', on, (i) => (i * 7 + 3) % below)
  const condition = (name: string, ...on: Axis[]): Node => give(name, 'bool', on, (i) => ((i * i + i) % 3) & 1)
  const run = (node: Node): Tensor => {
    const result = interpretNodes([node], { values, extents, arithmetic: float64 }).get(node)
    assert.ok(result)
    return result
  }
  const value = (name: string): Tensor => values.get(name) as Tensor
  /** The node's tensor equals the formula at every place, and has the wanted axes. */
  const check = (node: Node, wanted: string, formula: (place: Place) => number): void => {
    const result = run(node)
    assert.equal(result.axes.map((axis) => axis.name).join(' '), wanted)
    assert.equal(result.data.length, places(result).length)
    for (const place of places(result)) close(at(result, place), formula(place), JSON.stringify(place))
  }
  return { b, ...axes, extents, values, float, integer, condition, run, value, check }
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const total = (count: number, term: (i: number) => number): number => range(count).reduce((sum, i) => sum + term(i), 0)

/** What each elementwise operation means, written once more. */
const formulas: Record<string, (...args: number[]) => number> = {
  add: (x = 0, y = 0) => x + y,
  sub: (x = 0, y = 0) => x - y,
  mul: (x = 0, y = 0) => x * y,
  div: (x = 0, y = 0) => x / y,
  min: (x = 0, y = 0) => Math.min(x, y),
  max: (x = 0, y = 0) => Math.max(x, y),
  fma: (x = 0, y = 0, z = 0) => x * y + z,
  neg: (x = 0) => -x,
  abs: (x = 0) => Math.abs(x),
  sqrt: (x = 0) => Math.sqrt(x),
  rsqrt: (x = 0) => 1 / Math.sqrt(x),
  exp: (x = 0) => Math.exp(x),
  log: (x = 0) => Math.log(x),
  tanh: (x = 0) => Math.tanh(x),
  erf: (x = 0) => erf(x),
  sin: (x = 0) => Math.sin(x),
  cos: (x = 0) => Math.cos(x),
  sigmoid: (x = 0) => 1 / (1 + Math.exp(-x)),
  less: (x = 0, y = 0) => Number(x < y),
  lessEqual: (x = 0, y = 0) => Number(x <= y),
  equal: (x = 0, y = 0) => Number(x === y),
  intLess: (x = 0, y = 0) => Number(x < y),
  intLessEqual: (x = 0, y = 0) => Number(x <= y),
  intEqual: (x = 0, y = 0) => Number(x === y),
  and: (x = 0, y = 0) => Number(x === 1 && y === 1),
  or: (x = 0, y = 0) => Number(x === 1 || y === 1),
  not: (x = 0) => 1 - x,
  select: (c = 0, x = 0, y = 0) => (c === 1 ? x : y),
  intAdd: (x = 0, y = 0) => x + y,
  intSub: (x = 0, y = 0) => x - y,
  intMul: (x = 0, y = 0) => x * y,
  toFloat: (x = 0) => x,
}

describe('interpret: elementwise', () => {
  for (const [fn, op] of Object.entries(elementwise)) {
    it(`${fn}, broadcasting`, () => {
      const formula = formulas[fn]
      assert.ok(formula, `write down what '${fn}' means in this test`)
      const t = bench()
      const on = [[t.seq, t.column], [t.batch, t.seq], [t.column]] as const
      const operands = op.takes.map((dtype, i) => {
        const name = `${'pqr'[i]}`
        const axes = on[i] ?? []
        if (dtype === 'bool') return t.condition(name, ...axes)
        if (dtype === 'i32') return t.integer(name, 5, ...axes)
        const node = t.float(name, ...axes)
        const { data } = t.value(name)
        for (let n = 0; n < data.length; n++) {
          const x = data[n] as number
          if (['sqrt', 'rsqrt', 'log'].includes(fn)) data[n] = Math.abs(x) + 0.1
          // Some operands equal.
          if (op.gives === 'bool') data[n] = Math.round(x)
        }
        return node
      })
      const wanted = ['seq column', 'batch seq column', 'batch seq column'][op.takes.length - 1] ?? ''
      t.check(t.b.make('map', operands, { fn }), wanted, (place) => {
        return formula(...op.takes.map((_, i) => at(t.value(`${'pqr'[i]}`), place)))
      })
    })
  }
})

describe('interpret: reductions', () => {
  it('sum and maximum over a middle, a first and a dynamic axis', () => {
    const t = bench()
    const x = t.float('x', t.batch, t.seq, t.column)
    const along = (name: string, count: number, place: Place): number[] =>
      range(count).map((i) => at(t.value('x'), { ...place, [name]: i }))
    t.check(t.b.sum(x, t.seq), 'batch column', (p) => along('seq', 5, p).reduce((a, c) => a + c))
    t.check(t.b.sum(x, t.batch), 'seq column', (p) => along('batch', 2, p).reduce((a, c) => a + c))
    t.check(t.b.maximum(x, t.column), 'batch seq', (p) => Math.max(...along('column', 17, p)))
    t.check(t.b.maximum(x, t.seq), 'batch column', (p) => Math.max(...along('seq', 5, p)))
  })

  it('dot over one and two axes, with shared and own axes', () => {
    const t = bench()
    const x = t.float('x', t.batch, t.seq, t.row, t.column)
    const y = t.float('y', t.column, t.row, t.batch, t.wide)
    const term = (p: Place): number => at(t.value('x'), p) * at(t.value('y'), p)
    t.check(t.b.dot(x, y, [t.column]), 'batch seq row wide', (p) => total(17, (column) => term({ ...p, column })))
    for (const over of [
      [t.row, t.column],
      [t.column, t.row],
    ]) {
      t.check(t.b.dot(x, y, over), 'batch seq wide', (p) =>
        total(17, (column) => total(3, (row) => term({ ...p, row, column }))),
      )
    }
    t.check(t.b.dot(x, x, [t.batch, t.seq, t.row, t.column]), '', () => {
      return Array.from(t.value('x').data).reduce((sum, value) => sum + value * value, 0)
    })
  })

  it('logSumExp and softmaxDot against the plain formulas, for blocks that do and do not divide', () => {
    for (const block of [1, 3, 5, 8, 17, 64]) {
      const t = bench()
      const s = t.float('s', t.seq, t.row, t.column)
      const v = t.float('v', t.batch, t.row, t.column, t.wide)
      const weight = (p: Place, column: number): number => Math.exp(at(t.value('s'), { ...p, column }))
      t.check(t.b.logSumExp(s, t.column, block), 'seq row', (p) => Math.log(total(17, (c) => weight(p, c))))
      t.check(t.b.softmaxDot(s, v, t.column, block), 'batch seq row wide', (p) => {
        const sum = total(17, (c) => weight(p, c))
        return total(17, (column) => (weight(p, column) / sum) * at(t.value('v'), { ...p, column }))
      })
      t.check(t.b.logSumExp(s, t.seq, block), 'row column', (p) => {
        return Math.log(total(5, (seq) => Math.exp(at(t.value('s'), { ...p, seq }))))
      })
    }
  })

  it('softmaxDot where the scores lie on more axes than the values', () => {
    const t = bench()
    const s = t.float('s', t.batch, t.row, t.key)
    t.float('v', t.key)
    t.check(t.b.softmaxDot(s, t.b.read('v'), t.key, 2), 'batch row', (p) => {
      const w = range(5).map((key) => Math.exp(at(t.value('s'), { ...p, key })))
      return total(5, (key) => (w[key] ?? 0) * at(t.value('v'), { key })) / w.reduce((a, c) => a + c)
    })
  })
})

describe('interpret: sources', () => {
  it('constants, tables, iota, extents', () => {
    const t = bench()
    t.check(t.b.float(0.1), '', () => Math.fround(0.1))
    t.check(t.b.int(-7), '', () => -7)
    t.check(t.b.constant(1, 'bool'), '', () => 1)
    t.check(t.b.table(t.row, [1, 0.1, -3]), 'row', (p) => [1, Math.fround(0.1), -3][p['row'] ?? 0] ?? NaN)
    t.check(t.b.iota(t.key), 'key', (p) => p['key'] ?? NaN)
    t.check(t.b.extent(t.key), '', () => 5)
    t.check(t.b.extent(t.column), '', () => 17)
    assert.ok(t.run(t.b.iota(t.key)).data instanceof Int32Array)
  })

  it('reads in canonical order whatever the stored order', () => {
    const t = bench()
    const declaration = { name: 'm', role: 'frozen', dtype: 'f32', stored: [[t.right, t.left], [t.row]] } as const
    t.b.declare(declaration)
    // Stored [(right left), row]: element (right, left, row) is at ((right · 2) + left) · 3 + row.
    const stored = Float64Array.from(range(18))
    t.values.set('m', fromStored(declaration, stored))
    t.check(t.b.read('m'), 'row left right', (p) => ((p['right'] ?? 0) * 2 + (p['left'] ?? 0)) * 3 + (p['row'] ?? 0))
    assert.deepEqual(toStored(declaration, t.value('m')), stored)
    assert.throws(() => fromStored(declaration, new Float64Array(17)), /18 elements, 17 are given/)
  })

  it('takes inputs with dynamic axes at run-time extents', () => {
    const t = bench()
    const declaration = { name: 'm', role: 'input', dtype: 'i32', stored: [[t.row], [t.seq]] } as const
    t.b.declare(declaration)
    t.values.set('m', fromStored(declaration, Int32Array.from(range(15)), t.extents))
    t.check(t.b.read('m'), 'seq row', (p) => (p['row'] ?? 0) * 5 + (p['seq'] ?? 0))
    assert.deepEqual([...toStored(declaration, t.value('m'), t.extents)], range(15))
  })
})

describe('interpret: moves', () => {
  it('rename, broadcast, barrier', () => {
    const t = bench()
    const x = t.float('x', t.seq, t.row, t.column)
    const y = t.float('y', t.row)
    t.check(t.b.rename(x, t.seq, t.key), 'row column key', (p) => at(t.value('x'), { ...p, seq: p['key'] ?? 0 }))
    t.check(t.b.broadcast(y, [t.seq, t.row, t.wide]), 'seq row wide', (p) => at(t.value('y'), p))
    t.check(t.b.barrier(x, 'again', y), 'seq row column', (p) => at(t.value('x'), p))
  })

  it('split and merge in either order of the parts', () => {
    const t = bench()
    const x = t.float('x', t.seq, t.wide, t.row)
    const y = t.float('y', t.seq, t.left, t.right)
    const index = (p: Place, outer: string, inner: string, size: number): number =>
      (p[outer] ?? 0) * size + (p[inner] ?? 0)
    t.check(t.b.split(x, t.wide, [t.left, t.right]), 'seq row left right', (p) => {
      return at(t.value('x'), { ...p, wide: index(p, 'left', 'right', 3) })
    })
    t.check(t.b.split(x, t.wide, [t.right, t.left]), 'seq row left right', (p) => {
      return at(t.value('x'), { ...p, wide: index(p, 'right', 'left', 2) })
    })
    t.check(t.b.merge(y, [t.left, t.right], t.wide), 'seq wide', (p) => {
      return at(t.value('y'), { ...p, left: Math.floor((p['wide'] ?? 0) / 3), right: (p['wide'] ?? 0) % 3 })
    })
    t.check(t.b.merge(y, [t.right, t.left], t.wide), 'seq wide', (p) => {
      return at(t.value('y'), { ...p, right: Math.floor((p['wide'] ?? 0) / 2), left: (p['wide'] ?? 0) % 2 })
    })
  })

  it('pick and stack', () => {
    const t = bench()
    const x = t.float('x', t.seq, t.row, t.column)
    t.check(t.b.pick(x, t.row, 2), 'seq column', (p) => at(t.value('x'), { ...p, row: 2 }))
    const parts = ['a', 'b', 'c'].map((name) => t.float(name, t.seq, t.column))
    t.check(t.b.stack(parts, t.row), 'seq row column', (p) => at(t.value('abc'[p['row'] ?? 0] ?? ''), p))
  })

  it('gather from a table of its own axes and from one that shares axes with the index', () => {
    const t = bench()
    const index = t.integer('i', 17, t.batch, t.seq)
    const table = t.float('x', t.column, t.wide)
    const logits = t.float('y', t.batch, t.seq, t.column)
    t.check(t.b.gather(table, index, t.column), 'batch seq wide', (p) => {
      return at(t.value('x'), { ...p, column: at(t.value('i'), p) })
    })
    t.check(t.b.gather(logits, index, t.column), 'batch seq', (p) => {
      return at(t.value('y'), { ...p, column: at(t.value('i'), p) })
    })
    const whole = t.integer('w', 9, t.column, t.wide)
    assert.ok(t.run(t.b.gather(whole, index, t.column)).data instanceof Int32Array)
  })

  it('scatterAdd with repeated rows, and where index and base share axes', () => {
    const t = bench()
    const index = t.integer('i', 4, t.batch, t.seq)
    const base = t.float('x', t.column, t.wide)
    const updates = t.float('u', t.batch, t.seq, t.wide)
    const hits = (p: Place): number[] =>
      range(2).flatMap((batch) =>
        range(5).flatMap((seq) => {
          const here = { ...p, batch, seq }
          return at(t.value('i'), here) === p['column'] ? [at(t.value('u'), here)] : []
        }),
      )
    t.check(t.b.scatterAdd(base, index, updates, t.column), 'column wide', (p) => {
      return hits(p).reduce((sum, update) => sum + update, at(t.value('x'), p))
    })
    assert.ok(hits({ column: 3, wide: 0 }).length > 1)
    const rows = t.float('y', t.batch, t.seq, t.column)
    const one = t.float('v', t.batch, t.seq)
    t.check(t.b.scatterAdd(rows, index, one, t.column), 'batch seq column', (p) => {
      return at(t.value('y'), p) + (at(t.value('i'), p) === p['column'] ? at(t.value('v'), p) : 0)
    })
    const before = Float64Array.from(t.value('x').data)
    t.run(t.b.scatterAdd(base, index, updates, t.column))
    assert.deepEqual(t.value('x').data, before, 'the base is not changed')
  })

  it('refuses an index outside the table', () => {
    const t = bench()
    const table = t.float('x', t.column, t.wide)
    for (const wrong of [17, -1]) {
      const index = t.integer(`i${wrong}`, 17, t.seq)
      t.value(`i${wrong}`).data[3] = wrong
      const updates = t.b.gather(table, t.b.iota(t.seq), t.column)
      for (const node of [t.b.gather(table, index, t.column), t.b.scatterAdd(table, index, updates, t.column)]) {
        assert.throws(
          () => t.run(node),
          (error: unknown) => {
            assert.ok(error instanceof UserError)
            assert.equal(error.sentence, `HD206 ${node.op}: index ${wrong} is outside axis 'column' of 17 places`)
            return true
          },
        )
      }
    }
  })
})

describe('interpret: functions', () => {
  it('gives outputs and writes, and changes no value it was given', () => {
    const t = bench()
    t.b.declare({ name: 'state', role: 'state', dtype: 'f32', stored: [[t.row]] })
    t.values.set('state', makeTensor([t.row], [3], Float64Array.of(1, 2, 3)))
    const next = t.b.map('add', t.b.read('state'), t.b.float(1))
    t.b.define({
      name: 'f',
      outputs: [{ name: 'old', node: t.b.read('state') }],
      writes: [{ name: 'state', node: next }],
    })
    const { outputs, writes } = interpret(t.b.finish(), 'f', {
      values: t.values,
      extents: t.extents,
      arithmetic: float64,
    })
    assert.deepEqual([...(outputs.get('old')?.data ?? [])], [1, 2, 3])
    assert.deepEqual([...(writes.get('state')?.data ?? [])], [2, 3, 4])
    assert.deepEqual([...t.value('state').data], [1, 2, 3])
    assert.throws(() => interpret(t.b.finish(), 'g', { ...t, arithmetic: float64 }), /no function 'g'/)
  })

  it('refuses missing and misfitting values and extents', () => {
    const t = bench()
    const x = t.float('x', t.seq)
    const good = { values: t.values, extents: t.extents, arithmetic: float64 }
    assert.throws(() => interpretNodes([x], { ...good, values: new Map() }), InternalError)
    assert.throws(() => interpretNodes([x], { ...good, extents: { seq: 4 } }), /other axes or extents/)
    assert.throws(() => interpretNodes([x], { ...good, extents: {} }), /no run-time extent 'seq'/)
    assert.throws(() => interpretNodes([x], { ...good, extents: { seq: 10 } }), /outside 1…9/)
    assert.throws(() => interpretNodes([x], { ...good, extents: { seq: 0 } }), /outside 1…9/)
  })
})
