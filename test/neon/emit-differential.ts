// The differential test that every tool chain has to pass: the bits of compiled kernels against exact arithmetic.

import assert from 'node:assert/strict'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { allCases } from './emit-cases.ts'
import type { Case } from './emit-cases.ts'
import { programOf, runJobs } from './emit-harness.ts'
import { assertSameBits, intsOf, wordCases } from './emit-words.ts'

/** Compiles all cases as one program, runs them, and compares every element. Returns how many were compared. */
export async function compareAll(chain: ToolChain): Promise<number> {
  const cases = allCases(chain.isa.lanes)
  // Cases that differ only in sizes and data share a kernel.
  const kernels: Kernel[] = []
  const known = new Map<string, number>()
  const jobs = cases.map((item) => {
    let position = known.get(item.kernel.name)
    if (position === undefined) {
      position = kernels.length
      known.set(item.kernel.name, position)
      kernels.push(item.kernel)
    }
    return { item, position }
  })
  const program = programOf(kernels)
  const results = await runJobs(
    chain,
    program,
    jobs.map(({ item, position }) => ({
      kernel: position,
      sizes: program.sizes.map(
        ({ name }) => item.sizes[item.kernel.sizes.findIndex((size) => size.name === name)] ?? 1,
      ),
      args: item.args,
    })),
  )
  let compared = 0
  for (const [index, { item }] of jobs.entries()) compared += compare(item, results[index] ?? [])
  toIntAgrees(
    jobs.map(({ item }) => item),
    results,
  )
  return compared
}

function compare(item: Case, after: readonly Uint8Array[]): number {
  for (const [position, before] of item.args.slice(0, -1).entries()) {
    assert.deepEqual(after[position], before, `${item.name} changed argument ${position}`)
  }
  const compared = assertSameBits(item.name, intsOf(after.at(-1)), item.expected, item.type)
  if (wordCases.some(({ word }) => item.name.startsWith(`${word}, `))) assert.ok(compared >= 1000, item.name)
  return compared
}

/** Out of range the integer is free, but scalars and vectors of one machine must agree. */
function toIntAgrees(cases: readonly Case[], results: readonly Uint8Array[][]): void {
  const found = cases.flatMap((item, index) => (item.name.startsWith('toInt,') ? [intsOf(results[index]?.at(-1))] : []))
  assert.equal(found.length, 2)
  assert.deepEqual(found[0], found[1])
}
