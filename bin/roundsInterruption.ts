// Ctrl-C while rounds are measured: the first signal ends the measuring after the round under way.

import { TwoSignals } from './twoSignals.ts'

export class RoundsInterruption extends TwoSignals {
  #hasRounds = false
  readonly #said: string

  constructor(said = 'reporting after this round; once more to stop at once') {
    super()
    this.#said = said
  }

  /** From now on there is something to report. */
  roundsBegin(): void {
    this.#hasRounds = true
  }

  protected override stopping(): string | undefined {
    return this.#hasRounds ? this.#said : undefined
  }

  protected override ending(): string {
    return 'stopped'
  }
}
