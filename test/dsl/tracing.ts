// A small model around one piece of the language, for tests: traces it, and runs what it computes by the interpreter.

import assert from 'node:assert/strict'
import { float64 } from '../../compiler/graph/float64.ts'
import { interpretNodes } from '../../compiler/graph/interpret.ts'
import type { Node } from '../../compiler/graph/node.ts'
import type { Tensor as Values } from '../../compiler/graph/tensor.ts'
import { fromStored } from '../../compiler/graph/tensor.ts'
import { bindWellKnown } from '../../dsl/axes.ts'
import type { AnyTensor } from '../../dsl/checks.ts'
import { parameterScope } from '../../dsl/parameters.ts'
import type { ParameterScope } from '../../dsl/index.ts'
import { Operation, Trace, within } from '../../dsl/trace.ts'

export interface TracedPiece {
  readonly node: Node
  readonly trace: Trace
}

/** Traces a function of parameters and returns the node it ends in; batch 2, sequences of up to 7. */
export function tracePiece(build: (p: ParameterScope) => AnyTensor, training = true): TracedPiece {
  const trace = new Trace({ sequences: 2, length: 7 })
  trace.training = training
  return within(trace, () => {
    bindWellKnown(trace)
    trace.builder.declare({ name: 'seed', role: 'input', dtype: 'i32', stored: [] })
    const value = build(parameterScope(''))
    const op = new Operation('piece', trace, { file: 'a test' })
    return { node: op.node(value, 'the result'), trace }
  })
}

/** The values of a piece in double precision, its parameters given in stored order by name. */
export function runPiece(piece: TracedPiece, given: Record<string, readonly number[]>, length = 7): Values {
  const values = new Map<string, Values>()
  for (const [name, numbers] of Object.entries(given)) {
    const declaration = piece.trace.builder.declaration(name)
    if (!declaration) throw new Error(`no parameter '${name}'`)
    const data = declaration.dtype === 'i32' ? Int32Array.from(numbers) : Float64Array.from(numbers)
    values.set(name, fromStored(declaration, data, { seq: length }))
  }
  const results = interpretNodes([piece.node], { values, extents: { seq: length }, arithmetic: float64 })
  const result = results.get(piece.node)
  if (!result) throw new Error('the piece has no value')
  return result
}

/** Numbers that look arbitrary and repeat: about −2 … 2. */
export function sampleValues(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, index) => 2 * Math.sin(12.9898 * (index + 1) * seed + seed))
}

/** Holds numbers against others, relative to the larger of 1 and their size. */
export function close(actual: ArrayLike<number>, expected: readonly number[], tolerance = 1e-7): void {
  assert.equal(actual.length, expected.length)
  for (let index = 0; index < expected.length; index++) {
    const [got, wanted] = [actual[index] ?? Number.NaN, expected[index] ?? Number.NaN]
    assert.ok(Math.abs(got - wanted) <= tolerance * Math.max(1, Math.abs(wanted)), `${index}: ${got} is not ${wanted}`)
  }
}

/** Consecutive rows of a row-major matrix. */
export function rows(values: readonly number[], width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width))
}
