// GPU directives of nests whose lanes are the 16 slots of reductions: elementwise walks, rows, columns, scatters and
// streamed blocks. Which loop plays which part is read off the nest and off the lanes the CPU's directives name.

import { InternalError } from '../diagnostic.ts'
import type { Directive } from '../kernel/directives.ts'
import type { GpuDirective } from '../kernel/gpuDirectives.ts'
import { constantOf, equalIndex, indexMentions } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { Kernel, Loop, Stmt } from '../kernel/ir.ts'
import { visitStmts } from '../kernel/rewrite.ts'
import { perfectChain } from './gpuContraction.ts'
import type { LoweredRegion } from './lowering.ts'

/** Loops of a nest that become lanes on a CPU: on a GPU, neighbouring invocations. */
export interface Slots {
  readonly names: readonly string[]
  /** Their common number of iterations. */
  readonly extent: number
}

export function slotsOf({ nest, directives }: LoweredRegion): Slots {
  const lanes = new Set(directives.flatMap((one) => (one.do === 'bind' && one.binding === 'lane' ? [one.loop] : [])))
  const names: string[] = []
  let extent = 1
  visitStmts(nest.body, (stmt) => {
    if (stmt.kind !== 'for' || !lanes.has(stmt.variable)) return
    names.push(stmt.variable)
    extent = constantOf(stmt.extent) ?? extent
  })
  return { names, extent }
}

const grid = (loops: readonly Loop[]): GpuDirective[] =>
  loops.filter((loop) => loop.binding !== 'grid').map((loop) => ({ do: 'bind', loop: loop.variable, binding: 'grid' }))

/** Groups of slots that a workgroup takes at once where they are independent. */
const groupsAtOnce = 16

/** Elementwise work alone: one invocation per element of 16 neighbouring groups. */
export function elementDirectives(kernel: Kernel, slots: Slots): GpuDirective[] | undefined {
  const { loops } = perfectChain(kernel.body)
  const slot = loops.findIndex((loop) => slots.names.includes(loop.variable))
  const group = loops[slot - 1]
  if (!group) return undefined
  const outer = loops.slice(0, slot - 1)
  const depends = outer.some((loop) => indexMentions(group.extent, loop.variable))
  const [steps, local] = [`${group.variable}b`, `${group.variable}t`]
  const element = loops[slot] as Loop
  return [
    ...grid(outer),
    {
      do: 'spread',
      loop: group.variable,
      factor: groupsAtOnce,
      outer: steps,
      inner: local,
      binding: depends ? 'serial' : 'grid',
    },
    // A grid's extents are fixed before it starts; what depends on it becomes a loop of each invocation.
    ...(depends ? [{ do: 'reorder', loops: [local, element.variable, steps] } as const] : []),
    { do: 'bind', loop: element.variable, binding: 'local' },
  ]
}

/** Rows with reductions: a workgroup per row, an invocation per slot. */
export function rowDirectives(kernel: Kernel, slots: Slots): GpuDirective[] | undefined {
  if (slots.names.length === 0) return undefined
  const { loops } = perfectChain(kernel.body)
  return [...grid(loops), { do: 'cooperate', column: 'lane', columns: slots.extent, slots: slots.names, strided: [] }]
}

/** Neighbouring columns: an invocation each. */
export function columnDirectives(
  kernel: Kernel,
  directives: readonly Directive[],
  slots: Slots,
): GpuDirective[] | undefined {
  if (slots.names.length === 0) return undefined
  const unrolled = new Set(
    directives.flatMap((one) => (one.do === 'bind' && one.binding === 'unroll' ? [one.loop] : [])),
  )
  const small: string[] = []
  visitStmts(kernel.body, (stmt) => {
    if (stmt.kind === 'for' && unrolled.has(stmt.variable) && !holdsLoops(stmt.body, slots)) small.push(stmt.variable)
  })
  return [
    { do: 'cooperate', column: 'lane', columns: slots.extent, slots: slots.names, strided: [] },
    ...small.map((loop): GpuDirective => ({ do: 'bind', loop, binding: 'unroll' })),
  ]
}

function holdsLoops(body: readonly Stmt[], slots: Slots): boolean {
  let found = false
  visitStmts(body, (stmt) => {
    found ||= stmt.kind === 'for' && !slots.names.includes(stmt.variable)
  })
  return found
}

/**
 * Streamed blocks: a workgroup per `rows` rows of a block, 16 invocations a row. Loops over the block's rows are those
 * with the extent of the first loop; loops directly around them run over columns.
 */
export function streamDirectives(kernel: Kernel, slots: Slots, rows: number): GpuDirective[] {
  const { loops, inner } = perfectChain(kernel.body)
  const extent =
    inner.find((stmt) => stmt.kind === 'for')?.extent ?? loops.find((loop) => loop.binding !== 'grid')?.extent
  if (!extent) throw new InternalError(`kernel ${kernel.name}: a streamed nest has no loop over rows`)
  const found: string[] = []
  const strided: string[] = []
  visitStmts(kernel.body, (stmt) => {
    if (stmt.kind !== 'for') return
    if (isRows(stmt, extent)) found.push(stmt.variable)
    else if (stmt.body.length === 1 && isRows(stmt.body[0], extent)) strided.push(stmt.variable)
  })
  return [
    {
      do: 'cooperate',
      column: 'lane',
      columns: slots.extent,
      slots: slots.names,
      strided,
      rows: { loops: found, outer: 'part', inner: 'row', size: rows },
    },
  ]
}

function isRows(stmt: Stmt | undefined, extent: Index): boolean {
  return stmt?.kind === 'for' && stmt.binding !== 'grid' && equalIndex(stmt.extent, extent)
}
