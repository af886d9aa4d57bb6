// Every derivative of the two op tables against central differences, each operation by itself, and random graphs.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { rootsOf } from '../../compiler/graph/node.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import { structural } from '../../compiler/graph/structural.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { builderAfter, Copier } from '../../compiler/transform/rebuild.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { randomGraph } from '../support/randomGraph.ts'
import type { RandomGraph } from '../support/randomGraph.ts'
import { mismatches, numbers, randomValues } from './gradients.ts'
import type { Trial } from './gradients.ts'
import { through } from './oracleModel.ts'

function axes() {
  const b = new GraphBuilder()
  const batch = b.axis('batch', 2, 'batch')
  const seq = b.axis('seq', 5, 'seq')
  const few = b.axis('few', 3)
  const part = b.axis('part', 4)
  const whole = b.axis('whole', 12)
  const key = b.axis('key', 5, 'seq')
  return { b, batch, seq, few, part, whole, key }
}

type Axes = ReturnType<typeof axes>

/** Shorter than the bounds, so that a derivative that takes a bound for a length is wrong. */
const extents = { batch: 2, seq: 3 }

function check(make: (axes: Axes) => Omit<Trial, 'extents'>): void {
  const made = axes()
  const { wrong, largest } = mismatches(made.b, { extents, ...make(made) })
  assert.deepEqual(wrong, [])
  assert.ok(largest > 1e-3, `nothing depends on the trainables: ${largest}`)
}

describe('derivatives of elementwise operations', () => {
  const positive = new Set(['log', 'sqrt', 'rsqrt', 'div'])
  for (const [fn, op] of Object.entries(elementwise)) {
    const floats = op.takes.flatMap((dtype, place) => (dtype === 'f32' ? [place] : []))
    if (op.gives !== 'f32' || floats.length === 0) continue

    it(`${fn}, each operand alone and broadcast`, () => {
      for (const broadcast of [-1, ...floats]) {
        check(({ few, part }) => ({
          range: positive.has(fn) ? [0.5, 2.5] : [-2, 2],
          shapes: Object.fromEntries(floats.map((place) => [`x${place}`, place === broadcast ? [few] : [part, few]])),
          build: (b, read) => {
            const inputs = op.takes.map((dtype, place) => {
              if (dtype === 'f32') return read(`x${place}`)
              assert.equal(dtype, 'bool')
              return b.map('intLess', b.iota(few), b.int(2))
            })
            const value = b.map(fn, ...inputs)
            // Along both axes even where a lone operand is broadcast.
            return b.map('add', value, b.broadcast(b.float(0), [part, few]))
          },
        }))
      }
    })
  }

  it('one value as both operands', () => {
    for (const fn of ['add', 'mul', 'div']) {
      check(({ few }) => ({
        shapes: { x: [few], y: [few] },
        range: [0.5, 2],
        build: (b, read) => b.map('mul', read('y'), b.map(fn, read('x'), b.map('exp', read('x')))),
      }))
    }
    check(({ few }) => ({ shapes: { x: [few] }, build: (b, read) => b.map('mul', read('x'), read('x')) }))
  })
})

/** One trial or more for each structural operation that floats flow through. */
const structuralTrials: Record<string, ((axes: Axes) => Omit<Trial, 'extents'>)[]> = {
  sum: [({ seq, few }) => ({ shapes: { x: [seq, few] }, build: (b, read) => b.sum(read('x'), seq) })],
  maximum: [({ seq, few }) => ({ shapes: { x: [few, seq] }, build: (b, read) => b.maximum(read('x'), seq) })],
  dot: [
    ({ seq, few, part }) => ({
      shapes: { x: [seq, few], y: [part, few] },
      build: (b, read) => b.dot(read('x'), read('y'), [few]),
    }),
    ({ batch, seq, few, part, key }) => ({
      shapes: { x: [batch, seq, few, part], y: [batch, part, key, few] },
      build: (b, read) => b.dot(read('x'), read('y'), [part, few]),
    }),
    ({ few, part }) => ({
      shapes: { x: [few, part], y: [few] },
      build: (b, read) => b.dot(read('x'), read('y'), [few]),
    }),
  ],
  logSumExp: [
    ({ seq, whole }) => ({ shapes: { x: [seq, whole] }, build: (b, read) => b.logSumExp(read('x'), whole, 5) }),
  ],
  softmaxDot: [
    ({ batch, seq, key, few }) => ({
      shapes: { s: [batch, seq, key], v: [batch, key, few] },
      build: (b, read) => b.softmaxDot(read('s'), read('v'), key, 2),
    }),
    ({ few, part, seq, batch }) => ({
      shapes: { s: [few, part, seq], v: [few, batch, seq] },
      build: (b, read) => b.softmaxDot(read('s'), read('v'), seq, 64),
    }),
  ],
  gather: [
    ({ batch, seq, few, part }) => ({
      shapes: { x: [few, part] },
      indices: { i: [batch, seq] },
      build: (b, read) => b.gather(read('x'), read('i'), few),
    }),
    ({ batch, seq, few, part }) => ({
      shapes: { x: [seq, few, part] },
      indices: { i: [batch, seq] },
      build: (b, read) => b.gather(b.map('tanh', read('x')), read('i'), few),
    }),
  ],
  scatterAdd: [
    ({ batch, seq, few, part }) => ({
      shapes: { x: [few, part], u: [batch, seq, part] },
      indices: { i: [batch, seq] },
      build: (b, read) => b.scatterAdd(read('x'), read('i'), read('u'), few),
    }),
  ],
  rename: [({ seq, key, few }) => ({ shapes: { x: [few, seq] }, build: (b, read) => b.rename(read('x'), seq, key) })],
  split: [
    ({ seq, few, part, whole }) => ({
      shapes: { x: [seq, whole] },
      build: (b, read) => b.split(read('x'), whole, [part, few]),
    }),
  ],
  merge: [
    ({ seq, few, part, whole }) => ({
      shapes: { x: [few, seq, part] },
      build: (b, read) => b.merge(read('x'), [part, few], whole),
    }),
  ],
  pick: [({ seq, few }) => ({ shapes: { x: [few, seq] }, build: (b, read) => b.pick(read('x'), few, 1) })],
  stack: [
    ({ seq, few }) => ({
      shapes: { x: [seq], y: [seq] },
      build: (b, read) => b.stack([read('x'), read('y'), b.map('neg', read('x'))], few),
    }),
  ],
  broadcast: [
    ({ seq, few, part }) => ({ shapes: { x: [few] }, build: (b, read) => b.broadcast(read('x'), [seq, few, part]) }),
  ],
  barrier: [
    ({ few }) => ({
      shapes: { x: [few], y: [few] },
      build: (b, read) => b.map('mul', b.barrier(read('x'), 'test', read('y')), read('y')),
    }),
  ],
}

