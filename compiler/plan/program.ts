// What the compiler hands to a backend: unique lowered kernels, the memory plan, and for every function the list of
// kernel launches. Everything is decided; a backend only spells it.

import type { DType } from '../graph/axis.ts'
import type { FetchedRows, Initial, Role } from '../graph/node.ts'
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
  /** A frozen tensor that is not in memory: functions read ranges of it. */
  readonly streamed?: true
  /** An input that is filled with rows of a frozen tensor before a call. */
  readonly rows?: FetchedRows
}

/** Every element of a table of constants that the compiler made. */
export interface TableValues {
  readonly kind: 'values'
  readonly values: readonly number[]
}

/** A range of a frozen tensor that lies in the arena while a part runs. */
export interface Window {
  /** Position of the argument. */
  readonly argument: number
  /** Bytes into the tensor. */
  readonly from: number
  /** Where that byte lies in the arena. */
  readonly offset: number
}

/** Iterations `begin` … `end` − 1 of a kernel's outermost loop. */
export interface Part {
  readonly begin: number
  readonly end: number
  /** How many of the function's reads must be done before it. */
  readonly reads: number
  readonly windows: readonly Window[]
}

/** One reading of frozen tensors, in the order in which a function makes them. */
export interface Read {
  /** The tensor's place. */
  readonly index: number
  /** Bytes into the tensor. */
  readonly from: number
  readonly bytes: number
  /** Where they go in the arena. */
  readonly offset: number
  /** It may begin when so many moments of the function are over: each part is one, and each launch without parts. */
  readonly after: number
}

/** Rows of a frozen tensor that a function needs from its start: one for each id. */
export interface RowsRead {
  readonly index: number
  /** The ids, and where their rows go. */
  readonly ids: Place
  readonly to: Place
  readonly count: number
  readonly rowBytes: number
}

/** One kernel run. Equal kernels of different layers share code and differ in their places. */
export interface Launch {
  readonly kernel: number
  readonly arguments: readonly Place[]
  /** What the kernel computes, for traces: the names of its results. */
  readonly label: string
  /** Where it reads frozen tensors that are not in memory: all its iterations, cut. */
  readonly parts?: readonly Part[]
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
  /** Absent where all frozen tensors are in memory. */
  readonly reads?: readonly Read[]
  readonly rows?: readonly RowsRead[]
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
