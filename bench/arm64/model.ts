// Cycles of a counted case on one processor: executions of each stretch times what llvm-mca says of it. There are no
// caches, no memory and no mispredicted jumps in it. Knows no program.

import type { Counted, CountedKernel } from './count.ts'
import { CycleModel, issueLimit } from './cycles.ts'
import type { Instruction } from './disassembly.ts'
import type { Stretch } from './stretches.ts'

/** The stretch in which a kernel does most of its multiply-adds. */
export interface InnerLoop {
  readonly address: number
  readonly instructions: number
  readonly vectorMultiplyAdds: number
  /** Instructions that reach the stack: accumulators or operands that found no register. */
  readonly spills: number
  /** Of one execution. */
  readonly cycles: number
  /** Its share of the kernel's executed multiply-adds. */
  readonly share: number
  /** Its vector multiply-adds a cycle, over the most that the processor can start. */
  readonly shareOfLimit: number
}

export interface ModelledKernel {
  readonly kernel: CountedKernel
  readonly cycles: number
  readonly inner: InnerLoop | undefined
}

export interface Modelled {
  readonly processor: string
  /** Vector multiply-adds that it can start in a cycle. */
  readonly limit: number
  /** As many as were counted, in their order. */
  readonly kernels: readonly ModelledKernel[]
}

export async function modelCase(counted: Counted, processor: string): Promise<Modelled> {
  const model = new CycleModel(processor)
  await model.learn(counted.kernels.flatMap(({ stretches }) => stretches.map(assembly)))
  const limit = await issueLimit(processor)
  const kernels = counted.kernels.map((kernel): ModelledKernel => {
    const cycles = kernel.stretches.reduce((sum, one) => sum + model.cycles(assembly(one)) * one.executions, 0)
    return { kernel, cycles, inner: innerLoop(kernel.stretches, model, limit) }
  })
  return { processor, limit, kernels }
}

function innerLoop(stretches: readonly Stretch[], model: CycleModel, limit: number): InnerLoop | undefined {
  const weights = stretches.map((stretch) => stretch.multiplyAdds * stretch.executions)
  const most = Math.max(0, ...weights)
  const hottest = stretches[weights.indexOf(most)]
  if (!hottest || most === 0) return undefined
  const cycles = model.cycles(assembly(hottest))
  return {
    address: hottest.instructions[0]?.address ?? 0,
    instructions: hottest.instructions.length,
    vectorMultiplyAdds: hottest.vectorMultiplyAdds,
    spills: hottest.instructions.filter(({ text }) => /\[(?:sp|x29)\b/.test(text)).length,
    cycles,
    share: most / weights.reduce((sum, each) => sum + each, 0),
    shareOfLimit: hottest.vectorMultiplyAdds / cycles / limit,
  }
}

/** A stretch as the model is given it. */
export function assembly({ instructions }: Pick<Stretch, 'instructions'>): string {
  return instructions.map(plain).join('\n')
}

/** The model takes 100 cycles for a call, whose instructions are counted where they are: here it is a jump. */
function plain({ text }: Instruction): string {
  return /^(?:bl|blr|br|ret)(?: |$)/.test(text) ? 'b elsewhere' : text
}
