// A recipe on several devices, and what would make one fit that does not: the nearest changes, each compiled, so that the
// peak it is told with is the peak it has. Runs no program.

import { setImmediate } from 'node:timers/promises'
import { dtypeBytes } from '../compiler/graph/axis.ts'
import { rootsOf, topological } from '../compiler/graph/node.ts'
import { declaredBytes } from '../compiler/schedule/shards.ts'
import type { TracedModel, Recipe } from '../dsl/index.ts'
import { scheduleProfile } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import { certify, enoughFor } from './certificate.ts'
import type { Certificate } from './certificate.ts'
import { draftRecipe } from './compileRecipe.ts'
import type { RecordsWithin } from './prepare.ts'
import type { Attempt, CompiledRecipe, CompileSettings, FailedAttempt, RecipeDraft } from './compileRecipe.ts'

/** A recipe that fits, and what of it is another. */
export interface FittingChange {
  readonly key: '--memory' | 'checkpoints' | 'batch.length' | 'batch.sequences' | 'rank' | 'device'
  readonly value: string | number
  readonly from: string | number
  readonly peakBytes: number
  readonly budgetBytes: number
  /** The next one would not fit: it was compiled as well. */
  readonly isLargest?: boolean
  /** From one number to the next one; 1 unless given. */
  readonly step?: number
  /** Where the batch is shorter: what becomes of the records. */
  readonly records?: RecordsWithin
  /** It has the budget of its own device, though another one was asked for. */
  readonly isOwnBudget?: boolean
}

export interface DeviceFit {
  readonly device: DeviceProfile
  readonly threads: number
  readonly certificate: Certificate
  readonly checkpoints: CompiledRecipe['checkpoints']
}

/** What was asked for, whatever the device. */
export interface Asked {
  readonly threads?: number | undefined
  readonly memoryBudget?: number | undefined
}

/** How a recipe's model is traced again for a batch of another size. */
export type Retrace = (size: { readonly sequences: number; readonly length: number }) => TracedModel

export interface FittingOptions {
  readonly recipe: Recipe
  readonly traced: TracedModel
  readonly retrace: Retrace
  /** What becomes of the records in a batch of another length; undefined where nothing could be trained. Not looked at unless given. */
  readonly recordsWithin?: (length: number) => RecordsWithin | undefined
  readonly settings: CompileSettings
  /** What is compiled next, and how many changes of the recipe were tried before it; how many there will be is not known. */
  readonly onProgress?: (what: string, done: number) => void
  /** Ends it before the next program; what was found so far is the answer. */
  readonly stop?: AbortSignal
}

class Stopped extends Error {}

/** What was found before somebody stopped it is the answer. */
async function untilStopped(looking: () => Promise<void>): Promise<void> {
  try {
    await looking()
  } catch (error) {
    if (!(error instanceof Stopped)) throw error
  }
}

/** What a recipe comes to. Whoever wants to stop it is heard before each program that is compiled. */
async function drafted(
  what: string,
  done: number,
  recipe: Recipe,
  traced: TracedModel,
  settings: CompileSettings,
  { onProgress, stop }: FittingOptions,
): Promise<RecipeDraft> {
  const drafting = draftRecipe(recipe, traced, settings)
  for (;;) {
    onProgress?.(what, done)
    // Signals are delivered between two turns.
    await setImmediate()
    if (stop?.aborted) throw new Stopped()
    const { done: isDone, value } = drafting.next()
    if (isDone === true) return value
  }
}

/** Another size of the batch has another plan, and what was computed again by a budget may be less than every layer. */
const PLAN_ERROR = 1.02
/** Compilations for one number of the recipe. */
const MOST_TRIES = 4

/**
 * The recipe on each device, with the device's own threads and budget unless others were asked for: what a device does not have
 * is not asked of it. Devices that the schedule cannot tell apart share a compilation where everything fits.
 */
export async function fitDevices(
  devices: readonly DeviceProfile[],
  options: FittingOptions,
  asked: Asked = {},
  done = 0,
): Promise<DeviceFit[]> {
  const plain = new Map<string, CompiledRecipe>()
  const fits: DeviceFit[] = []
  await untilStopped(async () => {
    for (const device of devices) {
      const { threads = device.cores } = asked
      const memoryBudget = budgetWithin(device, asked)
      const settings = { ...options.settings, device, threads, memoryBudget }
      const key = JSON.stringify({ ...scheduleProfile(device, threads), name: '' })
      const known = plain.get(key)
      if (known && certify(known, settings).fits) {
        fits.push({ device, threads, certificate: certify(known, settings), checkpoints: known.checkpoints })
        continue
      }
      const what = `device '${device.name}'`
      const draft = await drafted(what, done + fits.length, options.recipe, options.traced, settings, options)
      const program = draft.place()
      // What a budget has decided is of no use to another.
      if (!program.checkpointing && !program.certificate.storage) plain.set(key, program)
      fits.push({ device, threads, certificate: program.certificate, checkpoints: program.checkpoints })
    }
  })
  return fits
}

