// The device's tokenizer in wasm: the ids and texts of @huggingface/tokenizers and of Hugging Face's own fixtures, for each
// kind of tokenizer. Real vocabularies are for the full run.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { tokenizerTable } from '../../backends/tokenizer/index.ts'
import { WasmTokenizer } from '../../backends/tokenizer/wasmTokenizer.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { bothOf, bundled, changed, characterTokenizer, isCommonGround, wasmModule, written } from './deviceTokenizer.ts'
import { hardTexts } from './hardText.ts'

const qwen =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false }
const split = (Regex: string) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })

const kinds: Readonly<Record<string, () => string>> = {
  'the bundled tokenizer': () => bundled,
  "Qwen's pattern and NFC": () =>
    written(
      changed({
        normalizer: { type: 'NFC' },
        pre_tokenizer: { type: 'Sequence', pretokenizers: [split(qwen), byteLevel] },
      }),
    ),
  'words that are tokens': () => written(changed({}, { ignore_merges: true })),
  'words without end': () => written(changed({ pre_tokenizer: byteLevel })),
  'added tokens that begin alike': () =>
    written(
      changed({
        added_tokens: ['<|endoftext|>', '<|', '<|end', '  ', 'inging', '👍'].map((content, index) => ({
          id: index === 0 ? 0 : 547 + index,
          content,
          special: index < 2,
          normalized: false,
        })),
      }),
    ),
  'characters with byte fallback': () =>
    written(
      characterTokenizer(
        [
          ['t', 'h'],
          ['th', 'e'],
          ['▁', 'the'],
          ['▁', 'a'],
          ['a', 'a'],
          ['aa', 'aa'],
          ['▁', '▁'],
          ['▁▁', '▁▁'],
          ['i', 'n'],
          ['in', 'g'],
          ['漢', '漢'],
          ['\n', '\n'],
        ],
        'etaoinshrdlug▁漢é한\n.,<>|0x1',
      ),
    ),
}

