// Plans of whole models: within their budget, never slower with more memory, and the same bits whatever is computed again.

import assert from 'node:assert/strict'

import { float32 } from '../../../compiler/graph/float32.ts'
import { everythingKept, forwardValues } from '../../../compiler/transform/checkpoint.ts'
import type { Compiled } from '../../../compiler/pipeline.ts'
import { oracleCase } from '../../support/oracle.ts'
import { compileCase } from '../../support/trainCase.ts'
import { wideProfile } from '../../memory/gpt2Sizes.ts'
import { session, traceCase } from '../../transform/oracleModel.ts'

function within(name: string, budget: number): Compiled {
  const excess = ({ program }: Pick<Compiled, 'program'>): number => program.arenaBytes - budget
  return compileCase(oracleCase(name), { profile: wideProfile, checkpoints: { excess } }).compiled
}

/** The bits of everything that a step accumulates, by the interpreter of graphs. */
function bits(name: string, { graph }: Compiled): Map<string, string> {
  const one = traceCase(oracleCase(name))
  const run = session(one, graph, float32)
  run.setBatch(one.oracle.batch)
  run.run('accumulate')
  const { writes = [] } = graph.functions.find((fn) => fn.name === 'accumulate') ?? {}
  return new Map(writes.map(({ name: written }) => [written, Buffer.from(Float32Array.from(run.stored(written)).buffer).toString('hex')])) // prettier-ignore
}

describe('plans of checkpoints for a model', function () {
  this.timeout(300_000)

  for (const name of ['gpt2-small/lora', 'qwen2-small/full', 'gemma3-small/lora']) {
    it(`fit, cost no more with more memory and change no bit: ${name}`, () => {
      const everything = within(name, Number.POSITIVE_INFINITY)
      assert.equal(everything.checkpointing, undefined)
      const expected = bits(name, everything)
      const smallest = within(name, 1)
      const [least, most] = [smallest, everything].map(({ program }) => program.arenaBytes) as [number, number]
      assert.ok(least < most, `${least} bytes at least, ${most} at most`)
      assert.deepEqual(bits(name, smallest), expected)
      let before = smallest.checkpointing?.seconds ?? 0
      for (const share of [0.31, 0.74]) {
        const budget = Math.round(least + share * (most - least))
        const compiled = within(name, budget)
        assert.ok(compiled.program.arenaBytes <= budget, `${compiled.program.arenaBytes} of ${budget} bytes`)
        const { seconds = 0, rounds = [] } = compiled.checkpointing ?? {}
        assert.ok(seconds <= before, `${seconds} s within ${budget} bytes, ${before} s with fewer`)
        assert.ok(rounds.length > 0)
        before = seconds
        assert.deepEqual(bits(name, compiled), expected)
      }
    })
  }

  it('may keep everything and begin anew all the same', () => {
    const { graph } = within('gpt2-small/lora', Number.POSITIVE_INFINITY)
    const checkpoints = everythingKept(forwardValues(graph))
    assert.ok(checkpoints instanceof Map && checkpoints.size === 2)
  })
})
