// Which bytes of an argument some iterations of a kernel's outermost loop can read or write, whatever run-time extents are.
// Guards are not asked, so that it may be too much and never too little.

import { dtypeBytes } from '../graph/axis.ts'
import { constantOf } from '../kernel/index.ts'
import type { Index, Range } from '../kernel/index.ts'
import { bufferElements, gridOf } from '../kernel/ir.ts'
import type { Expr, Kernel, Loop, Stmt } from '../kernel/ir.ts'
import { rangeAt } from '../kernel/pieces.ts'
import type { Places } from '../kernel/pieces.ts'
import { visitExprs } from '../kernel/rewrite.ts'

/** Bytes from the argument's first one. */
export interface ByteRange {
  readonly from: number
  readonly bytes: number
}

interface Access {
  readonly indices: readonly Index[]
  readonly lanes: number
  readonly around: readonly Loop[]
}

/** The loop whose iterations can run apart from each other: a phase, or the outermost of the grid. */
export function outermostLoop(kernel: Kernel): { readonly loop: Loop; readonly count: number } | undefined {
  const { phase, loops } = gridOf(kernel.body)
  const loop = phase ?? loops[0]
  const count = loop && constantOf(loop.extent)
  return loop && count !== undefined ? { loop, count } : undefined
}

/** What the iterations `begin` … `end` − 1 of the outermost loop touch of an argument; all iterations where it has none. */
export class Footprint {
  readonly #kernel: Kernel
  readonly #outermost: Loop | undefined
  readonly #accesses = new Map<string, Access[]>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.#outermost = outermostLoop(kernel)?.loop
    this.#collect(kernel.body, [])
  }

  of(argument: string, begin: number, end: number): ByteRange {
    const buffer = this.#kernel.arguments.find(({ name }) => name === argument)
    if (!buffer) return { from: 0, bytes: 0 }
    const size = dtypeBytes[buffer.dtype]
    let [low, high] = [Infinity, -1]
    for (const { indices, lanes, around } of this.#accesses.get(argument) ?? []) {
      const places = this.#placesIn(around, begin, end)
      if (!places) continue
      let [first, last] = [0, 0]
      indices.forEach((index, place) => {
        const { size: extent = 1, stride = 1 } = buffer.dims[place] ?? {}
        const range = rangeAt(index, places)
        const reach = place === indices.length - 1 ? lanes - 1 : 0
        first += stride * Math.min(extent - 1, Math.max(0, range.low))
        last += stride * Math.max(0, Math.min(extent - 1, range.high + reach))
      })
      low = Math.min(low, first)
      high = Math.max(high, last)
    }
    if (high < 0) return { from: 0, bytes: 0 }
    return { from: low * size, bytes: (Math.min(high, bufferElements(buffer) - 1) + 1 - low) * size }
  }

  /** Where the loops around an access can be; undefined where one of them never runs. */
  #placesIn(around: readonly Loop[], begin: number, end: number): Places | undefined {
    const places: Places = new Map(
      this.#kernel.sizes.map(({ name, bound }): [string, Range] => [name, { low: 1, high: bound }]),
    )
    for (const loop of around) {
      const { high } = loop === this.#outermost ? { high: end } : rangeAt(loop.extent, places)
      const low = loop === this.#outermost ? begin : 0
      if (high <= low) return undefined
      places.set(loop.variable, { low, high: high - 1 })
    }
    return places
  }

  #collect(body: readonly Stmt[], around: readonly Loop[]): void {
    for (const stmt of body) {
      if (stmt.kind === 'for') this.#collect(stmt.body, [...around, stmt])
      else if (stmt.kind === 'if') this.#collect(stmt.body, around)
      else if (stmt.kind === 'store' || stmt.kind === 'let') this.#loads(stmt.value, around)
      if (stmt.kind === 'store') this.#note(stmt.buffer, { ...stmt, around })
    }
  }

  #loads(expr: Expr, around: readonly Loop[]): void {
    visitExprs(expr, (part) => {
      if (part.kind === 'load') this.#note(part.buffer, { ...part, around })
    })
  }

  #note(buffer: string, { indices, lanes, around }: Access): void {
    const known = this.#accesses.get(buffer) ?? []
    known.push({ indices, lanes, around })
    this.#accesses.set(buffer, known)
  }
}
