// What random graphs seldom meet: long reductions, declared values that are swapped, copied or read while they change,
// scores that cannot stream, results of every type. Each case gives the interpreter's bits.

import assert from 'node:assert/strict'
import { sortAxes } from '../../compiler/graph/axis.ts'
import type { Axis, DType } from '../../compiler/graph/axis.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { GraphFunction, Node, Role, StoredLayout } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { backwards, expected, firstDifference, launch, roundNarrow, smallProfile, verifyScheduled } from './launch.ts'

/** Declares and reads on the way, and fills everything declared with numbers. */
class Case {
  readonly b = new GraphBuilder()

  read(name: string, stored: StoredLayout, role: Role = 'input', dtype: DType = 'f32'): Node {
    this.b.declare({ name, role, dtype, stored })
    return this.b.read(name)
  }

  state(name: string, stored: StoredLayout, dtype: DType = 'f32'): Node {
    return this.read(name, stored, 'state', dtype)
  }

  /** Checks one function at every width, nest and kernel, grid forwards and backwards. */
  check(
    outputs: readonly Node[],
    writes: GraphFunction['writes'] = [],
    extents: Record<string, number> = {},
    profile: Partial<ScheduleProfile> = {},
  ): ScheduledFunction {
    const fn: GraphFunction = {
      name: 'run',
      outputs: outputs.map((node, index) => ({ name: `${index}`, node })),
      writes,
    }
    this.b.define(fn)
    const graph = this.b.finish()
    verifyGraph(graph)
    const values = new Map<string, Tensor>()
    for (const { name, stored, dtype } of graph.declarations.values()) {
      const axes = sortAxes(stored.flat())
      const sizes = axes.map((axis) => extentOf(axis, extents))
      const length = countElements(sizes)
      const phase = values.size + 1
      const isInteger = dtype === 'i32' || dtype === 'bool'
      const integer = (_: unknown, i: number): number => (i * 5 + phase) % (dtype === 'bool' ? 2 : 3)
      const float = (_: unknown, i: number): number => Math.fround(Math.sin(i * 1.3 * phase + phase) * 2)
      values.set(
        name,
        makeTensor(
          axes,
          sizes,
          isInteger ? Int32Array.from({ length }, integer) : Float64Array.from({ length }, float),
        ),
      )
    }
    roundNarrow(graph, values)
    const wanted = expected(graph, fn, values, extents)
    let scheduled: ScheduledFunction | undefined
    for (const lanes of [4, 8, 16]) {
      scheduled = scheduleFunction(graph, fn, { ...smallProfile(lanes), ...profile })
      verifyScheduled(scheduled)
      for (const stage of ['nest', 'kernel'] as const) {
        for (const order of [{}, { gridOrder: backwards }]) {
          const difference = firstDifference(launch({ graph, scheduled, values, extents, stage, ...order }), wanted)
          assert.equal(difference, undefined, `${stage} with ${lanes} lanes`)
        }
      }
    }
    return scheduled as ScheduledFunction
  }
}

const kindsOf = ({ regions }: ScheduledFunction): string[] => regions.map(({ region }) => region.kind)

describe('reductions', () => {
  for (const size of [1, 15, 4096, 4097, 9000]) {
    it(`along rows of ${size}, at another run-time extent too`, () => {
      for (const extent of [undefined, 'seq']) {
        const c = new Case()
        const [row, long] = [c.b.axis('row', 3), c.b.axis('long', size, extent)]
        const x = c.read('x', [[row], [long]])
        const centred = c.b.map('sub', x, c.b.maximum(x, long))
        const scheduled = c.check([c.b.sum(centred, long), c.b.sum(x, long)], [], { seq: Math.max(1, size - 7) })
        // An axis of one place lies outermost in what is computed: its sum runs beside its neighbours.
        const kinds = size === 1 ? ['rows', 'columns'] : ['rows']
        assert.deepEqual([...new Set(kindsOf(scheduled))], kinds)
      }
    })

    it(`along columns of ${size}`, () => {
      const c = new Case()
      const [long, column] = [c.b.axis('long', size), c.b.axis('column', 5)]
      const x = c.read('x', [[long], [column]])
      assert.deepEqual(kindsOf(c.check([c.b.sum(x, long), c.b.maximum(x, long)])), ['columns', 'columns'])
    })
  }

  it('of integers and conditions turned into numbers', () => {
    const c = new Case()
    const [row, long] = [c.b.axis('row', 3), c.b.axis('long', 40)]
    const count = c.read('count', [[row], [long]], 'input', 'i32')
    const x = c.b.map('toFloat', count)
    const isLargest = c.b.map('equal', x, c.b.maximum(x, long))
    const total = c.b.sum(c.b.map('select', isLargest, x, c.b.float(0)), long)
    c.check([isLargest, total, c.b.map('less', total, c.b.float(3))])
  })
})

