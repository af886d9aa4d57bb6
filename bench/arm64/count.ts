// One case, compiled and run once under the emulator, as instructions per kernel. Knows the emitter's names of
// functions; knows no processor's cycles.

import { buildProgram, openSession } from '../../backends/neon/driver/open.ts'
import type { Case } from './cases.ts'
import { disassemble } from './disassembly.ts'
import type { MachineFunction } from './disassembly.ts'
import { countingChain, perInstruction, totalInstructions } from './emulator.ts'
import type { Build, InstructionCounts } from './emulator.ts'
import { executed, executedMultiplyAdds, stretchesOf } from './stretches.ts'
import type { Stretch } from './stretches.ts'
import { workOf } from './work.ts'
import type { Work } from './work.ts'

export interface CountedKernel {
  readonly name: string
  readonly work: Work
  readonly instructions: number
  readonly stretches: readonly Stretch[]
}

export interface Counted {
  /** Compiler and tuning, for people. */
  readonly toolchain: string
  /** Kernels that were launched, those that took most instructions first. */
  readonly kernels: readonly CountedKernel[]
  /** Instructions of the whole process beside the kernels: opening, reading weights and commands, calling kernels. */
  readonly elsewhere: number
}

/** Runs a case once on one thread. Error when a kernel was launched and not seen to work. */
export async function countCase(what: Case, build: Build): Promise<Counted> {
  const chain = await countingChain(build)
  try {
    const { toolchain } = chain
    const optimise = build.optimise ?? 'full'
    const path = await buildProgram(what.program, toolchain, { optimise })
    const session = await openSession(what.program, { toolchain, optimise, threads: 1, frozen: what.frozen })
    try {
      await what.prepare(session)
      await what.run(session)
    } finally {
      await session.close()
    }
    const blocks = await chain.counts()
    const kernels = byKernel(what, await disassemble(path), perInstruction(blocks))
    const inKernels = kernels.reduce((sum, { instructions }) => sum + instructions, 0)
    const elsewhere = totalInstructions(blocks) - inKernels
    return { toolchain: toolchain.describe(), kernels, elsewhere }
  } finally {
    await chain.close()
  }
}

/** The kernel that a function was emitted for; compilers add endings to its name for the parts they cut it into. */
export function kernelIndex(symbol: string): number | undefined {
  const [, index] = /(?:^|\d)kernel_(\d+)_/.exec(symbol) ?? []
  return index === undefined ? undefined : Number(index)
}

function byKernel(
  what: Case,
  functions: readonly MachineFunction[],
  counts: InstructionCounts,
): readonly CountedKernel[] {
  const found = new Map<number, Stretch[]>()
  for (const fn of functions) {
    const index = kernelIndex(fn.symbol)
    if (index === undefined) continue
    found.set(index, [...(found.get(index) ?? []), ...stretchesOf(fn, counts)])
  }
  const kernels = [...workOf(what.program, what.scheduled, what.called)].map(([index, work]): CountedKernel => {
    const name = what.program.kernels[index]?.name ?? ''
    const stretches = found.get(index) ?? []
    const expected = work.useful + work.recomputed
    // A kernel that shares its body with another one would be a jump here, or nothing.
    if (stretches.length === 0 || (expected > 0 && executedMultiplyAdds(stretches) === 0)) {
      throw new Error(`kernel ${name} was launched but was not seen to work`)
    }
    return { name, work, instructions: executed(stretches), stretches }
  })
  return kernels.sort((a, b) => b.instructions - a.instructions)
}
