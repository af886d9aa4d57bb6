// A recipe: one frozen, printable object that says what is trained, on what, how and for how long. Its keys are those
// that some stage implements; any other is an error, by type and at run time. Nothing is opened or built here.

import type { Place } from '../compiler/diagnostic.ts'
import type { Adaptation, FullFineTuning, LoraAdaptation } from './adaptation.ts'
import type { TargetsOf } from './checks.ts'
import { energyOf } from './energy.ts'
import type { Energy, EnergyOptions } from './energy.ts'
import type { ModelReference } from './model.ts'
import type { AdamWOptimizer } from './optimizer.ts'
import { callPlace } from './place.ts'
import { recordCalls, recordKinds } from './records.ts'
import type { NextToken, Records } from './records.ts'
import { frozen, GivenValues } from './validation.ts'
import { evaluationOf, savingOf } from './watching.ts'
import type { Evaluation, EvaluationOfFileOrShare, Saving } from './watching.ts'

/** How much is computed at once and for how long. */
export interface Batch {
  /** Sequences of one micro-batch. */
  readonly sequences: number
  /** Greatest number of tokens of a sequence; the plan holds for it. */
  readonly length: number
  /** Micro-batches that make one optimizer step. */
  readonly accumulate: number
  /** Optimizer steps, or… */
  readonly steps?: number
  /** …passes over the data. */
  readonly epochs?: number
}

interface BatchSize {
  readonly sequences: number
  readonly length: number
  /** 1 unless stated. */
  readonly accumulate?: number
}

/** Stands where nothing may be, so that the editor says why. */
type OneOfThem = "(Error) 'batch' has steps or epochs: one of them, not both"

/** A batch is given with steps or epochs, not both. */
export type BatchWithStepsOrEpochs =
  | (BatchSize & { readonly steps: number; readonly epochs?: OneOfThem })
  | (BatchSize & { readonly epochs: number; readonly steps?: OneOfThem })

/** What the step keeps for its backward pass: all of it, the input of every layer, or what the device's memory allows. */
export type Checkpoints = 'none' | 'every layer' | 'auto'

export interface RecipeOptions<Target extends string, Chosen extends string> {
  readonly model: ModelReference<Target>
  readonly adapt: (LoraAdaptation<Chosen> & TargetsOf<Chosen, NoInfer<Target>>) | FullFineTuning
  readonly data: Records
  /** Next token unless stated. */
  readonly objective?: NextToken
  readonly optimizer: AdamWOptimizer
  readonly batch: BatchWithStepsOrEpochs
  /** How frozen weights are kept: as the checkpoint stores them. */
  readonly weights?: { readonly frozen?: 'as stored' }
  /** `auto` unless stated. */
  readonly checkpoints?: Checkpoints
  /** Name or file of a device profile; the host unless stated. */
  readonly device?: string
  /** 0 unless stated. */
  readonly seed?: number
  /** Directory for the result; the command line's choice unless stated. */
  readonly out?: string
  /** When the state is saved that `heddle train --resume` goes on from: every five minutes unless stated. */
  readonly save?: Saving
  /** Measures the loss of held-out records, keeps the best result, and may stop early. */
  readonly evaluate?: EvaluationOfFileOrShare
  /** When the run computes, rests and holds: duty cycle, battery, temperature, charger. It ends with the same bits. */
  readonly energy?: EnergyOptions
}

/** A recipe as the compiler reads it: every default filled in. */
export interface Recipe {
  readonly model: ModelReference
  readonly adapt: Adaptation
  readonly data: Records
  readonly objective: NextToken
  readonly optimizer: AdamWOptimizer
  readonly batch: Batch
  readonly weights: { readonly frozen: 'as stored' }
  readonly checkpoints: Checkpoints
  readonly device?: string
  readonly seed: number
  readonly out?: string
  readonly save?: Saving
  readonly evaluate?: Evaluation
  readonly energy?: Energy
}

const keys = [
  'model',
  'adapt',
  'data',
  'objective',
  'optimizer',
  'batch',
  'weights',
  'checkpoints',
  'device',
  'seed',
  'out',
  'save',
  'evaluate',
  'energy',
] as const satisfies readonly (keyof RecipeOptions<string, string>)[]

const recipes = new WeakSet<Recipe>()

