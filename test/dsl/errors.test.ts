// What a researcher reads when a slip gets past the types (in JavaScript, or where only sizes are wrong): one sentence at
// the line of their own call, never a stack. The sentences are a golden.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { UserError } from '../../compiler/diagnostic.ts'
import * as heddle from '../../dsl/index.ts'
import { golden } from '../support/golden.ts'

// The types are switched off here on purpose: what is tested is what a JavaScript author has left.
// oxlint-disable-next-line typescript/no-explicit-any
type Loose = any
const h: Record<string, Loose> = heddle
const here = fileURLToPath(import.meta.url)

interface Setting {
  readonly p: Loose
  readonly embed: Loose
  readonly mlp: Loose
  readonly row: Loose
  readonly x: Loose
}

/** Traces a model that does `act` and then ends. */
function inModel(act: (setting: Setting) => unknown): void {
  const model = h.defineModel('sample', (_config: unknown, p: Loose) => {
    const [row, embed, mlp] = [h.axis('row', 5), h.axis('embed', 6), h.axis('mlp', 9)]
    act({ p, row, embed, mlp, x: p.param('x', [row, embed]) })
    const vocab = h.axis('vocab', 11)
    const table = p.param('table', [vocab, embed])
    return h.causalLM({
      vocabulary: vocab,
      embed: (tokens: Loose) => h.embedding(table, tokens, vocab),
      blocks: h.layer(2, 'block', (y: Loose) => y),
      norm: (y: Loose) => y,
      head: h.tied(table, embed),
    })
  })
  model.trace(undefined, { sequences: 2, length: 4 })
}

let foreign: Loose
inModel(({ x, embed }) => {
  foreign = { x, embed }
})

const slips: Record<string, (setting: Setting) => unknown> = {
  'a second axis of the same name': () => h.axis('embed', 6),
  'a twin of a taken name': ({ embed }) => h.like(embed, 'mlp'),
  'a name with a dot': () => h.axis('a.b', 6),
  'a size of nothing': () => h.axis('empty', 0),
  'a size that is no number': () => h.axis('embedding', undefined),
  'an axis of another model': ({ x }) => h.sum(x, foreign.embed),
  'a tensor of another model': ({ x }) => h.add(x, foreign.x),
  'no axis at all': ({ x }) => h.sum(x, 'embed'),
  'no tensor at all': ({ embed }) => h.sum([1, 2], embed),
  'a wrong axis': ({ x, mlp }) => h.sum(x, mlp),
  'rows that a table does not have': ({ p, row, embed }) => {
    const place = h.axis('place', 4)
    return h.embedding(p.param('places', [place, embed]), h.iota(row), place)
  },
  'an error of the author': () => {
    throw new Error('my own')
  },
  'the same axis twice': ({ x, embed }) => h.sum(x, [embed, embed]),
  'a contraction over what one lacks': ({ p, x, embed, mlp }) => h.dot(x, p.param('w', [mlp, embed]), mlp),
  'a left operand that would widen': ({ p, x, mlp }) => h.add(x, p.param('y', [mlp])),
  'integers where floats are due': ({ x, row }) => h.add(x, h.iota(row)),
  'a renaming onto another size': ({ x, embed, mlp }) => h.rename(x, embed, mlp),
  'a renaming onto a present axis': ({ x, embed, row }) => h.rename(x, embed, row),
  'parts that do not multiply': ({ x, embed, mlp }) => h.split(x, embed, [mlp, h.axis('two', 2)]),
  'a whole that does not fit': ({ x, row, embed, mlp }) => h.merge(x, [row, embed], mlp),
  'a place that is not there': ({ x, embed }) => h.pick(x, embed, 6),
  'too few parts': ({ x }) => h.stack([x], h.axis('pair', 2)),
  'a norm over a missing axis': ({ p, x, mlp, embed }) => h.rmsNorm(x, p.param('w', [embed]), { over: mlp, eps: 1e-6 }),
  'a norm without its epsilon': ({ p, x, embed }) => h.rmsNorm(x, p.param('w', [embed]), { over: embed }),
  'a norm whose bias is elsewhere': ({ p, x, mlp, embed }) =>
    h.layerNorm(x, p.param('w', [embed]), p.param('b', [mlp]), { over: embed, eps: 1e-6 }),
  'a linear of another input': ({ p, x, mlp }) => h.linear(x, p, 'up', [mlp, h.axis('out', 3)]),
  'a linear with part of its input': ({ p, x, mlp, embed }) => h.linear(x, p, 'up', [h.axis('out', 3), [embed, mlp]]),
  'a square linear': ({ p, x, embed }) => h.linear(x, p, 'up', [embed, embed]),
  'a linear whose output is on x': ({ p, x, row, embed }) => h.linear(x, p, 'up', [row, embed]),
  'a parameter made twice': ({ p, embed }) => [p.param('w', [embed]), p.param('w', [embed])],
  'a parameter along the sequence': ({ p }) => p.param('w', [heddle.seq]),
  'a parameter without an order': ({ p }) => p.param('w'),
  'a rotation of an odd dimension': ({ x, row, embed }) => h.rope(x, { over: row, at: embed, theta: 1e4 }),
  'a rotation without a base': ({ x, row, embed }) => h.rope(x, { over: embed, at: row }),
  'a norm without options': ({ p, x, embed }) => h.rmsNorm(x, p.param('w', [embed])),
  'a linear without parameters': ({ x }) => h.linear(x),
  'parts that are no list': ({ x, embed }) => h.stack(x, embed),
  'attention without its keys': ({ x, row, embed }) => h.attend(x, x, x, { over: embed, keys: row, scale: 1 }),
  'a dropout of everything': ({ x }) => h.dropout(x, 1),
  'a table that is too short': ({ p, embed }) => {
    const short = h.axis('short', 3)
    return h.positionEmbedding(p.param('places', [short, embed]), short, heddle.seq)
  },
}

