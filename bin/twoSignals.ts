// Ctrl-C and its kin, in two steps: the first signal asks for an end in good order, the second ends everything. Where there is
// nothing to bring in order yet, the first one ends it. Knows no command.

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

export abstract class TwoSignals {
  readonly #stop = new AbortController()
  readonly #kill = new AbortController()
  #exitCode: number = SIGNALS.SIGINT
  readonly #listener = (signal: keyof typeof SIGNALS): void => this.#interrupt(signal)

  constructor() {
    for (const signal of Object.keys(SIGNALS)) process.on(signal, this.#listener)
  }

  /** What is said at the first signal; undefined where there is nothing to bring in order. */
  protected abstract stopping(): string | undefined

  /** What is said at the last one. */
  protected abstract ending(): string

  /** Aborted by the first signal. */
  get stop(): AbortSignal {
    return this.#stop.signal
  }

  /** Aborted by the second. */
  get kill(): AbortSignal {
    return this.#kill.signal
  }

  /** What the command ends with: 130 after Ctrl-C, 143 after SIGTERM, 129 when the terminal was closed. */
  get exitCode(): number {
    return this.#exitCode
  }

  end(): void {
    for (const signal of Object.keys(SIGNALS)) process.off(signal, this.#listener)
  }

  #interrupt(signal: keyof typeof SIGNALS): void {
    this.#exitCode = SIGNALS[signal]
    const stopping = this.stopping()
    if (stopping !== undefined && !this.#stop.signal.aborted) {
      process.stderr.write(`\n${stopping}\n`)
      this.#stop.abort()
      return
    }
    process.stderr.write(`\n${this.ending()}\n`)
    this.#kill.abort(new Error('stopped'))
    process.exit(this.#exitCode)
  }
}
