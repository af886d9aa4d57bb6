// Counts right answers for the demo. Knows only strings.

/** How many answers were right, of how many; `rate` is their ratio, 0 when nothing was asked. */
export interface Accuracy {
  readonly right: number
  readonly asked: number
  readonly rate: number
}

/** The first word of a text, without punctuation around it and in lower case; empty when there is none. */
export function firstWord(text: string): string {
  return /[\p{L}\p{N}]+/u.exec(text)?.[0].toLowerCase() ?? ''
}

/**
 * Compares the first word of each answer with the first word expected; an answer without any word is wrong. The lists
 * must be of one length (RangeError otherwise).
 */
export function scoreAnswers(expected: readonly string[], got: readonly string[]): Accuracy {
  if (expected.length !== got.length) {
    throw new RangeError(`${expected.length} answers expected and ${got.length} given`)
  }
  const right = expected.filter((answer, index) => {
    const word = firstWord(answer)
    return word !== '' && word === firstWord(got[index] as string)
  }).length
  return { right, asked: expected.length, rate: expected.length === 0 ? 0 : right / expected.length }
}
