// Cuts what a compiled program writes into replies: a line of JSON, and the raw bytes that the line announces. Knows no
// command.

export interface Reply {
  readonly fields: Readonly<Record<string, unknown>>
  /** Empty unless the line announced `payload` bytes. */
  readonly payload: Uint8Array<ArrayBuffer>
}

/** The longest line: one entry per kernel of a program with thousands of them. */
const LONGEST_LINE = 16 << 20
/** The largest payload: what one typed array of Node 20 holds. */
const LARGEST_PAYLOAD = 2 ** 32

export class ReplyReader {
  readonly #deliver: (reply: Reply) => void
  #line: Buffer[] = []
  #lineBytes = 0
  #fields: Readonly<Record<string, unknown>> | undefined
  #payload = new Uint8Array(0)
  #filled = 0

  constructor(deliver: (reply: Reply) => void) {
    this.#deliver = deliver
  }

  /** Takes what has arrived; returns what is wrong with it, if anything. */
  take(chunk: Buffer): string | undefined {
    let rest = chunk
    while (rest.length > 0) {
      if (this.#fields) {
        const count = Math.min(rest.length, this.#payload.length - this.#filled)
        this.#payload.set(rest.subarray(0, count), this.#filled)
        this.#filled += count
        rest = rest.subarray(count)
        this.#finishPayload()
        continue
      }
      const end = rest.indexOf(0x0a)
      const piece = end < 0 ? rest : rest.subarray(0, end)
      this.#lineBytes += piece.length
      if (this.#lineBytes > LONGEST_LINE) return 'a line without end'
      this.#line.push(piece)
      if (end < 0) return undefined
      rest = rest.subarray(end + 1)
      const problem = this.#finishLine()
      if (problem !== undefined) return problem
    }
    return undefined
  }

  #finishLine(): string | undefined {
    const text = Buffer.concat(this.#line).toString('utf8')
    this.#line = []
    this.#lineBytes = 0
    let fields: unknown
    try {
      fields = JSON.parse(text)
    } catch {
      return text.slice(0, 200)
    }
    if (typeof fields !== 'object' || fields === null) return text.slice(0, 200)
    this.#fields = fields as Record<string, unknown>
    const announced = this.#fields['payload'] ?? 0
    if (typeof announced !== 'number' || !(announced >= 0 && announced <= LARGEST_PAYLOAD)) return text.slice(0, 200)
    this.#payload = new Uint8Array(announced)
    this.#filled = 0
    this.#finishPayload()
    return undefined
  }

  #finishPayload(): void {
    if (!this.#fields || this.#filled < this.#payload.length) return
    const reply = { fields: this.#fields, payload: this.#payload }
    this.#fields = undefined
    this.#payload = new Uint8Array(0)
    this.#deliver(reply)
  }
}
