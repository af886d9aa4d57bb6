// What an instruction-set table holds: the C++ spelling of every word, load and store at one vector width.
// Knows the kernel IR's words and types; knows neither loops nor programs.

import type { DType } from '../../../compiler/graph/axis.ts'
import type { ValueType, Word } from '../../../compiler/kernel/ir.ts'

export type InstructionSetName = 'neon' | 'avx2' | 'avx512' | 'wasmRelaxed'

/**
 * C++ text in which `$1`, `$2`, `$3` stand for operands, `$bits` for the constant of a shift and `$args` for a whole
 * list of operands. A template is an expression that binds tighter than any operator.
 */
export type Template = string

/** How memory and registers are spelled at one width: one lane, or the table's lanes. */
export interface Spelling {
  /** C++ type of a value in a register. */
  readonly types: Readonly<Record<ValueType, string>>
  readonly words: Readonly<Record<Word, Template>>
  /** `$1` is the element itself for one lane, its address for a vector. 16-bit floats widen to float32, conditions are stored as 0 and 1. */
  readonly load: Readonly<Record<DType, Template>>
  /** `$2` an int64_t: how many lanes lie inside, clamped to 0…lanes. The others read as zero and are never touched. */
  readonly loadPartial: Readonly<Record<DType, Template>>
  /** `$1` as in `load`, `$2` the value. */
  readonly store: Readonly<Record<ValueType, Template>>
  /** `$3` how many lanes are written, clamped to 0…lanes; memory behind them is never touched. */
  readonly storePartial: Readonly<Record<ValueType, Template>>
}

/** Spelling of what only vectors have. */
export interface VectorSpelling extends Spelling {
  readonly splat: Readonly<Record<ValueType, Template>>
  /** `$args`: as many scalars as there are lanes. */
  readonly pack: Readonly<Record<ValueType, Template>>
  /** `$1`, `$1` + 1, … from an int32_t. */
  readonly ramp: Template
  /** `$args`: as many float variables as there are lanes, of which lane j of the i-th becomes lane i of the j-th. */
  readonly transpose: Template
  /** Where a word may take one lane of a vector instead of a splat; absent where that is no instruction. */
  readonly byLane?: ByLane
  /** The fixed tree over 16 partial results, `$args` being 16/lanes vectors: halves at distance 8, 4, 2, 1. */
  readonly tree: Readonly<Record<'add' | 'max', Template>>
}

/** Broadcast values and vectors of a register tile. */
export interface TileShape {
  readonly rows: number
  readonly vectors: number
}

export interface ByLane {
  /** Lane `$bits` of `$1` as a scalar. */
  readonly lane: Template
  /** Words whose first two operands may change places: `$2` is the vector of which every lane takes lane `$bits`. */
  readonly words: Partial<Readonly<Record<Word, Template>>>
}

export interface InstructionSet {
  readonly name: InstructionSetName
  /** float32 values in one vector. */
  readonly lanes: number
  /**
   * The register tile of a contraction that keeps the arithmetic units busy without spilling. `laneRegisters`: how many
   * vector registers a tile may fill that takes its broadcast values by lanes, for tables that have `byLane`.
   */
  readonly tiles: TileShape & { readonly laneRegisters?: number }
  /** Other tiles that fit the registers, for products that the first one does not divide. */
  readonly otherTiles?: readonly TileShape[]
  /** Whether memory is to be asked ahead for what is packed next. */
  readonly fetchesAhead?: boolean
  /** The compiler's header of the intrinsics. */
  readonly header: string
  /** C++ functions that the templates name, to stand behind `scalarPrelude`. */
  readonly prelude: string
  readonly scalar: Spelling
  readonly vector: VectorSpelling
}

/** Puts operands into a template. */
export function fill(template: Template, operands: readonly string[], bits?: number): string {
  return template.replace(/\$(\d|bits|args)/g, (_, hole: string) => {
    if (hole === 'args') return operands.join(', ')
    if (hole === 'bits') return String(bits)
    return operands[Number(hole) - 1] ?? ''
  })
}
