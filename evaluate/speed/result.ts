// From raw timings and what is known of a program's kernels to figures and shares, and from two results to ratios.
// Arithmetic only: measures nothing, reads nothing.

import { UserError } from '../../compiler/diagnostic.ts'
import { totalBytes } from '../../compiler/plan/explain.ts'
import type { FunctionReport, KernelReport } from '../../compiler/plan/explain.ts'
import { quartiles } from './statistics.ts'
import type { Quartiles } from './statistics.ts'

/** What was benchmarked: results of two subjects are not compared. */
export interface Subject {
  /** The architecture's name. */
  readonly model: string
  readonly adapt: 'lora' | 'full'
  readonly sequences: number
  readonly length: number
  readonly accumulate: number
  readonly checkpoints: 'none' | 'every' | 'chosen'
}

/** All per optimizer step. */
export interface KernelTime {
  /** The same for the same work in another commit: its kind and what it computes or reads, numbered where that repeats. */
  readonly key: string
  readonly kernel: string
  readonly launches: number
  /** Mean over the rounds. */
  readonly seconds: number
  /** Of the time in all kernels. */
  readonly share: number
  /** Of the measured multiply-add peak: products that are meant, without edges and elementwise functions. */
  readonly shareOfPeak: number
  /** Of the measured memory rate: compulsory bytes. */
  readonly shareOfMemory: number
  readonly multiplyAdds: number
  readonly executed: number
  readonly compulsoryBytes: number
  readonly movedBytes: number
}

export interface ThreadResult {
  readonly threads: number
  readonly rounds: number
  /** Floating-point operations a second: the best round of independent multiply-adds in registers. */
  readonly peak: number
  /** Bytes a second: the best round of a copy that no cache holds, what is read and what is written. */
  readonly memoryRate: number
  /** Seconds of an optimizer step, the batch being ready. */
  readonly step: Quartiles
  readonly tokensPerSecond: number
  /** 2·multiplyAdds / median step / peak. */
  readonly shareOfPeak: number
  readonly multiplyAdds: number
  readonly executed: number
  readonly compulsoryBytes: number
  readonly movedBytes: number
  readonly kernels: readonly KernelTime[]
  /** `timesAsFast`: their median / ours. */
  readonly torch: { readonly step: Quartiles; readonly timesAsFast: number } | null
}

export interface BenchResult {
  readonly benchmark: 1
  readonly subject: Subject
  readonly toolchain: string
  readonly isa: string
  readonly results: readonly ThreadResult[]
}

/** What was measured with one number of threads; a list has an entry a round. */
export interface Timings {
  readonly threads: number
  readonly peakRates: readonly number[]
  readonly memoryRates: readonly number[]
  readonly stepSeconds: readonly number[]
  /** Empty without PyTorch. */
  readonly torchSeconds: readonly number[]
  /** In all rounds together, by kernel. */
  readonly kernelMicroseconds: ReadonlyMap<string, number>
}

/** Figures of one number of threads. `functions` are those of a step: `accumulate` runs once a micro-batch. */
export function threadResult(timings: Timings, functions: readonly FunctionReport[], subject: Subject): ThreadResult {
  const rounds = timings.stepSeconds.length
  const peak = Math.max(...timings.peakRates)
  const memoryRate = Math.max(...timings.memoryRates)
  const step = quartiles(timings.stepSeconds)
  const torchStep = timings.torchSeconds.length === 0 ? undefined : quartiles(timings.torchSeconds)
  const timed = [...timings.kernelMicroseconds.values()].reduce((sum, time) => sum + time, 0)
  const keys = new Map<string, number>()
  const kernels = stepKernels(functions, subject.accumulate).map(({ report, launches }): KernelTime => {
    const key = keyOf(report)
    const repeated = (keys.get(key) ?? 0) + 1
    keys.set(key, repeated)
    const microseconds = timings.kernelMicroseconds.get(report.kernel) ?? 0
    const seconds = microseconds / 1e6 / rounds
    const multiplyAdds = launches * report.multiplyAdds
    const compulsoryBytes = launches * totalBytes(report.compulsory)
    return {
      key: repeated === 1 ? key : `${key} #${repeated}`,
      kernel: report.kernel,
      launches,
      seconds,
      share: timed === 0 ? 0 : microseconds / timed,
      shareOfPeak: seconds === 0 ? 0 : (2 * multiplyAdds) / seconds / peak,
      shareOfMemory: seconds === 0 ? 0 : compulsoryBytes / seconds / memoryRate,
      multiplyAdds,
      executed: launches * report.executed,
      compulsoryBytes,
      movedBytes: launches * totalBytes(report.moved),
    }
  })
  const total = (of: (kernel: KernelTime) => number): number => kernels.reduce((sum, kernel) => sum + of(kernel), 0)
  const multiplyAdds = total((kernel) => kernel.multiplyAdds)
  return {
    threads: timings.threads,
    rounds,
    peak,
    memoryRate,
    step,
    tokensPerSecond: (subject.sequences * subject.length * subject.accumulate) / step.median,
    shareOfPeak: (2 * multiplyAdds) / step.median / peak,
    multiplyAdds,
    executed: total((kernel) => kernel.executed),
    compulsoryBytes: total((kernel) => kernel.compulsoryBytes),
    movedBytes: total((kernel) => kernel.movedBytes),
    kernels,
    torch: torchStep ? { step: torchStep, timesAsFast: torchStep.median / step.median } : null,
  }
}

