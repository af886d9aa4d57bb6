// Many small programs as one, so that fifty random graphs cost one compilation and one process. Only for tests; knows
// places and names, not what any kernel computes.

import assert from 'node:assert/strict'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { align } from '../../compiler/plan/arena.ts'
import type { Place, Program } from '../../compiler/plan/program.ts'

/** What a merged program calls the function or value of one part. */
export const nameIn = (part: number, name: string): string => `${part}/${name}`

/**
 * All functions and values, named by `nameIn`; kernels that are equal but for their names are one. State, inputs and frozen tensors lie one behind the other; the arena is
 * shared, as it is between the functions of one program. The parts must have the same sizes, in the same order.
 */
export function mergePrograms(name: string, parts: readonly Program[]): Program {
  const sizes = parts[0]?.sizes ?? []
  const kernels = new Map<string, { readonly place: number; readonly kernel: Kernel }>()
  const values: Program['values'][number][] = []
  const functions: Program['functions'][number][] = []
  const begin = { state: 0, inputs: 0, frozen: 0, stored: 0 }
  for (const [part, program] of parts.entries()) {
    assert.deepEqual(program.sizes, sizes)
    const moved = (place: Place): Place => {
      if ('index' in place) return { space: place.space, index: begin[place.space] + place.index }
      return place.space === 'arena' ? place : { space: place.space, offset: begin[place.space] + place.offset }
    }
    const kernelPlaces = program.kernels.map((kernel) => {
      const text = printKernel({ ...kernel, name: 'any' })
      const known = kernels.get(text) ?? {
        place: kernels.size,
        kernel: { ...kernel, name: `part${part}_${kernel.name}` },
      }
      kernels.set(text, known)
      return known.place
    })
    values.push(
      ...program.values.map((value) => ({ ...value, name: nameIn(part, value.name), place: moved(value.place) })),
    )
    for (const fn of program.functions) {
      functions.push({
        name: nameIn(part, fn.name),
        launches: fn.launches.map(({ kernel, label, arguments: places }) => {
          return { kernel: kernelPlaces[kernel] ?? -1, label, arguments: places.map(moved) }
        }),
        outputs: fn.outputs.map((output) => ({ ...output, place: moved(output.place) })),
      })
    }
    begin.state += align(program.stateBytes)
    begin.inputs += align(program.inputBytes)
    begin.frozen += program.frozenCount
    begin.stored += program.storedCount
  }
  return {
    name,
    sizes,
    kernels: [...kernels.values()].map(({ kernel }) => kernel),
    values,
    functions,
    arenaBytes: Math.max(0, ...parts.map(({ arenaBytes }) => arenaBytes)),
    stateBytes: begin.state,
    inputBytes: begin.inputs,
    frozenCount: begin.frozen,
    storedCount: begin.stored,
  }
}
