// What the compiler hands to a backend: unique lowered kernels, the memory plan, and for every function the list of
// kernel launches. Everything is decided; a backend only spells it.

import type { DType } from '../graph/axis.ts'
import type { Initial, Role } from '../graph/node.ts'
import type { Kernel, SizeBound } from '../kernel/ir.ts'

/**
 * Where a kernel argument lies. `arena`: intermediate values of one function, reused. `state`: trainable values and the
 * optimizer's, kept between calls. `inputs`: written by the caller before a call. `frozen`: a checkpoint tensor as
 * stored, by its place in `Program.frozen`. Offsets in bytes, multiples of 64.
 */
export type Place =
  | { readonly space: 'arena' | 'state' | 'inputs'; readonly offset: number }
  | { readonly space: 'frozen'; readonly index: number }

/** A declared value with its place. `shape` is as stored: merged axes are one number; inputs are stored at the bound. */
export interface ProgramValue {
  readonly name: string
  readonly role: Role
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly bytes: number
  readonly place: Place
  readonly initial?: Initial | TableValues
}

/** Every element of a table of constants that the compiler made. */
export interface TableValues {
  readonly kind: 'values'
  readonly values: readonly number[]
}

/** One kernel run. Equal kernels of different layers share code and differ in their places. */
export interface Launch {
  readonly kernel: number
  readonly arguments: readonly Place[]
  /** What the kernel computes, for traces: the names of its results. */
  readonly label: string
}

export interface ProgramOutput {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly place: Place
}

export interface ProgramFunction {
  readonly name: string
  readonly launches: readonly Launch[]
  readonly outputs: readonly ProgramOutput[]
}

export interface Program {
  readonly name: string
  /** Run-time extents with their bounds, in the order in which a call passes them. */
  readonly sizes: readonly SizeBound[]
  readonly kernels: readonly Kernel[]
  readonly values: readonly ProgramValue[]
  readonly functions: readonly ProgramFunction[]
  readonly arenaBytes: number
  readonly stateBytes: number
  readonly inputBytes: number
  /** Number of `frozen` places. */
  readonly frozenCount: number
}
