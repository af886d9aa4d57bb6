// From executed instructions to stretches: runs of code without a gap whose instructions ran equally often. A loop's body
// is one, and so is what stands before and behind it; they are what cycles are modelled of. Knows no processor.

import { endsPath, jumps, multiplyAdds } from './disassembly.ts'
import type { Instruction, MachineFunction } from './disassembly.ts'
import type { InstructionCounts } from './emulator.ts'

export interface Stretch {
  readonly instructions: readonly Instruction[]
  readonly executions: number
  /** It ends with a jump to its own beginning. */
  readonly isLoop: boolean
  /** Multiply-adds of one execution: lanes, not instructions. */
  readonly multiplyAdds: number
  /** Vector instructions among them. */
  readonly vectorMultiplyAdds: number
}

/**
 * Stretches of a function that ran. They are cut where the count changes, behind jumps that always go elsewhere, and
 * behind jumps backward. Jumps forward that were never taken leave counts alike and cut nothing.
 */
export function stretchesOf({ instructions }: MachineFunction, counts: InstructionCounts): readonly Stretch[] {
  const stretches: Stretch[] = []
  let run: Instruction[] = []
  let executions = 0
  const finish = (): void => {
    if (run.length > 0 && executions > 0) stretches.push(stretchOf(run, executions))
    run = []
  }
  for (const instruction of instructions) {
    const count = counts.get(instruction.address) ?? 0
    if (count !== executions) finish()
    executions = count
    run.push(instruction)
    const isBackward =
      jumps(instruction) && instruction.target !== undefined && instruction.target <= instruction.address
    if (isBackward || endsPath(instruction)) finish()
  }
  finish()
  return stretches
}

function stretchOf(instructions: readonly Instruction[], executions: number): Stretch {
  const last = instructions.at(-1)
  const sums = instructions.map(multiplyAdds)
  return {
    instructions,
    executions,
    isLoop: last !== undefined && jumps(last) && last.target === instructions[0]?.address,
    multiplyAdds: sums.reduce((sum, each) => sum + each, 0),
    vectorMultiplyAdds: sums.filter((each) => each > 1).length,
  }
}

/** Instructions that all executions of some stretches took. */
export function executed(stretches: readonly Stretch[]): number {
  return stretches.reduce((sum, { instructions, executions }) => sum + instructions.length * executions, 0)
}

export function executedMultiplyAdds(stretches: readonly Stretch[]): number {
  return stretches.reduce((sum, stretch) => sum + stretch.multiplyAdds * stretch.executions, 0)
}
