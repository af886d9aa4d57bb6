// Contractions whose broadcast operand is taken by lanes: the three products of training, the same with work fused into
// them, and attention, at sizes around the tile's, give the interpreter's bits. And who takes lanes, in which tile.

import assert from 'node:assert/strict'
import { sortAxes } from '../../compiler/graph/axis.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { laneTile } from '../../compiler/schedule/byLane.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { backwards, expected, firstDifference, launch, smallProfile, verifyScheduled } from './launch.ts'

/** Few registers, so that tiles are small; none means the instruction set has no lanes to take. */
const profile = (lanes: number, registers: number | undefined, threads = 2): ScheduleProfile => {
  const small = smallProfile(lanes, threads)
  return { ...small, tile: { ...small.tile, ...(registers === undefined ? {} : { laneRegisters: registers }) } }
}

interface Made {
  readonly b: GraphBuilder
  readonly output: Node
}

function declared(b: GraphBuilder, name: string, ...axes: Node['axes']): Node {
  b.declare({ name, role: 'input', dtype: 'f32', stored: axes.map((axis) => [axis]) })
  return b.read(name)
}

function check({ b, output }: Made, extents: Record<string, number>, given: ScheduleProfile): ScheduledFunction {
  const fn = { name: 'run', outputs: [{ name: '0', node: output }], writes: [] }
  b.define(fn)
  const graph = b.finish()
  const values = new Map<string, Tensor>()
  for (const { name, stored } of graph.declarations.values()) {
    const axes = sortAxes(stored.flat())
    const sizes = axes.map((axis) => extentOf(axis, extents))
    const phase = values.size + 1
    const data = Float64Array.from({ length: countElements(sizes) }, (_, i) => Math.fround(Math.sin(i * 1.3 * phase)))
    values.set(name, makeTensor(axes, sizes, data))
  }
  const wanted = expected(graph, fn, values, extents)
  const scheduled = scheduleFunction(graph, fn, given)
  verifyScheduled(scheduled)
  for (const order of [{}, { gridOrder: backwards }]) {
    const found = launch({ graph, scheduled, values, extents, stage: 'kernel', ...order })
    assert.equal(firstDifference(found, wanted), undefined)
  }
  return scheduled
}

const directivesOf = ({ regions }: ScheduledFunction): string[] =>
  regions.flatMap(({ directives }) => directives.map((directive) => directive.do))

/** y = x·w, dx = dy·wᵀ and dw = xᵀ·dy of a linear layer; `seq` is what the step has. */
const products: Record<string, (seq: number, wide: number, deep: number) => Made> = {
  'y = x·w': (seq, wide, deep) => {
    const b = new GraphBuilder()
    const [s, n, k] = [b.axis('seq', seq + 2, 'seq'), b.axis('out', wide), b.axis('in', deep)]
    const product = b.dot(declared(b, 'x', s, k), declared(b, 'w', k, n), [k])
    return { b, output: b.map('add', b.map('max', product, b.float(0)), declared(b, 'residual', s, n)) }
  },
  'dx = dy·wᵀ, worked out while it is copied': (seq, wide, deep) => {
    const b = new GraphBuilder()
    const [s, n, k] = [b.axis('seq', seq + 2, 'seq'), b.axis('out', wide), b.axis('in', deep)]
    const dy = b.map('mul', declared(b, 'dy', s, n), declared(b, 'scale', n))
    return { b, output: b.dot(dy, declared(b, 'w', k, n), [n]) }
  },
  'dw = xᵀ·dy': (seq, wide, deep) => {
    const b = new GraphBuilder()
    const [s, n, k] = [b.axis('seq', seq + 2, 'seq'), b.axis('out', wide), b.axis('in', deep)]
    return { b, output: b.dot(declared(b, 'x', s, k), declared(b, 'dy', s, n), [s]) }
  },
}

