// Ctrl-C while `heddle plan` compiles what would make a recipe fit: it ends before the next program with what was found.

import { TwoSignals } from './twoSignals.ts'

export class PlanInterruption extends TwoSignals {
  protected override stopping(): string {
    return 'ending with what was found so far; once more to stop at once'
  }

  protected override ending(): string {
    return 'stopped'
  }
}
