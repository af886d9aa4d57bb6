// The logits of what follows a text, from an open session: with keys and values kept from call to call, or with the
// whole text computed again for every token. Knows no text and no choice of tokens.

import type { Session } from '../backends/neon/driver/index.ts'

/** A text that grows; one session holds one at a time. */
export interface GrowingText {
  /** Forgets the text before and takes in a prompt of at least one token: the logits of what follows it. */
  begin(prompt: readonly number[]): Promise<Float32Array>
  /** The logits of what follows one token more. */
  add(token: number): Promise<Float32Array>
}

/**
 * Through `prefill` and `decode` of a program for one sequence. `chunk` is the bound of `seq`: most tokens of a prompt
 * that one call takes.
 */
export function keptText(session: Session, chunk: number): GrowingText {
  let length = 0
  return {
    async begin(prompt) {
      if (length > 0) await session.call('clear', { seq: 1, context: length })
      length = 0
      while (length < prompt.length) {
        const tokens = Int32Array.from(prompt.slice(length, length + chunk))
        const seq = tokens.length
        await session.write('tokens', tokens, [1, seq])
        await session.write(
          'positions',
          tokens.map((_, index) => length + index),
          [1, seq],
        )
        await session.write('last', Int32Array.of(seq - 1))
        length += seq
        await session.call('prefill', { seq, context: length })
      }
      return floats(await session.output('prefill', 'logits'))
    },
    async add(token) {
      await session.write('token', Int32Array.of(token))
      await session.write('place', Int32Array.of(length))
      length++
      await session.call('decode', { seq: 1, context: length })
      return floats(await session.output('decode', 'logits'))
    },
  }
}

/** Through `predict` of a program for one sequence. */
export function recomputedText(session: Session): GrowingText {
  let text: number[] = []
  const next = async (): Promise<Float32Array> => {
    await session.write('tokens', Int32Array.from(text), [1, text.length])
    await session.write('position', Int32Array.of(text.length - 1))
    await session.call('predict', { seq: text.length })
    return floats(await session.output('predict', 'logits'))
  }
  return {
    begin: (prompt) => {
      text = [...prompt]
      return next()
    },
    add: (token) => {
      text.push(token)
      return next()
    },
  }
}

function floats(data: Float32Array | Int32Array): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data)
}
