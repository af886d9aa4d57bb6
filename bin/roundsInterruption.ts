// Ctrl-C while rounds are measured: the first signal ends the measuring after the round under way, the second ends
// everything. Before there is a round to report, the first one ends it.

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

export class RoundsInterruption {
  readonly #stop = new AbortController()
  readonly #kill = new AbortController()
  #hasRounds = false
  #exitCode: number = SIGNALS.SIGINT
  readonly #listener = (signal: keyof typeof SIGNALS): void => this.#interrupt(signal)

  constructor() {
    for (const signal of Object.keys(SIGNALS)) process.on(signal, this.#listener)
  }

  get stop(): AbortSignal {
    return this.#stop.signal
  }

  get kill(): AbortSignal {
    return this.#kill.signal
  }

  /** As a shell counts it: 128 and the signal's number. */
  get exitCode(): number {
    return this.#exitCode
  }

  /** From now on there is something to report. */
  roundsBegin(): void {
    this.#hasRounds = true
  }

  end(): void {
    for (const signal of Object.keys(SIGNALS)) process.off(signal, this.#listener)
  }

  #interrupt(signal: keyof typeof SIGNALS): void {
    this.#exitCode = SIGNALS[signal]
    if (this.#hasRounds && !this.#stop.signal.aborted) {
      process.stderr.write('\nreporting after this round; once more to stop at once\n')
      this.#stop.abort()
      return
    }
    process.stderr.write('\nstopped\n')
    this.#kill.abort(new Error('stopped'))
    process.exit(this.#exitCode)
  }
}
