// Each rule of simplification: text before, text after, and the same numbers. Then all of them on random graphs and
// on whole models, and what must not exist after them.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { float32 } from '../../compiler/graph/float32.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { isOp, rootsOf, topological } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { printFunction, printGraph } from '../../compiler/graph/print.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { simplificationRules, simplify } from '../../compiler/transform/simplify.ts'
import { golden } from '../support/golden.ts'
import { oracleCase } from '../support/oracle.ts'
import { randomGraph } from '../support/randomGraph.ts'
import { randomValues } from './gradients.ts'
import { through, traceCase, trainingPasses, transformed } from './oracleModel.ts'

const head = `
axis batch <= 2 extent batch
axis seq <= 5 extent seq
axis few = 3
axis part = 2
axis whole = 6
axis vocab = 7
axis key <= 5 extent seq

input x: f32[batch, seq, few]
input y: f32[batch, seq, few]
input z: f32[few]
frozen p: f32[few, part]
frozen w: f32[vocab, few]
input u: f32[seq, whole]
input targets: i32[batch, seq]
input same: i32[few]
input other: i32[part]
`

/** A function body of statements; `%out` is its output. Values have names here and numbers in graph text. */
function graphOf(body: string): Graph {
  const numbers = new Map<string, number>()
  const text = `${body.trim()}\n  output out = %out`.replace(/%(\w+)/g, (_, name: string) => {
    if (!numbers.has(name)) numbers.set(name, numbers.size)
    return `%${numbers.get(name)}`
  })
  return parseGraph(`${head}\nfunction f {\n${text}\n}\n`).graph
}

const read = {
  x: '%x = read x : f32(batch, seq, few)',
  y: '%y = read y : f32(batch, seq, few)',
  z: '%z = read z : f32(few)',
  p: '%p = read p : f32(few, part)',
  u: '%u = read u : f32(seq, whole)',
  w: '%w = read w : f32(few, vocab)',
  targets: '%t = read targets : i32(batch, seq)',
}

