// Figures and ratios of benchmarks, worked out by hand, and files that are no results. Nothing here is timed.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { comparisonLines, resultLines } from '../../../bin/benchView.ts'
import { UserError } from '../../../compiler/diagnostic.ts'
import type { FunctionReport, KernelReport } from '../../../compiler/plan/explain.ts'
import { compareResults, threadResult } from '../../../evaluate/speed/result.ts'
import type { BenchResult, Subject, Timings } from '../../../evaluate/speed/result.ts'
import { readResult, writeResult } from '../../../evaluate/speed/resultFile.ts'
import { quartiles } from '../../../evaluate/speed/statistics.ts'
import { temporaryDirectory } from '../../bin/support.ts'

function kernel(name: string, launches: number, multiplyAdds: number, bytes: number): KernelReport {
  return {
    kernel: name,
    kind: 'contraction',
    launches,
    results: [{ fn: 'f', layer: 0, names: [`result of ${name.replace(/_\d+$/, '')}`], places: [] }],
    multiplyAdds,
    executed: 2 * multiplyAdds,
    compulsory: { read: bytes, written: 0 },
    moved: { read: 3 * bytes, written: 0 },
    passes: 3,
    intensity: 1,
    scratchBytes: 0,
    tile: undefined,
    arguments: [],
    packing: [],
    choices: [],
    directives: [],
  }
}

function fn(name: string, kernels: KernelReport[]): FunctionReport {
  const nothing = { read: 0, written: 0 }
  return { name, launches: 0, multiplyAdds: 0, executed: 0, compulsory: nothing, moved: nothing, kernels }
}

const subject: Subject = {
  model: 'gpt2', adapt: 'lora', sequences: 2, length: 8, accumulate: 3, checkpoints: 'none',
} // prettier-ignore

const functions = [
  fn('accumulate', [kernel('dot_0', 2, 1e6, 1000), kernel('dot_1', 1, 4e6, 4000)]),
  fn('apply', [kernel('rows_2', 5, 0, 700), kernel('dot_1', 1, 4e6, 4000)]),
]

const timings: Timings = {
  threads: 1,
  peakRates: [1e9, 2e9, 1.5e9],
  memoryRates: [3e8, 1e8],
  stepSeconds: [0.05, 0.04, 0.07, 0.06],
  torchSeconds: [0.11],
  kernelMicroseconds: new Map([
    ['dot_0', 40_000],
    ['dot_1', 120_000],
    ['rows_2', 0],
  ]),
}

function benchResult(changes: Partial<Timings> = {}, about: Partial<Subject> = {}): BenchResult {
  const whole = { ...subject, ...about }
  const results = [threadResult({ ...timings, ...changes }, functions, whole)]
  return { benchmark: 1, subject: whole, toolchain: 'g++', isa: 'avx2', results }
}

describe("a benchmark's figures", () => {
  it('are quartiles by definition 7', () => {
    assert.deepEqual(quartiles([4, 1, 3, 2]), { low: 1.75, median: 2.5, high: 3.25 })
    assert.deepEqual(quartiles([7]), { low: 7, median: 7, high: 7 })
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 }), (values) => {
        const { low, median, high } = quartiles(values)
        assert.ok(Math.min(...values) <= low && low <= median && median <= high && high <= Math.max(...values))
        assert.deepEqual(quartiles(values.toReversed()), { low, median, high })
      }),
    )
  })

  it('count what a step launches: micro-batches accumulate, the rest runs once', () => {
    const { kernels, ...step } = threadResult(timings, functions, subject)
    assert.deepEqual(
      kernels.map(({ kernel: name, launches, multiplyAdds, executed, compulsoryBytes, movedBytes }) => [
        name, launches, multiplyAdds, executed, compulsoryBytes, movedBytes,
      ]),
      [
        ['dot_0', 6, 6e6, 12e6, 6000, 18_000],
        ['dot_1', 4, 16e6, 32e6, 16_000, 48_000],
        ['rows_2', 5, 0, 0, 3500, 10_500],
      ],
    ) // prettier-ignore
    assert.deepEqual([step.multiplyAdds, step.executed, step.compulsoryBytes, step.movedBytes], [22e6, 44e6, 25_500, 76_500]) // prettier-ignore
  })

  it('are shares of the best peak and the best memory rate, and of the median step', () => {
    const { kernels, torch, ...step } = threadResult(timings, functions, subject)
    const near = (actual: number | undefined, wanted: number): void =>
      assert.ok(actual !== undefined && Math.abs(actual - wanted) <= 1e-12 * wanted, `${actual} is not ${wanted}`)
    assert.deepEqual([step.rounds, step.peak, step.memoryRate], [4, 2e9, 3e8])
    near(step.shareOfPeak, 44e6 / 0.055 / 2e9)
    near(step.tokensPerSecond, 48 / 0.055)
    near(torch?.timesAsFast, 2)
    const [first, second, third] = kernels
    near(first?.seconds, 0.01)
    near(first?.share, 0.25)
    near(first?.shareOfPeak, 12e6 / 0.01 / 2e9)
    near(second?.shareOfMemory, 16_000 / 0.03 / 3e8)
    assert.deepEqual([third?.seconds, third?.shareOfPeak, third?.shareOfMemory], [0, 0, 0])
    assert.equal(threadResult({ ...timings, torchSeconds: [] }, functions, subject).torch, null)
  })

  it('name a kernel by its work, and number what repeats', () => {
    const repeated = fn('accumulate', [kernel('dot_4', 1, 1, 1), kernel('dot_7', 1, 1, 1), kernel('rows_9', 1, 1, 1)])
    const { kernels } = threadResult(timings, [repeated], subject)
    assert.deepEqual(
      kernels.map(({ key }) => key),
      ['contraction result of dot', 'contraction result of dot #2', 'contraction result of rows'],
    )
  })

  it('fit a terminal', () => {
    const result = benchResult()
    const lines = result.results.flatMap(resultLines)
    assert.match(lines[0] ?? '', /^1 thread: a step takes 55\.00 ms \(47\.50 to 62\.50\) over 4 rounds, 873 tokens\/s$/)
    assert.ok(lines.some((line) => /^ {2}40 % of the measured peak of 1\.00 G multiply-adds a second/.test(line)))
    assert.ok(lines.some((line) => line.endsWith('Heddle is 2.00 times as fast')))
    for (const line of [...lines, ...compareResults(result, result, 'x').flatMap(comparisonLines)]) {
      assert.ok(line.length <= 100, line)
    }
  })
})

