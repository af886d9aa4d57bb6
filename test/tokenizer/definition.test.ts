// Which tokenizer.json becomes a table, and the sentence for every one that does not.

import assert from 'node:assert/strict'
import { definitionOf } from '../../backends/tokenizer/definition.ts'
import { tokenizerTable } from '../../backends/tokenizer/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { changed, characterTokenizer, written } from './deviceTokenizer.ts'

function refused(definition: Record<string, unknown>, words: RegExp): void {
  assert.throws(
    () => tokenizerTable(written(definition)),
    (error) => {
      assert.ok(error instanceof UserError, String(error))
      assert.equal(error.code, 'HD432', error.sentence)
      assert.match(error.sentence, words)
      assert.doesNotMatch(error.sentence, /\p{Cc}/u)
      return true
    },
  )
}

const added = (parts: Record<string, unknown>) => ({
  added_tokens: [{ id: 0, content: '<|endoftext|>', special: true, normalized: false, ...parts }],
})
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: false }
const sequence = (...pretokenizers: unknown[]) => ({ pre_tokenizer: { type: 'Sequence', pretokenizers } })

describe('tokenizer.json for a device', () => {
  it('is refused by a sentence where a device would do otherwise', () => {
    refused({}, /\(model\) the tokenizer has no model/)
    refused(changed({}, { type: 'Unigram' }), /BPE, not with "\\"Unigram\\""/)
    refused(changed({}, { dropout: 0.1 }), /dropped at random/)
    refused(changed({}, { end_of_word_suffix: '</w>' }), /end_of_word_suffix/)
    refused(changed({}, { continuing_subword_prefix: '##' }), /continuing_subword_prefix/)
    refused(changed({}, { unk_token: '<unk>' }), /unknown token/)
    refused(changed({}, { byte_fallback: true }), /no use for byte fallback/)
    refused(changed({}, { vocab: [] }), /no vocabulary/)
    refused(changed({}, { vocab: {} }), /vocabulary is empty/)
    refused(changed({}, { vocab: { a: -1 } }), /no id below/)
    refused(changed({}, { vocab: { a: 1, b: 1 } }), /belongs to "a" and "b"/)
    refused(changed({}, { vocab: { '\ud800': 1 } }), /no Unicode text/)
    refused(changed({}, { vocab: { ['a'.repeat(2000)]: 1 } }), /2000 characters/)
    refused(changed({}, { merges: {} }), /merges are not a list/)
    refused(changed({}, { merges: ['a b c'] }), /merge 0 is not a pair/)
    refused(changed({}, { merges: [['a', 'b', 'c']] }), /merge 0 is not a pair/)
    refused(changed({}, { merges: [['a', 'qqq']] }), /"qqq", which is no token/)
    refused(changed({}, { merges: [['a', '!']] }), /"a!", which is no token/)
  })

  it('is refused by its added tokens', () => {
    for (const flag of ['lstrip', 'rstrip', 'single_word']) refused(changed(added({ [flag]: true })), new RegExp(flag))
    refused(changed(added({ id: 7 })), /belongs to/)
    refused(changed(added({ id: 99999 })), /two ids/)
    refused(changed(added({ content: 'xx', id: 600 })), /the id 600 where Hugging Face's library counts 548/)
    refused(changed(added({ id: 1e9 })), /no id below/)
    refused(changed(added({ content: '' })), /no text/)
    refused(changed({ added_tokens: {} }), /not a list/)
    refused(changed({ added_tokens: [1] }), /not an object/)
    const twice = { content: 'xx', special: true, normalized: false }
    refused(
      changed({
        added_tokens: [
          { ...twice, id: 548 },
          { ...twice, id: 549 },
        ],
      }),
      /added twice/,
    )
  })

  it('is refused by the parts around its model', () => {
    refused(changed({ normalizer: { type: 'Lowercase' } }), /does not normalize by "Lowercase"/)
    const nfc = { type: 'NFC' }
    refused(changed({ normalizer: { type: 'Sequence', normalizers: [nfc, nfc] } }), /one step/)
    const replace = { type: 'Replace', pattern: { Regex: ' +' }, content: ' ' }
    refused(changed({ normalizer: replace }), /plain text/)
    refused(changed({ normalizer: { ...replace, pattern: { String: '' } } }), /cannot be replaced/)
    refused(changed({ pre_tokenizer: { type: 'Metaspace' } }), /does not split by "Metaspace"/)
    refused(changed({ pre_tokenizer: null }), /neither byte-level/)
    refused(changed(sequence(byteLevel, { type: 'Digits' })), /follow ByteLevel/)
    refused(changed(sequence({ ...byteLevel, add_prefix_space: true })), /no space before/)
    const split = { type: 'Split', pattern: { Regex: 'a' }, behavior: 'Isolated', invert: false }
    refused(changed(sequence({ ...split, behavior: 'Removed' }, byteLevel)), /behaviour "Removed"/)
    refused(changed(sequence({ ...split, invert: true }, byteLevel)), /does not match/)
    refused(changed(sequence({ ...split, pattern: {} }, byteLevel)), /no pattern/)
    refused(changed(sequence({ ...split, pattern: { Regex: 'a**' } }, byteLevel)), /character 4 of the pattern/)
    refused(changed(sequence(...Array.from({ length: 9 }, () => split), byteLevel)), /more than 8/)
    refused(changed({ post_processor: { type: 'BertProcessing' } }), /post-process by "BertProcessing"/)
    const template = { type: 'TemplateProcessing', single: [{ Sequence: { id: 'A' } }], special_tokens: {} }
    refused(changed({ post_processor: { ...template, single: [] } }), /no place for the text/)
    refused(
      changed({ post_processor: { ...template, single: [{ SpecialToken: { id: 'x' } }] } }),
      /around one sequence/,
    )
    refused(
      changed({ post_processor: { type: 'Sequence', processors: [template, template] } }),
      /more than one template/,
    )
    refused(changed({ decoder: null }), /needs the decoder "ByteLevel"/)
    refused({ ...characterTokenizer([], 'a'), decoder: { type: 'ByteLevel' } }, /needs replacements/)
    const plain = characterTokenizer([], 'a')
    refused({ ...plain, model: { ...(plain.model as object), byte_fallback: false } }, /neither byte-level nor/)
    const { '<0x41>': _, ...vocab } = (plain.model as { vocab: Record<string, number> }).vocab
    refused({ ...plain, model: { ...(plain.model as object), vocab } }, /without the token <0x41>/)
    refused({ ...plain, model: { ...(plain.model as object), ignore_merges: true } }, /byte-level vocabularies only/)
  })

  it('is read in the older and the newer spelling of merges', () => {
    const pairs = definitionOf(changed({}, { merges: [['i', 'n']] }), 'x').merges
    const lines = definitionOf(changed({}, { merges: ['i n'] }), 'x').merges
    assert.deepEqual(pairs, lines)
    assert.equal(pairs.length, 1)
  })

  it('gives the same table each time', () => {
    const file = written(changed({ normalizer: { type: 'NFC' } }))
    assert.deepEqual(tokenizerTable(file), tokenizerTable(file))
  })
})
