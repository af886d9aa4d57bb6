// The reading of a model that keeps keys and values: which models can be read so, and that masks mean the same in it.

import assert from 'node:assert/strict'
import { sortAxes } from '../../compiler/graph/axis.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor as Values } from '../../compiler/graph/tensor.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import {
  add,
  attend,
  axis,
  both,
  causal,
  causalLM,
  compare,
  defineModel,
  dot,
  dropout,
  embedding,
} from '../../dsl/index.ts'
import { iota, key, layer, like, mul, rename, rope, seq, sliding, softmax, sum, tied, untied } from '../../dsl/index.ts'
import type { Axis, Mask, ModelDefinition, Tensor } from '../../dsl/index.ts'

type Hidden = Tensor<'batch' | 'seq' | 'embed'>
interface Parts {
  readonly embed: Axis<'embed'>
}

const vocabulary = 11
const capacity = 9

/** A model whose tokens meet in `mix`. */
function modelOf(mix: (x: Hidden, parts: Parts) => Hidden): ModelDefinition<object> {
  return defineModel('mixed', (_: object, p) => {
    const [vocab, embed] = [axis('vocab', vocabulary), axis('embed', 6)]
    const words = p.param('words', [vocab, embed])
    return causalLM({
      vocabulary: vocab,
      embed: (tokens) => embedding(words, tokens, vocab),
      blocks: layer(2, 'h', (x: Hidden) => add(x, mix(x, { embed }))),
      norm: (x) => x,
      head: tied(words, embed),
    })
  })
}

const attention =
  (mask: () => Mask | Tensor<'seq' | 'key', 'bool'>) =>
  (x: Hidden, { embed }: Parts): Hidden => {
    const turned = rope(x, { over: embed, at: seq, theta: 100 })
    const seen = rename(turned, seq, key)
    return attend(turned, seen, rename(x, seq, key), { over: embed, keys: key, mask: mask(), scale: 1 })
  }

const words = Float64Array.from({ length: vocabulary * 6 }, (_, index) => Math.sin(index * 1.3))
const tokens = [3, 1, 4, 1, 5, 9, 2, 6, 5]

/** The logits that follow each beginning of the text, the whole computed again each time. */
function wholeLogits(model: ModelDefinition<object>): number[][] {
  const { graph } = model.trace({}, { sequences: 1, length: capacity })
  return tokens.map(
    (_, last) => run(graph, 'predict', { tokens, position: [last] }, { seq: capacity }, new Map()).logits,
  )
}

/** The same with keys and values kept: `first` tokens at once, `second` at once, and the others one by one. */
function keptLogits(model: ModelDefinition<object>, calls: readonly number[]): Map<number, number[]> {
  const { graph } = model.trace({}, { sequences: 1, length: 5, kept: capacity })
  verifyGraph(graph)
  const states = new Map<string, Values>()
  const logits = new Map<number, number[]>()
  let past = 0
  for (const count of calls) {
    const text = tokens.slice(past, past + count)
    const padded = [...text, ...Array.from({ length: 5 - count }, () => 7)]
    const positions = padded.map((_, index) => (index < count ? past + index : 0))
    const inputs = { tokens: padded, positions, last: [count - 1] }
    past += count
    logits.set(past - 1, run(graph, 'prefill', inputs, { seq: 5, context: past }, states).logits)
  }
  for (; past < tokens.length; past++) {
    const inputs = { token: [tokens[past] as number], place: [past] }
    logits.set(past, run(graph, 'decode', inputs, { context: past + 1 }, states).logits)
  }
  return logits
}

type Graph = ReturnType<ModelDefinition<object>['trace']>['graph']

/** Calls a function; `states` are kept from call to call, at the bound of their run-time extents. */
function run(
  graph: Graph,
  fn: string,
  inputs: Record<string, readonly number[]>,
  extents: Record<string, number>,
  states: Map<string, Values>,
): { logits: number[] } {
  const values = new Map<string, Values>()
  for (const { name, stored, dtype, role } of graph.declarations.values()) {
    const axes = sortAxes(stored.flat())
    const sizes = axes.map((one) => (one.extent === undefined ? one.size : (extents[one.extent] ?? one.size)))
    const length = sizes.reduce((product, size) => product * size, 1)
    const given = inputs[name] ?? (name === 'words' ? words : undefined)
    const kept = role === 'state' ? states.get(name)?.data : undefined
    const data = dtype === 'i32' ? new Int32Array(length) : new Float64Array(length)
    // The context grows along the outermost axis that has neighbours: what was kept is a beginning.
    data.set(Array.from(kept ?? given ?? []).slice(0, length))
    values.set(name, makeTensor(axes, sizes, data))
  }
  const { outputs, writes } = interpret(graph, fn, {
    values,
    extents: { seq: 1, context: 1, ...extents },
    arithmetic: float64,
  })
  for (const [name, value] of writes) states.set(name, value)
  return { logits: Array.from(outputs.get('logits')?.data ?? []) }
}

