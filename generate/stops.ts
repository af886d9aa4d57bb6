// Strings that end a text. What may be the beginning of one is held back until it is known. Knows no tokens.

export interface Ending {
  /** What may be shown now. */
  readonly text: string
  /** The stop string that was met; it is not part of the text. */
  readonly stop: string | undefined
}

/** A text that grows until it has one of the `stops` in it; of several, the one that ends first. */
export class StoppedText {
  readonly #stops: readonly string[]
  /** Not shown yet: a beginning of some stop string, or empty. */
  #held = ''

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '')
  }

  add(text: string): Ending {
    const whole = this.#held + text
    const ends = this.#stops.flatMap((stop) => {
      const at = whole.indexOf(stop)
      return at < 0 ? [] : [{ at, end: at + stop.length, stop }]
    })
    const first = ends.sort((a, b) => a.end - b.end || a.at - b.at)[0]
    if (first) {
      this.#held = ''
      return { text: whole.slice(0, first.at), stop: first.stop }
    }
    const held = Math.max(0, ...this.#stops.map((stop) => overlap(whole, stop)))
    this.#held = whole.slice(whole.length - held)
    return { text: whole.slice(0, whole.length - held), stop: undefined }
  }

  /** The rest, once nothing more comes. */
  end(): string {
    const held = this.#held
    this.#held = ''
    return held
  }
}

/** How many characters at the end of a text, which has no `stop` in it, are a beginning of one. */
function overlap(text: string, stop: string): number {
  let length = stop.length
  while (!text.endsWith(stop.slice(0, length))) length--
  return length
}