/** Rule by rule: the smallest text that it applies to. */
const before: Record<string, string> = {
  'add zero': `${read.z}
    %c = constant 0 : f32()
    %0 = broadcast(%c) axes [batch, few] : f32(batch, few)
    %out = add(%0, %z) : f32(batch, few)`,
  'subtract zero': `${read.z}
    %c = constant 0 : f32()
    %out = sub(%z, %c) : f32(few)`,
  'multiply by one': `${read.z}
    %c = constant 1 : f32()
    %0 = broadcast(%c) axes [seq] : f32(seq)
    %out = mul(%0, %z) : f32(seq, few)`,
  'divide by one': `${read.z}
    %c = constant 1 : f32()
    %out = div(%z, %c) : f32(few)`,
  'negate twice': `${read.z}
    %0 = neg(%z) : f32(few)
    %out = neg(%0) : f32(few)`,
  'multiply by minus one': `${read.z}
    %c = constant -1 : f32()
    %out = mul(%z, %c) : f32(few)`,
  'add a negative': `${read.x}
    ${read.z}
    %0 = neg(%z) : f32(few)
    %out = add(%0, %x) : f32(batch, seq, few)`,
  'subtract a negative': `${read.x}
    ${read.z}
    %0 = neg(%z) : f32(few)
    %out = sub(%x, %0) : f32(batch, seq, few)`,
  'multiply a negative': `${read.x}
    ${read.z}
    %0 = neg(%z) : f32(few)
    %out = mul(%x, %0) : f32(batch, seq, few)`,
  'sum a negative': `${read.x}
    %0 = neg(%x) : f32(batch, seq, few)
    %out = sum(%0) over seq : f32(batch, few)`,
  'select the same': `${read.x}
    ${read.z}
    %0 = less(%x, %z) : bool(batch, seq, few)
    %out = select(%0, %z, %z) : f32(batch, seq, few)`,
  'select twice': `${read.x}
    ${read.y}
    ${read.z}
    %0 = less(%x, %y) : bool(batch, seq, few)
    %1 = select(%0, %x, %z) : f32(batch, seq, few)
    %2 = select(%0, %z, %y) : f32(batch, seq, few)
    %out = select(%0, %1, %2) : f32(batch, seq, few)`,
  'broadcast into map': `${read.x}
    ${read.z}
    %0 = broadcast(%z) axes [seq, few] : f32(seq, few)
    %out = fma(%x, %0, %x) : f32(batch, seq, few)`,
  'broadcast out of map': `${read.z}
    ${read.p}
    %0 = broadcast(%z) axes [seq, few] : f32(seq, few)
    %out = mul(%0, %p) : f32(seq, few, part)`,
  'rename twice': `${read.u}
    %0 = rename(%u) from seq to key : f32(whole, key)
    %1 = rename(%0) from key to seq : f32(seq, whole)
    %out = tanh(%1) : f32(seq, whole)`,
  'split a merge': `${read.p}
    %0 = merge(%p) axes [part, few] into whole : f32(whole)
    %1 = split(%0) axis whole into [part, few] : f32(few, part)
    %out = tanh(%1) : f32(few, part)`,
  'merge a split': `${read.u}
    %0 = split(%u) axis whole into [few, part] : f32(seq, few, part)
    %1 = merge(%0) axes [few, part] into whole : f32(seq, whole)
    %out = tanh(%1) : f32(seq, whole)`,
  'pick from a stack': `${read.z}
    %0 = exp(%z) : f32(few)
    %1 = stack(%z, %0) axis part : f32(few, part)
    %2 = pick(%1) axis part index 1 : f32(few)
    %out = tanh(%2) : f32(few)`,
  'stack of picks': `${read.p}
    %0 = pick(%p) axis part index 0 : f32(few)
    %1 = pick(%p) axis part index 1 : f32(few)
    %2 = stack(%0, %1) axis part : f32(few, part)
    %out = tanh(%2) : f32(few, part)`,
  'sum of stacks': `${read.z}
    %0 = exp(%z) : f32(few)
    %c = constant 0 : f32()
    %1 = broadcast(%c) axes [few] : f32(few)
    %2 = stack(%1, %z) axis part : f32(few, part)
    %3 = stack(%0, %1) axis part : f32(few, part)
    %out = add(%2, %3) : f32(few, part)`,
  'broadcast twice': `${read.z}
    %0 = broadcast(%z) axes [seq, few] : f32(seq, few)
    %out = broadcast(%0) axes [batch, seq, few] : f32(batch, seq, few)`,
  'broadcast to the same': `${read.z}
    %0 = broadcast(%z) axes [few] : f32(few)
    %out = tanh(%0) : f32(few)`,
  'view of a number': `%c = constant 3 : f32()
    %0 = broadcast(%c) axes [seq, few, part] : f32(seq, few, part)
    %1 = merge(%0) axes [few, part] into whole : f32(seq, whole)
    %out = rename(%1) from seq to key : f32(whole, key)`,
  'gather before dot': `${read.x}
    ${read.w}
    ${read.targets}
    %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
    %out = gather(%0, %t) axis vocab : f32(batch, seq)`,
  'gather before map': `${read.x}
    ${read.w}
    ${read.y}
    ${read.targets}
    %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
    %1 = sum(%y) over few : f32(batch, seq)
    %2 = fma(%0, %1, %0) : f32(batch, seq, vocab)
    %out = gather(%2, %t) axis vocab : f32(batch, seq)`,
  'gather before rename': `${read.x}
    ${read.w}
    %i = read other : i32(part)
    %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
    %1 = rename(%0) from seq to key : f32(batch, vocab, key)
    %out = gather(%1, %i) axis vocab : f32(batch, part, key)`,
  'gather before pick': `${read.p}
    ${read.w}
    ${read.targets}
    %0 = dot(%w, %p) over [few] : f32(part, vocab)
    %1 = pick(%0) axis part index 1 : f32(vocab)
    %out = gather(%1, %t) axis vocab : f32(batch, seq)`,
  'stream a softmax': `${read.x}
    ${read.y}
    ${read.w}
    %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
    %1 = logSumExp(%0) over vocab block 4 : f32(batch, seq)
    %2 = sub(%0, %1) : f32(batch, seq, vocab)
    %3 = exp(%2) : f32(batch, seq, vocab)
    %4 = sum(%y) over few : f32(batch, seq)
    %5 = mul(%4, %3) : f32(batch, seq, vocab)
    %6 = mul(%5, %4) : f32(batch, seq, vocab)
    %out = dot(%w, %6) over [vocab] : f32(batch, seq, few)`,
}

