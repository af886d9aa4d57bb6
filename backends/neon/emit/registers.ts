// How each register buffer is kept: one C++ variable per vector or per scalar where every index is a constant, else a
// small array on the stack. Decided by reading all accesses once; prints nothing.

import type { Index } from '../../../compiler/kernel/index.ts'
import { bufferElements } from '../../../compiler/kernel/ir.ts'
import type { Buffer, Expr, Kernel, Stmt } from '../../../compiler/kernel/ir.ts'
import type { InstructionSet } from '../isa/table.ts'

export type Storage =
  | { readonly kind: 'variables'; readonly lanes: number; readonly elements: ReadonlySet<number> }
  | { readonly kind: 'array' }

/** Offset in elements of constant indices; undefined where an index is not a constant. */
export function constantOffset(buffer: Buffer, indices: readonly Index[]): number | undefined {
  let offset = 0
  for (const [dimension, index] of indices.entries()) {
    if (index.terms.length > 0) return undefined
    offset += index.constant * (buffer.dims[dimension]?.stride ?? 0)
  }
  return offset
}

interface Access {
  readonly buffer: string
  readonly indices: readonly Index[]
  readonly lanes: number
  readonly valid?: Index
}

/** The elements that a tree reads: all of them, in vectors when there are vectors. */
const TREE_ELEMENTS = 16

/**
 * Storage of every register buffer of a kernel. Vectors at constant offsets that are multiples of the lanes become
 * variables, and so do scalars at constant offsets. Vectors of which lanes are read become variables where the
 * instruction set takes lanes. A buffer used both ways otherwise, at a run-time index, or in part becomes an array.
 */
export function registerStorage(
  kernel: Kernel,
  { lanes, vector }: Pick<InstructionSet, 'lanes' | 'vector'>,
): ReadonlyMap<string, Storage> {
  const buffers = new Map(
    kernel.locals.filter((buffer) => buffer.space === 'register').map((buffer) => [buffer.name, buffer]),
  )
  const offsets = new Map<string, Map<number, Set<number>>>()
  const arrays = new Set<string>()
  /** Single elements that are read. */
  const picked = new Map<string, Set<number>>()

  function note(buffer: string, width: number, offset: number): void {
    const byWidth = offsets.get(buffer) ?? new Map<number, Set<number>>()
    const known = byWidth.get(width) ?? new Set<number>()
    offsets.set(buffer, byWidth.set(width, known.add(offset)))
  }

  function access(found: Access, isRead: boolean): void {
    const buffer = buffers.get(found.buffer)
    if (!buffer) return
    const offset = constantOffset(buffer, found.indices)
    if (offset === undefined || offset % found.lanes !== 0 || found.valid) arrays.add(buffer.name)
    else if (isRead && found.lanes === 1) picked.set(buffer.name, (picked.get(buffer.name) ?? new Set()).add(offset))
    else note(buffer.name, found.lanes, offset)
  }

  function tree(name: string): void {
    const buffer = buffers.get(name)
    if (!buffer) return
    if (bufferElements(buffer) !== TREE_ELEMENTS) arrays.add(name)
    for (let offset = 0; offset < TREE_ELEMENTS; offset += lanes) note(name, lanes, offset)
  }

  function transposed(name: string): void {
    const buffer = buffers.get(name)
    for (let offset = 0; buffer && offset < bufferElements(buffer); offset += lanes) note(name, lanes, offset)
  }

  visitAccesses(kernel.body, {
    read: (found) => access(found, true),
    written: (found) => access(found, false),
    tree,
    transposed,
  })
  for (const [name, elements] of picked) {
    const isVectors = vector.byLane !== undefined && (offsets.get(name)?.has(lanes) ?? false)
    for (const element of elements) {
      if (isVectors) note(name, lanes, element - (element % lanes))
      else note(name, 1, element)
    }
  }

  const storage = new Map<string, Storage>()
  for (const name of buffers.keys()) {
    const widths = [...(offsets.get(name) ?? [])]
    const [first] = widths
    if (arrays.has(name) || widths.length > 1) storage.set(name, { kind: 'array' })
    else storage.set(name, { kind: 'variables', lanes: first?.[0] ?? 1, elements: first?.[1] ?? new Set() })
  }
  return storage
}

interface AccessVisitor {
  readonly read: (access: Access) => void
  readonly written: (access: Access) => void
  readonly tree: (buffer: string) => void
  readonly transposed: (buffer: string) => void
}

function visitAccesses(body: readonly Stmt[], visitor: AccessVisitor): void {
  const { read, written, tree, transposed } = visitor
  const inExpr = (expr: Expr): void => {
    switch (expr.kind) {
      case 'constant':
      case 'local':
        return
      case 'index':
      case 'ramp':
        return inIndex(expr.index)
      case 'load':
        read(expr)
        expr.indices.forEach(inIndex)
        if (expr.valid) inIndex(expr.valid)
        return
      case 'apply':
      case 'pack':
        return expr.args.forEach(inExpr)
      case 'splat':
        return inExpr(expr.value)
      case 'tree':
        return tree(expr.buffer)
    }
  }
  const inIndex = (index: Index): void => {
    for (const { atom } of index.terms) {
      if (atom.kind === 'value') inExpr(atom.value)
      else if (atom.kind === 'div' || atom.kind === 'mod') inIndex(atom.value)
      else if (atom.kind === 'min') {
        inIndex(atom.left)
        inIndex(atom.right)
      }
    }
  }
  for (const stmt of body) {
    switch (stmt.kind) {
      case 'for':
        inIndex(stmt.extent)
        visitAccesses(stmt.body, visitor)
        break
      case 'if':
        for (const { left, right } of stmt.conditions) [left, right].forEach(inIndex)
        visitAccesses(stmt.body, visitor)
        break
      case 'store':
        written(stmt)
        stmt.indices.forEach(inIndex)
        if (stmt.valid) inIndex(stmt.valid)
        inExpr(stmt.value)
        break
      case 'let':
        inExpr(stmt.value)
        break
      case 'transpose':
        transposed(stmt.buffer)
        break
      case 'barrier':
      case 'prefetch':
        break
    }
  }
}
