// What the compiler hands to a backend: unique lowered kernels, the memory plan, and for every function the list of
// kernel launches. Everything is decided; a backend only spells it.

import type { DType } from '../graph/axis.ts'
import type { FetchedRows, Initial, Role } from '../graph/node.ts'
import type { Kernel, SizeBound } from '../kernel/ir.ts'

/**
 * Where a kernel argument lies. `arena`: intermediate values of one function, reused. `state`: trainable values and the
 * optimizer's, kept between calls. `inputs`: written by the caller before a call. Offsets in bytes, multiples of 64.
 */
export type Place = { readonly space: 'arena' | 'state' | 'inputs'; readonly offset: number } | TensorPlace

/**
 * A tensor with memory of its own, or none. `frozen`: a checkpoint tensor as stored, one of `Program.frozenCount`. `stored`: a
 * state or trainable value that is not in memory, one of `Program.storedCount`.
 */
export interface TensorPlace {
  readonly space: 'frozen' | 'stored'
  readonly index: number
}

/** A declared value with its place. `shape` is as stored: merged axes are one number; inputs are stored at the bound. */
export interface ProgramValue {
  readonly name: string
  readonly role: Role
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly bytes: number
  readonly place: Place
  readonly initial?: Initial | TableValues
  /** A frozen or stored tensor that is not in memory: functions read, and write, ranges of it. */
  readonly streamed?: true
  /** State that is zero between two steps: the sum of a step's gradients. */
  readonly sum?: true
  /** A stored value that stays as it is in storage while a function that updates it writes the next version. */
  readonly versions?: true
  /** An input that is filled with rows of a frozen tensor before a call. */
  readonly rows?: FetchedRows
}

/** Every element of a table of constants that the compiler made. */
export interface TableValues {
  readonly kind: 'values'
  readonly values: readonly number[]
}

/** A range of a tensor that lies in the arena while a part runs. */
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
  /** How many of the function's transfers must be done before it. */
  readonly transfers: number
  readonly windows: readonly Window[]
}

/** Something on its way between storage and memory; a function makes them in order. */
export type Transfer = RangeTransfer | KeepTransfer

/** Those of ranges. */
export function rangeTransfers(transfers: readonly Transfer[] = []): RangeTransfer[] {
  return transfers.filter((transfer) => transfer.kind !== 'keep')
}

/** Bytes of the state in memory on their way to the version that an update makes: of what a step carries over, all but what is in storage. */
export interface KeepTransfer {
  readonly kind: 'keep'
  /** Bytes into the state. */
  readonly from: number
  readonly bytes: number
  /** As of a range. */
  readonly after: number
}

/**
 * A range of a tensor on its way from storage to the arena or back. `readNext`: of the version that
 * the update under way makes, where it was written before.
 */
export interface RangeTransfer {
  readonly kind: 'read' | 'readNext' | 'write'
  readonly tensor: TensorPlace
  /** Bytes into the tensor; 0 with `rows`. */
  readonly from: number
  readonly bytes: number
  /** Where they lie in the arena. */
  readonly offset: number
  /** It may begin when so many moments of the function are over: each part is one, and each launch without parts. */
  readonly after: number
  /** Not one range, but the rows that ids name. */
  readonly rows?: NamedRows
}

/**
 * Rows of a tensor beside each other in memory, one for each id: only those of first occurrences are there, and are read or
 * written. Which those are, `firsts` says: place t has the place of the first id equal to id t.
 */
export interface NamedRows {
  readonly ids: Place
  /** Bytes into the arena, where `count` i32 lie. */
  readonly firsts: number
  readonly count: number
  readonly rowBytes: number
}

/** The first occurrences of ids, worked out when a function begins. */
export interface FirstOccurrences {
  readonly ids: Place
  /** Bytes into the arena. */
  readonly firsts: number
  readonly count: number
}

/** Rows of a tensor that a function needs from its start: one for each id. */
export interface RowsRead {
  readonly tensor: TensorPlace
  /** The ids, and where their rows go. */
  readonly ids: Place
  readonly to: Place
  readonly count: number
  readonly rowBytes: number
  /** Of the version that the update under way makes. */
  readonly isNext?: true
}

/** One kernel run. Equal kernels of different layers share code and differ in their places. */
export interface Launch {
  readonly kernel: number
  readonly arguments: readonly Place[]
  /** What the kernel computes, for traces: the names of its results. */
  readonly label: string
  /** Where it needs tensors that are not in memory: all its iterations, cut. */
  readonly parts?: readonly Part[]
  /** How many of the function's transfers must be done before it, where it has no parts; 0 unless given. */
  readonly transfers?: number
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
  /** Absent where everything is in memory. All of them are done when the function ends. */
  readonly transfers?: readonly Transfer[]
  readonly rows?: readonly RowsRead[]
  readonly firsts?: readonly FirstOccurrences[]
  /**
   * It writes stored values that have versions. `whole`: what it has written stands from its end on. An update may also be of two
   * functions, the first of which begins it and the second ends it.
   */
  readonly updates?: 'whole' | 'begin' | 'end'
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
  /** Of the state, from its beginning: what a step carries over in memory. Absent where nothing that changes is in storage. */
  readonly carriedBytes?: number
  readonly inputBytes: number
  /** Number of `frozen` places. */
  readonly frozenCount: number
  /** Number of `stored` places. */
  readonly storedCount: number
}