describe('the tokenizer of a device', function () {
  this.timeout(120_000)

  for (const [name, fileOf] of Object.entries(kinds)) {
    it(`encodes and decodes as the reference: ${name}`, async () => {
      const { device, reference } = await bothOf(fileOf())
      assert.equal(device.vocabSize, reference.vocabSize)
      let compared = 0
      for (const text of hardTexts(11, 600).filter(isCommonGround)) {
        const ids = device.encode(text)
        assert.deepEqual(ids, reference.encode(text), JSON.stringify(text))
        assert.deepEqual(
          device.encode(text, { specials: 'add' }),
          reference.encode(text, { specials: 'add' }),
          JSON.stringify(text),
        )
        assert.equal(device.decode(ids), reference.decode(ids), JSON.stringify(text))
        compared++
      }
      assert.ok(compared > 500, `${compared} texts`)
    })
  }

  it("gives what Hugging Face's own library gave", async () => {
    const folder = path.join(import.meta.dirname, '../formats/fixtures/tokenizer')
    const { device } = await bothOf(path.join(folder, 'tokenizer.json'))
    const cases = JSON.parse(fs.readFileSync(path.join(folder, 'expected.json'), 'utf8')) as {
      readonly text: string
      readonly ids: number[]
      readonly withSpecials: number[]
      readonly decoded: string
      readonly decodedOmit: string
    }[]
    assert.ok(cases.length > 5)
    for (const expected of cases) {
      assert.deepEqual(device.encode(expected.text), expected.ids)
      assert.deepEqual(device.encode(expected.text, { specials: 'add' }), expected.withSpecials)
      assert.equal(device.decode(expected.ids), expected.decoded)
      assert.equal(device.decode(expected.ids, { specials: 'omit' }), expected.decodedOmit)
    }
    assert.equal(device.idOf('<|im_end|>'), 2)
    assert.equal(device.idOf('<|im_en'), undefined)
  })

  it('decodes any ids as the reference, broken characters included', async () => {
    for (const name of ['the bundled tokenizer', 'characters with byte fallback']) {
      const { device, reference } = await bothOf(kinds[name]?.() ?? '')
      const ids = fc.array(fc.integer({ min: 0, max: reference.vocabSize - 1 }), { maxLength: 40 })
      fc.assert(
        fc.property(ids, fc.constantFrom('keep' as const, 'omit' as const), (list, specials) => {
          const text = reference.decode(list, { specials })
          // Of bytes that are no text together, Hugging Face's library and the device make U+FFFD one by one.
          if (name === 'characters with byte fallback' && text.includes('\ufffd')) return
          assert.equal(device.decode(list, { specials }), text)
        }),
        { numRuns: 500, seed: 5 },
      )
    }
  })

  it('makes U+FFFD of each byte where bytes are no text together', async () => {
    const { device } = await bothOf(kinds['characters with byte fallback']?.() ?? '')
    // The token of byte b has the id 3 + b; seen in Hugging Face's library.
    const bytes = (...list: number[]): number[] => list.map((byte) => 3 + byte)
    assert.equal(device.decode(bytes(0x00, 0x80)), '\ufffd\ufffd')
    assert.equal(device.decode(bytes(0xe6, 0xbc, 0xa2, 0x41)), '漢A')
    assert.equal(device.decode(bytes(0xe6, 0xbc)), '\ufffd\ufffd')
    assert.equal(device.decode([...bytes(0xe6), 1, ...bytes(0xbc, 0xa2)], { specials: 'omit' }), '漢')
    assert.equal(device.decode([...bytes(0xe6), 1, ...bytes(0xbc, 0xa2)]), '\ufffd<bos>\ufffd\ufffd')
  })

  it('brings back what it encoded', async () => {
    const { device } = await bothOf(bundled)
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        assert.equal(device.decode(device.encode(text)), text)
      }),
      { numRuns: 300, seed: 6 },
    )
  })

  it('composes as String.prototype.normalize does', async () => {
    // A vocabulary of single bytes shows what the normalizer made.
    const file = written(changed({ normalizer: { type: 'NFC' }, pre_tokenizer: byteLevel }, { merges: [] }))
    const device = await WasmTokenizer.open(await wasmModule(), tokenizerTable(file))
    const marks = fc.constantFrom(
      ...Array.from('aeszAq\u0301\u0300\u0323\u0327\u0345\u0334\u0307\u0344\u0338\u1100\u1161\u11a8\uac00\uac01\u1112'),
      ...Array.from('\u0958\u09c7\u09be\u0b47\u0b56\u0dd9\u0dcf\u0dca\u1025\u102e\u212b\u2126\uf900\ufb2c\u{1d15e}'),
      ...Array.from(
        '\u05d0\u05b7\u05bc\u05bf\u0e01\u0e38\u0e48\u0f71\u0f72\u0f74\u3099\u304b\u{2f800}\u{110a5}\u{110ba}',
      ),
    )
    const texts = fc.oneof(
      fc.array(marks, { maxLength: 40 }).map((parts) => parts.join('')),
      fc.string({ unit: 'binary', maxLength: 40 }),
    )
    const check = (text: string): void => assert.equal(device.decode(device.encode(text)), text.normalize('NFC'))
    fc.assert(fc.property(texts, check), { numRuns: 2000, seed: 7 })
    for (let code = 0; code < 0x30000; code += 16) {
      const codes = Array.from({ length: 16 }, (_, index) => code + index).filter((one) => one < 0xd800 || one > 0xdfff)
      check(codes.map((one) => String.fromCodePoint(one)).join('\u0323\u0301 \u0338'))
    }
  })

  it('refuses what it cannot do, and goes on', async () => {
    const model = changed({}).model as { vocab: Record<string, number>; merges: unknown[] }
    const { '!': _, ...without } = model.vocab
    const file = written(changed({}, { vocab: without, merges: [] }))
    const device = await WasmTokenizer.open(await wasmModule(), tokenizerTable(file), { longest: 100 })
    const refused = (action: () => unknown, words: RegExp): void => {
      assert.throws(
        action,
        (error) => error instanceof UserError && error.code === 'HD433' && words.test(error.message),
      )
    }
    refused(() => device.encode('oh!'), /cannot express/)
    refused(() => device.encode('a'.repeat(1000)), /longer than/)
    refused(() => device.decode([10 ** 9]), /no such token/)
    refused(() => device.decode([-1]), /no such token/)
    assert.equal(device.decode(device.encode('oh')), 'oh')
  })

  it('refuses a table that was changed, cut off or never was one', async () => {
    const table = tokenizerTable(bundled)
    const module = await wasmModule()
    const opens = (bytes: Uint8Array): Promise<WasmTokenizer> => WasmTokenizer.open(module, bytes)
    const places = fc.sample(fc.integer({ min: 0, max: table.length - 1 }), { numRuns: 60, seed: 8 })
    const bad = [0, 3, 4, 8, 12, 15, 16, 40, table.length - 1, ...places].map((place) => {
      const copy = table.slice()
      copy[place] = (copy[place] ?? 0) ^ 0x10
      return copy
    })
    for (const bytes of [...bad, table.subarray(0, -8), table.slice(0, 16), new Uint8Array(0), new Uint8Array(4096)]) {
      await assert.rejects(opens(bytes), (error) => error instanceof UserError && error.code === 'HD433')
    }
    await opens(table)
  })
})
