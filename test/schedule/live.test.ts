// Which blocks of keys a mask over positions leaves out: never one that a row sees, and no more than must be walked.
// Skipping shows in what is read and never in the bits.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Axis } from '../../compiler/graph/axis.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { constantIndex, constantOf } from '../../compiler/kernel/index.ts'
import { liveBlocks, liveRows, roomsOf, scoreConditions, valueConditions } from '../../compiler/schedule/live.ts'
import type { LiveRows, Rooms } from '../../compiler/schedule/live.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { hostDevice, scheduleProfile } from '../../devices/index.ts'
import { backwards, expected, firstDifference, launch, smallProfile, verifyScheduled } from './launch.ts'

/** Keys `below` … `above` around a query's own place, stated as some mask would. */
type Window = (b: GraphBuilder, seq: Axis, key: Axis, window: number) => Node

const windows: Record<string, Window> = {
  'query − window < key': (b, seq, key, window) =>
    b.map('intLess', b.map('intSub', b.iota(seq), b.int(window)), b.iota(key)),
  'query < key + window': (b, seq, key, window) =>
    b.map('intLess', b.iota(seq), b.map('intAdd', b.int(window), b.iota(key))),
  'query + 1 ≤ key + window': (b, seq, key, window) =>
    b.map('intLessEqual', b.map('intAdd', b.iota(seq), b.int(1)), b.map('intAdd', b.iota(key), b.int(window))),
}

const causal = (b: GraphBuilder, seq: Axis, key: Axis): Node => b.map('intLessEqual', b.iota(key), b.iota(seq))

/** What the masked scores of a window ask for between rows and columns, which are queries and keys or the other way round. */
function windowRooms(mask: 'score' | 'value', which: Window, sizes: Sizes, transposed: boolean): Rooms {
  const b = new GraphBuilder()
  const [seq, key] = [b.axis('seq', sizes.length), b.axis('key', sizes.length)]
  b.declare({ name: 's', role: 'input', dtype: 'f32', stored: [[seq], [key]] })
  const seen = b.map('and', causal(b, seq, key), which(b, seq, key, sizes.window))
  const masked = b.map('select', seen, b.read('s'), b.float(mask === 'score' ? -3e38 : 0))
  const conditions = [mask === 'score' ? scoreConditions(masked) : valueConditions(masked)]
  const [parallel, streamed] = transposed ? [key, seq] : [seq, key]
  return roomsOf(conditions, parallel, streamed)
}

/** A plain number evaluates here as soon as its parts are numbers. */
function between({ first, count }: LiveRows): { from: number; to: number } {
  const [from, many] = [constantOf(first), constantOf(count)]
  assert.ok(from !== undefined && many !== undefined)
  return { from, to: from + many }
}

/** What `liveBlocks` says of the row block at `base`. */
function blocksOf(rooms: Rooms, { length, rows, columns }: Sizes, base: number) {
  const blocks = Math.ceil(length / columns)
  const block = { base: constantIndex(base), rows, columns, blocks: constantIndex(blocks) }
  return { ...between(liveBlocks(rooms, block, new Map())), blocks }
}

interface Sizes {
  readonly length: number
  readonly window: number
  readonly rows: number
  readonly columns: number
}

