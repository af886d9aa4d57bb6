// The numeric contract of `docs/numerics.md`, written a second time and compared bit for bit in float32; and
// that each rule of it matters, by showing that the neighbouring order gives other bits.

import assert from 'node:assert/strict'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret, interpretNodes } from '../../compiler/graph/interpret.ts'
import { exp, log } from '../../compiler/graph/math.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { maximumOf, sumOf } from '../../compiler/graph/reductions.ts'
import type { Scalars } from '../../compiler/graph/scalars.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'
import { attentionGraph, attentionSizes, attentionValues } from '../support/attentionGraph.ts'

const f = Math.fround
const add = (x: number, y: number): number => f(x + y)
const masked = f(-3.0e38)

/** Values of very different sizes, so that another order of addition shows. */
function rough(count: number, phase = 1): number[] {
  return Array.from({ length: count }, (_, i) =>
    f(Math.sin(i * 12.9898 + phase) * 43758.5453 * (i % 7 === 0 ? 1000 : 1)),
  )
}

/** The rule for one block, spelled out. */
function blockSum(values: number[]): number {
  const p = Array.from({ length: 16 }, (_, j) => values.filter((_, i) => i % 16 === j).reduce(add, 0))
  const at = (j: number): number => p[j] as number
  const quad = (j: number): number => add(add(at(j), at(j + 8)), add(at(j + 4), at(j + 12)))
  return add(add(quad(0), quad(2)), add(quad(1), quad(3)))
}

function contractSum(values: number[]): number {
  if (values.length <= 4096) return blockSum(values)
  const blocks: number[] = []
  for (let i = 0; i < values.length; i += 4096) blocks.push(blockSum(values.slice(i, i + 4096)))
  return contractSum(blocks)
}

function sameBits(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(actual.length, expected.length)
  for (let i = 0; i < actual.length; i++) {
    assert.ok(Object.is(actual[i], expected[i]), `element ${i} is ${actual[i]}, expected ${expected[i]}`)
  }
}

/** A node over one row of values, run in float32. */
function runRow(
  rows: Record<string, number[]>,
  make: (b: GraphBuilder, read: (name: string) => Node) => Node,
  arithmetic: Scalars<number> = float32,
): ArrayLike<number> {
  const b = new GraphBuilder()
  const lengths = Object.values(rows).map((row) => row.length)
  const row = b.axis('row', Math.max(...lengths))
  for (const name of Object.keys(rows)) b.declare({ name, role: 'input', dtype: 'f32', stored: [[row]] })
  const values = new Map(Object.entries(rows).map(([k, v]) => [k, makeTensor([row], [v.length], Float64Array.from(v))]))
  const node = make(b, (name) => b.read(name))
  return interpretNodes([node], { values, extents: {}, arithmetic }).get(node)?.data ?? []
}

const rowOf = (node: Node) => {
  const [axis] = node.axes
  assert.ok(axis)
  return axis
}

