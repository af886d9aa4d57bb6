// What a session needs of the place where a program runs: bytes in, bytes out, run, pause. One per kind of place
// (`native.ts`, `wasm.ts`); it checks nothing that the session has checked.

import { UserError } from '../../../compiler/diagnostic.ts'
import type { Decision, EnergyUse, GovernorPolicy } from './governor.ts'
import type { StorageRate } from '../../../compiler/plan/rates.ts'
import type { SessionStats } from './session.ts'

/** How a run came back. `refused` is the run-time's own sentence; `storageFailed` is about what is not in memory. */
export type RunResult =
  | { readonly status: 'ok' | 'paused' | 'abandoned' }
  | { readonly status: 'notFinite'; readonly value: string }
  | { readonly status: 'refused'; readonly message: string }
  | { readonly status: 'storageFailed'; readonly error: UserError }

/**
 * A function by name, a micro-batch of a training step, or the update that a step left undone: `later` is the last micro-batch of
 * one whose update the next step makes, unless `settle` comes first; `end` is what `last` does behind its micro-batch, alone.
 */
export type Run =
  { readonly call: string } | { readonly step: 'more' | 'last' | 'later' | 'end' } | { readonly settle: true }

export interface Device {
  readonly memoryBytes: number
  write(name: string, bytes: Uint8Array): Promise<void>
  /** A fresh copy. */
  read(name: string): Promise<Uint8Array<ArrayBuffer>>
  /** A fresh copy of what the last run left. */
  output(fn: string, name: string): Promise<Uint8Array<ArrayBuffer>>
  /** `sizes` in the program's order. */
  run(run: Run, sizes: readonly number[]): Promise<RunResult>
  /** Goes on with the run that paused. */
  resume(): Promise<RunResult>
  /** Takes effect at once, while a run is under way as well; 0 takes a request back. */
  pauseAfter(launches: number): void
  /** Sets the limits within which runs compute, or takes them off. */
  govern(policy: GovernorPolicy | undefined, tell: (decision: Decision) => void): Promise<void>
  energy(): Promise<EnergyUse>
  /** Takes effect at once: no rest any more, and a run that is held comes back as `abandoned`. */
  finish(): void
  stats(): Promise<SessionStats>
  /**
   * Makes what is stored and what is in memory a version that stands; says which, in which slot of the state file, and the
   * sum of what the slot holds, as 16 hexadecimal digits.
   */
  keep(): Promise<{ readonly version: number; readonly slot: 0 | 1; readonly sum: string }>
  close(): Promise<void>
}

/** A file that something is moved from or to while a program runs. */
export interface MovedFile {
  readonly path: string
  readonly holds: 'weights' | 'states'
}

const storageMends = {
  weights: 'bring the file back as it was and start again, a training run with --resume',
  states:
    'make room on its disk, or see what ails it, and give --resume, which goes on from the newest state that is whole',
} as const

/**
 * HD717: something could not be moved between memory and storage. `message` says which bytes were to be read or written, and
 * the system's reason.
 */
export function storageFailure(message: string, file: MovedFile | undefined): UserError {
  const about = file ? { place: { file: file.path }, mend: storageMends[file.holds] } : {}
  return new UserError('HD717', `${message}; nothing was updated`, about)
}

/** A range of a file that holds one frozen tensor as stored. */
export interface FrozenRange {
  readonly path: string
  /** In bytes from the start of the file. */
  readonly offset: number
  readonly bytes: number
}

/** Storage of another device; writing is as fast as reading unless said. */
export interface Pace extends StorageRate {
  readonly writeBytesPerSecond?: number
}

export interface DeviceOptions {
  readonly threads: number
  /** By `Place.index`. */
  readonly frozen: readonly FrozenRange[]
  /** The state file to be made, for a program that has values in storage. */
  readonly stored?: { readonly path: string }
  /** Time every launch. */
  readonly profile: boolean
  readonly pace?: Pace
  /** Kills the program, whatever it does. */
  readonly signal?: AbortSignal
}
