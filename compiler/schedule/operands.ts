// How the operands of a multiply-add lie, and what follows for its tile: read in place or copied, by which lanes, from where in
// memory. The same for a whole contraction and for the small ones of a stream.

import { dtypeBytes } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import { bufferElements } from '../kernel/ir.ts'
import type { Expr } from '../kernel/ir.ts'
import { indexMentions } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import { substitution } from '../kernel/rewrite.ts'
import { neighboursOf } from './byLane.ts'
import type { NamedLoop } from './byLane.ts'
import type { Lowering } from './lowering.ts'
import type { KernelScope } from './scope.ts'
import type { TileMemory, TileNest } from './tileNest.ts'
import type { Walk } from './walks.ts'

/** A multiply-add, its chain, and the loop of the rows of its tile. */
export interface MultiplyAdd {
  readonly inputs: readonly [Node, Node]
  /** The elements of the inputs that are multiplied. */
  readonly operands: readonly [Expr, Expr]
  readonly vectorOperand: 0 | 1
  readonly kWalks: readonly Walk[]
  readonly m: NamedLoop
}

type Chain = 'vectorOperand' | 'k' | 'kBounds' | 'kBound' | 'transposes' | 'packBroadcast' | 'neighbours'

/** What a tile has to know of the chain and of its operands. */
export function chainOf(
  lowering: Lowering,
  scope: KernelScope,
  { inputs, operands, vectorOperand, kWalks, m }: MultiplyAdd,
): Pick<TileNest, Chain | 'memory' | 'broadcastMemory'> {
  const other = vectorOperand === 1 ? 0 : 1
  const innermost = kWalks.at(-1)
  const lies = isAlong(lowering, inputs[other], innermost)
  const moving = [m.name, ...kWalks.map((walk) => walk.name)]
  const packBroadcast = packing(operands[other], scope, lies, moving)
  // Where a run-time extent moves the chain's end, what comes next is not known.
  const isFixed = kWalks.every((walk) => walk.axes.every((axis) => axis.extent === undefined))
  const memory = isFixed ? memoryOf(operands[vectorOperand], scope) : undefined
  const broadcastMemory = isFixed && lies ? memoryOf(operands[other], scope, moving) : undefined
  return {
    vectorOperand,
    k: kWalks.map((walk) => walk.name),
    kBounds: kWalks.map((walk) => walk.bound),
    kBound: kWalks.reduce((product, walk) => product * walk.bound, 1),
    transposes: isAlong(lowering, inputs[vectorOperand], innermost),
    packBroadcast,
    // A copy lies along the chain.
    neighbours: packBroadcast === 'no' ? neighboursOf(operands[other], scope, innermost, m) : 'k',
    ...(memory ? { memory } : {}),
    ...(broadcastMemory ? { broadcastMemory } : {}),
  }
}

/** Where an operand lies, if it is read as it lies; `moving` as in `isPlainLoad`. */
export function memoryOf(operand: Expr, scope: KernelScope, moving?: readonly string[]): TileMemory | undefined {
  if (!isPlainLoad(operand, moving)) return undefined
  const buffer = scope.kernel('', []).arguments.find(({ name }) => name === operand.buffer)
  if (!buffer) return undefined
  const bytes = dtypeBytes[buffer.dtype]
  return { buffer: buffer.name, indices: operand.indices, bytes, total: bufferElements(buffer) * bytes }
}

/** The same place of memory where a loop of the nest has become others. */
export function movedTo(memory: TileMemory, loop: string, place: Index): TileMemory {
  const moved = substitution(new Map([[loop, place]]))
  return { ...memory, indices: memory.indices.map((index) => moved.index?.(index) ?? index) }
}

/** Whether an operand lies contiguous along the walk. */
export function isAlong(lowering: Lowering, operand: Node, walk: Walk | undefined): boolean {
  const fast = lowering.fastAxis(operand)
  return walk !== undefined && fast !== undefined && walk.axes.at(-1) === fast
}

/** A plain f32 load that steps evenly is read where it lies; anything else is worked out once per tile. */
function packing(
  operand: Expr,
  scope: KernelScope,
  contiguous: boolean,
  moving: readonly string[],
): 'no' | 'yes' | 'contiguous' {
  const plain =
    isPlainLoad(operand, moving) &&
    scope.kernel('', []).arguments.find((buffer) => buffer.name === operand.buffer)?.dtype === 'f32'
  if (plain) return 'no'
  return contiguous ? 'contiguous' : 'yes'
}

/** A load that steps evenly with the loops that move it: all of those around, or `moving`. */
export function isPlainLoad(operand: Expr, moving?: readonly string[]): operand is Extract<Expr, { kind: 'load' }> {
  const stays = (atom: Index): boolean => moving !== undefined && !moving.some((name) => indexMentions(atom, name))
  const isEven = ({ terms }: Index): boolean =>
    terms.every(({ atom, scale }) => {
      if (atom.kind === 'variable' || atom.kind === 'size') return true
      // What was looked up in memory is no place that is known.
      return atom.kind !== 'value' && stays({ constant: 0, terms: [{ atom, scale }] })
    })
  return operand.kind === 'load' && operand.indices.every(isEven)
}