describe('sum and maximum', () => {
  for (const n of [1, 2, 15, 16, 17, 31, 33, 129, 4095, 4096, 4097, 9000, 4096 * 17 + 5]) {
    it(`${n} elements: 16 partials, the tree, blocks of 4,096`, () => {
      const values = rough(n)
      const [sum] = Array.from(runRow({ x: values }, (b, read) => b.sum(read('x'), rowOf(read('x')))))
      sameBits([sum ?? NaN], [contractSum(values)])
      const plain = values.reduce(add, 0)
      const exact = values.reduce((x, y) => x + y, 0)
      assert.ok(Math.abs((sum ?? 0) - exact) <= 1e-5 * values.reduce((x, y) => x + Math.abs(y), 0))
      // The contract is a choice: another order gives other bits.
      if (n >= 129) assert.notEqual(sum, plain)
      if (n > 4096) assert.notEqual(sum, blockSum(values))
      const [largest] = Array.from(runRow({ x: values }, (b, read) => b.maximum(read('x'), rowOf(read('x')))))
      assert.equal(
        largest,
        values.reduce((x, y) => Math.max(x, y)),
      )
    })
  }

  it('more than 4,096 blocks are reduced by blocks again', () => {
    const blocks = 4096 + 40
    // Blocks repeat, so that the oracle has few of them to sum.
    const patterns = Array.from({ length: 7 }, (_, i) => rough(4096, i * 1.7))
    const sums = patterns.map(blockSum)
    const values = new Float32Array(blocks * 4096)
    const results = Array.from({ length: blocks }, (_, i) => {
      const which = ((i * 2654435761) >>> 20) % 7
      values.set(patterns[which] ?? [], i * 4096)
      return sums[which] ?? NaN
    })
    sameBits([sumOf(float32, values)], [contractSum(results)])
    assert.notEqual(contractSum(results), blockSum(results))
  })

  it('a sum of nothing but -0 is +0, since the partials start there', () => {
    sameBits([sumOf(float32, [-0, -0])], [0])
  })

  it('the maximum passes NaN over and starts at -Infinity', () => {
    assert.equal(maximumOf(float32, [NaN, -5, NaN], 3, -Infinity), -5)
    assert.equal(maximumOf(float32, [NaN], 1, -Infinity), -Infinity)
    assert.equal(maximumOf(float32, [-Infinity], 1, masked), masked)
    // Behind a number in the same partial, and before one.
    const sparse = (first: number, last: number) => [first, ...Array<number>(15).fill(-9), last]
    assert.equal(maximumOf(float32, sparse(4, NaN), 17, -Infinity), 4)
    assert.equal(maximumOf(float32, sparse(NaN, 4), 17, -Infinity), 4)
    // Of two zeros the earlier one stays in a partial, and the tree gives its second operand.
    sameBits([maximumOf(float32, sparse(-0, 0), 17, -Infinity)], [-0])
    sameBits([maximumOf(float32, [-0, -9, -9, -9, -9, -9, -9, -9, 0], 9, -Infinity)], [0])
    assert.ok(Number.isNaN(sumOf(float32, [1, NaN])))
  })
})

describe('dot', () => {
  const b = new GraphBuilder()
  const [m, k, l] = [b.axis('m', 9), b.axis('k', 17), b.axis('l', 3)]
  b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[m], [k], [l]] })
  b.declare({ name: 'y', role: 'input', dtype: 'f32', stored: [[k], [l]] })
  const x = Float64Array.from(rough(9 * 17 * 3))
  const y = Float64Array.from(rough(17 * 3, 2))
  const values = new Map([
    ['x', makeTensor([m, k, l], [9, 17, 3], x)],
    ['y', makeTensor([k, l], [17, 3], y)],
  ])
  const run = (node: Node, arithmetic = float32): number[] => {
    return Array.from(interpretNodes([node], { values, extents: {}, arithmetic }).get(node)?.data ?? [])
  }
  const [xNode, yNode] = [b.read('x'), b.read('y')]

  it('is one chain of fused multiply-adds, the first axis of `over` outermost', () => {
    for (const order of ['kl', 'lk']) {
      const expected = Array.from({ length: 9 }, (_, row) => {
        let chain = 0
        for (let n = 0; n < 51; n++) {
          const [i, j] = order === 'kl' ? [Math.floor(n / 3), n % 3] : [n % 17, Math.floor(n / 17)]
          chain = float32.fma(x[(row * 17 + i) * 3 + j] ?? NaN, y[i * 3 + j] ?? NaN, chain)
        }
        return chain
      })
      sameBits(run(b.dot(xNode, yNode, order === 'kl' ? [k, l] : [l, k])), expected)
    }
  })

  it('has other bits in another order, and without fusing', () => {
    const first = run(b.dot(xNode, yNode, [k, l]))
    assert.notDeepEqual(first, run(b.dot(xNode, yNode, [l, k])))
    const unfused = { ...float32, fma: (p: number, q: number, r: number) => f(f(p * q) + r) }
    assert.notDeepEqual(first, run(b.dot(xNode, yNode, [k, l]), unfused))
  })
})

/** The running softmax of the contract, spelled out for one row; gives log-sum-exp and the weighted mean of `values`. */
function contractSoftmax(scores: number[], values: number[], block: number): [logSum: number, mean: number] {
  let [m, l, o] = [masked, 0, 0]
  for (let from = 0; from < scores.length; from += block) {
    const part = scores.slice(from, from + block)
    const blockMaximum = part.reduce((x, y) => (y > x ? y : x), masked)
    const next = blockMaximum > m ? blockMaximum : m
    const alpha = exp(float32, f(m - next))
    const p = part.map((s) => exp(float32, f(s - next)))
    l = float32.fma(l, alpha, contractSum(p))
    o = f(o * alpha)
    p.forEach((weight, i) => (o = float32.fma(weight, values[from + i] ?? NaN, o)))
    m = next
  }
  return [f(m + log(float32, l)), f(o / l)]
}

