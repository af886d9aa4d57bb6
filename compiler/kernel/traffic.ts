// What a kernel does, read off its loops: multiply-adds, loads and stores counted exactly; bytes that must move at least
// once; and a model of what moves when one thread has a private cache. Runs nothing and knows no machine but that cache.

import { dtypeBytes } from '../graph/axis.ts'
import { Boxes } from './boxes.ts'
import { lanesOf } from './ir.ts'
import type { Buffer, Expr, Kernel, Stmt } from './ir.ts'
import { equalIndex } from './index.ts'
import { holds, pieces, placesOf, walk } from './pieces.ts'
import type { Places, Store } from './pieces.ts'

export interface Counts {
  /** Multiply-adds of every kind, one per lane. */
  readonly multiplyAdds: number
  /** Those that continue a chain: `a = fma(x, y, a)`. The others belong to elementwise functions. */
  readonly chained: number
  /** Elements read and written by argument; one read twice counts twice. */
  readonly arguments: ReadonlyMap<string, { readonly loads: number; readonly stores: number }>
}

export interface Bytes {
  readonly read: number
  readonly written: number
}

export interface ArgumentTraffic {
  readonly name: string
  /** Distinct bytes: each has to be read, or written, once. */
  readonly compulsory: Bytes
  /** By the model. */
  readonly moved: Bytes
}

export interface Traffic {
  readonly compulsory: Bytes
  readonly moved: Bytes
  readonly arguments: readonly ArgumentTraffic[]
}

/** Exact counts at the given sizes; at their bounds where none are given. */
export function countKernel(kernel: Kernel, sizes: Readonly<Record<string, number>> = {}): Counts {
  const touched = new Map(kernel.arguments.map(({ name }) => [name, { loads: 0, stores: 0 }]))
  let multiplyAdds = 0
  let chained = 0
  walk(kernel.body, placesOf(kernel, sizes), 1, {
    load: ({ buffer }, _, times, count) => {
      const of = touched.get(buffer)
      if (of) of.loads += times * count
    },
    store: ({ buffer }, _, times, count) => {
      const of = touched.get(buffer)
      if (of) of.stores += times * count
    },
    apply: (apply, times, statement) => {
      if (apply.word !== 'fma') return
      multiplyAdds += times * apply.lanes
      if (statement.kind === 'store' && statement.value === apply && continues(apply.args[2], statement)) {
        chained += times * apply.lanes
      }
    },
  })
  return { multiplyAdds, chained, arguments: touched }
}

function continues(addend: Expr | undefined, store: Store): boolean {
  return (
    addend?.kind === 'load' &&
    addend.buffer === store.buffer &&
    lanesOf(addend) === store.lanes &&
    addend.indices.every((index, place) => {
      const other = store.indices[place]
      return other !== undefined && equalIndex(index, other)
    })
  )
}

/**
 * Bytes of memory behind the arguments at the given sizes. `moved` is a model: one thread runs the whole kernel with a
 * cache of `cacheBytes` that keeps what was used last, whole elements and no lines. What a block touches moves once if
 * all of it fits; a loop of which one iteration fits moves what it touches once, since the next iteration still finds
 * what it shares with the last; any other block moves what its parts move. Scratch takes room, registers none.
 */
export function kernelTraffic(
  kernel: Kernel,
  cacheBytes: number,
  sizes: Readonly<Record<string, number>> = {},
): Traffic {
  const model = new Model(kernel, cacheBytes)
  const places = placesOf(kernel, sizes)
  const compulsory = model.footprint(kernel.body, places)
  const moved = model.moved(kernel.body, places)
  const found = kernel.arguments.map(({ name }) => ({
    name,
    compulsory: compulsory.of(name),
    moved: moved.get(name) ?? nothing,
  }))
  return {
    compulsory: sum(found.map((one) => one.compulsory)),
    moved: sum(found.map((one) => one.moved)),
    arguments: found,
  }
}

/** Distinct bytes behind all arguments, at the bounds of run-time extents: `compulsory` of the traffic, without its model. */
export function compulsoryBytes(kernel: Kernel): Bytes {
  const touched = new Model(kernel, 0).footprint(kernel.body, placesOf(kernel))
  return sum(kernel.arguments.map(({ name }) => touched.of(name)))
}

const nothing: Bytes = { read: 0, written: 0 }

function sum(parts: readonly Bytes[]): Bytes {
  return parts.reduce(
    (total, part) => ({ read: total.read + part.read, written: total.written + part.written }),
    nothing,
  )
}

type Moved = ReadonlyMap<string, Bytes>