/** The line on which a slip is written. */
function lineOf(title: string): number {
  const lines = readFileSync(here, 'utf8').split('\n')
  return lines.findIndex((line) => line.includes(`'${title}':`)) + 1
}

function sentenceOf(act: () => unknown): UserError {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof UserError, String((error as Error).stack))
    return error
  }
  assert.fail('nothing was refused')
}

describe('errors while a model is built', () => {
  const printed: string[] = []

  for (const [title, slip] of Object.entries(slips)) {
    it(`${title} is one sentence at its line`, () => {
      const error = sentenceOf(() => inModel(slip))
      assert.equal(error.place?.file, here)
      const start = lineOf(title)
      const line = error.place?.line ?? 0
      assert.ok(line >= start && line <= start + 3, `line ${line}, not about ${start}`)
      assert.match(error.code, /^HD1\d\d$/)
      assert.doesNotMatch(error.message, /\n|undefined is|\bat /)
      const sentence = error.mend === undefined ? error.message : `${error.message}; ${error.mend}`
      printed.push(`${title}\n  ${error.code} ${sentence}\n`)
    })
  }

  it('reads as the golden says', () => {
    golden('dsl/errors.txt', printed.join(''))
  })

  it('an operation outside a model says so', () => {
    const error = sentenceOf(() => h.axis('embed', 6))
    assert.equal(error.sentence.replace(/^\S+ \S+ /, ''), 'axis: called outside a model; call it inside defineModel()')
  })

  it('a layer that changes its axes is refused at the layer', () => {
    const model = h.defineModel('sample', (_config: unknown, p: Loose) => {
      const [vocab, embed] = [h.axis('vocab', 3), h.axis('embed', 4)]
      return h.causalLM({
        vocabulary: vocab,
        embed: (tokens: Loose) => h.embedding(p.param('t', [vocab, embed]), tokens, vocab),
        blocks: h.layer(2, 'block', (x: Loose) => h.sum(x, embed)),
        norm: (x: Loose) => x,
        head: (x: Loose) => x,
      })
    })
    const error = sentenceOf(() => model.trace(undefined, { sequences: 1, length: 2 }))
    assert.match(error.message, /^layer: axis 'embed' is not on the result of 'block' \(batch, seq\)$/)
    assert.equal(error.place?.file, here)
  })

  it('a head without the vocabulary, and a model without causalLM, are refused', () => {
    const headless = h.defineModel('headless', (_config: unknown, p: Loose) => {
      const [vocab, embed] = [h.axis('vocab', 3), h.axis('embed', 4)]
      const same = (x: Loose) => x
      const embedded = (tokens: Loose) => h.embedding(p.param('t', [vocab, embed]), tokens, vocab)
      return h.causalLM({ vocabulary: vocab, embed: embedded, blocks: same, norm: same, head: same })
    })
    const wrong = sentenceOf(() => headless.trace(undefined, { sequences: 1, length: 2 }))
    assert.equal(wrong.message, 'headless: the head gives logits on (batch, seq, embed), not on (batch, seq, vocab)')
    const empty = h.defineModel('empty', () => undefined)
    const missing = sentenceOf(() => empty.trace(undefined, { sequences: 1, length: 2 }))
    assert.equal(missing.message, 'empty: the function of a model returns causalLM(…)')
    assert.match(sentenceOf(() => empty.trace(undefined, { sequences: 0, length: 2 })).message, /0 × 2 tokens/)
  })
})
