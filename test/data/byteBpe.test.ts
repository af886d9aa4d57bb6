// The trainer against a naive one written straight from the definition, and its file through the library that reads it.

import assert from 'node:assert/strict'
import { Tokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { byteAlphabet, trainByteBpe, type ByteBpeOptions } from '../../data/byteBpe.ts'

interface TokenizerFile {
  model: { vocab: Record<string, number>; merges: string[] }
}

const text = 'low lower lowest, newer newest wider: 12500 steps, 96.5 percent; the low, the new, the wide. '.repeat(3)
const train = (
  texts: string[],
  options: ByteBpeOptions,
): { tokenizer: Tokenizer; file: TokenizerFile; size: number } => {
  const { json, size } = trainByteBpe(texts, options)
  const file = JSON.parse(json) as TokenizerFile
  return { tokenizer: new Tokenizer(file, { tokenizer_class: 'GPT2Tokenizer' }), file, size }
}

/** Counts every pair of every word anew for each merge. */
function naiveMerges(content: string, count: number): string[] {
  const alphabet = byteAlphabet()
  let words = [...content.matchAll(/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu)].map(
    ([word]) => [...Buffer.from(word)].map((byte) => alphabet[byte] as string),
  )
  const merges: string[] = []
  while (merges.length < count) {
    const counts = new Map<string, number>()
    for (const word of words) {
      for (let index = 1; index < word.length; index++) {
        const pair = `${word[index - 1]} ${word[index]}`
        counts.set(pair, (counts.get(pair) ?? 0) + 1)
      }
    }
    const most = Math.max(0, ...counts.values())
    if (most < 2) break
    // By left part, then by right part; a space sorts before every character of the alphabet.
    const [best] = [...counts]
      .filter(([, times]) => times === most)
      .map(([pair]) => pair)
      .sort()
    const [left, right] = best!.split(' ')
    merges.push(best!)
    words = words.map((word) => {
      const result: string[] = []
      for (let index = 0; index < word.length; index++) {
        if (word[index] === left && word[index + 1] === right) {
          result.push(left! + right!)
          index++
        } else result.push(word[index]!)
      }
      return result
    })
  }
  return merges
}

describe('data/byteBpe', () => {
  it('learns the merges that the definition gives', () => {
    assert.deepEqual(train([text], { vocabulary: 256 + 40 }).file.model.merges, naiveMerges(text, 40))
    const words = fc.array(fc.constantFrom('ab', 'abab', 'ba', 'aaa', 'é', '12', ', ', ' ', 'cab'), { maxLength: 30 })
    fc.assert(
      fc.property(words, (parts) => {
        const content = parts.join('')
        const { file } = train([content], { vocabulary: 256 + 12 })
        // Where two merges spell one token the vocabulary grows by one only, so the trainer may learn one merge more.
        const learned = file.model.merges
        assert.deepEqual(learned, naiveMerges(content, learned.length))
        assert.ok(learned.length === 12 || Object.keys(file.model.vocab).length <= 268)
      }),
      { numRuns: 60 },
    )
  })

  it('gives back every text through the tokenizer library', () => {
    const { tokenizer } = train([text], { vocabulary: 300, special: ['<|endoftext|>'], digits: 'single' })
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), (given) => {
        const { ids } = tokenizer.encode(given)
        assert.equal(tokenizer.decode(ids, { clean_up_tokenization_spaces: false }), given)
      }),
    )
  })

  it('keeps digits apart when asked, and merges them otherwise', () => {
    const digits = '12500 12500 12500 12500'
    const single = train([digits], { vocabulary: 280, digits: 'single' })
    assert.deepEqual(single.tokenizer.encode('is 12500.').tokens, ['i', 's', 'Ġ', '1', '2', '5', '0', '0', '.'])
    assert.deepEqual(single.tokenizer.encode('٣٤').ids.length, 4)
    assert.deepEqual(train([digits], { vocabulary: 280 }).tokenizer.encode(' 12500').tokens, ['Ġ12500'])
  })

  it('puts special tokens first and never learns or spells them', () => {
    const { tokenizer, file, size } = train([text], { vocabulary: 270, special: ['<|endoftext|>', '<|pad|>'] })
    assert.equal(size, 270)
    assert.deepEqual([file.model.vocab['<|endoftext|>'], file.model.vocab['<|pad|>']], [0, 1])
    assert.deepEqual(tokenizer.encode('<|pad|>a').ids, [1, file.model.vocab['a']])
    const numbers = Object.values(file.model.vocab).sort((one, other) => one - other)
    assert.deepEqual(
      numbers,
      Array.from({ length: size }, (_, index) => index),
    )
  })

  it('depends on the texts alone, not on how they are divided or which came first', () => {
    const lines = text.split(/(?<=[.;:,] )/)
    const whole = trainByteBpe(lines, { vocabulary: 290, digits: 'single' }).json
    assert.equal(trainByteBpe([...lines].reverse(), { vocabulary: 290, digits: 'single' }).json, whole)
  })

  it('stops when nothing occurs twice, and refuses a vocabulary without room for bytes', () => {
    assert.equal(trainByteBpe(['abc'], { vocabulary: 1000 }).size, 256)
    assert.equal(trainByteBpe([], { vocabulary: 1000 }).size, 256)
    assert.throws(() => trainByteBpe([text], { vocabulary: 256, special: ['<|endoftext|>'] }), { code: 'HD520' })
  })
})