/** What one execution of a block touches. */
class Footprint {
  readonly #reads = new Map<string, Boxes>()
  readonly #writes = new Map<string, Boxes>()
  readonly #buffers: ReadonlyMap<string, Buffer>

  constructor(buffers: ReadonlyMap<string, Buffer>, body: readonly Stmt[], places: Places) {
    this.#buffers = buffers
    const boxes = (kept: Map<string, Boxes>, name: string): Boxes | undefined => {
      const buffer = buffers.get(name)
      if (!buffer) return undefined
      const known = kept.get(name) ?? new Boxes(buffer.dims.map(({ size }) => size))
      kept.set(name, known)
      return known
    }
    walk(body, places, 1, {
      load: (load, at, _, count) => boxes(this.#reads, load.buffer)?.add(load.indices, at, count),
      store: (store, at, _, count) => boxes(this.#writes, store.buffer)?.add(store.indices, at, count),
    })
  }

  of(name: string): Bytes {
    const size = this.#bytes(name)
    return { read: (this.#reads.get(name)?.size ?? 0) * size, written: (this.#writes.get(name)?.size ?? 0) * size }
  }

  /** Whether everything touched has room in so many bytes, once each. */
  fits(bytes: number): boolean {
    const all = [...this.#buffers.keys()].map((name) => {
      const both = new Boxes()
      for (const kept of [this.#reads.get(name), this.#writes.get(name)]) if (kept) both.addAll(kept)
      return { both, size: this.#bytes(name), range: both.sizeRange }
    })
    // Most blocks are far from the border: unions need not be worked out.
    const least = all.reduce((sum, { size, range }) => sum + size * range.low, 0)
    const most = all.reduce((sum, { size, range }) => sum + size * range.high, 0)
    if (least > bytes || most <= bytes) return most <= bytes
    return all.reduce((sum, { both, size }) => sum + size * both.size, 0) <= bytes
  }

  #bytes(name: string): number {
    const buffer = this.#buffers.get(name)
    return buffer ? dtypeBytes[buffer.dtype] : 0
  }
}

class Model {
  readonly #buffers: ReadonlyMap<string, Buffer>
  readonly #arguments: readonly string[]
  readonly #cacheBytes: number

  constructor(kernel: Kernel, cacheBytes: number) {
    const inMemory = [...kernel.arguments, ...kernel.locals.filter(({ space }) => space !== 'register')]
    this.#buffers = new Map(inMemory.map((buffer) => [buffer.name, buffer]))
    this.#arguments = kernel.arguments.map(({ name }) => name)
    this.#cacheBytes = cacheBytes
  }

  footprint(body: readonly Stmt[], places: Places): Footprint {
    return new Footprint(this.#buffers, body, places)
  }

  moved(body: readonly Stmt[], places: Places): Moved {
    const whole = this.footprint(body, places)
    return whole.fits(this.#cacheBytes) ? this.#once(whole) : this.#apart(body, places)
  }

  /** A block that does not fit. */
  #apart(body: readonly Stmt[], places: Places): Moved {
    return this.#add(body.map((stmt) => ({ times: 1, moved: this.#statement(stmt, places) })))
  }

  #statement(stmt: Stmt, places: Places): Moved {
    if (stmt.kind === 'if') return holds(stmt.conditions, places) ? this.moved(stmt.body, places) : new Map()
    if (stmt.kind !== 'for') return this.#once(this.footprint([stmt], places))
    const parts = pieces(stmt, places)
    const atStart = <T>({ low }: { readonly low: number }, what: () => T): T => {
      places.set(stmt.variable, { low, high: low })
      const result = what()
      places.delete(stmt.variable)
      return result
    }
    const iterations = parts.map((part) => atStart(part, () => this.footprint(stmt.body, places)))
    const fitting = iterations.map((iteration) => iteration.fits(this.#cacheBytes))
    if (fitting.every(Boolean)) return this.#once(this.footprint([stmt], places))
    return this.#add(
      parts.map((part, place) => {
        const iteration = fitting[place] === true ? iterations[place] : undefined
        const moved = iteration ? this.#once(iteration) : atStart(part, () => this.#apart(stmt.body, places))
        return { times: part.high - part.low + 1, moved }
      }),
    )
  }

  #once(footprint: Footprint): Moved {
    return new Map(this.#arguments.map((name) => [name, footprint.of(name)]))
  }

  #add(parts: readonly { readonly times: number; readonly moved: Moved }[]): Moved {
    return new Map(
      this.#arguments.map((name) => [
        name,
        sum(
          parts.map(({ times, moved }) => {
            const { read, written } = moved.get(name) ?? nothing
            return { read: times * read, written: times * written }
          }),
        ),
      ]),
    )
  }
}