describe('softmax of stored scores', () => {
  const build = (c: Case, block: number, more: readonly Axis[] = []): [Node, Node] => {
    const [row, key, width] = [c.b.axis('row', 3), c.b.axis('key', 37, 'key'), c.b.axis('width', 19)]
    const scores = c.read('scores', [[row], [key]])
    const values = c.read('values', [[key], [width], ...more.map((axis) => [axis])])
    return [c.b.logSumExp(scores, key, block), c.b.softmaxDot(scores, values, key, block)]
  }
  for (const block of [1, 3, 16, 37, 64]) {
    it(`in blocks of ${block}`, () => {
      const c = new Case()
      assert.deepEqual(kindsOf(c.check(build(c, block), [], { key: 33 })), ['softmaxRows', 'softmaxRows'])
    })
  }

  it('with values that vary along the rows, of two more axes, or of none', () => {
    const c = new Case()
    const [row, key, wide, deep] = [c.b.axis('row', 5), c.b.axis('key', 37), c.b.axis('wide', 3), c.b.axis('deep', 17)]
    const scores = c.read('scores', [[key], [row]])
    const some = (name: string, axes: readonly Axis[]): Node => c.b.softmaxDot(scores, c.read(name, axes.map((axis) => [axis])), key, 8) // prettier-ignore
    c.check([
      some('own', [key, row]),
      some('two', [wide, key, deep]),
      some('none', [key]),
      some('all', [deep, row, key, wide]),
    ])
  })

  it('in blocks of more than 4,096', () => {
    const c = new Case()
    const [row, key] = [c.b.axis('row', 2), c.b.axis('key', 5000)]
    c.check([c.b.logSumExp(c.read('scores', [[row], [key]]), key, 4500)])
  })
})

