// Joint plans of whole models at several rates of storage: never slower by their own prediction than plans one after the other,
// faster where storage is slow, and the same bits.

import assert from 'node:assert/strict'
import { compileStep } from '../../../bench/step.ts'
import { shapes } from '../../../bench/shapes.ts'
import { float32 } from '../../../compiler/graph/float32.ts'
import type { Compiled } from '../../../compiler/pipeline.ts'
import type { PlannedProgram, StorageOptions } from '../../../compiler/plan/place.ts'
import type { StorageRate } from '../../../compiler/plan/rates.ts'
import { wideProfile } from '../../memory/gpt2Sizes.ts'
import { oracleCase } from '../../support/oracle.ts'
import { compileCase } from '../../support/trainCase.ts'
import { session, traceCase } from '../../transform/oracleModel.ts'

const MEBIBYTE = 2 ** 20
const compute = { flopsPerSecond: 4.8e10, bytesPerSecond: 2.5e10 }
const card: StorageRate = { bytesPerSecond: 8e7, latencySeconds: 1e-3 }
const phone: StorageRate = { bytesPerSecond: 1e9, latencySeconds: 1.5e-4 }
const laptop: StorageRate = { bytesPerSecond: 3e9, latencySeconds: 1e-4 }

/** Bytes of the arena, of frozen tensors in memory and of the state there. */
function bytesOf({ program }: PlannedProgram): number {
  const frozen = program.values.filter(({ role, streamed }) => role === 'frozen' && !streamed)
  return frozen.reduce((sum, { bytes }) => sum + bytes, program.arenaBytes + program.stateBytes)
}

function within(budget: number, shardBytes: number, read: StorageRate): Pick<StepOptions, 'storage' | 'checkpoints'> {
  const storage: StorageOptions = { shardBytes, residentBytes: 1024, limit: () => budget, read, compute }
  return { storage, checkpoints: { excess: (planned: PlannedProgram) => bytesOf(planned) - budget, rates: compute } }
}

type StepOptions = Parameters<typeof compileStep>[1]

function secondsOf({ arenas }: Compiled): number {
  const { computeSeconds = 0, stallSeconds = 0 } = arenas.find(({ fn }) => fn === 'accumulate')?.storage ?? {}
  return computeSeconds + stallSeconds
}

/** Six layers of Qwen2.5-0.5B with a vocabulary of 4,096. */
function qwen(budget: number, read: StorageRate): Compiled {
  const { config, targets } = shapes['qwen2'] ?? { config: {}, targets: [] }
  const cut = { ...config, num_hidden_layers: 6, vocab_size: 4096 }
  const options = { adapt: 'lora', length: 256, dtype: 'bf16', functions: ['accumulate', 'measure', 'apply'] } as const
  return compileStep({ config: cut, targets }, { ...options, ...within(budget, MEBIBYTE, read) }, wideProfile)
}

/** The bits of everything that a step accumulates, by the interpreter of graphs. */
function bits(name: string, { graph }: Compiled): Map<string, string> {
  const one = traceCase(oracleCase(name))
  const run = session(one, graph, float32)
  run.setBatch(one.oracle.batch)
  // Rows of the embedding, as the run-time would fetch them.
  for (const { name: fetched, rows, stored } of graph.declarations.values()) {
    const table = rows && one.stored.get(rows.table)
    const ids = rows && run.values.get(rows.ids)
    if (!table || !ids) continue
    const width = stored.flat().at(-1)?.size ?? 0
    const data = Float64Array.from([...ids.data].flatMap((id) => Array.from(table.slice(id * width, (id + 1) * width))))
    run.set(fetched, data)
  }
  run.run('accumulate')
  const { writes = [] } = graph.functions.find((fn) => fn.name === 'accumulate') ?? {}
  return new Map(writes.map(({ name: written }) => [written, Buffer.from(Float32Array.from(run.stored(written)).buffer).toString('hex')])) // prettier-ignore
}

