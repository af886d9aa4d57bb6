// Kernels that read tensors of which only some rows are in memory at a time: which loop walks those rows, and how far at
// once. It must not know where tensors come from.

import { dtypeBytes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Declaration, Node } from '../graph/node.ts'
import type { Directive } from '../kernel/directives.ts'
import type { Expr } from '../kernel/ir.ts'
import { indexMentions } from '../kernel/index.ts'
import { holdsRun } from './lowering.ts'
import type { Lowering } from './lowering.ts'
import type { ScheduleProfile } from './profile.ts'
import { memoryOf } from './operands.ts'
import type { KernelScope } from './scope.ts'
import type { Walk } from './walks.ts'

/** Bytes of a declared value as it is stored. */
export function declaredBytes({ stored, dtype }: Declaration): number {
  return stored.flat().reduce((product, axis) => product * axis.size, dtypeBytes[dtype])
}

/** Whether a declared value comes by ranges of its rows. */
export function isSharded(declared: Declaration, { shardBytes, shardsState = false }: ScheduleProfile): boolean {
  const { role } = declared
  const isMeant = role === 'frozen' || (shardsState && (role === 'trainable' || role === 'state'))
  return isMeant && shardBytes !== undefined && declaredBytes(declared) > shardBytes
}

/**
 * Steps of a chain whose rows of a sharded operand fill a shard; undefined where the chain does not walk the rows of one.
 * Where the grid walks them, pieces of the grid read pieces of the tensor and nothing need change.
 */
export function phaseSteps(
  lowering: Lowering,
  scope: KernelScope,
  operands: readonly Expr[],
  kWalks: readonly Walk[],
): number | undefined {
  const { shardBytes, lanes } = lowering.profile
  if (shardBytes === undefined) return undefined
  const kBound = kWalks.reduce((product, walk) => product * walk.bound, 1)
  for (const operand of operands) {
    const memory = memoryOf(operand, scope)
    const declared = memory && scope.declaredBehind(memory.buffer)
    if (!memory || !declared || !isSharded(declared, lowering.profile)) continue
    const rows = memory.indices.find((index) => index.terms.length > 0)
    if (!rows || !kWalks.some((walk) => indexMentions(rows, walk.name))) continue
    const fit = Math.floor(shardBytes / (memory.total / kBound))
    return Math.max(lanes, fit - (fit % lanes))
  }
  return undefined
}

/**
 * Rows of a contraction's result that fill a shard of the declared value it goes to; undefined where that cannot come by ranges, or
 * where they are not the rows of `m` alone. What is left in memory in the end is known later, and made by ranges all the same.
 */
export function shardRows(lowering: Lowering, target: string | undefined, m: readonly Axis[]): number | undefined {
  const declared = target === undefined ? undefined : lowering.declaration(target)
  if (!declared || !isSharded(declared, lowering.profile)) return undefined
  if (!holdsRun(declared.stored.flat().slice(0, m.length), m)) return undefined
  const bound = m.reduce((product, axis) => product * axis.size, 1)
  return Math.floor((lowering.profile.shardBytes as number) / (declaredBytes(declared) / bound))
}

/**
 * Where rows along the streamed axis are not all in memory, as many blocks of `columns` rows as fill a shard stand around the
 * grid together, and what they add up waits outside.
 */
export function streamPhases(
  lowering: Lowering,
  operands: readonly Node[],
  axis: Axis,
  { loop, columns, keeping }: { readonly loop: string; readonly columns: number; readonly keeping: readonly string[] },
): Directive[] {
  const rows = rowsOfShard(lowering, operands, axis)
  if (rows === undefined) return []
  const outer = `${loop}s`
  const factor = Math.max(1, Math.floor(rows / columns))
  return [
    { do: 'split', loop, factor, outer, inner: `${loop}i`, clip: true },
    { do: 'phase', loop: outer, keeping },
  ]
}

/** Rows along `axis` that fill a shard of a sharded operand, or undefined where none has it as its rows. */
function rowsOfShard(lowering: Lowering, operands: readonly Node[], axis: Axis): number | undefined {
  const { shardBytes = Number.POSITIVE_INFINITY } = lowering.profile
  for (const operand of operands) {
    const declared = isOp(operand, 'read') ? lowering.declaration(operand.attrs.name) : undefined
    if (!declared || !isSharded(declared, lowering.profile)) continue
    if (declared.stored.flat()[0] === axis) return Math.floor(shardBytes / (declaredBytes(declared) / axis.size))
  }
  return undefined
}
