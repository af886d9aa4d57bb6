// Ctrl-C and its kin: the first signal asks the run to finish its step and save, the second ends everything. Before there
// is anything to save, the first one ends it.

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

export class Interruption {
  readonly #stop = new AbortController()
  readonly #kill = new AbortController()
  #hasSteps = false
  #savedStep = 0
  #result: string | undefined
  /** As a shell counts it: 128 and the signal's number. */
  #exitCode: number = SIGNALS.SIGINT
  readonly #listener = (signal: keyof typeof SIGNALS): void => this.#interrupt(signal)

  constructor() {
    for (const signal of Object.keys(SIGNALS)) process.on(signal, this.#listener)
  }

  /** Aborted by the first signal. */
  get stop(): AbortSignal {
    return this.#stop.signal
  }

  /** Aborted by the second. */
  get kill(): AbortSignal {
    return this.#kill.signal
  }

  /** What a run that was stopped ends with: 130 after Ctrl-C, 143 after SIGTERM, 129 when the terminal was closed. */
  get exitCode(): number {
    return this.#exitCode
  }

  /** From now on there is something to save. A run that goes on from a state has that state's step behind it. */
  stepsBegin(resumedAfter = 0): void {
    this.#hasSteps = true
    this.#savedStep = resumedAfter
  }

  /** The state after a step is on the disk. */
  saved(step: number): void {
    this.#savedStep = step
  }

  /** What was trained is on the disk, as the user would type its path. */
  resultSaved(shown: string): void {
    this.#result = shown
  }

  end(): void {
    for (const signal of Object.keys(SIGNALS)) process.off(signal, this.#listener)
  }

  #interrupt(signal: keyof typeof SIGNALS): void {
    this.#exitCode = SIGNALS[signal]
    if (this.#hasSteps && !this.#stop.signal.aborted) {
      process.stderr.write('\nfinishing this step, then saving; once more to stop without saving\n')
      this.#stop.abort()
      return
    }
    process.stderr.write(`\n${this.#sentence()}\n`)
    this.#kill.abort(new Error('stopped'))
    process.exit(this.#exitCode)
  }

  #sentence(): string {
    if (!this.#hasSteps) return 'stopped before the first step; nothing was saved'
    const step = this.#savedStep
    if (this.#result !== undefined) return `stopped; what was trained until step ${step} is in ${this.#result}`
    return step === 0 ? 'stopped; this run saved nothing' : `stopped; --resume goes on after step ${step}, saved last`
  }
}