describe('scores', () => {
  /** q·k over `dim`, as scores of `rows` × `keys`. */
  const scoresOf = (c: Case, heads = 2, bound = 70) => {
    const [head, seq, key, dim] = [
      c.b.axis('head', heads),
      c.b.axis('seq', bound, 'seq'),
      c.b.axis('key', bound, 'seq'),
      c.b.axis('dim', 5),
    ]
    const [q, k, v] = [
      c.read('q', [[head], [seq], [dim]]),
      c.read('k', [[head], [key], [dim]]),
      c.read('v', [[head], [key], [dim]]),
    ]
    return { head, seq, key, dim, q, k, v, scores: c.b.dot(q, k, [dim]) }
  }
  const extents = { seq: 67 }

  it('that are walked along one axis for one product and along another for the next', () => {
    // So many that threads share them evenly, and so many that they do not.
    for (const several of [4, 5]) {
      const c = new Case()
      const { b } = c
      const [row, few, many, inner, out] = [
        b.axis('row', 37),
        b.axis('few', several),
        b.axis('many', 70),
        b.axis('inner', 3),
        b.axis('out', 4),
      ]
      const scores = b.dot(c.read('u', [[inner], [row]]), c.read('v', [[few], [many], [inner]]), [inner])
      const shares = b.map('exp', b.map('sub', scores, b.logSumExp(scores, many, 64)))
      const along = b.dot(shares, c.read('w', [[many], [out]]), [many])
      const across = b.dot(shares, c.read('z', [[few], [out]]), [few])
      const scheduled = c.check([along, across])
      assert.equal(kindsOf(scheduled).filter((kind) => kind === 'stream').length, 2)
    }
  })

  it('stream where every use works on tiles', () => {
    const c = new Case()
    const { b } = c
    const { seq, key, v, scores } = scoresOf(c)
    const masked = b.map('select', b.map('intLessEqual', b.iota(key), b.iota(seq)), scores, b.float(-3.0e38))
    const results = [b.softmaxDot(masked, v, key, 64), b.logSumExp(masked, key, 64)]
    assert.deepEqual(kindsOf(c.check(results, [], extents)), ['softmax'])
  })

  it('are stored where something else wants them', () => {
    const asOutput = new Case()
    const first = scoresOf(asOutput)
    const kinds = kindsOf(
      asOutput.check([asOutput.b.softmaxDot(first.scores, first.v, first.key, 64), first.scores], [], extents),
    )
    assert.deepEqual(kinds, ['contraction', 'softmaxRows'])
    const summed = new Case()
    const { b } = summed
    const { scores, v, key, head } = scoresOf(summed)
    const scaled = b.map('mul', scores, b.float(0.5))
    const both = summed.check([b.softmaxDot(scaled, v, key, 64), b.sum(scaled, head)], [], extents)
    assert.deepEqual(kindsOf(both).toSorted(), ['columns', 'contraction', 'softmaxRows'])
  })

  it('are stored where a row of results has no width, or a block no whole vectors', () => {
    for (const [block, narrow] of [
      [8, false],
      [64, true],
    ] as const) {
      const c = new Case()
      const { head, key, v, scores } = scoresOf(c)
      const values = narrow ? c.read('flat', [[head], [key]]) : v
      assert.ok(kindsOf(c.check([c.b.softmaxDot(scores, values, key, block)], [], extents)).includes('softmaxRows'))
    }
  })

  it('stream all blocks where a row may be masked as a whole', () => {
    const c = new Case()
    const { b } = c
    const { seq, key, v, scores } = scoresOf(c)
    // The first row sees nothing, so that all of its masked scores count.
    const masked = b.map('select', b.map('intLess', b.iota(key), b.iota(seq)), scores, b.float(-3.0e38))
    assert.deepEqual(kindsOf(c.check([b.softmaxDot(masked, v, key, 64)], [], extents)), ['softmax'])
  })

  it('masked by position and by segment skip blocks only where a row keeps its own place', () => {
    for (const other of ['same', 'another']) {
      const c = new Case()
      const { b } = c
      const { seq, key, v, scores } = scoresOf(c)
      const segment = c.read('segment', [[seq]], 'input', 'i32')
      const elsewhere = other === 'same' ? segment : c.read('elsewhere', [[seq]], 'input', 'i32')
      const seen = b.map(
        'and',
        b.map('intLessEqual', b.iota(key), b.iota(seq)),
        b.map('intEqual', segment, b.rename(elsewhere, seq, key)),
      )
      const masked = b.map('select', seen, scores, b.float(-3.0e38))
      c.check([b.softmaxDot(masked, v, key, 64)], [], extents, { privateCache: 1 << 20 })
    }
  })

  it('with a product that is added to a declared value by the kernel that sums it', () => {
    const c = new Case()
    const { b } = c
    const { head, seq, key, dim, q, scores } = scoresOf(c, 1, 20)
    const shares = b.map('exp', b.map('sub', scores, b.logSumExp(scores, key, 64)))
    const old = c.state('old', [[head], [key], [dim]])
    const sum = b.map('add', old, b.dot(shares, q, [seq]))
    assert.deepEqual(kindsOf(c.check([], [{ name: 'old', node: sum }], { seq: 17 })), ['softmax', 'stream'])
  })

  it('with gradients by both operands in one kernel, a few heads to a thread or many', () => {
    gradients({ heads: 2, bound: 70, kinds: ['softmax', 'stream'] })
    gradients({ heads: 19, bound: 17, kinds: ['softmax', 'stream'] })
  })

  it('with gradients by both operands, several queries to a key', () => {
    gradients({ heads: 2, bound: 70, group: 3, kinds: ['softmax', 'stream'] })
    gradients({ heads: 2, bound: 130, group: 1, kinds: ['softmax', 'stream'] })
  })

  it('with gradients by both operands where chains leave out what is masked', () => {
    for (const bound of [17, 70, 130]) {
      gradients({ heads: 2, bound, roomy: true, kinds: ['softmax', 'stream'] })
      gradients({ heads: 1, bound, roomy: true, kinds: ['softmax', 'stream', 'stream'] })
    }
  })

  it('with gradients by both operands in a kernel each, where heads do not feed all threads', () => {
    gradients({ heads: 2, bound: 70, threads: 3, kinds: ['softmax', 'stream', 'stream'] })
    gradients({ heads: 7, bound: 17, threads: 2, kinds: ['softmax', 'stream', 'stream'] })
  })

  it('with gradients by both operands in a kernel each, where one of them would keep too much', () => {
    gradients({ heads: 2, bound: 4000, length: 19, width: 70, kinds: ['softmax', 'stream', 'stream'] })
  })

  it('with gradients by both operands in a kernel each, where rows may come by ranges', () => {
    gradients({ heads: 2, bound: 70, isFirst: true, kinds: ['softmax', 'stream', 'stream'] })
  })

  /** `length` of at most `bound` places, `group` of queries to a key, chains that are not cut in a `roomy` cache, `width` of values, `isFirst`: keys and values are stored by key first. */
  function gradients(about: {
    heads: number
    bound: number
    length?: number
    group?: number
    width?: number
    threads?: number
    roomy?: boolean
    isFirst?: boolean
    kinds: readonly string[]
  }): void {
    const { heads, bound, length = bound - 3, group, width, isFirst, threads = 2, roomy = false, kinds } = about
    const c = new Case()
    const { b } = c
    const head = b.axis('head', heads)
    const several = group === undefined ? [] : [b.axis('group', group)]
    const [seq, key] = [b.axis('seq', bound, 'seq'), b.axis('key', bound, 'seq')]
    const dim = b.axis('dim', 5)
    const out = b.axis('out', width ?? 6)
    const along = (axis: Axis, last: Axis): StoredLayout => [...several, head, axis, last].map((one) => [one])
    const ofKeys = (last: Axis): StoredLayout => (isFirst === true ? [[key], [head], [last]] : [[head], [key], [last]])
    const [q, k] = [c.read('q', along(seq, dim)), c.read('k', ofKeys(dim))]
    const [g, v] = [c.read('g', along(seq, dim)), c.read('v', ofKeys(dim))]
    const wide = width === undefined ? k : c.read('wide', ofKeys(out))
    const scores = b.dot(q, k, [dim])
    const masked = b.map('select', b.map('intLessEqual', b.iota(key), b.iota(seq)), scores, b.float(-3.0e38))
    const p = b.map('exp', b.map('sub', masked, b.logSumExp(masked, key, 64)))
    const ds = b.map('mul', p, b.dot(g, v, [dim]))
    const results = [
      b.product(p, g, [...several, seq]),
      b.product(ds, wide, [key]),
      b.product(ds, q, [...several, seq]),
    ]
    const scheduled = c.check(results, [], { seq: length }, { threads, privateCache: roomy ? 1 << 20 : 1 << 12 })
    assert.deepEqual(kindsOf(scheduled).toSorted(), kinds)
    // Rows of scores that are made, groups of what is worked out of them, and chains that are not cut.
    const trimmed = scheduled.regions.flatMap(({ directives }) =>
      directives.flatMap((one) => (one.do === 'trim' ? [one.loop.slice(0, 1)] : [])),
    )
    assert.deepEqual([...new Set(trimmed)].toSorted(), roomy ? ['k', 'm', 'o'] : ['m', 'o'])
  }
})

