// The options that say for which device and within how much memory a program that runs here is planned. Knows no command.

import type { PlanChoices } from '../train/run.ts'

export interface PlanChoiceOptions {
  readonly device?: string
  readonly memory?: number
}

/** In the words of a run. */
export function planChoices({ device, memory }: PlanChoiceOptions): PlanChoices {
  return {
    ...(device === undefined ? {} : { device }),
    ...(memory === undefined ? {} : { memoryBudget: memory }),
  }
}