describe('derivatives of structural operations', () => {
  for (const [op, trials] of Object.entries(structuralTrials)) {
    trials.forEach((trial, index) => {
      it(`${op} ${index + 1}`, () => {
        check(trial)
      })
    })
  }

  it('all operations with float operands are tried', () => {
    const tried = new Set([...Object.keys(structuralTrials), 'map'])
    const derivable = Object.entries(structural).flatMap(([op, rule]) => ('derivative' in rule ? [op] : []))
    assert.deepEqual(
      derivable.filter((op) => !tried.has(op)),
      ['random'],
    )
  })
})

/** A loss over all of a random graph's outputs, through which every trainable is reached. */
function withLoss({ graph }: RandomGraph): Graph {
  const provenance = new Provenance()
  const b = builderAfter(graph)
  const copier = new Copier(b, provenance)
  copier.add(graph.functions.flatMap(rootsOf))
  const outputs = graph.functions.flatMap((fn) => fn.outputs.map(({ node }) => copier.of(node)))
  const trained = [...graph.declarations.values()]
    .filter(({ role }) => role === 'trainable')
    .map(({ name }) => b.read(name))
  const terms = [...outputs.filter(({ dtype }) => dtype === 'f32'), ...trained].map((node, index) => {
    const factor = b.map('mul', b.map('tanh', node), b.float(Math.fround(1 / (index + 1))))
    return b.sumAll(factor, node.axes)
  })
  const loss = terms.reduce((sum: Node, term) => b.map('add', sum, term))
  b.define({
    name: 'loss',
    outputs: [
      { name: 'loss', node: loss },
      { name: 'weight', node: b.float(1) },
    ],
    writes: [],
  })
  return b.finish()
}

describe('derivatives of random graphs', () => {
  it('agree with differences along random directions', function () {
    this.timeout(60000)
    let compared = 0
    const property = fc.property(
      randomGraph({ steps: 16, elements: 400, sizes: [1, 3, 5] }),
      fc.nat(1000),
      (random, seed) => {
        const graph = withLoss(random)
        const adjoint = through(graph, differentiate(), simplify())
        verifyGraph(adjoint)
        const zeros = randomValues(adjoint, random.extents)
        const values = new Map([...zeros, ...random.values])
        const options = { extents: random.extents, arithmetic: float64 }
        const { writes } = interpret(adjoint, 'accumulate', { ...options, values })
        const next = numbers(seed)
        const trained = [...graph.declarations.values()]
          .filter(({ role }) => role === 'trainable')
          .map(({ name }) => name)
        const direction = new Map(
          trained.map((name) => [name, (values.get(name) as Tensor).data.map(() => next() - 0.5)]),
        )
        const lossAt = (step: number): number => {
          const moved = new Map(values)
          for (const [name, way] of direction) {
            const { axes: on, extents: sizes, data } = values.get(name) as Tensor
            const there = Float64Array.from(data, (value, index) => value + step * (way[index] as number))
            moved.set(name, makeTensor(on, sizes, there))
          }
          return interpret(graph, 'loss', { ...options, values: moved }).outputs.get('loss')?.data[0] as number
        }
        const slope = (step: number): number => (lossAt(step) - lossAt(-step)) / (2 * step)
        const [coarse, fine] = [slope(1e-5), slope(2e-6)]
        // A comparison that changes its answer between the two points makes a jump: nothing to compare there.
        const scale = 1 + Math.abs(fine)
        if (!Number.isFinite(fine) || Math.abs(coarse - fine) > 1e-4 * scale) return
        compared++
        let along = 0
        for (const [name, way] of direction) {
          const gradient = (writes.get(`grad/${name}`) as Tensor).data
          way.forEach((step: number, index: number) => (along += step * (gradient[index] as number)))
        }
        assert.ok(Math.abs(along - fine) < 1e-3 * scale, `the slope is ${fine}, the gradient says ${along}`)
      },
    )
    fc.assert(property, { numRuns: 60 })
    assert.ok(compared > 40, `only ${compared} graphs could be compared`)
  })
})
