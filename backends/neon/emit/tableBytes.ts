// How much memory the constant tables of a program take once a system has loaded it. Arithmetic on the plan.

import type { Program, ProgramFunction } from '../../../compiler/plan/program.ts'

/** Bytes of the structs of `runtime/heddle_program.h` where pointers have 64 bits; a test holds them to the compiler's. */
export const structBytes = { place: 16, window: 24, part: 32, transfer: 56, launch: 32, value: 80, extent: 8 } as const
/** What a loader reads to set one pointer: an entry of `.rela.dyn`. */
const RELOCATION_BYTES = 24
/** One label or name, after the linker has merged equal ones. */
const NAME_BYTES = 24

/**
 * Bytes of the tables in memory. They are read again and again, from files that a system may drop and read anew: it counts them as
 * the process's memory all the same. Ranges of large models are many thousands.
 */
export function tableBytes({ values, functions }: Pick<Program, 'values' | 'functions'>): number {
  const shapes = values.reduce((sum, { shape }) => sum + Math.max(1, shape.length), 0) * structBytes.extent
  const named = structBytes.value + 2 * RELOCATION_BYTES + NAME_BYTES
  return functions.reduce((sum, fn) => sum + functionBytes(fn), values.length * named + shapes)
}

function functionBytes({ launches, transfers = [] }: ProgramFunction): number {
  return launches.reduce((sum, launch) => {
    const parts = launch.parts ?? []
    const windows = parts.reduce((count, part) => count + part.windows.length, 0)
    const own = structBytes.launch + RELOCATION_BYTES + NAME_BYTES + launch.arguments.length * structBytes.place
    return sum + own + parts.length * structBytes.part + windows * structBytes.window
  }, transfers.length * structBytes.transfer)
}
