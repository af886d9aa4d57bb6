// Counts and modelled cycles as tables for people and as one JSON object. Only arithmetic on what others found.

import type { Counted, CountedKernel } from './count.ts'
import type { Instruction } from './disassembly.ts'
import type { InnerLoop, Modelled } from './model.ts'
import { executedMultiplyAdds } from './stretches.ts'

export const disclaimer =
  'Instructions are exact, under emulation. Cycles are a model: executions of each stretch of code times what llvm-mca 22 ' +
  'says of it, every load in the first cache, every jump foreseen, nothing else running. No Arm processor was measured.'

/** Multiply-adds that a vector instruction does, and that "per four" speaks of. */
const four = 4

export interface Totals {
  readonly instructions: number
  /** Multiply-adds as the graph has them, computed for the first time. */
  readonly useful: number
  readonly recomputed: number
  /** As instructions do them: masked blocks are left out, edges of tiles are filled up. */
  readonly executed: number
}

export function totalsOf(kernels: readonly CountedKernel[]): Totals {
  const sum = (of: (kernel: CountedKernel) => number): number => kernels.reduce((total, each) => total + of(each), 0)
  return {
    instructions: sum(({ instructions }) => instructions),
    useful: sum(({ work }) => work.useful),
    recomputed: sum(({ work }) => work.recomputed),
    executed: sum(({ stretches }) => executedMultiplyAdds(stretches)),
  }
}

const perFour = (instructions: number, multiplyAdds: number): number | undefined =>
  multiplyAdds === 0 ? undefined : (four * instructions) / multiplyAdds

/** Everything of one case and one compilation, for machines. */
export function asJson(name: string, counted: Counted, modelled: readonly Modelled[]): object {
  const describe = (totals: Totals): object => ({
    ...totals,
    perFourUseful: perFour(totals.instructions, totals.useful),
    perFourUsefulOrRecomputed: perFour(totals.instructions, totals.useful + totals.recomputed),
    perFourExecuted: perFour(totals.instructions, totals.executed),
  })
  return {
    case: name,
    note: disclaimer,
    toolchain: counted.toolchain,
    whole: describe(totalsOf(counted.kernels)),
    elsewhere: counted.elsewhere,
    kernels: counted.kernels.map((kernel, place) => ({
      name: kernel.name,
      launches: kernel.work.launches,
      labels: kernel.work.labels,
      ...describe(totalsOf([kernel])),
      cycles: Object.fromEntries(modelled.map(({ processor, kernels }) => [processor, kernels[place]?.cycles])),
      inner: Object.fromEntries(modelled.map(({ processor, kernels }) => [processor, kernels[place]?.inner])),
    })),
    processors: modelled.map(({ processor, limit, kernels }) => {
      const cycles = kernels.reduce((sum, each) => sum + each.cycles, 0)
      return { processor, limit, cycles, vectorMultiplyAddsPerCycle: totalsOf(counted.kernels).useful / four / cycles }
    }),
  }
}

/** A table of kernels and one of processors. `top`: how many kernels are shown. */
export function asText(name: string, counted: Counted, modelled: readonly Modelled[], top: number): string {
  const whole = totalsOf(counted.kernels)
  const shown = counted.kernels.slice(0, top)
  const names = modelled.map(({ processor }) => processor)
  const header = [
    'kernel',
    'runs',
    'instructions',
    'multiply-adds',
    'instr/4',
    'inner loop',
    ...names.map((each) => `${each} *`),
  ]
  const rows = shown.map((kernel, place) => {
    const totals = totalsOf([kernel])
    const done = totals.useful + totals.recomputed
    return [
      `${kernel.name} ${kernel.work.labels[0] ?? ''}`.slice(0, 44),
      String(kernel.work.launches),
      millions(totals.instructions),
      `${millions(done)}${totals.recomputed > 0 ? ' r' : ''}`,
      fixed(perFour(totals.instructions, done)),
      innerText(modelled[0]?.kernels[place]?.inner),
      ...modelled.map(({ kernels }) => {
        const cycles = kernels[place]?.cycles ?? 0
        return done === 0
          ? `${millions(cycles)} cycles`
          : rate(done / four / cycles, kernels[place]?.inner?.shareOfLimit)
      }),
    ]
  })
  const cyclesOf = ({ kernels }: Modelled): number => kernels.reduce((sum, each) => sum + each.cycles, 0)
  rows.push([
    `all ${counted.kernels.length} kernels`,
    String(counted.kernels.reduce((sum, { work }) => sum + work.launches, 0)),
    millions(whole.instructions),
    millions(whole.useful + whole.recomputed),
    fixed(perFour(whole.instructions, whole.useful + whole.recomputed)),
    '',
    ...modelled.map((each) => rate((whole.useful + whole.recomputed) / four / cyclesOf(each), undefined)),
  ])
  return [
    name,
    counted.toolchain,
    '',
    ...columns([header, ...rows]),
    '',
    `useful multiply-adds ${millions(whole.useful)}, recomputed ${millions(whole.recomputed)}, executed by instructions ${millions(whole.executed)}`,
    `instructions per four useful multiply-adds ${fixed(perFour(whole.instructions, whole.useful))}, ` +
      `recomputed ones counted too ${fixed(perFour(whole.instructions, whole.useful + whole.recomputed))}, ` +
      `per four executed ${fixed(perFour(whole.instructions, whole.executed))}`,
    `instructions beside the kernels (opening, commands, reading weights) ${millions(counted.elsewhere)}`,
    ...modelled.map((each) => `${each.processor}: ${millions(cyclesOf(each))} cycles; at most ${each.limit.toFixed(2)} vector multiply-adds a cycle`),
    '',
    "* vector multiply-adds a cycle of the whole kernel, and in brackets the inner loop's share of the issue limit.",
    'inner loop: vector multiply-adds of its instructions, s: how many of those reach the stack. r: some are recomputed.',
    disclaimer,
  ].join('\n') // prettier-ignore
}

/** The inner loop of a kernel as the compiler made it. */
export function listing(kernel: CountedKernel, address: number): string {
  const stretch = kernel.stretches.find(({ instructions }) => instructions[0]?.address === address)
  const lines = (stretch?.instructions ?? []).map(({ text }: Instruction) => `    ${text}`)
  return [`${kernel.name}, ${stretch?.executions ?? 0} times:`, ...lines].join('\n')
}

function innerText(inner: InnerLoop | undefined): string {
  if (!inner) return ''
  return `${inner.vectorMultiplyAdds}/${inner.instructions}${inner.spills > 0 ? ` ${inner.spills} s` : ''}`
}

function rate(perCycle: number, share: number | undefined): string {
  return `${perCycle.toFixed(2)}${share === undefined ? '' : ` (${(100 * share).toFixed(0)} %)`}`
}

const fixed = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(2))

function millions(value: number): string {
  return value === 0 ? '' : `${(value / 1e6).toFixed(value < 1e7 ? 2 : 0)} M`
}

/** Lines of a table; the first column is left-aligned. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, place) => Math.max(...rows.map((row) => row[place]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, place) => (place === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[place] ?? 0)))
      .join('  '),
  )
}