describe('ratios to an earlier benchmark', () => {
  it('are above 1 for what takes less time now, and take out a faster machine', () => {
    const then = benchResult({ stepSeconds: [0.11], peakRates: [1e9] })
    const [comparison, ...more] = compareResults(benchResult(), then, 'then.json')
    assert.equal(more.length, 0)
    assert.equal(comparison?.step.timesAsFast, 0.11 / 0.055)
    // A machine of twice the peak: no better than it was.
    assert.equal(comparison?.step.againstPeak, 1)
    const [slowest, next] = comparison?.kernels ?? []
    // 120 ms in one round then, in four now.
    assert.deepEqual([slowest?.key, slowest?.timesAsFast], ['contraction result of dot #2', 0.12 / 0.03])
    assert.equal(next?.timesAsFast, 0.04 / 0.01)
    assert.equal(comparison?.kernels.length, 2)
    assert.deepEqual([comparison?.gone, comparison?.added], [[], []])
  })

  it('say which kernels only one of them has', () => {
    const [now, then] = [benchResult(), benchResult()]
    const [result] = then.results
    assert.ok(result)
    const renamed = result.kernels.map((one) => (one.kernel === 'rows_2' ? { ...one, key: 'rows of old' } : one))
    const [comparison] = compareResults(now, { ...then, results: [{ ...result, kernels: renamed }] }, 'x')
    assert.deepEqual([comparison?.gone, comparison?.added], [['rows of old'], ['contraction result of rows']])
  })

  it('are of the same subject and number of threads, or refused', () => {
    const refused = (then: BenchResult, message: RegExp): void =>
      assert.throws(
        () => compareResults(benchResult(), then, 'then.json'),
        (error) => error instanceof UserError && error.code === 'HD611' && message.test(error.sentence),
      )
    refused(benchResult({}, { length: 9 }), /^HD611 then\.json it is of length 9, this run is of length 8;/)
    refused(benchResult({}, { adapt: 'full' }), /adapt full, this run is of adapt lora/)
    refused(benchResult({}, { checkpoints: 'every' }), /checkpoints every, this run is of checkpoints none/)
    refused(benchResult({ threads: 4 }), /it has no result with --threads 1, only with 4; give --threads 4/)
  })
})

describe("a benchmark's file", () => {
  const file = (name: string): string => path.join(temporaryDirectory(), name)

  it('reads as it was written', () => {
    for (const result of [benchResult(), benchResult({ torchSeconds: [] })]) {
      const at = file('result.json')
      writeResult(at, result)
      assert.deepEqual(readResult(at), result)
    }
  })

  it('is refused with its place where it is missing, damaged, foreign or hostile', () => {
    const refused = (content: string | undefined, code: string, message: RegExp): void => {
      const at = file('wrong.json')
      if (content !== undefined) fs.writeFileSync(at, content)
      assert.throws(
        () => readResult(at),
        (error) => {
          assert.ok(error instanceof UserError, String(error))
          assert.deepEqual([error.code, error.place?.file], [code, at])
          assert.match(error.sentence, message)
          return true
        },
      )
    }
    const result = benchResult()
    const changed = (change: object): string => JSON.stringify({ ...result, ...change })
    const [only] = result.results
    refused(undefined, 'HD401', /does not exist/)
    refused(JSON.stringify(result).slice(0, -9), 'HD402', /not JSON/)
    refused('[1]', 'HD402', /object was expected/)
    refused('{}', 'HD610', /\(key "benchmark"\) the file is no result of a benchmark: .*; `heddle bench --out FILE`/)
    refused(changed({ benchmark: 2 }), 'HD610', /key "benchmark"/)
    refused(changed({ results: [] }), 'HD610', /key "results"/)
    refused(changed({ results: [{ ...only, peak: -1 }] }), 'HD610', /key "results\.0\.peak"/)
    refused(changed({ results: [{ ...only, step: { low: 0, median: 0, high: 0 } }] }), 'HD610', /step\.low/)
    refused(changed({ results: [{ ...only, threads: 65 }] }), 'HD610', /results\.0\.threads/)
    refused(changed({ subject: { ...subject, adapt: '\u001b[31m' } }), 'HD610', /key "subject\.adapt"/)
    refused(changed({ toolchain: 'x'.repeat(2000) }), 'HD610', /key "toolchain"/)
  })
})
