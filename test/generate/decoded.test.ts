// The text of tokens as they come: characters spread over tokens, bytes that are no text, special tokens, ids without one.

import assert from 'node:assert/strict'
import { decoded } from '../../generate/generateText.ts'

type Tokens = Parameters<typeof decoded>[0]
type Tokenizer = Parameters<typeof decoded>[1]

/** Tokens are bytes; 256 is a special token, 300 none at all. */
const bytes = {
  decode: (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids.filter((id) => id < 256))),
} as Tokenizer

async function textOf(
  ids: readonly number[],
  stops: readonly string[] = [],
): Promise<{ parts: string[]; stopped: string; rest: string }> {
  async function* tokens(): Tokens {
    for (const id of ids) yield id
    return 'tokens'
  }
  const parts: string[] = []
  const text = decoded(tokens(), bytes, stops)
  for (;;) {
    const { done, value } = await text.next()
    if (done === true) return { parts, ...value }
    parts.push(value.text)
  }
}

const utf8 = (text: string): number[] => [...new TextEncoder().encode(text)]

describe('the text of tokens', () => {
  it('shows a character when its last byte has come', async () => {
    const { parts, rest } = await textOf(utf8('aé😀b'))
    assert.deepEqual(parts, ['a', '', 'é', '', '', '', '😀', 'b'])
    assert.equal(rest, '')
  })

  it('shows what is left of a character that never ends', async () => {
    const { parts, rest } = await textOf(utf8('a😀').slice(0, -1))
    assert.equal(parts.join(''), 'a')
    assert.equal(rest, '\ufffd')
  })

  it('does not wait for ever for bytes that are no text', async () => {
    const { parts, rest } = await textOf(Array.from({ length: 9 }, () => 0x80))
    assert.equal(parts.join(''), '\ufffd'.repeat(6))
    assert.equal(rest, '\ufffd'.repeat(3))
  })

  it('makes nothing of what is no text', async () => {
    assert.deepEqual((await textOf([97, 256, 300, 98])).parts, ['a', '', '', 'b'])
  })

  it('ends at a stop string, also at one that the last bytes complete', async () => {
    assert.deepEqual(await textOf(utf8('one. two'), ['. ']), {
      parts: ['o', 'n', 'e', '', ''],
      stopped: 'stop string',
      rest: '',
    })
    const { stopped, rest } = await textOf(utf8('one\ufffd'), ['\ufffd'])
    assert.deepEqual([stopped, rest], ['stop string', ''])
  })
})
