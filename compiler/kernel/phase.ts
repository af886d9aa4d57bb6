// The directive `phase`: a serial loop inside the grid comes to stand around it, so that one iteration ends on all threads
// before the next begins and what an iteration reads need be in memory only then. It must not know what is read.

import { InternalError } from '../diagnostic.ts'
import { addIndex, constantOf, upperBound, variable } from './index.ts'
import type { Index, Range } from './index.ts'
import { denseDims, gridOf } from './ir.ts'
import type { Buffer, Kernel, Loop, Stmt } from './ir.ts'
import { isLoop, mapBlocks, mapStmt, withBody } from './rewrite.ts'

/**
 * grid { before; for loop { body }; after } → phase loop { grid { if first { before }; body; if last { after } } }.
 * `keeping`: scratch whose contents pass from one iteration to the next; each becomes an argument at the end of the list,
 * with the grid's loops as its first dimensions.
 */
export interface PhaseDirective {
  readonly do: 'phase'
  readonly loop: string
  readonly keeping: readonly string[]
}

export function printPhase({ loop, keeping }: PhaseDirective): string {
  return `phase ${loop} keeping ${keeping.join(' ')}`
}

/** Applies a `phase`. InternalError where the loop does not stand directly in the grid or its extent varies. */
export function phase(kernel: Kernel, { loop, keeping }: PhaseDirective): Kernel {
  const refuse = (reason: string): never => {
    throw new InternalError(`kernel ${kernel.name}: cannot make ${loop} a phase: ${reason}`)
  }
  const grid = gridOf(kernel.body)
  if (grid.phase) return refuse(`'${grid.phase.variable}' is one`)
  const place = grid.body.findIndex((stmt) => isLoop(stmt, loop))
  const found = grid.body[place] as Loop | undefined
  if (!found) return refuse('it does not stand directly in the grid')
  const count = constantOf(found.extent)
  if (count === undefined) return refuse('its extent varies')
  const [before, after] = [grid.body.slice(0, place), grid.body.slice(place + 1)]
  if ([...before, ...after].some((stmt) => stmt.kind === 'let')) return refuse('a local value lives across')
  const inner = [
    ...guarded(variable(loop), addIndex(1), before),
    ...found.body,
    ...guarded(addIndex(count - 2), variable(loop), after),
  ]
  const nest = grid.loops.reduceRight<readonly Stmt[]>((rest, around) => [{ ...around, body: rest }], inner)
  const bounds = new Map(kernel.sizes.map(({ name, bound }): [string, Range] => [name, { low: 1, high: bound }]))
  const around = grid.loops.map(({ variable: name, extent }) => {
    return upperBound(extent, bounds) ?? refuse(`'${name}' has no bound`)
  })
  const carried = keeping.map((name): Buffer => {
    const buffer = kernel.locals.find((local) => local.name === name && local.space === 'scratch')
    if (!buffer) return refuse(`'${name}' is no scratch`)
    const dims = denseDims([...around, ...buffer.dims.map(({ size }) => size)])
    return { ...buffer, space: 'argument', access: 'update', dims }
  })
  const first = grid.loops.map(({ variable: name }) => variable(name))
  const body = throughGrid(nest, new Set(keeping), first)
  const whole: Stmt = { ...found, binding: 'phase', body }
  return {
    ...withBody(kernel, [whole]),
    arguments: [...kernel.arguments, ...carried],
    locals: kernel.locals.filter(({ name }) => !keeping.includes(name)),
  }
}

function guarded(left: Index, right: Index, body: readonly Stmt[]): Stmt[] {
  return body.length === 0 ? [] : [{ kind: 'if', conditions: [{ left, right }], body }]
}

/** Every use of the named buffers with the grid's place in front. */
function throughGrid(body: readonly Stmt[], names: ReadonlySet<string>, first: readonly Index[]): Stmt[] {
  const moved = body.map((stmt) =>
    mapStmt(stmt, {
      expr: (expr) =>
        expr.kind === 'load' && names.has(expr.buffer) ? { ...expr, indices: [...first, ...expr.indices] } : expr,
    }),
  )
  return mapBlocks(moved, (stmt) => [
    (stmt.kind === 'store' || stmt.kind === 'prefetch') && names.has(stmt.buffer)
      ? { ...stmt, indices: [...first, ...stmt.indices] }
      : stmt,
  ])
}
