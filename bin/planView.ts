// How a plan shows as text: the certificate, what is largest, devices beside each other, what would make it fit. Knows
// what a plan holds, not how it was made.

import { formatPlace } from '../compiler/diagnostic.ts'
import { ratesOf } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import { enoughFor } from '../train/certificate.ts'
import type { Certificate, Movement } from '../train/certificate.ts'
import type { DeviceFit, FittingChange } from '../train/fitting.ts'
import type { SingleNeed } from '../train/planDetails.ts'
import { tableLines } from './explainView.ts'
import { mebibytes, shownPlace } from './output.ts'

export interface CertificateRow {
  readonly label: string
  readonly bytes: number
}

/** The parts of the peak, as people call them. */
export function certificateRows({ parts, storage }: Certificate, threads: number): CertificateRow[] {
  return [
    { label: storage ? 'weights in memory, as stored' : 'weights as stored', bytes: parts.weights },
    { label: 'trained values, gradients, moments', bytes: parts.state },
    { label: storage ? 'intermediate values, weights as read' : 'intermediate values', bytes: parts.arena },
    { label: 'inputs', bytes: parts.inputs },
    { label: `scratch of ${threads} ${threads === 1 ? 'thread' : 'threads'}`, bytes: parts.scratch },
    { label: 'run-time', bytes: parts.runtime },
  ]
}

export function verdictOf({ fits, peakBytes, budgetBytes }: Certificate): string {
  if (fits) return `fits: peak ${mebibytes(peakBytes)} MiB`
  return `does not fit, by ${amountText(peakBytes - budgetBytes)}: it needs at least ${enoughText(peakBytes)} MiB`
}

/** What is enough when it is asked for. */
function enoughText(bytes: number): string {
  return enoughFor(bytes).toLocaleString('en', { minimumFractionDigits: 2 })
}

/** What a tenth of a MiB would make nothing of is told in KiB. */
function amountText(bytes: number): string {
  return bytes < 2 ** 20 / 10 ? `${Math.ceil(bytes / 1024)} KiB` : `${mebibytes(bytes)} MiB`
}

export function certificateLines(certificate: Certificate, threads: number, microBatches: number): string[] {
  const { functions, kernels } = certificate
  const launches = functions.reduce((sum, fn) => sum + fn.launches, 0)
  return [
    verdictOf(certificate),
    ...certificateRows(certificate, threads).map(
      ({ label, bytes }) => `  ${label.padEnd(36)}${mebibytes(bytes).padStart(12)} MiB`,
    ),
    ...storageLines(certificate, microBatches),
    `${kernels} kernels, ${launches} launches`,
    ...functions.map((fn) => {
      const gap = fn.lowerBound === 0 ? 0 : (fn.arenaBytes / fn.lowerBound - 1) * 100
      return `  ${fn.name.padEnd(12)}${String(fn.launches).padStart(6)} launches   arena ${mebibytes(fn.arenaBytes)} MiB, ${gap.toFixed(2)} % above the lower bound`
    }),
  ]
}

/** What is said of a program's memory before it is compiled for running. */
export function plannedLines(certificate: Certificate, microBatches: number): string[] {
  const { parts, peakBytes, fits } = certificate
  return [
    `memory: ${mebibytes(peakBytes)} MiB (weights ${mebibytes(parts.weights)}, state ${mebibytes(parts.state)}, arena ${mebibytes(parts.arena)})`,
    ...(fits ? storageLines(certificate, microBatches) : []),
  ]
}

/** By which figures times are predicted where a program moves something and its device's profile states none of its own. */
export function usualFiguresText({ storage }: Certificate, device: DeviceProfile, threads: number): string | undefined {
  const { storage: rates, absent } = device.figures
  const why = absent?.storage === undefined ? '' : ` (${absent.storage})`
  const unstated = [...(rates ? [] : [`storage${why}`]), ...(ratesOf(device, threads) ? [] : ['computing'])]
  if (!storage || unstated.length === 0) return undefined
  return `predicted by usual figures, since the profile states none of ${unstated.join(' and ')}`
}

/** What is read, and written, while a step of so many micro-batches runs. */
export function storageLines({ storage }: Certificate, microBatches: number): string[] {
  if (!storage) return []
  const { tensorBytes, windowBytes, state } = storage
  const atOnce = `at most ${mebibytes(windowBytes)} MiB of them in memory at once`
  return [
    ...(tensorBytes > 0 ? [`${mebibytes(tensorBytes)} MiB of weights stay in their files, ${atOnce}`] : []),
    ...(state
      ? [
          `${mebibytes(state.valueBytes)} MiB of what is trained, its gradients and moments are in a file, ${atOnce}; with the result beside it in the end it takes ${mebibytes(state.fileBytes + state.resultBytes)} MiB of disk`,
          `--resume copies the values into a second such file, so that both need ${mebibytes(state.resumingBytes)} MiB of disk until the resumed run has saved two states`,
        ]
      : []),
    `a micro-batch ${movementText(storage)}`,
    ...(state
      ? [
          `an update, beside the next step's first micro-batch, ${movementText(state.update)}`,
          wearText(storage.writtenBytes * microBatches + state.update.writtenBytes, microBatches),
        ]
      : []),
  ]
}

