// From a recipe and its model to a compiled program: translates the recipe's words into the compiler's options. Knows
// no file and runs nothing.

import { compile } from '../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../compiler/pipeline.ts'
import type { RateSchedule as CompiledSchedule } from '../compiler/transform/learningRate.ts'
import { atWriting } from '../dsl/index.ts'
import type { Recipe, TracedModel } from '../dsl/index.ts'
import { scheduleProfile } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import { certify } from './certificate.ts'
import type { Certificate } from './certificate.ts'

export interface CompileSettings {
  /** What the program will run on: decides tiles. */
  readonly device: DeviceProfile
  readonly threads: number
  /** Optimizer steps of the whole run: what the learning rate is stretched over. */
  readonly steps: number
  /** Bytes that the whole process may hold. */
  readonly memoryBudget: number
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
 * little as possible.
 *
 * @throws UserError where the recipe does not fit the model (HD301, HD302)
 */
export function compileRecipe(recipe: Recipe, traced: TracedModel, settings: CompileSettings): CompiledRecipe {
  const compiled = compiledAt(recipe, traced, {
    name: recipe.model.model,
    adaptation: adaptationOf(recipe, traced),
    optimizer: optimizerOf(recipe, settings.steps),
    checkpoints: checkpointsOf(recipe, settings),
    profile: scheduleProfile(settings.device, settings.threads),
    ...(settings.dump ? { dump: settings.dump } : {}),
  })
  const checkpoints = compiled.checkpointing ? 'chosen' : recipe.checkpoints === 'every layer' ? 'every' : 'none'
  return { ...compiled, checkpoints, certificate: certify(compiled, settings) }
}

function checkpointsOf({ checkpoints }: Recipe, settings: CompileSettings): CompileOptions['checkpoints'] {
  if (checkpoints === 'none') return 'none'
  if (checkpoints === 'every layer') return 'every'
  return { excess: (planned) => certify(planned, settings).peakBytes - settings.memoryBudget }
}

/** The same program with some of its functions only: what a run does not call need not be compiled. */
export function keepFunctions(
  compiled: CompiledRecipe,
  names: readonly string[],
  settings: CompileSettings,
): CompiledRecipe {
  const functions = compiled.program.functions.filter((fn) => names.includes(fn.name))
  const used = [...new Set(functions.flatMap((fn) => fn.launches.map((launch) => launch.kernel)))].sort((a, b) => a - b)
  const places = new Map(used.map((kernel, place) => [kernel, place]))
  const arenas = compiled.arenas.filter((arena) => names.includes(arena.fn))
  const program = {
    ...compiled.program,
    kernels: used.flatMap((kernel) => compiled.program.kernels[kernel] ?? []),
    functions: functions.map((fn) => ({
      ...fn,
      launches: fn.launches.map((launch) => ({ ...launch, kernel: places.get(launch.kernel) as number })),
    })),
    arenaBytes: Math.max(0, ...arenas.map((arena) => arena.peak)),
  }
  return { ...compiled, program, arenas, certificate: certify({ program, arenas }, settings) }
}
