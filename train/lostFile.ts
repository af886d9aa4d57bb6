// What a run says that ends because a file which it needs has failed it: no more than was really saved. Knows errors, no session.

import { UserError } from '../compiler/diagnostic.ts'

/** HD717: a file cannot be read or written while the program runs. HD836: one of weights has changed. */
const CODES: ReadonlySet<string> = new Set(['HD717', 'HD836'])

export function endsRun(error: unknown): error is UserError {
  return error instanceof UserError && CODES.has(error.code)
}

/**
 * The same error with what to do then, where the newest state that this run can be gone on from is that of step `saved`, 0 for
 * none, and `made` steps were made. `stateFile`: where the program keeps what it trains, if it does not in memory.
 */
export function withWayOn(error: UserError, saved: number, made: number, stateFile?: string): UserError {
  const { code, message, place, cause } = error
  const isState = stateFile !== undefined && place?.file === stateFile
  const first = isState ? 'make room on its disk, or see what ails it,' : 'bring the file back as it was'
  const mend = `${first} and ${saved === 0 ? anew(made) : wayOn(saved, made, isState)}`
  return new UserError(code, message, { ...(place ? { place } : {}), mend, cause: cause ?? error })
}

function anew(made: number): string {
  return `start again: ${made === 0 ? 'no step was made' : 'nothing was saved'}`
}

function wayOn(saved: number, made: number, isState: boolean): string {
  // What ails the file may have reached what it holds of that step.
  if (isState) return 'give --resume, which goes on from the newest state that is whole'
  return `give --resume, which goes on after step ${saved}${made > saved ? '; what was trained since is not saved' : ''}`
}