describe('logSumExp and softmaxDot', () => {
  const smooth = (n: number, phase: number): number[] =>
    Array.from({ length: n }, (_, i) => f(Math.sin(i * 2.1 + phase) * 4))
  const cases: [string, number[], number][] = [
    ['shorter than the block', smooth(5, 0), 8],
    ['not a multiple of the block', smooth(21, 1), 8],
    ['a multiple of the block', smooth(24, 2), 8],
    ['rising, so that every block rescales', smooth(33, 0).map((s, i) => f(s + i)), 8],
    ['falling', smooth(33, 0).map((s, i) => f(s - i)), 8],
    ['blocks longer than 16', smooth(129, 3), 64],
    ['first blocks masked', smooth(40, 4).map((s, i) => (i < 19 ? masked : s)), 8],
    ['last blocks masked', smooth(40, 5).map((s, i) => (i > 11 ? masked : s)), 8],
    ['all but one masked', smooth(21, 6).map((s, i) => (i === 10 ? s : masked)), 8],
    ['all masked', smooth(21, 6).map(() => masked), 8],
    ['minus infinity among them', smooth(21, 7).map((s, i) => (i % 3 === 0 ? -Infinity : s)), 8],
    ['a block of 1', smooth(9, 8), 1],
  ]
  for (const [name, scores, block] of cases) {
    it(name, () => {
      const values = smooth(scores.length, 9)
      const rows = { s: scores, v: values }
      const sum = (b: GraphBuilder, read: (n: string) => Node) => b.logSumExp(read('s'), rowOf(read('s')), block)
      const mean = (b: GraphBuilder, read: (n: string) => Node) =>
        b.softmaxDot(read('s'), read('v'), rowOf(read('s')), block)
      const [logSum, weighted] = contractSoftmax(scores, values, block)
      sameBits(runRow(rows, sum), [logSum])
      sameBits(runRow(rows, mean), [weighted])
      // Against the plain formula, all at once in double precision.
      const largest = Math.max(...scores)
      const weights = scores.map((s) => Math.exp(s - largest))
      const total = weights.reduce((x, y) => x + y)
      const wanted = weights.reduce((x, w, i) => x + w * (values[i] ?? NaN), 0) / total
      for (const [arithmetic, tolerance] of [
        [float32, 1e-6],
        [float64, 1e-12],
      ] as const) {
        const [gotSum] = Array.from(runRow(rows, sum, arithmetic))
        const [gotMean] = Array.from(runRow(rows, mean, arithmetic))
        const wantedSum = largest + Math.log(total)
        assert.ok(
          Math.abs((gotSum ?? NaN) - wantedSum) <= tolerance * Math.max(1, Math.abs(wantedSum)),
          `${gotSum} ${wantedSum}`,
        )
        assert.ok(Math.abs((gotMean ?? NaN) - wanted) <= tolerance * 4, `${gotMean} ${wanted}`)
      }
    })
  }

  it('every rounding of the contract: 300 rows', () => {
    for (let row = 0; row < 300; row++) {
      const scores = smooth(13 + (row % 20), row)
      const values = smooth(scores.length, row + 0.5)
      const rows = { s: scores, v: values }
      const [logSum, mean] = contractSoftmax(scores, values, 8)
      sameBits(
        runRow(rows, (b, read) => b.logSumExp(read('s'), rowOf(read('s')), 8)),
        [logSum],
      )
      sameBits(
        runRow(rows, (b, read) => b.softmaxDot(read('s'), read('v'), rowOf(read('s')), 8)),
        [mean],
      )
    }
  })

  it('the block is part of the result: another one gives other bits', () => {
    const rows = { s: cases[5]?.[1] ?? [], v: smooth(129, 9) }
    const run = (block: number) =>
      Array.from(runRow(rows, (b, read) => b.softmaxDot(read('s'), read('v'), rowOf(read('s')), block)))
    assert.notDeepEqual(run(64), run(8))
  })

  it('leaving out a masked block changes no bit', () => {
    for (const at of [0, 8, 16]) {
      const rest = smooth(21, 1)
      const scores = rest.toSpliced(at, 0, ...Array<number>(8).fill(masked))
      const values = smooth(21, 2)
      const wider = values.toSpliced(at, 0, ...smooth(8, 3))
      sameBits(contractSoftmax(scores, wider, 8), contractSoftmax(rest, values, 8))
    }
  })

  it('NaN comes through', () => {
    const rows = { s: smooth(21, 0).with(9, NaN) }
    assert.ok(Array.from(runRow(rows, (b, read) => b.logSumExp(read('s'), rowOf(read('s')), 8))).every(Number.isNaN))
  })
})