function movementText(moved: Movement): string {
  const { reads, readBytes, writes, writtenBytes, computeSeconds, stallSeconds } = moved
  const written = writes > 0 ? ` and ${writes} writes of ${mebibytes(writtenBytes)} MiB` : ''
  const [sum, computing, waiting] = timesText(computeSeconds, stallSeconds)
  return `makes ${reads} reads of ${mebibytes(readBytes)} MiB${written}; predicted ${sum}: ${computing} computing, ${waiting} waiting for storage`
}

/** The sum of two times with the unit that suits it, and the two in that unit, which add up to it as they are shown. */
export function timesText(one: number, other: number): [sum: string, one: string, other: string] {
  const whole = one + other
  const [unit, name] = whole >= 1 ? [1, 's'] : whole >= 1e-3 ? [1e-3, 'ms'] : [1e-6, 'µs']
  const digits = whole < 10 * unit ? 2 : 1
  const scale = 10 ** digits
  const [first, second] = [one, other].map((seconds) => Math.round((seconds / unit) * scale)) as [number, number]
  const shown = (count: number): string =>
    (count / scale).toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return [`${shown(first + second)} ${name}`, shown(first), shown(second)]
}

/** Capacity that wear is told for, and how often cells of three bits are rewritten at the least before they are worn. */
const FLASH_BYTES = 128e9
const FLASH_REWRITES = 1000

/** One time with the unit that suits it. */
export function timeText(seconds: number): string {
  return timesText(seconds, 0)[0]
}

/** What writing means for flash. */
function wearText(bytes: number, microBatches: number): string {
  const steps = (FLASH_BYTES * FLASH_REWRITES) / bytes
  const round = Number(steps.toPrecision(2)).toLocaleString('en')
  return `a step of ${microBatches === 1 ? 'one micro-batch' : `${microBatches} micro-batches`} writes ${mebibytes(bytes)} MiB: ${round} of them wear out 128 GB of flash that bears ${FLASH_REWRITES.toLocaleString('en')} rewrites, as TLC does at the least`
}

const partNames = {
  weights: 'a weight as stored',
  state: 'trained, or kept for training',
  arena: 'an intermediate value',
  inputs: 'an input',
}

export function needText({ name, bytes, part, place }: SingleNeed): string {
  const shown = shownPlace(place)
  const where = shown ? ` (${formatPlace(shown)})` : ''
  return `the largest single need is ${name}, ${mebibytes(bytes)} MiB: ${partNames[part]}${where}`
}

export function changeText({ key, value, from, isLargest, step = 1, isOwnBudget }: FittingChange): string {
  if (key === 'device') return `device '${value}'${isOwnBudget === true ? ' without --memory' : ''}`
  if (key === '--memory') return `--memory ${value} (now ${from})`
  if (key === 'checkpoints') return `checkpoints: '${value}'`
  // Numbers between two steps were not looked at.
  const steps = step === 1 ? '' : ` in steps of ${step}`
  return `${key}: ${value}${isLargest ? `, the most that fits${steps}` : ''} (now ${from})`
}

/** What a shorter batch makes of the records, where it makes anything of them. */
export function recordsText({ records }: FittingChange): string | undefined {
  if (!records || records.cut + records.leftOut === 0) return undefined
  const { cut, leftOut, examples } = records
  const count = (all: number, what: string): string => `${all.toLocaleString('en')} ${what}${all === 1 ? '' : 's'}`
  const told = [
    ...(cut > 0 ? [`cuts ${count(cut, 'record')} short`] : []),
    ...(leftOut > 0
      ? [`leaves ${cut > 0 ? leftOut.toLocaleString('en') : count(leftOut, 'record')} out as nothing to learn remains`]
      : []),
  ]
  return `${told.join(' and ')}; ${count(examples, 'example')} ${examples === 1 ? 'is' : 'are'} left`
}

export function changeLines(changes: readonly FittingChange[]): string[] {
  if (changes.length === 0) return ['no change of one thing alone makes it fit']
  const lines = tableLines(
    changes.map((change) => [
      `  ${changeText(change)}`,
      `peak ${mebibytes(change.peakBytes)} of ${mebibytes(change.budgetBytes)} MiB`,
    ]),
    new Set([0, 1]),
  )
  return [
    'what would make it fit, each compiled:',
    ...changes.flatMap((change, place) => {
      const records = recordsText(change)
      return [lines[place] as string, ...(records === undefined ? [] : [`    ${records}`])]
    }),
  ]
}

export const checkpointsText = {
  none: 'every value is kept',
  every: 'layers are computed again',
  chosen: 'some values are computed again',
} as const

export function deviceLines(fits: readonly DeviceFit[]): string[] {
  const rows = fits.map(({ device, threads, certificate, checkpoints }) => [
    device.name,
    certificate.fits ? 'fits' : 'does not fit',
    mebibytes(certificate.peakBytes),
    mebibytes(certificate.budgetBytes),
    String(threads),
    checkpointsText[checkpoints],
  ])
  const head = ['device', '', 'peak MiB', 'budget MiB', 'threads', 'backward pass']
  return tableLines([head, ...rows], new Set([0, 1, 5]))
}
