// The tokens of an example as pieces of text to look at, each with whether it is learnt. Prints nothing.

import type { Example } from './examples.ts'

export interface ShownPiece {
  readonly text: string
  readonly isLearnt: boolean
  /** Its ids: several where only together they are whole characters. */
  readonly ids: readonly number[]
}

/**
 * The first `most` tokens of an example. The first one is never learnt, since nothing comes before it; every other is the
 * target of the position before. Tokens that hold parts of one character are one piece, which is learnt when its last is.
 */
export function shownPieces(example: Example, decode: (ids: readonly number[]) => string, most: number): ShownPiece[] {
  const ids = [...example.tokens.slice(0, 1), ...example.targets].slice(0, most)
  const pieces: ShownPiece[] = []
  let shown = ''
  let begun = 0
  for (let count = 1; count <= ids.length; count++) {
    // From the beginning each time: a decoder may treat the first token of a text in a way of its own.
    const text = decode(ids.slice(0, count))
    const isWhole = !text.endsWith('\ufffd') || count === ids.length
    if (!isWhole) continue
    const added = text.startsWith(shown) ? text.slice(shown.length) : decode(ids.slice(begun, count))
    pieces.push({ text: added, isLearnt: count > 1 && example.weights[count - 2] === 1, ids: ids.slice(begun, count) })
    shown = text
    begun = count
  }
  return pieces
}
