// A recipe on several devices, and what would make one fit that does not: the nearest changes, each compiled, so that the
// peak it is told with is the peak it has. Runs no program.

import type { TracedModel, Recipe } from '../dsl/index.ts'
import { scheduleProfile } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import { certify } from './certificate.ts'
import type { Certificate } from './certificate.ts'
import { compileRecipe } from './compileRecipe.ts'
import type { CompiledRecipe, CompileSettings } from './compileRecipe.ts'

/** A recipe that fits, and what of it is another. */
export interface FittingChange {
  readonly key: '--memory' | 'checkpoints' | 'batch.length' | 'batch.sequences' | 'rank' | 'device'
  readonly value: string | number
  readonly from: string | number
  readonly peakBytes: number
  readonly budgetBytes: number
  /** One more would not fit: it was compiled as well. */
  readonly isLargest?: boolean
}

export interface DeviceFit {
  readonly device: DeviceProfile
  readonly certificate: Certificate
  readonly checkpoints: CompiledRecipe['checkpoints']
}

/** How a recipe's model is traced again for a batch of another size. */
export type Retrace = (size: { readonly sequences: number; readonly length: number }) => TracedModel

export interface FittingOptions {
  readonly recipe: Recipe
  readonly traced: TracedModel
  readonly retrace: Retrace
  readonly settings: CompileSettings
  /** `done` compilations; how many there will be is not known before. */
  readonly onProgress?: (what: string, done: number) => void
}

/** Of a MiB. */
const HUNDREDTH = 2 ** 20 / 100
/** Compilations for one number of the recipe. */
const MOST_TRIES = 4

/**
 * The recipe on each device, with the device's own threads and budget. Devices that the schedule cannot tell apart share a
 * compilation where everything fits.
 */
export function fitDevices(devices: readonly DeviceProfile[], options: FittingOptions): DeviceFit[] {
  const plain = new Map<string, CompiledRecipe>()
  return devices.map((device, done) => {
    const settings = { ...options.settings, device, threads: device.cores, memoryBudget: device.memoryBudget }
    const key = JSON.stringify({ ...scheduleProfile(device), name: '' })
    const known = plain.get(key)
    if (known && certify(known, settings).fits) {
      return { device, certificate: certify(known, settings), checkpoints: known.checkpoints }
    }
    options.onProgress?.(device.name, done)
    const program = compileRecipe(options.recipe, options.traced, settings)
    // What a budget has decided is of no use to another.
    if (!program.checkpointing && !program.certificate.storage) plain.set(key, program)
    return { device, certificate: program.certificate, checkpoints: program.checkpoints }
  })
}

