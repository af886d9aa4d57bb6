// What a trainer sees of a compiled program that runs somewhere: named values, functions, steps. Knows neither how the
// program was compiled nor where it runs.

import type { DType } from '../../../compiler/graph/axis.ts'
import type { Role } from '../../../compiler/graph/node.ts'
import type { Decision, EnergyUse, GovernorPolicy } from './governor.ts'

/** Elements in the order in which they lie in memory: floats, or integers (conditions are 0 and 1). */
export type TensorData = Float32Array | Int32Array

/** Run-time extents by name, each from 1 to its bound. */
export type Sizes = Readonly<Record<string, number>>

export interface ValueDescription {
  readonly name: string
  readonly role: Role
  readonly dtype: DType
  /** As stored, at the bound of run-time extents. */
  readonly shape: readonly number[]
}

export interface SessionDescription {
  readonly program: string
  /** Compiler and instruction set, for people. */
  readonly toolchain: string
  readonly isa: string
  readonly threads: number
  /** Memory of the session in bytes, beside the frozen tensors: arena, state, inputs, scratch and bookkeeping. */
  readonly memoryBytes: number
  readonly sizes: readonly { readonly name: string; readonly bound: number }[]
  readonly values: readonly ValueDescription[]
  readonly functions: readonly { readonly name: string; readonly outputs: readonly string[] }[]
}

/** `notFinite`: the first value that `measure` found infinite or NaN; nothing was updated. */
export type StepOutcome =
  { readonly status: 'ok' } | { readonly status: 'notFinite'; readonly value: string; readonly message: string }

/**
 * What a call or a step ends with that was held when `finish` was asked for: it has no outputs and has updated nothing; what
 * it accumulated stays in sums and gradients.
 */
export class Abandoned extends Error {
  constructor() {
    super('the call was held, and given up when the end was asked for')
  }
}

export interface KernelStats {
  readonly name: string
  readonly launches: number
  /** 0 unless the session was opened with `profile`. */
  readonly microseconds: number
}

export interface SessionStats {
  /** Resident memory in bytes now: of the child process, or of this whole process for wasm. */
  readonly residentBytes: number
  /** Peak bytes: resident memory of the child process; for wasm its linear memory, which only the program uses. */
  readonly peakBytes: number
  /**
   * Calls of malloc, free, mmap and kin since the program started, and those between entry and return of calls and
   * steps; undefined unless the build counts them.
   */
  readonly allocations: { readonly inAll: number; readonly inCalls: number } | undefined
  readonly kernels: readonly KernelStats[]
}

/** A value of a kept state, as stored in the state file. */
export interface KeptValue {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  /** In bytes from the start of the file. */
  readonly offset: number
}

/** A version of what is trained and of the optimizer's state; whole in the state file until the second one after it begins. */
export interface KeptState {
  readonly file: string
  readonly version: number
  /** Of its slot, 16 hexadecimal digits, reckoned from what was written: what the file holds later is held against it. */
  readonly sum: string
  readonly values: readonly KeptValue[]
}

/**
 * One program with its memory and threads. Operations run one after another in the order in which they were asked for.
 * UserError for a size, a shape or an id out of bounds; InternalError when the program died.
 */
export interface Session {
  describe(): SessionDescription
  /**
   * Overwrites a state, trainable or input value. `shape` (same rank, at most the stored extents) says that `data` is
   * shorter than what is stored: it fills the corner at the origin, the rest becomes zero. `data` must not change
   * before the promise resolves.
   */
  write(name: string, data: TensorData, shape?: readonly number[]): Promise<void>
  /** A copy of a state, trainable or input value, whole. */
  read(name: string): Promise<TensorData>
  /** A copy of an output of the function that was called last, at the bound of run-time extents. */
  output(fn: string, name: string): Promise<TensorData>
  call(fn: string, sizes: Sizes): Promise<void>
  /**
   * One micro-batch of a training step on the inputs as they are. `more`: accumulate only; `last`: accumulate, measure,
   * and apply if everything is finite. A program with `advance` applies later: beside the next step's first micro-batch, or by
   * itself before anything that could see the difference. `verify` is called once everything of the step is accumulated and
   * nothing is updated yet; what it throws ends the step so. It must not use the session.
   */
  step(sizes: Sizes, part: 'more' | 'last', verify?: () => void): Promise<StepOutcome>
  /** Asks for a pause after so many more launches of kernels, of the call that runs or of the ones to come. */
  pause(launches?: number): void
  /** Resolves when work stands still: true in the middle of a call, false when nothing is left to do. */
  paused(): Promise<boolean>
  /** Goes on after a pause, or takes a request for one back; `launches` asks for the next one at the same time. */
  resume(launches?: number): void
  /**
   * Sets the limits within which calls and steps compute, and who is told of every decision, also while one is under way;
   * `undefined` takes them off. Nothing that is computed depends on them. UserError HD716 where nothing can be governed.
   */
  govern(policy: GovernorPolicy | undefined, tell?: (decision: Decision) => void): Promise<void>
  /** Times and joules since the policy was set. */
  energy(): Promise<EnergyUse>
  /** Until the next policy, rests end at once, and a call or step that is held, or comes to be, ends with Abandoned. */
  finish(): void
  stats(): Promise<SessionStats>
  /**
   * Makes what is trained, and the optimizer's state, a version that survives the end of this process; an update does so by
   * itself. Only for programs with values in storage. UserError HD717 when the file cannot be written.
   */
  keep(): Promise<KeptState>
  /** Whether the update of the last step that was finished is still to be made. */
  owes(): Promise<boolean>
  /** As `keep`, but without an update that is owed: of the step before then. */
  keepStanding(): Promise<KeptState>
  /** Ends the program; what was asked for before is finished first, unless it is paused. */
  close(): Promise<void>
}
