// Barriers where invocations of a workgroup read what others wrote, or write what others may still read. Only between
// statements that all invocations reach together; accesses that are an invocation's own never conflict.

import { InternalError } from '../diagnostic.ts'
import { accessesOf } from './gpuPlaces.ts'
import { indexMentions } from './index.ts'
import type { Index } from './index.ts'
import type { Stmt } from './ir.ts'

export interface PhaseOptions {
  /** Buffers in workgroup memory. */
  readonly shared: ReadonlySet<string>
  /** Arguments that a single invocation stores to. */
  readonly overwritten: ReadonlySet<string>
  /** Variables that differ between invocations. */
  readonly divergent: readonly string[]
  readonly isOwn: (indices: readonly Index[]) => boolean
}

/** What was done to a shared buffer since the last barrier. */
interface Touch {
  readonly buffer: string
  readonly kind: 'load' | 'store'
  readonly own: boolean
}

/** @throws InternalError where a barrier would be needed that some invocations do not reach */
export function separatePhases(body: readonly Stmt[], options: PhaseOptions): Stmt[] {
  return new Phases(options).block(body, []).body
}

class Phases {
  readonly #options: PhaseOptions

  constructor(options: PhaseOptions) {
    this.#options = options
  }

  /** The statements with barriers, and what is pending behind them. */
  block(body: readonly Stmt[], before: readonly Touch[]): { body: Stmt[]; pending: readonly Touch[] } {
    const result: Stmt[] = []
    let pending = before
    const meet = (): void => {
      result.push({ kind: 'barrier' })
      pending = []
    }
    for (const stmt of body) {
      const touched = this.#touches([stmt])
      if (conflict(pending, touched)) meet()
      if (!conflict(touched, touched)) {
        result.push(stmt)
        pending = [...pending, ...touched]
        continue
      }
      if (stmt.kind === 'for' && !this.#diverges([stmt.extent])) {
        const inner = this.block(stmt.body, [])
        // The next iteration follows the last statement.
        const met = conflict(inner.pending, touched)
        const closed: Stmt[] = met ? [...inner.body, { kind: 'barrier' }] : inner.body
        result.push({ ...stmt, body: closed })
        // Without an iteration, what was pending still is.
        pending = [...pending, ...(met ? [] : inner.pending)]
      } else if (stmt.kind === 'if' && !this.#diverges(stmt.conditions.flatMap(({ left, right }) => [left, right]))) {
        const inner = this.block(stmt.body, [])
        result.push({ ...stmt, body: inner.body })
        pending = [...pending, ...inner.pending]
      } else {
        throw new InternalError('a barrier is needed where not all invocations of a workgroup pass')
      }
    }
    return { body: result, pending }
  }

  #diverges(indices: readonly Index[]): boolean {
    return indices.some((index) => this.#options.divergent.some((name) => indexMentions(index, name)))
  }

  #touches(body: readonly Stmt[]): Touch[] {
    const touches: Touch[] = []
    accessesOf(body, ({ buffer, indices }, kind) => {
      if (this.#options.overwritten.has(buffer)) touches.push({ buffer, kind, own: kind === 'store' })
      if (this.#options.shared.has(buffer)) touches.push({ buffer, kind, own: this.#options.isOwn(indices) })
    })
    return touches
  }
}

function conflict(first: readonly Touch[], second: readonly Touch[]): boolean {
  return first.some((a) =>
    second.some((b) => a.buffer === b.buffer && (a.kind === 'store' || b.kind === 'store') && !(a.own && b.own)),
  )
}