/**
 * Checks a recipe and fills in what it leaves to us.
 *
 * @throws UserError at the call: HD301 for a key that no stage implements, HD302 for a wrong value, HD303 for values that
 * do not go together, HD304 for a missing one
 */
export function recipe<Target extends string, Chosen extends string>(options: RecipeOptions<Target, Chosen>): Recipe {
  const place = callPlace()
  const given = new GivenValues(options, 'recipe', keys, place)
  const made = frozen({
    model: modelReference(given),
    adapt: adaptation(given, place),
    data: given.made<Records>('data', recordKinds, recordCalls),
    objective: given.has('objective')
      ? given.made<NextToken>('objective', ['nextToken'], 'nextToken()')
      : frozen({ kind: 'nextToken' as const }),
    optimizer: given.made<AdamWOptimizer>('optimizer', ['adamW'], 'adamW(…)'),
    batch: batchOf(given, place),
    weights: weightsOf(given, place),
    checkpoints: given.choice<Checkpoints>('checkpoints', ['none', 'every layer', 'auto'], 'auto'),
    ...(given.has('device') ? { device: given.text('device', 'the name or file of a device profile') } : {}),
    seed: given.number('seed', 'an integer from 0 to 2147483647', isSeed, 0),
    ...(given.has('out') ? { out: given.text('out', 'the path of a directory') } : {}),
    ...(given.has('save') ? { save: savingOf(given.value('save'), place) } : {}),
    ...(given.has('evaluate') ? { evaluate: evaluationOf(given.value('evaluate'), place) } : {}),
    ...(given.has('energy') ? { energy: energyOf(given.value('energy'), place) } : {}),
  })
  checkWarmup(made, given)
  recipes.add(made)
  return made
}

/** Whether a value came from `recipe`, whatever file it was exported from. */
export function isRecipe(value: unknown): value is Recipe {
  return typeof value === 'object' && value !== null && recipes.has(value as Recipe)
}

function modelReference(given: GivenValues): ModelReference {
  const value = given.value('model')
  const fits = typeof value === 'object' && value !== null && 'definition' in value && 'source' in value
  return fits ? (value as ModelReference) : given.fail('model', 'a model with its checkpoint, as qwen2.from(…)')
}

function adaptation(given: GivenValues, place: Place): Adaptation {
  const adapt = given.made<Adaptation>('adapt', ['lora', 'full'], 'lora(…) or fullFineTuning()')
  const known: readonly string[] = modelReference(given).definition.targets
  if (adapt.kind === 'full' || known.length === 0) return adapt
  for (const target of adapt.targets) {
    if (known.includes(target.slice(target.lastIndexOf('.') + 1))) continue
    new GivenValues({ targets: target }, 'lora', ['targets'], place).fail('targets', `one of ${known.join(', ')}`)
  }
  return adapt
}

function batchOf(recipeGiven: GivenValues, place: Place): Batch {
  if (!recipeGiven.has('batch')) recipeGiven.fail('batch', 'sequences, length and steps or epochs')
  const names = ['sequences', 'length', 'accumulate', 'steps', 'epochs']
  const given = new GivenValues(recipeGiven.value('batch'), 'batch', names, place)
  const size = {
    sequences: given.count('sequences'),
    length: given.count('length'),
    accumulate: given.count('accumulate', 1),
  }
  if (given.has('steps') && given.has('epochs')) given.refuse("'steps' and 'epochs' are given; one of them decides")
  if (given.has('epochs')) return { ...size, epochs: given.number('epochs', 'a positive number', (value) => value > 0) }
  if (!given.has('steps')) given.fail('steps', 'a positive integer, unless epochs are given')
  return { ...size, steps: given.count('steps') }
}

function weightsOf(recipeGiven: GivenValues, place: Place): Recipe['weights'] {
  const given = new GivenValues(recipeGiven.value('weights') ?? {}, 'weights', ['frozen'], place)
  return { frozen: given.choice('frozen', ['as stored'], 'as stored') }
}

function checkWarmup({ optimizer, batch }: Recipe, given: GivenValues): void {
  const { rate } = optimizer
  if (rate.kind === 'constant' || batch.steps === undefined) return
  if (rate.warmup >= 1 && rate.warmup >= batch.steps) {
    given.refuse(`the warm-up takes ${rate.warmup} steps and the run has only ${batch.steps}`)
  }
}

function isSeed(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0x7fffffff
}