describe('products with an axis of both operands innermost', () => {
  const batched = (c: Case) => {
    const [row, column, over, both] = [
      c.b.axis('row', 5),
      c.b.axis('column', 19),
      c.b.axis('over', 7),
      c.b.axis('both', 3),
    ]
    const [x, y] = [c.read('x', [[row], [over], [both]]), c.read('y', [[column], [over], [both]])]
    return { row, column, both, product: c.b.dot(x, y, [over]) }
  }

  it('as an output, and into a declared place', () => {
    const c = new Case()
    const { row, column, both, product } = batched(c)
    assert.equal(product.axes.at(-1), both)
    c.state('place', [[row], [column], [both]])
    c.check([product], [{ name: 'place', node: c.b.map('mul', product, c.b.float(2)) }])
  })

  it('on the way to other kernels, elementwise work behind them', () => {
    const c = new Case()
    const { row, product } = batched(c)
    const doubled = c.b.map('add', product, product)
    c.check([c.b.sum(c.b.map('exp', doubled), row), c.b.sum(doubled, row)])
  })
})

describe('declared values that a function overwrites', () => {
  const square = (c: Case): [Axis, Axis] => [c.b.axis('a', 5), c.b.axis('b', 18)]

  it('swapped, whichever way they lie', () => {
    for (const turned of [false, true]) {
      const c = new Case()
      const [a, b] = square(c)
      const x = c.state('x', [[a], [b]])
      const y = c.state('y', turned ? [[b], [a]] : [[a], [b]])
      c.check([], [{ name: 'x', node: y }, { name: 'y', node: x }]) // prettier-ignore
    }
  })

  it('in a circle of three, with a sum of the old ones', () => {
    const c = new Case()
    const [a, b] = square(c)
    const [x, y, z] = [c.state('x', [[a], [b]]), c.state('y', [[b], [a]]), c.state('z', [[a, b]])]
    const all = c.b.map('add', c.b.map('add', x, y), z)
    c.check([c.b.sum(all, a)], [{ name: 'x', node: c.b.map('neg', y) }, { name: 'y', node: z }, { name: 'z', node: x }]) // prettier-ignore
  })

  it('with one value written twice, kept as it is, or put out as well', () => {
    const c = new Case()
    const [a] = square(c)
    const [x, y, z] = [c.state('x', [[a]]), c.state('y', [[a]]), c.state('z', [[a]])]
    const next = c.b.map('add', x, y)
    c.check([next, z], [{ name: 'x', node: next }, { name: 'y', node: next }, { name: 'z', node: z }]) // prettier-ignore
  })

  it('read at another place by the kernel that writes', () => {
    const c = new Case()
    const [a, b] = square(c)
    const x = c.state('x', [[a], [b]])
    c.check([], [{ name: 'x', node: c.b.map('sub', x, c.b.pick(x, a, 1)) }])
    const other = new Case()
    const [d, e] = square(other)
    const w = other.state('w', [[d], [e]])
    const twin = other.b.axis('twin', 5)
    const turned = other.b.rename(
      other.b.gather(w, other.b.rename(other.read('index', [[d]], 'input', 'i32'), d, twin), d),
      twin,
      d,
    )
    other.check([other.b.sum(turned, e)], [{ name: 'w', node: turned }])
  })

  it('read again in a later pass over the same rows', () => {
    const c = new Case()
    const [a, b] = square(c)
    const x = c.state('x', [[a], [b]])
    const doubled = c.b.map('mul', x, c.b.float(2))
    const total = c.b.sum(doubled, b)
    c.check([c.b.map('sub', x, total), c.b.map('add', doubled, total)], [{ name: 'x', node: doubled }])
  })

  it('contracted with what replaces them', () => {
    const c = new Case()
    const [a, b] = [c.b.axis('a', 7), c.b.axis('b', 7)]
    const w = c.state('w', [[a], [b]])
    const k = c.b.axis('k', 7)
    const square2 = c.b.dot(c.b.rename(w, b, k), c.b.rename(w, a, k), [k])
    c.check([], [{ name: 'w', node: c.b.map('add', w, square2) }])
  })

  it('in fewer bits than they are computed in', () => {
    for (const dtype of ['bf16', 'f16'] as const) {
      const c = new Case()
      const [a, b] = square(c)
      const x = c.state('x', [[a], [b]], dtype)
      const next = c.b.map('mul', x, c.b.float(1.1))
      c.check([c.b.sum(next, b)], [{ name: 'x', node: next }])
    }
  })

  it('integers, counted on', () => {
    const c = new Case()
    const step = c.state('step', [], 'i32')
    c.check([step], [{ name: 'step', node: c.b.map('intAdd', step, c.b.int(1)) }])
  })
})