describe('joint plans for a model', function () {
  this.timeout(600_000)

  for (const [name, read] of Object.entries({ card, phone, laptop })) {
    it(`fit, and are over no later than plans one after the other: ${name}`, () => {
      for (const budget of (name === 'card' ? [70, 120] : [80]).map((mebibytes) => mebibytes * MEBIBYTE)) {
        const compiled = qwen(budget, read)
        assert.ok(bytesOf(compiled) <= budget, `${bytesOf(compiled)} of ${budget} bytes`)
        const { joint } = compiled
        // Where computing hardly waits there is nothing to gain.
        if (name === 'laptop') assert.equal(joint, undefined)
        if (!joint) continue
        assert.equal(joint.predictedSeconds, secondsOf(compiled))
        assert.ok(joint.predictedSeconds <= joint.sequentialSeconds)
        assert.equal(joint.isTaken, joint.predictedSeconds < joint.sequentialSeconds)
        assert.ok(joint.lowerBound <= joint.seconds, `${joint.seconds} s where ${joint.lowerBound} s are the least`)
        assert.ok(joint.lowerBound >= 0.95 * joint.seconds, `${joint.seconds} s, ${joint.lowerBound} s at least`)
        assert.equal(joint.shards.length, 4)
        if (name === 'card') {
          const { sequentialSeconds, predictedSeconds } = joint
          assert.ok(predictedSeconds < 0.98 * sequentialSeconds, `${predictedSeconds} s instead of ${sequentialSeconds} s`) // prettier-ignore
          // What is read is what was planned.
          assert.ok(Math.abs(joint.seconds / predictedSeconds - 1) < 0.15, `${joint.seconds} s planned, ${predictedSeconds} s`) // prettier-ignore
        }
      }
    })
  }

  it('tell a bound and a gap of one quantity, whatever the timetable predicts', () => {
    const all = bytesOf(compileCase(oracleCase('qwen2-small/lora'), { profile: wideProfile }).compiled)
    const [below, taken, left] = [new Set<number>(), new Set<number>(), new Set<number>()]
    for (const bytesPerSecond of [1e5, 1e6]) {
      for (const share of [0.5, 0.6, 0.7, 0.8, 0.9]) {
        const options = within(Math.round(share * all), 4096, { bytesPerSecond, latencySeconds: 1e-5 })
        const { compiled } = compileCase(oracleCase('qwen2-small/lora'), { profile: wideProfile, checkpoints: options.checkpoints ?? 'none', storage: options.storage }) // prettier-ignore
        const { joint, checkpointing } = compiled
        if (!joint) continue
        const { seconds, lowerBound, gap, isTaken, predictedSeconds } = joint
        assert.ok(lowerBound <= seconds, `${seconds} s, ${lowerBound} s at least`)
        assert.ok(
          Math.abs(gap - (1 - lowerBound / seconds)) < 1e-12,
          `${gap} of ${seconds} s, ${lowerBound} s at least`,
        )
        // The least recomputation is what was looked for only without it.
        assert.equal(
          checkpointing !== undefined && 'lowerBound' in checkpointing,
          !isTaken && checkpointing !== undefined,
        )
        assert.equal(checkpointing !== undefined && 'gap' in checkpointing, !isTaken && checkpointing !== undefined)
        const found = isTaken ? taken : left
        found.add(share)
        if (predictedSeconds < lowerBound) below.add(share)
      }
    }
    // The timetable is below the model's bound somewhere, which once was told as being at the optimum.
    assert.ok(taken.size > 0, 'no joint plan is taken for any budget')
    assert.ok(below.size > 0, 'the timetable is nowhere below the bound of the model')
  })

  it('change no bit', () => {
    const name = 'qwen2-small/lora'
    const slow: StorageRate = { bytesPerSecond: 1e5, latencySeconds: 1e-5 }
    const common = { profile: wideProfile }
    const everything = compileCase(oracleCase(name), common).compiled
    const all = bytesOf(everything)
    const expected = bits(name, everything)
    for (const share of [0.5, 0.6, 0.7, 0.8, 0.9]) {
      const { storage, checkpoints } = within(Math.round(share * all), 4096, slow)
      const { compiled } = compileCase(oracleCase(name), { ...common, storage, checkpoints: checkpoints ?? 'none' })
      if (!compiled.joint?.isTaken) continue
      assert.ok(bytesOf(compiled) <= share * all)
      assert.deepEqual(bits(name, compiled), expected)
      return
    }
    assert.fail('no joint plan is taken for any budget')
  })
})
