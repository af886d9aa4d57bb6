// Ctrl-C: the first asks the run to finish its step and save, the second ends everything. Before there is anything to
// save, the first one ends it.

import { exitCodes } from './output.ts'

export class Interruption {
  readonly #stop = new AbortController()
  readonly #kill = new AbortController()
  #hasSteps = false
  readonly #listener = (): void => this.#interrupt()

  constructor() {
    process.on('SIGINT', this.#listener)
    process.on('SIGTERM', this.#listener)
  }

  /** Aborted by the first Ctrl-C. */
  get stop(): AbortSignal {
    return this.#stop.signal
  }

  /** Aborted by the second. */
  get kill(): AbortSignal {
    return this.#kill.signal
  }

  /** From now on there is something to save. */
  stepsBegin(): void {
    this.#hasSteps = true
  }

  end(): void {
    process.off('SIGINT', this.#listener)
    process.off('SIGTERM', this.#listener)
  }

  #interrupt(): void {
    if (this.#hasSteps && !this.#stop.signal.aborted) {
      process.stderr.write('\nfinishing this step, then saving; once more to stop without saving\n')
      this.#stop.abort()
      return
    }
    const sentence = this.#hasSteps
      ? 'stopped; this run saved nothing'
      : 'stopped before the first step; nothing was saved'
    process.stderr.write(`\n${sentence}\n`)
    this.#kill.abort(new Error('stopped'))
    process.exit(exitCodes.interrupted)
  }
}