const extents = { batch: 2, seq: 3 }

function numbersOf(
  graph: Graph,
  fn: string,
  values: ReadonlyMap<string, Tensor>,
  given = extents as Record<string, number>,
  arithmetic = float64,
) {
  const { outputs, writes } = interpret(graph, fn, { values, extents: given, arithmetic })
  return [...outputs.values(), ...writes.values()]
}

function assertNear(actual: readonly Tensor[], expected: readonly Tensor[], tolerance: number): void {
  assert.equal(actual.length, expected.length)
  actual.forEach((tensor, index) => {
    const wanted = expected[index]!
    assert.deepEqual(tensor.axes, wanted.axes)
    tensor.data.forEach((value: number, place: number) => {
      const other = wanted.data[place] as number
      if (Object.is(value, other) || (Number.isNaN(value) && Number.isNaN(other))) return
      assert.ok(Math.abs(value - other) <= tolerance * Math.max(1, Math.abs(other)), `${value} is not ${other}`)
    })
  })
}

describe('rules of simplification', () => {
  for (const rule of simplificationRules) {
    it(`${rule.name}: ${rule.summary}`, () => {
      const text = before[rule.name]
      assert.ok(text !== undefined, 'the rule has no case here')
      const graph = graphOf(text)
      const alone = through(graph, simplify([rule]))
      verifyGraph(alone)
      const [from, to] = [graph, alone].map((one) => printFunction(one.functions[0]!))
      assert.notEqual(from, to)
      golden(`transform/simplify/${rule.name.replaceAll(' ', '-')}.txt`, `${from}\n\n// ${rule.name}\n${to}\n`)
      const values = randomValues(graph, extents, { places: 3 })
      assertNear(numbersOf(alone, 'f', values), numbersOf(graph, 'f', values), 1e-12)
      // All but the streamed softmax give the same bits.
      const bits = numbersOf(graph, 'f', values, extents, float32)
      assertNear(numbersOf(alone, 'f', values, extents, float32), bits, rule.name === 'stream a softmax' ? 1e-5 : 0)
    })
  }

  it('every case belongs to a rule', () => {
    assert.deepEqual(Object.keys(before).sort(), simplificationRules.map(({ name }) => name).sort())
  })

  const refused: Record<string, string> = {
    'a factor along the axis is no factor of a streamed softmax': `${read.x}
      ${read.w}
      %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
      %1 = logSumExp(%0) over vocab block 4 : f32(batch, seq)
      %2 = sub(%0, %1) : f32(batch, seq, vocab)
      %3 = exp(%2) : f32(batch, seq, vocab)
      %4 = mul(%0, %3) : f32(batch, seq, vocab)
      %out = dot(%w, %4) over [vocab] : f32(batch, seq, few)`,
    'a factor along the axis is none on the other side either': `${read.x}
      ${read.w}
      %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
      %1 = logSumExp(%0) over vocab block 4 : f32(batch, seq)
      %2 = sub(%0, %1) : f32(batch, seq, vocab)
      %3 = exp(%2) : f32(batch, seq, vocab)
      %4 = tanh(%0) : f32(batch, seq, vocab)
      %5 = mul(%3, %4) : f32(batch, seq, vocab)
      %out = dot(%w, %5) over [vocab] : f32(batch, seq, few)`,
    'picks in another order make another stack': `${read.p}
      %0 = pick(%p) axis part index 0 : f32(few)
      %1 = pick(%p) axis part index 1 : f32(few)
      %out = stack(%1, %0) axis part : f32(few, part)`,
    'the normaliser is of other scores': `${read.x}
      ${read.w}
      %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
      %1 = logSumExp(%w) over vocab block 4 : f32(few)
      %2 = sub(%w, %1) : f32(few, vocab)
      %3 = sub(%0, %1) : f32(batch, seq, few, vocab)
      %4 = exp(%3) : f32(batch, seq, few, vocab)
      %out = dot(%2, %4) over [vocab] : f32(batch, seq, few)`,
    'an index along a contracted axis picks no rows': `${read.x}
      ${read.w}
      %i = read same : i32(few)
      %0 = dot(%x, %w) over [few] : f32(batch, seq, vocab)
      %out = gather(%0, %i) axis vocab : f32(batch, seq, few)`,
    'rows of an activation are not gathered before': `${read.x}
      ${read.w}
      %i = read same : i32(few)
      %e = exp(%w) : f32(few, vocab)
      %0 = dot(%x, %e) over [few] : f32(batch, seq, vocab)
      %t = read targets : i32(batch, seq)
      %out = gather(%0, %t) axis vocab : f32(batch, seq)`,
    'parts in another order are no inverse': `${read.p}
      %0 = merge(%p) axes [part, few] into whole : f32(whole)
      %out = split(%0) axis whole into [few, part] : f32(few, part)`,
    'a product with zero may be no zero': `${read.z}
      %c = constant 0 : f32()
      %out = mul(%z, %c) : f32(few)`,
    'stacks that overlap are added': `${read.z}
      %0 = exp(%z) : f32(few)
      %1 = stack(%0, %z) axis part : f32(few, part)
      %2 = stack(%z, %0) axis part : f32(few, part)
      %out = add(%1, %2) : f32(few, part)`,
  }
  for (const [why, body] of Object.entries(refused)) {
    it(`${why}: nothing changes`, () => {
      const graph = graphOf(body)
      assert.equal(printGraph(through(graph, simplify())), printGraph(graph))
    })
  }
})

