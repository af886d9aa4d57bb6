// Axes as a model declares them. Their objects carry identity; the graph's axes behind them are made when a model is
// built, so that the three axes every language model has can be named in any file.

import { currentTrace, beginOperation } from './trace.ts'
import type { Operation, Trace } from './trace.ts'
import type { AnyAxis, Axis, OneName } from './checks.ts'

const namePattern = /^[A-Za-z][A-Za-z0-9_]*$/

/**
 * Declares an axis of the model being built, once: outside its repeated layers.
 *
 * @param size its extent, a positive integer
 * @throws UserError HD101 for a second axis of the same name, a bad name or size
 */
export function axis<const N extends string>(name: OneName<N>, size: number): Axis<N> {
  const op = beginOperation('axis')
  return declare<N>(op, name, size, undefined)
}

/**
 * A second axis of the same size, for square weights and for the second sequence axis of attention. Like a sequence
 * axis it shares its run-time extent.
 *
 * @throws UserError HD101 for a second axis of the same name, HD102 when `twin` is of another model
 */
export function like<const N extends string>(twin: AnyAxis, name: OneName<N>): Axis<N> {
  const op = beginOperation('like')
  const original = op.axis(twin)
  const made = declare<N>(op, name, original.size, original.extent)
  const { sequences } = op.trace
  if (sequences.has(original)) sequences.add(op.axis(made))
  return made
}

function declare<N extends string>(op: Operation, name: string, size: number, extent: string | undefined): Axis<N> {
  if (typeof name !== 'string' || !namePattern.test(name)) {
    op.fail('HD101', `${JSON.stringify(name)} is no name for an axis`, 'use letters, digits and _')
  }
  if (op.trace.hasAxis(name)) {
    op.fail('HD101', `the model has an axis '${name}' already`, 'declare it once, outside the layers')
  }
  if (!Number.isSafeInteger(size) || size < 1) {
    op.fail('HD101', `axis '${name}' cannot have ${String(size)} places`, 'its size is a positive integer')
  }
  const made = Object.freeze({ name, size }) as unknown as Axis<N>
  op.trace.bind(made, name, size, extent)
  return made
}

/** An axis of every language model; its size is that of the model being built. */
function wellKnown<N extends string>(name: N): Axis<N> {
  const made = {
    name,
    get size(): number {
      return currentTrace()?.graphAxis(made as unknown as AnyAxis)?.size ?? Number.NaN
    },
  }
  return Object.freeze(made) as unknown as Axis<N>
}

/** The sequences of a micro-batch. */
export const batch: Axis<'batch'> = wellKnown('batch')
/** Positions within a sequence: a run-time extent, at most the recipe's `batch.length`. */
export const seq: Axis<'seq'> = wellKnown('seq')
/** `seq` as keys and values of attention see it: rename to it what is attended to. */
export const key: Axis<'key'> = wellKnown('key')

/** Gives a reading of a model the three axes of every language model, in this order; `one`: a token at a time. */
export function bindWellKnown(trace: Trace, one = false): void {
  const { sequences, length } = trace.options
  trace.bind(batch, 'batch', sequences)
  for (const [axis, name] of [
    [seq, 'seq'],
    [key, 'key'],
  ] as const) {
    trace.sequences.add(trace.bind(axis, name, one ? 1 : length, one ? undefined : 'seq'))
  }
}