describe('attention as a whole', () => {
  const { graph } = attentionGraph()
  const extents = { batch: 2, seq: 29 }
  const values = attentionValues(graph, extents)
  const run = (name: string, arithmetic: Scalars<number>) => interpret(graph, name, { values, extents, arithmetic })

  it('float32 stays within 2e-6 of float64', () => {
    const single = run('step', float32)
    const double = run('step', float64)
    for (const [name, tensor] of [...single.outputs, ...single.writes]) {
      const reference = double.outputs.get(name) ?? double.writes.get(name)
      assert.ok(tensor.data instanceof Float32Array && reference?.data instanceof Float64Array)
      const scale = Math.max(...reference.data.map(Math.abs))
      const worst = Math.max(...Array.from(tensor.data, (x, i) => Math.abs(x - (reference.data[i] ?? NaN)))) / scale
      assert.ok(worst > 0 && worst < 2e-6, `${name}: ${worst}`)
    }
  })

  it('agrees in float64 with attention written as loops', () => {
    const { embed, head, dim } = attentionSizes
    const get = (name: string): ArrayLike<number> => values.get(name)?.data ?? []
    const [x, w, proj] = [get('x'), get('h.0.attn.c_attn.weight'), get('h.0.attn.c_proj.weight')]
    const [gain, bias] = [get('h.0.ln_1.weight'), get('h.0.ln_1.bias')]
    const span = (n: number) => Array.from({ length: n }, (_, i) => i)
    const dot = (n: number, term: (i: number) => number) => span(n).reduce((sum, i) => sum + term(i), 0)
    const result = run('step', float64).outputs.get('y')
    const inverse = f(1 / embed)
    span(2).forEach((batch) => {
      const rows = span(29).map((t) => {
        const row = span(embed).map((e) => x[(batch * 29 + t) * embed + e] ?? NaN)
        const mean = row.reduce((a, c) => a + c) * inverse
        const variance = row.reduce((a, c) => a + (c - mean) ** 2, 0) * inverse
        return row.map((v, e) => ((v - mean) / Math.sqrt(variance + f(1e-5))) * (gain[e] ?? NaN) + (bias[e] ?? NaN))
      })
      const part = (t: number, which: number, h: number, d: number) =>
        dot(embed, (e) => (rows[t]?.[e] ?? NaN) * (w[((e * 3 + which) * head + h) * dim + d] ?? NaN))
      const heads = span(head).map((h) => {
        const [q, k, v] = [0, 1, 2].map((which) => span(29).map((t) => span(dim).map((d) => part(t, which, h, d))))
        return span(29).map((t) => {
          const weights = span(t + 1).map((j) =>
            Math.exp(dot(dim, (d) => (q?.[t]?.[d] ?? NaN) * (k?.[j]?.[d] ?? NaN)) * f(dim ** -0.5)),
          )
          const total = weights.reduce((a, c) => a + c)
          return span(dim).map((d) => dot(t + 1, (j) => ((weights[j] ?? NaN) / total) * (v?.[j]?.[d] ?? NaN)))
        })
      })
      span(29).forEach((t) =>
        span(embed).forEach((e) => {
          // The declared order of the axes is embed, head, dim: canonical, not the stored one.
          const out = dot(head, (h) =>
            dot(dim, (d) => (heads[h]?.[t]?.[d] ?? NaN) * (proj[(e * head + h) * dim + d] ?? NaN)),
          )
          const at = (batch * 29 + t) * embed + e
          const difference = Math.abs((result?.data[at] ?? NaN) - (x[at] ?? NaN) - out)
          assert.ok(difference < 1e-12, `${batch} ${t} ${e}: ${difference}`)
        }),
      )
    })
  })
})
