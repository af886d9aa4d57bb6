// The layers' numbers against formulas written independently here, in doubles, at odd sizes.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { isOp, topological } from '../../compiler/graph/node.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { erf } from '../../compiler/graph/float64.ts'
import {
  axis,
  attend,
  causal,
  crossEntropy,
  dropout,
  gelu,
  iota,
  key,
  layer,
  layerNorm,
  linear,
  rename,
} from '../../dsl/index.ts'
import {
  compare,
  dot,
  merge,
  mul,
  pick,
  rmsNorm,
  seq,
  silu,
  softmax,
  split,
  stack,
  sum,
  toFloat,
} from '../../dsl/index.ts'
import type { ParameterScope, Tensor } from '../../dsl/index.ts'
import { close, rows, runPiece, sampleValues, tracePiece } from './tracing.ts'

const mean = (row: readonly number[]): number => row.reduce((a, b) => a + b, 0) / row.length

describe('layers', () => {
  for (const width of [1, 7, 33]) {
    it(`normalise ${width} wide rows`, () => {
      const x = sampleValues(5 * width, 1)
      const weight = sampleValues(width, 2)
      const bias = sampleValues(width, 3)
      const trace = (kind: 'layer' | 'rms') =>
        tracePiece((p) => {
          const row = axis('row', 5)
          const embed = axis('embed', width)
          const value = p.param('x', [row, embed])
          const options = { over: embed, eps: 1e-3 }
          if (kind === 'rms') return rmsNorm(value, p.param('weight', [embed]), options)
          return layerNorm(value, p.param('weight', [embed]), p.param('bias', [embed]), options)
        })
      const layered = rows(x, width).flatMap((row) => {
        const variance = mean(row.map((v) => (v - mean(row)) ** 2))
        return row.map((v, i) => ((v - mean(row)) / Math.sqrt(variance + 1e-3)) * (weight[i] ?? 0) + (bias[i] ?? 0))
      })
      // 1/width is a float32 constant: half an ulp of it is what separates the results.
      close(runPiece(trace('layer'), { x, weight, bias }).data, layered, 1e-6)
      const rooted = rows(x, width).flatMap((row) => {
        const square = mean(row.map((v) => v * v))
        return row.map((v, i) => (v / Math.sqrt(square + 1e-3)) * (weight[i] ?? 0))
      })
      close(runPiece(trace('rms'), { x, weight }).data, rooted, 1e-6)
    })
  }

  it('apply gelu in both forms, and silu', () => {
    const x = sampleValues(33, 5)
    const run = (fn: 'erf' | 'tanh' | 'silu') =>
      runPiece(
        tracePiece((p) => {
          const value = p.param('x', [axis('a', 33)])
          return fn === 'silu' ? silu(value) : gelu(value, fn)
        }),
        { x },
      ).data
    close(
      run('erf'),
      x.map((v) => (v / 2) * (1 + erf(v / Math.SQRT2))),
    )
    const inner = (v: number) => Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)
    close(
      run('tanh'),
      x.map((v) => (v / 2) * (1 + Math.tanh(inner(v)))),
    )
    close(
      run('silu'),
      x.map((v) => v / (1 + Math.exp(-v))),
    )
  })

  it('softmax sums to one and crossEntropy is its logarithm', () => {
    const logits = sampleValues(3 * 31, 7)
    const softened = runPiece(
      tracePiece((p) => {
        const row = axis('row', 3)
        const vocab = axis('vocab', 31)
        return softmax(p.param('x', [row, vocab]), vocab)
      }),
      { x: logits },
    )
    const expected = rows(logits, 31).map((row) => {
      const total = row.reduce((sum, v) => sum + Math.exp(v), 0)
      return row.map((v) => Math.exp(v) / total)
    })
    close(softened.data, expected.flat())
    const losses = runPiece(
      tracePiece((p) => {
        const vocab = axis('vocab', 31)
        const row = axis('row', 3)
        return crossEntropy(p.param('x', [row, vocab]), iota(row), vocab)
      }),
      { x: logits },
    )
    close(
      losses.data,
      expected.map((row, index) => -Math.log(row[index] ?? 0)),
    )
  })

  it('attends with groups of queries, causally', () => {
    const [length, groups, dims] = [7, 2, 3]
    const q = sampleValues(length * groups * dims, 3)
    const k = sampleValues(length * dims, 5)
    const v = sampleValues(length * dims, 9)
    const attended = runPiece(
      tracePiece((p) => {
        const place = axis('place', length)
        const earlier = axis('earlier', length)
        const [group, dim] = [axis('group', groups), axis('dim', dims)]
        return attend(p.param('q', [place, group, dim]), p.param('k', [earlier, dim]), p.param('v', [earlier, dim]), {
          over: dim,
          keys: earlier,
          mask: causal({ at: place }),
          scale: 0.5,
        })
      }),
      { q, k, v },
    )
    const keys = rows(k, dims)
    const values = rows(v, dims)
    const expected = rows(q, dims).flatMap((query, row) => {
      const seen = keys.slice(0, Math.floor(row / groups) + 1)
      const scores = seen.map((one) => Math.exp(0.5 * one.reduce((total, x, i) => total + x * (query[i] ?? 0), 0)))
      const total = scores.reduce((a, b) => a + b, 0)
      return query.map((_, i) => scores.reduce((sum, score, at) => sum + (score / total) * (values[at]?.[i] ?? 0), 0))
    })
    close(attended.data, expected)
  })

  it('refuses a mask over an axis that the scores lack', () => {
    const build = () =>
      tracePiece((p) => {
        const dim = axis('dim', 3)
        const place = axis('place', 7)
        const x = p.param('x', [place, dim])
        const earlier = axis('earlier', 7)
        return attend(x, rename(x, place, earlier), rename(x, place, earlier), {
          over: dim,
          keys: earlier,
          mask: compare('less', iota(seq), iota(earlier)),
          scale: 1,
        })
      })
    assert.throws(build, /attend: the mask \(seq, earlier\) has axis 'seq', which the scores \(place, earlier\) lack/)
  })
})

