// Compiles and runs the thread pool's stress program (test/neon/poolStress.cpp). Only for tests.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Source, ToolChain } from '../../backends/neon/toolchain/index.ts'
import { runProgram } from '../../backends/neon/toolchain/native.ts'
import type { Ran } from '../../backends/neon/toolchain/native.ts'

const runtime = fileURLToPath(new URL('../../backends/neon/runtime/', import.meta.url))
const stress = new URL('../neon/poolStress.cpp', import.meta.url)

/** The program with the run-time's headers, of which `change` may make others. */
export function stressSources(change: (header: string, text: string) => string = (_, text) => text): Source[] {
  const headers = readdirSync(runtime).map((name) => ({
    name,
    text: change(name, readFileSync(`${runtime}${name}`, 'utf8')),
  }))
  return [...headers, { name: 'poolStress.cpp', text: readFileSync(stress, 'utf8') }]
}

export async function runStress(
  chain: ToolChain,
  threads: number,
  launches: number,
  sources = stressSources(),
): Promise<Ran> {
  const path = await chain.compile(sources, { output: 'executable', optimise: 'light' })
  const line = [...chain.launcher, path, String(threads), String(launches)]
  return runProgram(line[0] ?? path, line.slice(1), { milliseconds: 120_000 })
}

/** Every point of every launch ran once, and nothing was said about it. */
export function assertStressed(ran: Ran, launches: number): void {
  const grids = [2, 3, 7, 8, 63, 64, 65, 1, 1000]
  const points = Array.from({ length: launches }, (_, launch) => grids[launch % grids.length] ?? 0)
  assert.deepEqual(ran, { code: 0, output: `${points.reduce((sum, grid) => sum + grid, 0)}\n`, log: '' })
}