describe('simplification', () => {
  it('keeps the numbers of random graphs, and does nothing the second time', function () {
    this.timeout(60000)
    const property = fc.property(
      randomGraph({ steps: 30, elements: 800, sizes: [1, 3, 5] }),
      ({ graph, values, extents: given }) => {
        const simple = through(graph, simplify())
        verifyGraph(simple)
        assert.equal(printGraph(through(simple, simplify())), printGraph(simple))
        for (const { name } of graph.functions) {
          assertNear(numbersOf(simple, name, values, given), numbersOf(graph, name, values, given), 1e-9)
        }
      },
    )
    fc.assert(property, { numRuns: 100 })
  })

  it('leaves nothing over the vocabulary but logits and the softmax of full fine-tuning', () => {
    const wide = (name: string): string[] => {
      const one = traceCase(oracleCase(name))
      const graph = transformed(one.traced, trainingPasses(one, [simplify()]))
      const fn = graph.functions.find((other) => other.name === 'accumulate')!
      return topological(rootsOf(fn))
        .filter(({ axes }) => ['seq', 'vocab'].every((wanted) => axes.some((axis) => axis.name === wanted)))
        .map((node) => (isOp(node, 'map') ? node.attrs.fn : node.op))
    }
    for (const family of ['gpt2-small', 'qwen2-small']) {
      assert.deepEqual(wide(`${family}/lora`), ['dot'])
      assert.deepEqual(wide(`${family}/full`), ['dot', 'sub', 'exp', 'mul'])
    }
  })

  it('joins the parts of a fused projection in one stack', () => {
    const one = traceCase(oracleCase('gpt2-small/lora'))
    const graph = transformed(one.traced, trainingPasses(one, [simplify()]))
    const nodes = topological(rootsOf(graph.functions.find(({ name }) => name === 'accumulate')!))
    const stacks = nodes.filter((node) => isOp(node, 'stack'))
    assert.equal(stacks.length, 2)
    assert.ok(!nodes.some((node) => isOp(node, 'broadcast')))
  })
})
