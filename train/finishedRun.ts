// A run that has made all its steps and is resumed, because its result could not be written or is wanted again: that is written
// from the saved state. Nothing is compiled, and what was trained in a file needs no second one.

import type { Evaluation } from '../dsl/index.ts'
import { removeLeftovers } from '../formats/staging.ts'
import type { LoopObserver } from './loop.ts'
import { MetricsFile } from './metrics.ts'
import { writeResults } from './results.ts'
import type { LoopResult, ResultSettings } from './results.ts'
import type { RunStates, SavedState } from './runState.ts'
import { resultDirectory } from './save.ts'
import { Watch } from './watch.ts'

/** Whether a run of so many steps has neither a step nor an evaluation left to make. */
export function nothingLeft(
  { progress: { step }, watch }: Pick<SavedState, 'progress' | 'watch'>,
  evaluate: Evaluation | undefined,
  steps: number,
): boolean {
  const watched = evaluate && new Watch(evaluate, [], watch ?? undefined)
  if (step === 0 || watched?.isDue(step, steps) === true) return false
  return step >= steps || watched?.isOver === true
}

/** Writes the result of a run of `total` steps from its last state. Errors: HD405, HD408, and HD40x, HD412, HD833 of the state. */
export async function writeFinished(
  settings: ResultSettings & { readonly states: RunStates; readonly total: number },
  from: SavedState,
  observer: LoopObserver,
): Promise<LoopResult> {
  const { out, recipe, program, files, states, total } = settings
  const { step } = from.progress
  for (const directory of [out, resultDirectory(out, recipe)]) removeLeftovers(directory)
  observer.finishing?.(step)
  const metrics = new MetricsFile(out, files, step)
  try {
    const outcome = step >= total ? 'finished' : 'early'
    const ending = { outcome, steps: step, total, best: from.watch?.best ?? undefined, metrics } as const
    return await writeResults(settings, ending, states.trained(from, program), (dir) => observer.resultSaved?.(dir))
  } finally {
    metrics.close()
  }
}