/** Changes of one thing each that make it fit, the least first. `devices`: those to look at. */
export function changesThatFit(
  current: CompiledRecipe,
  devices: readonly DeviceProfile[],
  options: FittingOptions,
): FittingChange[] {
  const { recipe, traced, retrace, settings } = options
  const { batch, adapt } = recipe
  const budgetBytes = settings.memoryBudget
  let compilations = 0
  const peakOf = (what: string, changed: Recipe, of: TracedModel): number => {
    options.onProgress?.(what, compilations++)
    return compileRecipe(changed, of, settings).certificate.peakBytes
  }
  const changes: FittingChange[] = []
  // Whatever else is changed, layers are computed again if that is the recipe's to decide: it is now the last resort.
  const checkpoints = recipe.checkpoints === 'auto' ? 'every layer' : recipe.checkpoints
  const base = { ...recipe, checkpoints }
  if (recipe.checkpoints === 'none') {
    const peakBytes = peakOf('checkpoints', { ...recipe, checkpoints: 'every layer' }, traced)
    if (peakBytes <= budgetBytes)
      changes.push({ key: 'checkpoints', from: 'none', value: 'every layer', peakBytes, budgetBytes })
  }
  const { peakBytes: known, parts } = current.certificate
  // What does not fit was compiled to need as little as it can.
  const enough = Math.ceil(known / HUNDREDTH) / 100
  changes.push({ key: '--memory', value: `${enough}MiB`, from: `${Math.round(budgetBytes / HUNDREDTH) / 100}MiB`, peakBytes: known, budgetBytes: enough * 100 * HUNDREDTH }) // prettier-ignore
  // What no batch changes.
  const fixed = parts.weights + parts.state + parts.runtime
  const number = (key: FittingChange['key'], search: Omit<NumberSearch, 'peakFrom' | 'budget'>): void => {
    const found = largestThatFits({ peakFrom: known, budget: budgetBytes, ...search })
    // With checkpoints by budget another value may fit as well, in another plan than the one that was looked at.
    const isLargest = found?.isLargest === true && recipe.checkpoints !== 'auto'
    if (found) changes.push({ key, from: search.from, budgetBytes, ...found, isLargest })
  }
  const { sequences, length } = batch
  const withBatch = (key: 'batch.length' | 'batch.sequences', size: { sequences: number; length: number }): number =>
    peakOf(key, { ...base, batch: { ...batch, ...size } }, retrace(size))
  number('batch.length', {
    from: length,
    // Nothing comes after a single token.
    least: 2,
    step: length > 64 ? 8 : 1,
    floor: fixed,
    peakOf: (value) => withBatch('batch.length', { sequences, length: value }),
  })
  number('batch.sequences', {
    from: sequences,
    step: 1,
    floor: fixed,
    peakOf: (value) => withBatch('batch.sequences', { sequences: value, length }),
  })
  if (adapt.kind === 'lora') {
    number('rank', {
      from: adapt.rank,
      step: 1,
      floor: undefined,
      peakOf: (value) => peakOf('rank', { ...base, adapt: { ...adapt, rank: value } }, traced),
    })
  }
  // The smallest that is large enough by this device's figures; the compilation says whether it is.
  const larger = devices
    .filter(
      ({ name, memoryBudget, runtimeBytes }) =>
        name !== settings.device.name &&
        known - settings.device.runtimeBytes - parts.scratch + runtimeBytes <= memoryBudget,
    ) // prettier-ignore
    .sort((a, b) => a.memoryBudget - b.memoryBudget)
  for (const device of larger.slice(0, 2)) {
    const [fit] = fitDevices([device], options)
    if (!fit?.certificate.fits) continue
    const { peakBytes } = fit.certificate
    changes.push({ key: 'device', from: settings.device.name, value: device.name, peakBytes, budgetBytes: device.memoryBudget }) // prettier-ignore
    break
  }
  return changes
}

export interface NumberSearch {
  /** What does not fit, with its peak. */
  readonly from: number
  readonly peakFrom: number
  readonly budget: number
  /** 1 unless given. */
  readonly least?: number
  /** Values are multiples of it, but for the least. */
  readonly step: number
  /** A peak that no value goes below, where one is known. */
  readonly floor: number | undefined
  readonly peakOf: (value: number) => number
}

/**
 * The largest value below `from` whose peak is within a budget: a peak grows almost in proportion, so that the line
 * through the nearest two that are known says where to look next. Undefined when none was found.
 */
export function largestThatFits({
  from,
  peakFrom,
  budget,
  least = 1,
  step,
  floor,
  peakOf,
}: NumberSearch): { readonly value: number; readonly peakBytes: number; readonly isLargest: boolean } | undefined {
  const down = (value: number): number => Math.max(least, Math.floor(value / step) * step)
  if (from <= least || (floor !== undefined && floor > budget)) return undefined
  let above = { value: from, peak: peakFrom }
  // Nothing is known to fit yet: the line begins at what a value of nothing would need, or at the least value's peak.
  let below = floor === undefined ? { value: least, peak: peakOf(least) } : { value: 0, peak: floor }
  if (below.peak > budget) return undefined
  for (let tries = 1; tries <= MOST_TRIES && down(above.value - 1) > below.value; tries++) {
    const slope = (above.peak - below.peak) / (above.value - below.value)
    const line = slope <= 0 ? above.value - 1 : below.value + (budget - below.peak) / slope
    // Once a value fits, the next one is tried; once one does not, something below it.
    const wanted = down(Math.min(above.value - 1, Math.max(line, below.value + step)))
    const tried = { value: wanted, peak: peakOf(wanted) }
    if (tried.peak <= budget) below = tried
    else above = tried
  }
  if (below.value === 0) return undefined
  return { value: below.value, peakBytes: below.peak, isLargest: down(above.value - 1) <= below.value }
}
