// 500 random graphs, half of them with all their gradients, through schedule, plan and emitted C++: on this processor and
// on emulated arm64 they give the bits of the graph's interpreter. Fifty graphs are one translation unit, and two are
// compiled at a time. Needs g++, clang++-22, the aarch64 cross compiler, qemu and a processor with AVX-512.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import type { GraphFunction } from '../../compiler/graph/node.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { expected, firstDifference } from '../schedule/launch.ts'
import { countedGraphs, derivatives, operations } from '../support/countedGraphs.ts'
import type { CountedGraphs } from '../support/countedGraphs.ts'
import { batchOf, runBatch } from '../support/graphBatch.ts'
import { emulatedChain, hostChain } from '../support/nativeChains.ts'
import { twoAtATime } from '../support/pairwise.ts'
import type { RandomGraph } from '../support/randomGraph.ts'

const GRAPHS = 500
const UNIT = 50
const LEAST = 20
/** By the turn of the unit. */
const threads = [1, 2, 3, 5, 8]

const cache = new CompileCache()
const chains = {
  host: [
    () => hostChain(cache, { command: 'g++', isa: 'avx512' }),
    () => hostChain(cache, { command: 'clang++-22', isa: 'avx2' }),
  ],
  'emulated arm64': [
    () => emulatedChain(cache, 'clang++-22', 'cortex-a53'),
    () => emulatedChain(cache, 'clang++-22', 'max'),
  ],
} as const

describe('500 random graphs in emitted C++', function () {
  this.timeout(1_500_000)
  let begun = 0
  let folder = ''
  let counted: CountedGraphs
  const known = new Map<GraphFunction, Map<string, Tensor>>()
  before(() => {
    begun = performance.now()
    folder = mkdtempSync(join(tmpdir(), 'heddle-graphs-'))
    counted = countedGraphs(GRAPHS, 2026)
  })
  after(() => {
    rmSync(folder, { recursive: true, force: true })
    console.log(`      ${((performance.now() - begun) / 60_000).toFixed(1)} minutes`)
  })

  /** What the interpreter gives, worked out once for all targets. */
  function interpreted({ graph, values, extents }: RandomGraph, fn: GraphFunction): Map<string, Tensor> {
    const made = known.get(fn) ?? expected(graph, fn, values, extents)
    known.set(fn, made)
    return made
  }

  /** Compiles, runs and compares one unit; returns the number of graphs and of numbers compared. */
  async function compareUnit(unit: number, chain: ToolChain): Promise<{ graphs: Set<RandomGraph>; numbers: number }> {
    const batch = batchOf(counted.graphs.slice(unit * UNIT, (unit + 1) * UNIT), chain)
    const graphs = new Set<RandomGraph>()
    let numbers = 0
    await runBatch(batch, {
      chain,
      threads: threads[unit % threads.length] ?? 1,
      frozenPath: join(folder, `${chain.isa.name}-${unit}.bin`),
      check: (grown, { fn }, results) => {
        const wanted = interpreted(grown, fn)
        const difference = firstDifference(results, wanted)
        if (difference !== undefined) {
          assert.fail(`${chain.describe()}, '${fn.name}': ${difference}\n${printGraph(grown.graph)}`)
        }
        graphs.add(grown)
        for (const { data } of wanted.values()) numbers += data.length
      },
    })
    return { graphs, numbers }
  }

  it(`hold every operation and every derivative in at least ${LEAST} graphs`, () => {
    assert.equal(counted.graphs.length, GRAPHS)
    assert.ok(operations.length > 40 && derivatives.length > 25)
    const seldom = (names: readonly string[], counts: ReadonlyMap<string, number>): string[] =>
      names.filter((name) => (counts.get(name) ?? 0) < LEAST)
    assert.deepEqual(seldom(operations, counted.forward), [])
    assert.deepEqual(seldom(derivatives, counted.backward), [])
  })

  for (const [target, makers] of Object.entries(chains)) {
    it(`give the interpreter's bits on ${target}`, async () => {
      const units = Array.from({ length: GRAPHS / UNIT }, (_, unit) => unit)
      const graphs = new Set<RandomGraph>()
      let numbers = 0
      await twoAtATime(units, async (unit) => {
        const made = await compareUnit(unit, await makers[unit % 2 === 0 ? 0 : 1]())
        made.graphs.forEach((grown) => graphs.add(grown))
        numbers += made.numbers
      })
      assert.equal(graphs.size, GRAPHS)
      assert.ok(numbers > 1_000_000, `${numbers} numbers`)
    })
  }
})