describe('scatters', () => {
  const setup = (c: Case, tableFirst: boolean) => {
    const [row, table, column] = [c.b.axis('row', 19), c.b.axis('table', 3), c.b.axis('column', 70)]
    const stored = tableFirst ? [[table], [column]] : [[column], [table]]
    const index = c.read('index', [[row]], 'input', 'i32')
    return { row, table, column, index, stored, updates: c.read('updates', [[row], [column]]) }
  }
  for (const tableFirst of [true, false]) {
    it(`into a state, its sum, and zeros, ${tableFirst ? 'rows' : 'columns'} of the table in one piece`, () => {
      const c = new Case()
      const { table, column, index, stored, updates } = setup(c, tableFirst)
      const x = c.state('x', stored)
      const y = c.state('y', stored)
      const into = c.b.scatterAdd(c.b.map('add', x, y), index, updates, table)
      const zeros = c.b.scatterAdd(c.b.broadcast(c.b.float(0), [table, column]), index, updates, table)
      c.check([zeros], [{ name: 'x', node: c.b.scatterAdd(x, index, updates, table) }, { name: 'y', node: into }]) // prettier-ignore
    })

    it(`whose base others read before and after, ${tableFirst ? 'rows' : 'columns'} in one piece`, () => {
      const c = new Case()
      const { table, index, stored, updates, column } = setup(c, tableFirst)
      const x = c.state('x', stored)
      const base = c.b.map('mul', x, c.b.float(3))
      const once = c.b.scatterAdd(base, index, updates, table)
      const twice = c.b.scatterAdd(once, index, updates, table)
      c.check([c.b.map('sub', base, twice), c.b.sum(once, column)], [{ name: 'x', node: twice }])
    })
  }

  it('along an axis that the rows share with the index', () => {
    const c = new Case()
    const [batch, seq, table] = [c.b.axis('batch', 3), c.b.axis('seq', 21, 'seq'), c.b.axis('table', 3)]
    const index = c.read('index', [[batch], [seq]], 'input', 'i32')
    const base = c.read('base', [[seq], [table]])
    c.check([c.b.scatterAdd(base, index, c.read('updates', [[batch], [seq]]), table)], [], { seq: 20 })
  })
})