describe('a model read for generating', () => {
  const masks: Record<string, () => Mask | Tensor<'seq' | 'key', 'bool'>> = {
    'a causal mask': () => causal(),
    'a window': () => sliding(3),
    'a predicate over places': () => compare('lessEqual', iota(key), iota(seq)),
    'a predicate over renamed places': () =>
      both(compare('lessEqual', rename(iota(seq), seq, key), iota(seq)), compare('lessEqual', iota(key), iota(seq))),
  }
  for (const [name, mask] of Object.entries(masks)) {
    it(`has the logits of the whole text: ${name}`, () => {
      const model = modelOf(attention(mask))
      const whole = wholeLogits(model)
      for (const calls of [[4, 2], [1], [5, 3]]) {
        const kept = keptLogits(model, calls)
        assert.ok(kept.size >= 3)
        for (const [last, logits] of kept) {
          logits.forEach((logit, token) => assert.ok(Math.abs(logit - (whole[last]?.[token] ?? NaN)) < 1e-12))
        }
      }
    })
  }

  it('keeps keys and values of each attention, by its number', () => {
    const { graph } = modelOf(attention(() => causal())).trace({}, { sequences: 1, length: 5, kept: capacity })
    const states = [...graph.declarations.values()].filter(({ role }) => role === 'state').map(({ name }) => name)
    assert.deepEqual(states, ['kept/0/keys', 'kept/0/values', 'kept/1/keys', 'kept/1/values'])
  })

  it('may attend to an axis like the sequence, and to one that holds no tokens', () => {
    const model = modelOf((x, { embed }) => {
      const other = like(seq, 'other')
      return attend(x, rename(x, seq, other), rename(x, seq, other), { over: embed, keys: other, scale: 1 })
    })
    assert.throws(() => model.trace({}, { sequences: 1, length: 5 }), /the model has an axis 'other' already/)
    const learned = defineModel('learned', (_: object, p) => {
      const [vocab, embed, memory] = [axis('vocab', vocabulary), axis('embed', 6), axis('memory', 4)]
      const [other, table] = [like(seq, 'other'), p.param('memory', [memory, embed])]
      return causalLM({
        vocabulary: vocab,
        embed: (ids) => embedding(p.param('words', [vocab, embed]), ids, vocab),
        blocks: (x) => {
          const recalled = attend(x, table, table, { over: embed, keys: memory, scale: 1 })
          const y = rename(dropout(add(x, recalled), 0.1), seq, other)
          return attend(x, y, y, { over: embed, keys: other, mask: causal(), scale: 1 })
        },
        norm: (x) => x,
        head: untied(p, 'head', vocab, embed),
      })
    })
    const { graph } = learned.trace({}, { sequences: 2, length: 5, kept: 40 })
    verifyGraph(graph)
    const kept = [...graph.declarations.values()].filter(({ role }) => role === 'state').map(({ name }) => name)
    assert.deepEqual(kept, ['kept/0/keys', 'kept/0/values'])
  })

  const refused: Record<string, [(x: Hidden, parts: Parts) => Hidden, RegExp]> = {
    'tokens that are summed': [(x) => mul(x, sum(x, seq)), /'sum' goes over 'seq'/],
    'scores that are made by hand': [
      (x, { embed }) => {
        const scores = dot(x, rename(x, seq, key), embed)
        return dot(softmax(scores, key), rename(x, seq, key), key)
      },
      /goes over 'key/,
    ],
    'a mask that depends on the tokens': [
      (x, { embed }) => {
        const sums = sum(x, embed)
        const mask = compare('less', rename(sums, seq, key), 0)
        return attend(x, rename(x, seq, key), rename(x, seq, key), { over: embed, keys: key, mask, scale: 1 })
      },
      /the mask is made by 'rename' from the keys of one call/,
    ],
  }
  for (const [name, [mix, message]] of Object.entries(refused)) {
    it(`is refused with ${name}, at the line`, () => {
      assert.throws(
        () => modelOf(mix).trace({}, { sequences: 1, length: 5, kept: capacity }),
        (error) => {
          assert.ok(error instanceof UserError, String(error))
          assert.equal(error.code, 'HD114')
          assert.match(error.message, message)
          assert.match(error.place?.file ?? '', /decoding\.test\.ts$/)
          return true
        },
      )
    })
  }
})