describe('blocks of keys', () => {
  for (const [name, which] of Object.entries(windows)) {
    it(`are walked exactly where a row of a full block sees one, and by the rows that do: ${name}`, () => {
      const sizes = fc.record({
        length: fc.integer({ min: 1, max: 300 }),
        window: fc.integer({ min: 1, max: 320 }),
        rows: fc.integer({ min: 1, max: 70 }),
        columns: fc.integer({ min: 1, max: 70 }),
        at: fc.nat(20),
        transposed: fc.boolean(),
        mask: fc.constantFrom('score' as const, 'value' as const),
      })
      fc.assert(
        fc.property(sizes, ({ at, transposed, mask, ...given }) => {
          const { length, window, rows, columns } = given
          const base = (at % Math.ceil(length / rows)) * rows
          const rooms = windowRooms(mask, which, given, transposed)
          const { from, to, blocks } = blocksOf(rooms, given, base)
          const walked = (block: number): boolean => block >= from && block < to
          const isSeen = (block: number): boolean => {
            // The last rows of a block that hangs over the end count as well: their number is known at run time only.
            for (let row = base; row < base + rows; row++) {
              for (let column = block * columns; column < Math.min(length, (block + 1) * columns); column++) {
                const [query, key] = transposed ? [column, row] : [row, column]
                if (key <= query && query - key < window) return true
              }
            }
            return false
          }
          // Where rows and columns do not begin together, a walk may begin a block early.
          const isUneven = base % columns !== 0
          for (let block = 0; block < blocks; block++) {
            if (isSeen(block)) assert.ok(walked(block), `block ${block} is left out`)
            else if (base + rows <= length && !(isUneven && isSeen(block + 1))) {
              assert.ok(!walked(block), `block ${block} is walked`)
            }
          }
          // Of a block that is walked, the rows that see something of it, whatever there is of its last columns.
          const there = Math.min(rows, length - base)
          for (let block = from; block < to; block++) {
            const columnBlock = { base: constantIndex(block * columns), columns }
            const live = between(liveRows(rooms, columnBlock, constantIndex(base), constantIndex(there)))
            for (let row = base; row < base + there; row++) {
              let isLive = false
              for (let column = block * columns; column < (block + 1) * columns; column++) {
                const [query, key] = transposed ? [column, row] : [row, column]
                isLive ||= key <= query && query - key < window
              }
              assert.equal(row - base >= live.from && row - base < live.to, isLive, `row ${row} of block ${block}`)
            }
          }
        }),
      )
    })
  }

  it('are all walked where a row would see none of its own place', () => {
    const b = new GraphBuilder()
    const [seq, key] = [b.axis('seq', 100), b.axis('key', 100)]
    b.declare({ name: 's', role: 'input', dtype: 'f32', stored: [[seq], [key]] })
    const late = b.map('intLess', b.iota(seq), b.map('intSub', b.iota(key), b.int(1)))
    assert.deepEqual(scoreConditions(b.map('select', late, b.read('s'), b.float(-3e38))), [])
    const [huge, unknown] = [b.int(2 ** 31 - 1), b.extent(seq)]
    for (const by of [huge, unknown]) {
      const moved = b.map('intLessEqual', b.iota(key), b.map('intAdd', b.iota(seq), by))
      assert.deepEqual(valueConditions(b.map('select', moved, b.read('s'), b.float(0))), [])
    }
  })
})

const length = 200
interface AttentionAxes {
  readonly head: Axis
  readonly seq: Axis
  readonly key: Axis
  readonly dim: Axis
}
const axesOf = (b: GraphBuilder): AttentionAxes => ({
  head: b.axis('head', 2),
  seq: b.axis('seq', length + 9, 'seq'),
  key: b.axis('key', length + 9, 'seq'),
  dim: b.axis('dim', 5),
})

function inputs(b: GraphBuilder, axes = axesOf(b)): { axes: AttentionAxes; values: Map<string, Tensor> } {
  const values = new Map<string, Tensor>()
  for (const [name, along] of [
    ['q', axes.seq],
    ['k', axes.key],
    ['v', axes.key],
    ['g', axes.seq],
  ] as const) {
    // prettier-ignore
    b.declare({ name, role: 'input', dtype: 'f32', stored: [[axes.head], [along], [axes.dim]] })
    const places = along.extent === undefined ? along.size : length
    const count = axes.head.size * places * 5
    const phase = values.size + 1
    const data = Float64Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i * 1.3 * phase + phase)))
    values.set(name, makeTensor([axes.head, along, axes.dim], [axes.head.size, places, 5], data))
  }
  return { axes, values }
}

/** Attention in a window, and its gradients by scores' operands. */
function slidingGraph(b: GraphBuilder, { seq, key, dim }: AttentionAxes, window: number): Node[] {
  const seen = b.map('and', causal(b, seq, key), (windows['query − window < key'] as Window)(b, seq, key, window))
  const masked = b.map('select', seen, b.dot(b.read('q'), b.read('k'), [dim]), b.float(-3e38))
  const p = b.map('exp', b.map('sub', masked, b.logSumExp(masked, key, 64)))
  const ds = b.map('mul', p, b.dot(b.read('g'), b.read('v'), [dim]))
  const attended = b.softmaxDot(masked, b.read('v'), key, 64)
  return [attended, b.product(ds, b.read('k'), [key]), b.product(ds, b.read('q'), [seq]), b.product(p, b.read('g'), [seq])] // prettier-ignore
}

