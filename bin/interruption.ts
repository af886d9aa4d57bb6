// Ctrl-C while a run trains: the first signal asks it to finish its step and save.

import { TwoSignals } from './twoSignals.ts'

export class Interruption extends TwoSignals {
  #hasSteps = false
  #savedStep = 0
  #result: string | undefined
  #isHeld = false

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

  /** Nothing is computed until the device allows it. */
  held(isHeld: boolean): void {
    this.#isHeld = isHeld
  }

  protected override stopping(): string | undefined {
    if (!this.#hasSteps) return undefined
    const step = this.#isHeld ? 'giving up the step that is held' : 'finishing this step'
    return `${step}, then saving; once more to stop without saving`
  }

  protected override ending(): string {
    if (!this.#hasSteps) return 'stopped before the first step; nothing was saved'
    const step = this.#savedStep
    if (this.#result !== undefined) return `stopped; what was trained until step ${step} is in ${this.#result}`
    return step === 0 ? 'stopped; this run saved nothing' : `stopped; --resume goes on after step ${step}, saved last`
  }
}
