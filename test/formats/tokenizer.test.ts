import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { loadTokenizer } from '../../formats/tokenizer.ts'
import { refuses, temporaryDirectory } from './helpers.ts'

// The fixture was trained and encoded by Hugging Face's own (Rust) tokenizers: a byte-level BPE of 300 tokens.
const FIXTURE = path.join(import.meta.dirname, 'fixtures', 'tokenizer')
const definition = (): Record<string, unknown> =>
  JSON.parse(fs.readFileSync(path.join(FIXTURE, 'tokenizer.json'), 'utf8'))

interface Expected {
  readonly text: string
  readonly ids: number[]
  readonly withSpecials: number[]
  readonly decoded: string
  readonly decodedOmit: string
}

function written(content: unknown, config?: unknown): string {
  const dir = temporaryDirectory()
  fs.writeFileSync(path.join(dir, 'tokenizer.json'), JSON.stringify(content))
  if (config !== undefined) fs.writeFileSync(path.join(dir, 'tokenizer_config.json'), JSON.stringify(config))
  return path.join(dir, 'tokenizer.json')
}

describe('tokenizer', () => {
  const tokenizer = loadTokenizer(path.join(FIXTURE, 'tokenizer.json'))
  const cases: Expected[] = JSON.parse(fs.readFileSync(path.join(FIXTURE, 'expected.json'), 'utf8'))

  for (const expected of cases) {
    it(`encodes and decodes ${JSON.stringify(expected.text)} as the reference does`, () => {
      assert.deepEqual(tokenizer.encode(expected.text), expected.ids)
      assert.deepEqual(tokenizer.encode(expected.text, { specials: 'add' }), expected.withSpecials)
      assert.equal(tokenizer.decode(expected.ids), expected.decoded)
      assert.equal(tokenizer.decode(expected.ids, { specials: 'omit' }), expected.decodedOmit)
    })
  }

  it('knows its special tokens and its size', () => {
    assert.deepEqual([tokenizer.eosId, tokenizer.bosId, tokenizer.padId], [0, 1, undefined])
    assert.equal(tokenizer.idOf('<|im_end|>'), 2)
    assert.equal(tokenizer.vocabSize, 300)
    const model = definition().model as { vocab: Record<string, number> }
    const spread = { ...definition(), model: { ...model, vocab: { ...model.vocab, farAway: 5000 } } }
    assert.equal(loadTokenizer(written(spread)).vocabSize, 5001)
    assert.equal(loadTokenizer(written(definition())).eosId, undefined)
    assert.equal(loadTokenizer(written(definition(), { chat_template: '{{x}}' })).chatTemplate, '{{x}}')
  })

  it('gives every text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        const ids = tokenizer.encode(text)
        assert.ok(ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize))
        assert.equal(tokenizer.decode(ids), text)
      }),
    )
  })

  it('refuses an id without a token, and text without ids', () => {
    refuses(() => tokenizer.decode([5, 300]), 'HD431', /no token with the id 300/)
    refuses(() => tokenizer.decode([-1]), 'HD431', /-1/)
    const model = definition().model as { vocab: Record<string, number>; merges: unknown }
    const { z: _z, ...withoutZ } = model.vocab
    const poorer = loadTokenizer(written({ ...definition(), model: { ...model, vocab: withoutZ, merges: [] } }))
    assert.equal(poorer.decode(poorer.encode('düsen')), 'düsen')
    refuses(() => poorer.encode('a zebra'), 'HD431', /cannot express a part of "a zebra"/)
  })

  it('refuses malformed definitions with one sentence', () => {
    const model = definition().model as Record<string, unknown>
    const broken = (change: Record<string, unknown>): string =>
      written({ ...definition(), model: { ...model, ...change } })
    refuses(() => loadTokenizer(written({})), 'HD430', /no model/)
    refuses(() => loadTokenizer(written([])), 'HD402', /object was expected/)
    refuses(() => loadTokenizer(broken({ vocab: undefined })), 'HD430', /no vocabulary/)
    refuses(() => loadTokenizer(written({ model: { type: 'BPE', vocab: {}, merges: [] } })), 'HD430', /empty/)
    refuses(() => loadTokenizer(broken({ vocab: { a: -1 } })), 'HD430', /"a" has the id "-1"/)
    refuses(() => loadTokenizer(broken({ vocab: { a: 4_000_000_000 } })), 'HD430', /not a number below/)
    refuses(() => loadTokenizer(broken({ vocab: { a: '1' } })), 'HD430', /not a number below/)
    refuses(() => loadTokenizer(broken({ vocab: { a: 7, b: 7 } })), 'HD430', /id 7 belongs to "a" and "b"/)
    refuses(() => loadTokenizer(broken({ merges: undefined })), 'HD430', /merges are not a list/)
    refuses(() => loadTokenizer(broken({ merges: ['a b', 'a b c'] })), 'HD430', /merge 1 is not a pair/)
    refuses(() => loadTokenizer(broken({ merges: [['a', 'b'], 'a b'] })), 'HD430', /merge 1 is not a pair/)
    refuses(() => loadTokenizer(broken({ type: 'Nonsense', vocab: { a: 0 } })), 'HD430', /"Nonsense" is not known/)
    refuses(
      () => loadTokenizer(written({ ...definition(), added_tokens: [{ content: 'x' }] })),
      'HD430',
      /"x" has the id/,
    )
    refuses(
      () => loadTokenizer(written({ ...definition(), decoder: { type: 'Nonsense' } })),
      'HD430',
      /cannot be built/,
    )
    refuses(() => loadTokenizer(path.join(temporaryDirectory(), 'tokenizer.json')), 'HD401', /does not exist/)
  })
})
