// From a recipe and its model to a compiled program: translates the recipe's words into the compiler's options. Knows
// no file and runs nothing.

import { prepareStep } from '../compiler/pipeline.ts'
import type { CompileOptions, PreparedStep } from '../compiler/pipeline.ts'
import type { RateSchedule as CompiledSchedule } from '../compiler/transform/learningRate.ts'
import { atWriting } from '../dsl/index.ts'
import type { Recipe, TracedModel } from '../dsl/index.ts'
import { Attempts } from './attempts.ts'
import type { CompiledRecipe, CompileSettings, RecipeDraft } from './attempts.ts'

export type { Attempt, CompiledRecipe, CompileSettings, FailedAttempt, RecipeDraft } from './attempts.ts'

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

/** What was prepared last of a model: most compilations of a recipe differ in device, memory or checkpoints. */
const prepared = new WeakMap<TracedModel, { readonly key: string; readonly step: PreparedStep }>()

/** The step as a graph; what an adaptation refuses without a place stands where the recipe states it. */
function stepOf(recipe: Recipe, traced: TracedModel, steps: number, dump?: (text: string) => void): PreparedStep {
  const options = { adaptation: adaptationOf(recipe, traced), optimizer: optimizerOf(recipe, steps) }
  const key = JSON.stringify([recipe.adapt, options.optimizer])
  const known = prepared.get(traced)
  // Whoever listens hears all of it.
  if (!dump && known?.key === key) return known.step
  try {
    const step = prepareStep(traced.graph, traced.provenance, { ...options, ...(dump ? { dump } : {}) })
    prepared.set(traced, { key, step })
    return step
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
  const drafting = draftRecipe(recipe, traced, settings)
  for (;;) {
    const { done, value } = drafting.next()
    if (done === true) return value.place()
  }
}

/** As `compileRecipe`, but what does not fit is placed only where that is wanted. Stops before each program is compiled. */
export function* draftRecipe(
  recipe: Recipe,
  traced: TracedModel,
  settings: CompileSettings,
): Generator<undefined, RecipeDraft> {
  const { steps, dump } = settings
  const said: string[] = []
  const step = stepOf(recipe, traced, steps, dump && ((text) => void said.push(text)))
  const attempts = new Attempts(step, recipe, settings)
  const told = ({ certificate, place }: RecipeDraft): RecipeDraft => ({
    certificate,
    place: () => {
      const compiled = place()
      for (const text of [...said, ...attempts.saidOf(compiled)]) dump?.(text)
      return compiled
    },
  })
  // Where nothing fits, the planner's model of memory has been the judge of a plan that only memory can judge.
  for (const checkpoints of recipe.checkpoints === 'auto' ? (['auto', 'every layer'] as const) : [recipe.checkpoints]) {
    const found = yield* attempts.fitting(checkpoints)
    if (found) return told(found)
  }
  return told(yield* attempts.least())
}