describe('a stack of layers', () => {
  const factors = (layers: number | readonly number[], factor: (each: number) => number): number[] => {
    const piece = tracePiece((p) => {
      const [embed, few] = [axis('embed', 3), axis('few', 2)]
      const x = p.param('x', [few, embed])
      const scaled = (h: typeof x, p: ParameterScope, each: number) =>
        mul(mul(h, p.param('scale', [embed])), factor(each))
      return layer(layers, 'h', scaled)(x)
    })
    const scale = [1, 1, 1]
    return [...runPiece(piece, { x: [1, 1, 1, 1, 1, 1], 'h.0.scale': scale, 'h.1.scale': [2, 2, 2] }).data]
  }

  it('is given numbers, or elements of a list, and names parameters by number', () => {
    assert.deepEqual(
      factors(2, (number) => number + 3),
      [24, 24, 24, 24, 24, 24],
    )
    assert.deepEqual(
      factors([7, 5], (element) => element),
      [70, 70, 70, 70, 70, 70],
    )
  })

  it('has at least one', () => {
    for (const none of [0, -1, 1.5, []]) assert.throws(() => factors(none, () => 1), /layer: 'h' is repeated .* times/)
  })
})

describe('movement', () => {
  it('split, pick, stack and merge restore what they took apart', () => {
    const sizes = fc.record({ outer: fc.integer({ min: 1, max: 5 }), inner: fc.integer({ min: 1, max: 5 }) })
    fc.assert(
      fc.property(sizes, ({ outer, inner }) => {
        const x = sampleValues(3 * outer * inner, outer + 2 * inner)
        const restored = runPiece(
          tracePiece((p) => {
            const [row, whole] = [axis('row', 3), axis('whole', outer * inner)]
            const [a, b] = [axis('a', outer), axis('b', inner)]
            const parts = split(p.param('x', [row, whole]), whole, [a, b])
            const picked = Array.from({ length: outer }, (_, index) => pick(parts, a, index))
            return merge(stack(picked, a), [a, b], whole)
          }),
          { x },
        )
        close(restored.data, x)
      }),
      { numRuns: 25 },
    )
  })

  it('dot over several axes is the sum of the products', () => {
    const [x, y] = [sampleValues(2 * 3 * 5, 3), sampleValues(3 * 5, 4)]
    const result = runPiece(
      tracePiece((p) => {
        const [a, b, c] = [axis('a', 2), axis('b', 3), axis('c', 5)]
        return dot(p.param('x', [a, b, c]), p.param('y', [b, c]), [b, c])
      }),
      { x, y },
    )
    close(
      result.data,
      rows(x, 15).map((row) => row.reduce((total, v, i) => total + v * (y[i] ?? 0), 0)),
    )
  })

  it('sums over a run-time length only what is there', () => {
    const piece = tracePiece(() => sum(rename(toFloat(iota(seq)), seq, key), key))
    assert.deepEqual([...runPiece(piece, {}, 5).data], [0 + 1 + 2 + 3 + 4])
  })
})