/** Kernels of a step, each once, with their launches in it. */
function stepKernels(
  functions: readonly FunctionReport[],
  accumulate: number,
): { readonly report: KernelReport; readonly launches: number }[] {
  const found = new Map<string, { report: KernelReport; launches: number }>()
  for (const fn of functions) {
    for (const report of fn.kernels) {
      const launches = report.launches * (fn.name === 'accumulate' ? accumulate : 1)
      const known = found.get(report.kernel)
      if (known) known.launches += launches
      else found.set(report.kernel, { report, launches })
    }
  }
  return [...found.values()]
}

function keyOf({ kind, results, arguments: given }: KernelReport): string {
  const names = results[0]?.names ?? []
  const about = names.length > 0 ? names : given.map(({ value }) => value)
  return `${kind} ${about.join(', ')}`.slice(0, LONGEST_KEY)
}

export const LONGEST_KEY = 400

/** Above 1: faster now. */
export interface Ratio {
  readonly key: string
  /** Seconds then / seconds now. */
  readonly timesAsFast: number
  /** The same with each measured against its own machine's peak, for results that were not taken side by side. */
  readonly againstPeak: number
}

export interface Comparison {
  readonly threads: number
  readonly step: Ratio
  /** Kernels that both have, those that take longest now first. */
  readonly kernels: readonly Ratio[]
  /** Keys of kernels that only one of them has. */
  readonly gone: readonly string[]
  readonly added: readonly string[]
}

/** What is known of a subject before it is compiled. */
export type SubjectParts = Omit<Subject, 'checkpoints'>

/**
 * Before anything is measured: an earlier result that could not be compared with.
 *
 * @throws UserError HD611 when it is of another subject or shares no number of threads; `file` is the earlier one
 */
export function refuseOther(now: SubjectParts, threads: readonly number[], then: BenchResult, file: string): void {
  for (const key of ['model', 'adapt', 'sequences', 'length', 'accumulate'] as const) {
    if (now[key] !== then.subject[key]) throw otherSubject(key, now[key], then.subject[key], file)
  }
  const counts = then.results.map((result) => result.threads)
  if (counts.some((one) => threads.includes(one))) return
  throw new UserError('HD611', `it has no result with --threads ${threads.join(',')}, only with ${counts.join(', ')}`, {
    place: { file },
    mend: `give --threads ${counts.join(',')}`,
  })
}

function otherSubject(key: keyof Subject, now: string | number, then: string | number, file: string): UserError {
  return new UserError('HD611', `it is of ${key} ${then}, this run is of ${key} ${now}`, {
    place: { file },
    mend: 'compare results of the same recipe',
  })
}

/**
 * Ratios to an earlier result, for each number of threads that both have.
 *
 * @throws UserError HD611 as `refuseOther`, and when layers were computed again in one of them only
 */
export function compareResults(now: BenchResult, then: BenchResult, file: string): Comparison[] {
  const threads = now.results.map((result) => result.threads)
  refuseOther(now.subject, threads, then, file)
  const [checkpoints, earlier] = [now.subject.checkpoints, then.subject.checkpoints]
  if (checkpoints !== earlier) throw otherSubject('checkpoints', checkpoints, earlier, file)
  return now.results.flatMap((result): Comparison[] => {
    const before = then.results.find((one) => one.threads === result.threads)
    return before ? [compareThreads(result, before)] : []
  })
}

function compareThreads(now: ThreadResult, then: ThreadResult): Comparison {
  const ratio = (key: string, earlier: number, later: number): Ratio => ({
    key,
    timesAsFast: earlier / later,
    againstPeak: (earlier * then.peak) / (later * now.peak),
  })
  const earlier = new Map(then.kernels.map((kernel) => [kernel.key, kernel]))
  const later = new Set(now.kernels.map(({ key }) => key))
  const both = now.kernels.filter(({ key, seconds }) => seconds > 0 && (earlier.get(key)?.seconds ?? 0) > 0)
  return {
    threads: now.threads,
    step: ratio('step', then.step.median, now.step.median),
    kernels: both
      .toSorted((a, b) => b.seconds - a.seconds)
      .map(({ key, seconds }) => ratio(key, earlier.get(key)?.seconds ?? 0, seconds)),
    gone: [...earlier.keys()].filter((key) => !later.has(key)),
    added: [...later].filter((key) => !earlier.has(key)),
  }
}
