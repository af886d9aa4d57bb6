// What a run leaves behind: an adapter in PEFT's layout, or a whole model that transformers loads. Reads the trained
// values out of the session; the formats write them as a whole or not at all.

import path from 'node:path'
import type { Session } from '../backends/neon/driver/index.ts'
import { InternalError } from '../compiler/diagnostic.ts'
import type { Program } from '../compiler/plan/program.ts'
import { loraNames } from '../compiler/transform/adapt.ts'
import type { LinearModule, Recipe, TracedModel } from '../dsl/index.ts'
import { saveCheckpoint } from '../formats/checkpoint.ts'
import type { Checkpoint } from '../formats/checkpoint.ts'
import { statusOf } from '../formats/files.ts'
import type { WriteOptions } from '../formats/files.ts'
import { saveAdapter } from '../formats/peft.ts'
import type { NewLoraModule } from '../formats/peft.ts'
import { float32Tensor } from '../formats/safetensors.ts'
import type { PreparedModel } from './prepare.ts'

/** Where a recipe's result stands in `out`. */
export function resultDirectory(out: string, { adapt }: Pick<Recipe, 'adapt'>): string {
  return path.join(out, adapt.kind === 'full' ? 'model' : 'adapter')
}

/** Bytes of the files that stand beside a trained model as they stood beside the one it is made of; an adapter has none. */
export function copiedBytes(
  { adapt }: Pick<Recipe, 'adapt'>,
  { tokenizerFiles }: Pick<Checkpoint, 'tokenizerFiles'>,
): number {
  if (adapt.kind !== 'full') return 0
  return tokenizerFiles.reduce((sum, file) => sum + (statusOf(file)?.size ?? 0), 0)
}

/**
 * Writes `adapter/` or `model/` in `out` and returns its path.
 *
 * @throws UserError HD405 when it cannot be written (what was there is unchanged), HD408 when a value is not finite
 */
export async function saveTrained(
  out: string,
  recipe: Pick<Recipe, 'adapt'>,
  model: Pick<PreparedModel, 'checkpoint' | 'traced' | 'baseName'>,
  program: Program,
  session: Pick<Session, 'read'>,
  options: WriteOptions = {},
): Promise<string> {
  const dir = resultDirectory(out, recipe)
  return recipe.adapt.kind === 'full'
    ? saveModel(dir, model, program, session, options)
    : saveLora(dir, recipe, model, program, session, options)
}

async function saveModel(
  dir: string,
  { checkpoint }: Pick<PreparedModel, 'checkpoint'>,
  program: Program,
  session: Pick<Session, 'read'>,
  options: WriteOptions,
): Promise<string> {
  const tensors = []
  for (const { name, role, shape } of program.values) {
    if (role === 'trainable') tensors.push(float32Tensor(name, shape, await readFloats(session, name)))
  }
  const { config, generationConfig, tokenizerFiles } = checkpoint
  saveCheckpoint(dir, { config, generationConfig, tensors, tokenizerFiles }, options)
  return dir
}

async function saveLora(
  dir: string,
  recipe: Pick<Recipe, 'adapt'>,
  { traced, baseName }: Pick<PreparedModel, 'traced' | 'baseName'>,
  program: Program,
  session: Pick<Session, 'read'>,
  options: WriteOptions,
): Promise<string> {
  const { adapt } = recipe
  if (adapt.kind !== 'lora') throw new InternalError('only LoRA has an adapter to save')
  const chosen = adaptedModules(recipe, traced)
  const modules: NewLoraModule[] = []
  for (const module of chosen) {
    const { down, up } = loraNames(module)
    modules.push({
      path: module.path,
      inputs: shapeOf(program, down)[1] ?? 0,
      outputs: shapeOf(program, up)[0] ?? 0,
      a: await readFloats(session, down),
      b: await readFloats(session, up),
    })
  }
  const settings = {
    rank: adapt.rank,
    alpha: adapt.alpha,
    dropout: adapt.dropout,
    scaling: adapt.rslora ? ('alpha/sqrt(rank)' as const) : ('alpha/rank' as const),
    baseLayout: chosen.some((module) => module.storedTransposed) ? ('in-out' as const) : ('out-in' as const),
    targetModules: adapt.targets,
    baseModel: baseName,
  }
  saveAdapter(dir, settings, modules, options)
  return dir
}

function shapeOf(program: Program, name: string): readonly number[] {
  const value = program.values.find((one) => one.name === name)
  if (!value) throw new InternalError(`the program has no '${name}'`)
  return value.shape
}

async function readFloats(session: Pick<Session, 'read'>, name: string): Promise<Float32Array> {
  const data = await session.read(name)
  if (data instanceof Float32Array) return data
  throw new InternalError(`'${name}' is not float32`)
}

/** The modules that a recipe's adapters are on, by PEFT's rule: the whole path, or its end behind a dot. */
export function adaptedModules(recipe: Pick<Recipe, 'adapt'>, { modules }: TracedModel): LinearModule[] {
  const { adapt } = recipe
  if (adapt.kind !== 'lora') return []
  return modules.filter(({ path: module }) =>
    adapt.targets.some((target) => module === target || module.endsWith(`.${target}`)),
  )
}