describe('results of every kind', () => {
  it('reads, constants, tables, positions, extents and views', () => {
    const c = new Case()
    const { b } = c
    const [few, part, wide, seq] = [b.axis('few', 3), b.axis('part', 5), b.axis('wide', 15), b.axis('seq', 20, 'seq')]
    const x = c.read('x', [[wide], [seq]], 'frozen', 'bf16')
    const flags = c.read('flags', [[seq]], 'input', 'bool')
    const split = b.split(x, wide, [part, few])
    c.check(
      [
        x,
        b.float(-0),
        b.int(-4),
        b.constant(1, 'bool'),
        b.table(few, [1, 2, 3]),
        b.iota(seq),
        b.extent(seq),
        flags,
        split,
        b.pick(split, few, 1),
      ],
      [],
      { seq: 17 },
    )
  })

  it('stacks and gathers of integers and conditions', () => {
    const c = new Case()
    const { b } = c
    const [few, seq] = [b.axis('few', 3), b.axis('seq', 20, 'seq')]
    const [count, flag] = [c.read('count', [[seq]], 'input', 'i32'), c.read('flag', [[seq]], 'input', 'bool')]
    const index = c.read('index', [[b.axis('row', 9)]], 'input', 'i32')
    const counts = b.stack([count, b.map('intAdd', count, b.iota(seq)), count], few)
    const flags = b.stack([flag, b.map('not', flag), b.map('intLess', b.iota(seq), count)], few)
    c.check([counts, flags, b.gather(counts, index, few), b.gather(flags, index, few)], [], { seq: 13 })
  })
})
