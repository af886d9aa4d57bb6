// The instruction sets by name. A new one is a table like its neighbours and one line here.

import { InternalError } from '../../../compiler/diagnostic.ts'
import { avx2 } from './avx2.ts'
import { avx512 } from './avx512.ts'
import { neon } from './neon.ts'
import type { InstructionSet, InstructionSetName } from './table.ts'
import { wasmRelaxed } from './wasm-relaxed.ts'

export type { InstructionSet, InstructionSetName } from './table.ts'

export const instructionSets: Readonly<Record<InstructionSetName, InstructionSet>> = { neon, avx2, avx512, wasmRelaxed }

/** The table of a name, as device profiles spell it. InternalError when there is none. */
export function isaOf(name: string): InstructionSet {
  const found = Object.hasOwn(instructionSets, name) ? instructionSets[name as InstructionSetName] : undefined
  if (!found)
    throw new InternalError(`there is no instruction set '${name}' (${Object.keys(instructionSets).join(', ')})`)
  return found
}
