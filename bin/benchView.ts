// How a benchmark shows: figures of each number of threads with a table of kernels, and ratios to an earlier result. Fits
// a hundred columns. Measures nothing.

import type { Comparison, ThreadResult } from '../evaluate/speed/result.ts'
import type { Quartiles } from '../evaluate/speed/statistics.ts'
import { ending, scaled, tableLines } from './explainView.ts'
import { mebibytes } from './output.ts'

/** Kernels with less of the time are summed up. */
const LEAST_SHARE = 0.005

/** Kernels whose ratios are shown; machines are given all. */
const MOST_RATIOS = 30

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`
const milliseconds = (seconds: number): string => (seconds * 1000).toFixed(seconds < 0.1 ? 2 : 0)

function spread({ low, median, high }: Quartiles): string {
  return `${milliseconds(median)} ms (${milliseconds(low)} to ${milliseconds(high)})`
}

export function threadCount(threads: number): string {
  return `${threads} ${threads === 1 ? 'thread' : 'threads'}`
}

export function resultLines(result: ThreadResult): string[] {
  const { step, torch, kernels, multiplyAdds, executed, compulsoryBytes, movedBytes } = result
  const shown = kernels.filter(({ share }) => share >= LEAST_SHARE).toSorted((a, b) => b.seconds - a.seconds)
  const rest = kernels.filter(({ share }) => share < LEAST_SHARE)
  const inKernels = kernels.reduce((sum, { seconds }) => sum + seconds, 0)
  const head = ['kernel', 'launches', 'ms', 'share', 'of peak', 'of memory', 'passes', 'computes']
  const rows = shown.map((kernel) => [
    kernel.kernel,
    String(kernel.launches),
    milliseconds(kernel.seconds),
    percent(kernel.share),
    kernel.multiplyAdds === 0 ? '-' : percent(kernel.shareOfPeak),
    percent(kernel.shareOfMemory),
    kernel.compulsoryBytes === 0 ? '-' : (kernel.movedBytes / kernel.compulsoryBytes).toFixed(2),
    ending(kernel.key.replace(/^\w+ /, ''), 30),
  ])
  const restShare = rest.reduce((sum, { share }) => sum + share, 0)
  return [
    `${threadCount(result.threads)}: a step takes ${spread(step)} over ${result.rounds} ${result.rounds === 1 ? 'round' : 'rounds'}, ` +
      `${scaled(result.tokensPerSecond)} tokens/s`,
    `  ${percent(result.shareOfPeak)} of the measured peak of ${scaled(result.peak / 2)} multiply-adds a second; ` +
      `memory moves ${scaled(result.memoryRate)}B a second`,
    `  ${scaled(multiplyAdds)} multiply-adds, ${scaled(executed)} executed; ${mebibytes(compulsoryBytes)} MiB must move, ` +
      `${mebibytes(movedBytes)} by the model: ${compulsoryBytes === 0 ? '-' : (movedBytes / compulsoryBytes).toFixed(2)} passes`,
    ...(torch
      ? [`  PyTorch takes ${spread(torch.step)}: Heddle is ${torch.timesAsFast.toFixed(2)} times as fast`]
      : []),
    ...tableLines([head, ...rows], new Set([0, 7])),
    ...(rest.length === 0 ? [] : [`and ${rest.length} kernels with ${percent(restShare)} of the time`]),
    `outside kernels: ${percent(Math.max(0, 1 - inKernels / step.median))} of the step`,
  ]
}

/** Ratios above 1 are faster now. */
export function comparisonLines({ threads, step, kernels, gone, added }: Comparison): string[] {
  const head = ['', 'times as fast', 'against own peak', '']
  const rows = [step, ...kernels.slice(0, MOST_RATIOS)].map(({ key, timesAsFast, againstPeak }, place) => [
    place === 0 ? 'step' : 'kernel',
    timesAsFast.toFixed(2),
    againstPeak.toFixed(2),
    place === 0 ? '' : ending(key, 52),
  ])
  return [
    `${threadCount(threads)}, now beside then:`,
    ...tableLines([head, ...rows], new Set([0, 3])),
    ...(kernels.length > MOST_RATIOS ? [`and ${kernels.length - MOST_RATIOS} kernels that take less time`] : []),
    ...(gone.length + added.length === 0 ? [] : [`${gone.length} kernels are gone, ${added.length} are new`]),
  ]
}
