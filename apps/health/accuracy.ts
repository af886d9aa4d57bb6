// Counts right answers for the demo. Knows only strings.

/** How many answers were right, of how many; `rate` is their ratio, 0 when nothing was asked. */
export interface Accuracy {
  readonly right: number
  readonly asked: number
  readonly rate: number
}

/**
 * The last word of an answer's first sentence, in lower case, or nothing. The sentence must be finished: a full stop
 * that no digit follows, since `96.5` has one too.
 */
export function verdictOf(text: string): string {
  const sentence = /^(.*?)\.(?!\d)/su.exec(text)?.[1]
  return sentence === undefined ? '' : (/\p{L}+$/u.exec(sentence)?.[0].toLowerCase() ?? '')
}

/**
 * Compares the verdict of each answer with the word expected, whatever its case; an answer without a verdict is wrong.
 * The lists must be of one length (RangeError otherwise).
 */
export function scoreAnswers(expected: readonly string[], got: readonly string[]): Accuracy {
  if (expected.length !== got.length) {
    throw new RangeError(`${expected.length} answers expected and ${got.length} given`)
  }
  const right = expected.filter((word, index) => {
    const verdict = verdictOf(got[index] as string)
    return verdict !== '' && verdict === word.toLowerCase()
  }).length
  return { right, asked: expected.length, rate: expected.length === 0 ? 0 : right / expected.length }
}