function budgetWithin({ memoryBudget, figures }: DeviceProfile, asked: Asked): number {
  const { memoryBudget: wanted = memoryBudget } = asked
  return wanted <= figures.memory.bytes ? wanted : memoryBudget
}

/** Changes of one thing each that make it fit, the least first. `devices`: those to look at. */
export async function changesThatFit(
  current: CompiledRecipe,
  devices: readonly DeviceProfile[],
  options: FittingOptions,
): Promise<FittingChange[]> {
  const changes: FittingChange[] = []
  await untilStopped(async () => {
    for await (const change of fittingChanges(current, devices, options)) changes.push(change)
  })
  return changes
}

async function* fittingChanges(
  current: CompiledRecipe,
  devices: readonly DeviceProfile[],
  options: FittingOptions,
): AsyncGenerator<FittingChange> {
  const { recipe, traced, retrace, settings } = options
  const { batch, adapt } = recipe
  const budgetBytes = settings.memoryBudget
  let tried = 0
  const { attempts = [] } = current
  const peakOf = async (
    what: string,
    changed: Recipe,
    of: TracedModel,
    isTooMuch?: CompileSettings['isTooMuch'],
  ): Promise<number> => {
    const { certificate } = await drafted(what, tried++, changed, of, { ...settings, isTooMuch }, options)
    return certificate.peakBytes
  }
  const { peakBytes: known, parts } = current.certificate
  // Whatever else is changed, layers are computed again if that is the recipe's to decide: it is now the last resort.
  const checkpoints = recipe.checkpoints === 'auto' ? 'every layer' : recipe.checkpoints
  const base = { ...recipe, checkpoints }
  if (recipe.checkpoints === 'none') {
    const peakBytes = await peakOf("checkpoints: 'every layer'", { ...recipe, checkpoints: 'every layer' }, traced)
    if (peakBytes <= budgetBytes)
      yield { key: 'checkpoints', from: 'none', value: 'every layer', peakBytes, budgetBytes }
  }
  // It was compiled to need as little as it can, whatever the budget; a budget of a little more is given what it needs.
  const enough = enoughFor(known)
  yield {
    key: '--memory',
    value: `${enough}MiB`,
    from: `${Math.round((budgetBytes / 2 ** 20) * 100) / 100}MiB`,
    peakBytes: known,
    budgetBytes: Math.floor(enough * 2 ** 20),
  }
  // What is changed from is what the changed ones are: with layers computed again.
  const same = attempts.filter((one) => one.checkpoints === checkpoints)
  const peakFrom = same.length === 0 ? known : Math.min(...same.map(({ certificate }) => certificate.peakBytes))
  const number = async function* (
    key: FittingChange['key'],
    search: Omit<NumberSearch, 'peakFrom' | 'budget'>,
  ): AsyncGenerator<FittingChange> {
    const found = await largestThatFits({ peakFrom, budget: budgetBytes, ...search })
    // With checkpoints by budget another value may fit as well, in another plan than the one that was looked at.
    const isLargest = found?.isLargest === true && recipe.checkpoints !== 'auto'
    if (!found) return
    const change = { key, from: search.from, budgetBytes, ...found, isLargest, step: search.step }
    if (key !== 'batch.length' || !options.recordsWithin) return yield change
    // What fits is of no use where nothing is left to learn.
    const records = options.recordsWithin(found.value)
    if (records) yield { ...change, records }
  }
  // What no batch changes.
  const fixed = parts.weights + parts.state + parts.runtime
  const { sequences, length } = batch
  const withBatch = (
    key: 'batch.length' | 'batch.sequences',
    size: { sequences: number; length: number },
  ): Promise<number> => {
    // A value has one axis of tokens, or two.
    const shrinks = (size.sequences / sequences) * (size.length / length) ** 2
    const isTooMuch: CompileSettings['isTooMuch'] = (storage) => leastBytes(attempts, storage, shrinks) > budgetBytes
    return peakOf(
      `${key}: ${size[key === 'batch.length' ? 'length' : 'sequences']}`,
      { ...base, batch: { ...batch, ...size } },
      retrace(size),
      isTooMuch,
    )
  }
  yield* number('batch.length', {
    from: length,
    // Nothing comes after a single token.
    least: 2,
    step: length > 64 ? 8 : 1,
    floor: fixed,
    peakOf: (value) => withBatch('batch.length', { sequences, length: value }),
  })
  yield* number('batch.sequences', {
    from: sequences,
    step: 1,
    floor: fixed,
    peakOf: (value) => withBatch('batch.sequences', { sequences: value, length }),
  })
  if (adapt.kind === 'lora' && peakFrom - bytesOfRank(current) <= budgetBytes) {
    yield* number('rank', {
      from: adapt.rank,
      step: 1,
      floor: undefined,
      peakOf: (value) => peakOf(`rank: ${value}`, { ...base, adapt: { ...adapt, rank: value } }, traced),
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
    const [fit] = await fitDevices([device], options, {}, tried++)
    if (!fit?.certificate.fits) continue
    const { peakBytes } = fit.certificate
    yield { key: 'device', from: settings.device.name, value: device.name, peakBytes, budgetBytes: device.memoryBudget, isOwnBudget: budgetBytes !== settings.device.memoryBudget } // prettier-ignore
    break
  }
}

/**
 * What a place of tensors needs at the least where everything that depends on the batch is this share of what it was: no more
 * than values do, since some have only one axis of the batch. 0 where it was not tried.
 */
function leastBytes(attempts: readonly FailedAttempt[], storage: Attempt['storage'], shrinks: number): number {
  const peaks = attempts
    .filter((one) => one.storage === storage)
    .map(({ certificate: { peakBytes, parts } }) => peakBytes - (1 - shrinks) * (parts.arena + parts.inputs))
  return peaks.length === 0 ? 0 : Math.min(...peaks) / PLAN_ERROR
}

/**
 * Bytes that there would not be without any rank, at the most: what is trained as far as it is in memory, a range of it and of
 * what an update needs beside it, and what adapters compute: of one layer at a time where layers are computed again.
 */
function bytesOfRank({ graph, certificate, checkpoints }: CompiledRecipe): number {
  const trained = [...graph.declarations.values()].filter(({ role }) => role === 'trainable')
  const rank = trained.find(({ name }) => name.endsWith('lora_A.weight'))?.stored[0]?.[0]
  if (!rank) return certificate.peakBytes
  const perLayer = new Map<number | undefined, number>()
  const roots = graph.functions.filter(({ name }) => name === 'accumulate').flatMap(rootsOf)
  for (const { axes, dtype, layer } of topological(roots)) {
    if (!axes.includes(rank)) continue
    const bytes = axes.reduce((product, { size }) => product * size, dtypeBytes[dtype])
    perLayer.set(layer, (perLayer.get(layer) ?? 0) + bytes)
  }
  const layers = [...perLayer].flatMap(([layer, bytes]) => (layer === undefined ? [] : [bytes]))
  const ofLayers = checkpoints === 'none' ? layers.reduce((sum, bytes) => sum + bytes, 0) : Math.max(0, ...layers)
  const largest = trained.reduce((most, declared) => Math.max(most, declaredBytes(declared)), 0)
  return certificate.parts.state + 4 * largest + (perLayer.get(undefined) ?? 0) + ofLayers
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
  readonly peakOf: (value: number) => number | Promise<number>
}

/**
 * The largest value below `from` whose peak is within a budget: a peak grows almost in proportion, so that the line
 * through the nearest two that are known says where to look next. Undefined when none was found.
 */
export async function largestThatFits({
  from,
  peakFrom,
  budget,
  least = 1,
  step,
  floor,
  peakOf,
}: NumberSearch): Promise<
  { readonly value: number; readonly peakBytes: number; readonly isLargest: boolean } | undefined
> {
  const down = (value: number): number => Math.max(least, Math.floor(value / step) * step)
  if (from <= least || (floor !== undefined && floor > budget)) return undefined
  let above = { value: from, peak: peakFrom }
  // Nothing is known to fit yet: the line begins at what a value of nothing would need, or at the least value's peak.
  let below = floor === undefined ? { value: least, peak: await peakOf(least) } : { value: 0, peak: floor }
  if (below.peak > budget) return undefined
  for (let tries = 1; tries <= MOST_TRIES && down(above.value - 1) > below.value; tries++) {
    const slope = (above.peak - below.peak) / (above.value - below.value)
    const line = slope <= 0 ? above.value - 1 : below.value + (budget - below.peak) / slope
    // Once a value fits, the next one is tried; once one does not, something below it.
    const wanted = down(Math.min(above.value - 1, Math.max(line, below.value + step)))
    const tried = { value: wanted, peak: await peakOf(wanted) }
    if (tried.peak <= budget) below = tried
    else above = tried
  }
  if (below.value === 0) return undefined
  return { value: below.value, peakBytes: below.peak, isLargest: down(above.value - 1) <= below.value }
}