describe('attention in a window', () => {
  for (const window of [1, 8, 64, 65, 150]) {
    it(`of ${window} keys has the interpreter's bits, gradients included`, () => {
      const b = new GraphBuilder()
      const { axes, values } = inputs(b)
      const outputs = slidingGraph(b, axes, window).map((node, place) => ({ name: `${place}`, node }))
      b.define({ name: 'run', outputs, writes: [] })
      const graph = b.finish()
      const fn = graph.functions[0] as (typeof graph.functions)[0]
      const extents = { seq: length }
      const wanted = expected(graph, fn, values, extents)
      // In a cache with room chains are not cut: they leave out what the rows of a tile do not see.
      for (const [lanes, privateCache] of [
        [4, 1 << 12],
        [16, 1 << 20],
        [4, 1 << 20],
      ] as const) {
        // prettier-ignore
        const scheduled = scheduleFunction(graph, fn, { ...smallProfile(lanes), privateCache })
        verifyScheduled(scheduled)
        const trimmed = scheduled.regions.filter(({ directives }) => directives.some((one) => one.do === 'trim'))
        assert.equal(trimmed.length, privateCache === 1 << 20 ? 2 : 0)
        const got = launch({ graph, scheduled, values, extents, stage: 'kernel', gridOrder: backwards })
        assert.equal(firstDifference(got, wanted), undefined, `${lanes} lanes`)
      }
    })
  }

  it("has the interpreter's bits where there are more queries than keys", () => {
    const b = new GraphBuilder()
    const [head, seq, key, dim] = [b.axis('head', 1), b.axis('seq', 300), b.axis('key', 150), b.axis('dim', 5)]
    const { values } = inputs(b, { head, seq, key, dim })
    const scores = b.dot(b.read('q'), b.read('k'), [dim])
    const seen = b.map('and', causal(b, seq, key), (windows['query − window < key'] as Window)(b, seq, key, 116))
    // Without a key of its own, only a probability that is set to zero says which places do not matter.
    const p = b.map('select', seen, b.map('exp', b.map('sub', scores, b.logSumExp(scores, key, 64))), b.float(0))
    const ds = b.map('mul', p, b.dot(b.read('g'), b.read('v'), [dim]))
    const results = [
      b.product(p, b.read('g'), [seq]),
      b.product(ds, b.read('k'), [key]),
      b.product(ds, b.read('q'), [seq]),
    ]
    b.define({ name: 'run', outputs: results.map((node, place) => ({ name: `${place}`, node })), writes: [] })
    const graph = b.finish()
    const fn = graph.functions[0] as (typeof graph.functions)[0]
    const scheduled = scheduleFunction(graph, fn, { ...smallProfile(16, 1), privateCache: 1 << 20 })
    assert.ok(scheduled.regions.some(({ directives }) => directives.some((one) => one.do === 'trim')))
    const got = launch({ graph, scheduled, values, extents: {}, stage: 'kernel' })
    assert.equal(firstDifference(got, expected(graph, fn, values, {})), undefined)
  })

  it('stays inside its buffers, by proof, on processors of all kinds', () => {
    for (const isa of ['neon', 'avx2', 'avx512'] as const) {
      for (const [window, threads] of [
        [1, 2],
        [37, 1],
        [37, 2],
        [500, 1],
      ] as const) {
        // prettier-ignore
        const b = new GraphBuilder()
        const long = (name: string): Axis => b.axis(name, 70, 'seq')
        const given = { head: b.axis('head', 2), seq: long('seq'), key: long('key'), dim: b.axis('dim', 32) }
        const { axes } = inputs(b, given)
        const outputs = slidingGraph(b, axes, window).map((node, place) => ({ name: `${place}`, node }))
        b.define({ name: 'run', outputs, writes: [] })
        const graph = b.finish()
        const fn = graph.functions[0] as (typeof graph.functions)[0]
        verifyScheduled(scheduleFunction(graph, fn, scheduleProfile(hostDevice(isa), threads)))
      }
    }
  })

  it('reads no key that lies before all windows of its rows', () => {
    const b = new GraphBuilder()
    const { axes, values } = inputs(b)
    b.define({ name: 'run', outputs: [{ name: 'o', node: slidingGraph(b, axes, 8)[0] as Node }], writes: [] })
    const graph = b.finish()
    const scheduled = scheduleFunction(graph, graph.functions[0] as (typeof graph.functions)[0], smallProfile(4))
    // Zero times this would show: row 70 is the last whose window has a key of the first block, though later ones are in its tile.
    const v = values.get('v') ?? assert.fail()
    for (let place = 0; place < v.data.length; place++) if (Math.floor(place / 5) % length < 64) v.data[place] = NaN
    const got = launch({ graph, scheduled, values, extents: { seq: length }, stage: 'kernel' }).get('output o')
    assert.ok(got)
    const rows = Array.from({ length }, (_, row) => got.data.slice(row * 5, row * 5 + 5).every(Number.isFinite))
    assert.deepEqual([rows.indexOf(true), rows.lastIndexOf(false)], [71, 70])
  })
})