describe('canonical orders', () => {
  it('a list is contracted in its own order, a linear in the stored one', () => {
    const orders = (list: readonly ('b' | 'c')[]) => {
      const { node } = tracePiece((p) => {
        const axes = { a: axis('a', 2), b: axis('b', 3), c: axis('c', 5) }
        const x = p.param('x', [axes.a, axes.b, axes.c])
        return dot(x, p.param('y', [axes.b, axes.c]), list.map((name) => axes[name]) as never) as Tensor<'a'>
      })
      return isOp(node, 'dot') ? node.attrs.over.map(({ name }) => name) : []
    }
    assert.deepEqual(orders(['b', 'c']), ['b', 'c'])
    assert.deepEqual(orders(['c', 'b']), ['c', 'b'])
    const { node } = tracePiece((p) => {
      const [a, b, c, out] = [axis('a', 2), axis('b', 3), axis('c', 5), axis('out', 7)]
      return linear(p.param('x', [a, b, c]), p, 'map', [out, [c, b]])
    })
    assert.deepEqual(isOp(node, 'dot') ? node.attrs.over.map(({ name }) => name) : [], ['c', 'b'])
  })

  it('attention rescales every 64 keys, the loss every 256 rows of the vocabulary', () => {
    const scored = tracePiece((p) => {
      const [row, vocab] = [axis('row', 3), axis('vocab', 31)]
      return crossEntropy(p.param('x', [row, vocab]), iota(row), vocab)
    })
    assert.deepEqual(blocks(scored.node), [256])
    const attended = tracePiece((p) => {
      const [place, earlier, dim] = [axis('place', 7), axis('earlier', 7), axis('dim', 3)]
      const k = p.param('k', [earlier, dim])
      return attend(p.param('q', [place, dim]), k, k, { over: dim, keys: earlier, scale: 1 })
    })
    assert.deepEqual(blocks(attended.node), [64])
  })
})

/** The rescaling boundaries of all that streams under a node. */
function blocks(root: Node): number[] {
  return topological([root]).flatMap((node) =>
    isOp(node, 'logSumExp') || isOp(node, 'softmaxDot') ? [node.attrs.block] : [],
  )
}

describe('dropout', () => {
  const width = 4000
  const piece = (p: number, training: boolean) =>
    tracePiece((scope) => dropout(scope.param('x', [axis('a', width)]), p), training)
  const x = Array.from({ length: width }, () => 1)

  it('zeroes about a share p and scales the rest so that the mean stays', () => {
    const dropped = runPiece(piece(0.25, true), { x, seed: [3] }).data
    const zeros = dropped.filter((value) => value === 0).length
    // Five standard deviations of a binomial.
    assert.ok(Math.abs(zeros - width / 4) < 5 * Math.sqrt(width * 0.25 * 0.75), `${zeros} zeros`)
    for (const value of dropped) assert.ok(value === 0 || Math.abs(value - 1 / 0.75) < 1e-6, `${value}`)
  })

  it('is the identity for p = 0 and outside training', () => {
    assert.equal(piece(0, true).node.op, 'read')
    assert.equal(piece(0.5, false).node.op, 'read')
  })

  it('draws other numbers at every call, and the same again for the same seed', () => {
    const twice = tracePiece((p) => {
      const value = p.param('x', [axis('a', width)])
      return stack([dropout(value, 0.5), dropout(value, 0.5)], axis('call', 2))
    })
    const first = runPiece(twice, { x, seed: [3] }).data
    assert.deepEqual(runPiece(twice, { x, seed: [3] }).data, first)
    assert.notDeepEqual(
      first.filter((_, i) => i % 2 === 0),
      first.filter((_, i) => i % 2 === 1),
    )
    assert.notDeepEqual(runPiece(twice, { x, seed: [4] }).data, first)
    assert.equal(twice.trace.streams, 2)
  })
})
