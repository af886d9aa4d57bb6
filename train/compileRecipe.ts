// From a recipe and its model to a compiled program: translates the recipe's words into the compiler's options. Knows
// no file and runs nothing.

import { compile } from '../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../compiler/pipeline.ts'
import type { PlannedProgram } from '../compiler/plan/place.ts'
import type { RateSchedule as CompiledSchedule } from '../compiler/transform/learningRate.ts'
import { atWriting } from '../dsl/index.ts'
import type { Recipe, TracedModel } from '../dsl/index.ts'
import { ratesOf, scheduleProfile } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import { certify } from './certificate.ts'
import type { Certificate } from './certificate.ts'
import { canStream, storageOf } from './storage.ts'

export interface CompileSettings {
  /** What the program will run on: decides tiles. */
  readonly device: DeviceProfile
  readonly threads: number
  /** Optimizer steps of the whole run: what the learning rate is stretched over. */
  readonly steps: number
  /** Bytes that the whole process may hold. */
  readonly memoryBudget: number
  /** The functions that are wanted; all of them unless given. */
  readonly functions?: readonly string[]
  readonly dump?: ((text: string) => void) | undefined
}

export interface CompiledRecipe extends Compiled {
  readonly certificate: Certificate
  readonly checkpoints: 'none' | 'every' | 'chosen'
}

/** The recipe's adaptation in the transforms' words. */
export function adaptationOf(recipe: Recipe, traced: TracedModel): CompileOptions['adaptation'] {
  const { adapt } = recipe
  if (adapt.kind === 'full') return { kind: 'trainable', names: 'all' }
  const { rank, alpha, dropout, rslora, targets } = adapt
  return { kind: 'lora', options: { rank, alpha, dropout, rslora, targets, modules: traced.modules } }
}

/** The recipe's optimizer in the transforms' words. */
export function optimizerOf(recipe: Recipe, steps: number): CompileOptions['optimizer'] {
  const { betas, epsilon, weightDecay, clip } = recipe.optimizer
  return {
    schedule: scheduleOf(recipe, steps),
    beta1: betas[0],
    beta2: betas[1],
    epsilon,
    weightDecay,
    ...(clip === undefined ? {} : { clip }),
  }
}

function scheduleOf(recipe: Recipe, total: number): CompiledSchedule {
  const { rate } = recipe.optimizer
  if (rate.kind === 'constant') return { kind: 'constant', peak: rate.rate, warmup: 0, total }
  // Rounded up as transformers does; but a short run is not all warm-up, whose first step has no rate at all.
  const warmup = rate.warmup < 1 ? Math.min(Math.ceil(rate.warmup * total), total - 1) : rate.warmup
  return { kind: rate.kind, peak: rate.peak, warmup, total, floor: rate.floor }
}

/** Compiles; what an adaptation refuses without a place stands where the recipe states it. */
function compiledAt(recipe: Recipe, traced: TracedModel, options: CompileOptions): ReturnType<typeof compile> {
  try {
    return compile(traced.graph, traced.provenance, options)
  } catch (error) {
    throw atWriting(recipe.adapt, error)
  }
}

/**
 * Compiles a recipe. With `checkpoints: 'auto'`, values are kept as far as they fit the budget; the rest is computed again, as
 * little as possible. Frozen tensors are in memory where that fits; where it does not, or where keeping them there costs more
 * recomputation than reading them costs waiting, they stay in their files and are read by ranges. Only where nothing else fits is
 * what is trained in a file as well, with its gradients and moments: every step writes them.
 *
 * @throws UserError where the recipe does not fit the model (HD301, HD302)
 */
export function compileRecipe(recipe: Recipe, traced: TracedModel, settings: CompileSettings): CompiledRecipe {
  const { device, threads } = settings
  const dumps = new Map<CompiledRecipe, string[]>()
  const compileWith =
    (recipe: Recipe) =>
    (storage: CompileOptions['storage']): CompiledRecipe => {
      const dump: string[] = []
      const compiled = compiledAt(recipe, traced, {
        name: recipe.model.model,
        adaptation: adaptationOf(recipe, traced),
        optimizer: optimizerOf(recipe, settings.steps),
        checkpoints: checkpointsOf(recipe, settings),
        profile: scheduleProfile(device, threads),
        ...(settings.functions ? { functions: settings.functions } : {}),
        ...(storage ? { storage } : {}),
        ...(settings.dump ? { dump: (text: string) => void dump.push(text) } : {}),
      })
      const checkpoints = compiled.checkpointing ? 'chosen' : recipe.checkpoints === 'every layer' ? 'every' : 'none'
      const result = { ...compiled, checkpoints, certificate: certify(compiled, settings) } as const
      dumps.set(result, dump)
      return result
    }
  const chosen = bestOf(compileWith(recipe), settings)
  // Where nothing fits, the planner's model of memory has been the judge of a plan that only memory can judge.
  const every = { ...recipe, checkpoints: 'every layer' as const }
  const isStuck = !chosen.certificate.fits && recipe.checkpoints === 'auto'
  const plain = isStuck ? bestOf(compileWith(every), settings) : chosen
  const best = isBetter(plain, chosen) ? plain : chosen
  for (const text of dumps.get(best) ?? []) settings.dump?.(text)
  return best
}

/** Compiles for one storage after another, until one fits or all were tried. */
function bestOf(
  compileWith: (storage: CompileOptions['storage']) => CompiledRecipe,
  { device, threads, memoryBudget }: CompileSettings,
): CompiledRecipe {
  const inMemory = compileWith(undefined)
  if ((inMemory.certificate.fits && lostSeconds(inMemory) === 0) || !canStream(device)) return inMemory
  const hasFrozen = inMemory.certificate.parts.weights > 0
  const frozen = hasFrozen ? compileWith(storageOf(device, threads, memoryBudget)) : inMemory
  let best = isBetter(frozen, inMemory) ? frozen : inMemory
  // Then ranges as small as there can be: many requests, but the least memory of all, whatever the budget is.
  for (const least of [false, true]) {
    if (best.certificate.fits) break
    const stored = compileWith(storageOf(device, threads, memoryBudget, { state: true, least }))
    if (isBetter(stored, best)) best = stored
  }
  return best
}

/** What a micro-batch takes longer than with everything in memory, by the device's figures. */
function lostSeconds({ checkpointing, certificate }: CompiledRecipe): number {
  return (checkpointing?.seconds ?? 0) + (certificate.storage?.stallSeconds ?? 0)
}

/** One that fits, of two that do the faster, of two that do not the smaller. */
function isBetter(one: CompiledRecipe, other: CompiledRecipe): boolean {
  const [mine, others] = [one.certificate, other.certificate]
  if (mine.fits !== others.fits) return mine.fits
  return mine.fits ? lostSeconds(one) < lostSeconds(other) : mine.peakBytes < others.peakBytes
}

function checkpointsOf({ checkpoints }: Recipe, settings: CompileSettings): CompileOptions['checkpoints'] {
  if (checkpoints === 'none') return 'none'
  if (checkpoints === 'every layer') return 'every'
  const rates = ratesOf(settings.device, settings.threads)
  const excess = (planned: PlannedProgram): number => certify(planned, settings).peakBytes - settings.memoryBudget
  return { excess, ...(rates ? { rates } : {}) }
}
