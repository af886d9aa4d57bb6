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

/** Bytes that each token stands for: a byte is spelled as one character, a special token as itself. */
const widths = new Map<number, number>()
before(() => {
  const { model, added_tokens: added } = definition() as {
    model: { vocab: Record<string, number> }
    added_tokens: { id: number; content: string }[]
  }
  for (const [token, id] of Object.entries(model.vocab)) widths.set(id, token.length)
  for (const { id, content } of added) widths.set(id, Buffer.byteLength(content))
})

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
    assert.deepEqual(loadTokenizer(written(definition())).chatTemplates, new Map())
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

  it('says which token holds a character', () => {
    const pieces = (text: string): string[] => {
      const { ids, tokenAt } = tokenizer.encodeLocated(text)
      assert.deepEqual(ids, tokenizer.encode(text))
      assert.deepEqual([tokenAt(-1), tokenAt(text.length)], [undefined, undefined])
      return Array.from(text, (_, index) => tokenizer.decode([ids[tokenAt(index) as number] as number]))
    }
    const text = 'ab<|im_end|>c'
    assert.deepEqual(pieces(text).slice(2, 12), Array(10).fill('<|im_end|>'))
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (given) => {
        const { ids, tokenAt } = tokenizer.encodeLocated(given)
        // Bytes before a character are those of whole tokens before its own, or lie within its own.
        for (let index = 0; index < given.length; index += given.codePointAt(index)! > 0xffff ? 2 : 1) {
          const at = tokenAt(index) as number
          const byte = Buffer.byteLength(given.slice(0, index))
          const start = ids.slice(0, at).reduce((sum, id) => sum + (widths.get(id) ?? NaN), 0)
          const end = start + (widths.get(ids[at] ?? -1) ?? NaN)
          assert.ok(start <= byte && byte < end, `${JSON.stringify(given)} ${index}`)
        }
      }),
    )
  })

  it('finds characters behind a composing normaliser, and says when tokens do not spell the text', () => {
    const nfc = loadTokenizer(written({ ...definition(), normalizer: { type: 'NFC' } }))
    const { ids, tokenAt } = nfc.encodeLocated('e\u0301x')
    assert.deepEqual(ids, nfc.encode('\u00e9x'))
    assert.equal(tokenAt(2), ids.length - 1)
    const lower = loadTokenizer(written({ ...definition(), normalizer: { type: 'Lowercase' } }))
    assert.equal(lower.encodeLocated('abc').tokenAt(0), 0)
    refuses(() => lower.encodeLocated('aBc'), 'HD432', /the tokens of "aBc" do not spell it/)
  })

  it('reads chat templates and special tokens from where they may be', () => {
    const named = [
      { name: 'default', template: '{{ 1 }}' },
      { name: 'tool_use', template: '{{ 2 }}' },
    ]
    const file = written(definition(), { chat_template: named, bos_token: { content: '<s>' }, unk_token: null })
    assert.deepEqual([...loadTokenizer(file).chatTemplates.keys()], ['default', 'tool_use'])
    assert.deepEqual(loadTokenizer(file).specialTokens, { bos_token: '<s>' })
    const map = { bos_token: '<other>', eos_token: { content: '</s>' }, unk_token: '<unk>' }
    fs.writeFileSync(path.join(path.dirname(file), 'special_tokens_map.json'), JSON.stringify(map))
    assert.deepEqual(loadTokenizer(file).specialTokens, { bos_token: '<s>', eos_token: '</s>' })
    fs.writeFileSync(path.join(path.dirname(file), 'chat_template.jinja'), '{{ 3 }}')
    assert.deepEqual(loadTokenizer(file).chatTemplates, new Map([['default', '{{ 3 }}']]))
    fs.writeFileSync(path.join(path.dirname(file), 'chat_template.jinja'), Buffer.from([0xff]))
    refuses(() => loadTokenizer(file), 'HD430', /not UTF-8/)
    refuses(() => loadTokenizer(written(definition(), { chat_template: 3 })), 'HD430', /neither a text nor a list/)
    refuses(
      () => loadTokenizer(written(definition(), { chat_template: [{ name: 'a' }] })),
      'HD430',
      /no name or no text/,
    )
  })

  it('makes nothing of an id without a token, and refuses text without ids', () => {
    assert.equal(tokenizer.decode([5, 300]), tokenizer.decode([5]))
    assert.equal(tokenizer.decode([-1, 300]), '')
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
    refuses(
      () => loadTokenizer(broken({ vocab: { a: 5, b: 6, ab: 7 }, merges: ['a b', 'a b c'] })),
      'HD430',
      /merge 1 is not a pair/,
    )
    refuses(
      () => loadTokenizer(broken({ vocab: { a: 5, b: 6, ab: 7 }, merges: [['a', 'b'], 'a b'] })),
      'HD430',
      /merge 1 is not a pair/,
    )
    refuses(
      () => loadTokenizer(broken({ vocab: { a: 5, b: 6 }, merges: ['a b'] })),
      'HD430',
      /merge 0 has "ab", which is not/,
    )
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