describe('broadcast values by lane', () => {
  for (const [name, build] of Object.entries(products)) {
    for (const [seq, wide, deep] of [
      [1, 5, 9],
      [7, 8, 4],
      [8, 31, 7],
      [9, 33, 31],
      [13, 6, 33],
    ] as const) {
      it(`${name} with ${seq} tokens, ${deep} to ${wide}`, () => {
        for (const [lanes, registers] of [[4, 7], [4, 12], [4, 31], [8, 16]] as const) {
          for (const threads of [1, 2]) check(build(seq, wide, deep), { seq }, profile(lanes, registers, threads))
        }
      }) // prettier-ignore
    }

    it(`${name} takes lanes only where there are any`, () => {
      assert.ok(directivesOf(check(build(9, 16, 16), { seq: 9 }, profile(4, 12))).includes('hold'))
      assert.ok(!directivesOf(check(build(9, 16, 16), { seq: 9 }, profile(4, undefined))).includes('hold'))
    })
  }

  it('of causal attention, whose last blocks of keys are cut', () => {
    for (const seq of [3, 65, 70]) {
      const b = new GraphBuilder()
      const [head, s, key, dim] = [
        b.axis('head', 2),
        b.axis('seq', 70, 'seq'),
        b.axis('key', 70, 'seq'),
        b.axis('dim', 9),
      ]
      const scores = b.dot(declared(b, 'q', head, s, dim), declared(b, 'k', head, key, dim), [dim])
      const masked = b.map('select', b.map('intLessEqual', b.iota(key), b.iota(s)), scores, b.float(-3.0e38))
      const output = b.softmaxDot(masked, declared(b, 'v', head, key, dim), key, 64)
      const scheduled = check({ b, output }, { seq }, profile(4, 12))
      assert.equal(directivesOf(scheduled).filter((name) => name === 'hold').length, 2)
    }
  })

  it('of a chain over two axes, along the inner one', () => {
    const b = new GraphBuilder()
    const [s, outer, inner, n] = [b.axis('seq', 6), b.axis('outer', 3), b.axis('inner', 6), b.axis('n', 7)]
    const output = b.dot(declared(b, 'x', outer, s, inner), declared(b, 'w', n, outer, inner), [outer, inner])
    assert.ok(directivesOf(check({ b, output }, {}, profile(4, 12))).includes('hold'))
  })

  it('not of a chain shorter than a vector', () => {
    const b = new GraphBuilder()
    const [s, k, n] = [b.axis('seq', 6), b.axis('k', 3), b.axis('n', 7)]
    const output = b.dot(declared(b, 'x', s, k), declared(b, 'w', n, k), [k])
    assert.ok(!directivesOf(check({ b, output }, {}, profile(4, 12))).includes('hold'))
  })
})

describe('a tile by lane', () => {
  const given = profile(4, 31)
  const tileOf = (mBound: number, nBound: number, neighbours: 'k' | 'm') =>
    laneTile({ mBound, nBound, neighbours, kBounds: [768] }, given)

  it('fits the registers: accumulators, held vectors, the vectors of a step', () => {
    for (const mBound of [1, 2, 5, 8, 48, 100, 128, 512]) {
      for (const nBound of [1, 8, 12, 64, 96, 768]) {
        const along = tileOf(mBound, nBound, 'k')
        assert.ok(along && along.rows * along.vectors + along.rows + along.vectors <= 31)
        assert.ok(along.rows <= mBound && (along.vectors - 1) * 4 < nBound)
        const across = tileOf(mBound, nBound, 'm')
        assert.equal(across === undefined, mBound < 4)
        if (across) assert.ok(across.rows % 4 === 0 && across.rows * across.vectors + across.rows / 4 + across.vectors <= 31) // prettier-ignore
      }
    }
  })

  it('leaves little over at the edges', () => {
    assert.deepEqual([tileOf(128, 768, 'k')?.rows, tileOf(128, 768, 'k')?.vectors], [8, 2])
    assert.equal((tileOf(96, 96, 'k')?.rows ?? 0) * 4 >= 16, true)
    assert.equal(tileOf(100, 768, 'k')?.vectors, 4)
  })
})
