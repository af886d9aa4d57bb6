// A recipe that is prepared and compiled once and then trained as often as a test likes: stopped, resumed, on other
// threads, in other processes, with file operations of the test's own. Only for tests.

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { batches } from '../../data/batches.ts'
import type { BatchState } from '../../data/batches.ts'
import type { Example } from '../../data/examples.ts'
import type { LinearModule, Recipe, TracedModel } from '../../dsl/index.ts'
import { openCheckpoint } from '../../formats/checkpoint.ts'
import type { WriteOptions } from '../../formats/files.ts'
import { CheckpointBinding } from '../../train/bindCheckpoint.ts'
import type { RunIdentity } from '../../train/identity.ts'
import type { EnergySettings } from '../../train/energy.ts'
import { trainToTheEnd } from '../../train/loop.ts'
import type { LoopObserver } from '../../train/loop.ts'
import { frozenRanges, openTraining } from '../../train/openTraining.ts'
import { WeightFiles } from '../../train/weightFiles.ts'
import type { LoopResult } from '../../train/results.ts'
import { RunStates } from '../../train/runState.ts'

/** All that training needs, as plain data that another process can be given. */
export interface PreparedRun {
  readonly recipe: Pick<Recipe, 'adapt' | 'batch' | 'seed' | 'save' | 'evaluate'>
  readonly checkpoint: string
  readonly modules: readonly LinearModule[]
  readonly identity: RunIdentity
  readonly examples: readonly Example[]
  readonly heldOut: readonly Example[]
  readonly program: Program
  readonly toolchain: ToolChainPreference
}

/** Prepares and compiles a recipe file; `memoryBudget` in bytes, the device's unless given. */
export async function prepareRun(
  file: string,
  toolchain: ToolChainPreference,
  memoryBudget?: number,
): Promise<PreparedRun> {
  // Only here: who is given a prepared run need not load the compiler.
  const { compileRecipe } = await import('../../train/compileRecipe.ts')
  const { identityOf } = await import('../../train/identity.ts')
  const { loadRecipe } = await import('../../train/loadRecipe.ts')
  const { prepareData, prepareModel } = await import('../../train/prepare.ts')
  const { deviceOf } = await import('../../train/hostDevice.ts')
  const { trainingFunctions } = await import('../../train/run.ts')
  const loaded = await loadRecipe(file)
  const model = await prepareModel(loaded)
  const data = prepareData(loaded, model)
  const device = deviceOf(await chooseToolChain(toolchain))
  const settings = {
    device,
    threads: 2,
    steps: data.steps,
    memoryBudget: memoryBudget ?? device.memoryBudget,
    functions: trainingFunctions(loaded.recipe),
  }
  const compiled = compileRecipe(loaded.recipe, model.traced, settings)
  const { adapt, batch, seed, save, evaluate } = loaded.recipe
  return {
    recipe: { adapt, batch, seed, ...(save ? { save } : {}), ...(evaluate ? { evaluate } : {}) },
    checkpoint: model.checkpoint.dir,
    modules: model.traced.modules,
    identity: identityOf(loaded.recipe, model, data),
    examples: data.examples.examples,
    heldOut: data.heldOut,
    program: compiled.program,
    toolchain,
  }
}

export interface TryOptions {
  readonly resume?: boolean
  /** Asks for an end after this step. */
  readonly stopAfter?: number
  readonly threads?: number
  readonly files?: WriteOptions
  readonly observer?: LoopObserver
  readonly energy?: EnergySettings
  /** Asks for an end. */
  readonly stop?: AbortSignal
  /** Kills the program. */
  readonly kill?: AbortSignal
}

/** What `heddle train` does once it has compiled. */
export async function trainPrepared(run: PreparedRun, out: string, options: TryOptions = {}): Promise<LoopResult> {
  const { recipe, modules, identity, examples, heldOut, program } = run
  const checkpoint = openCheckpoint(run.checkpoint)
  const { sequences, length, accumulate, epochs, steps } = recipe.batch
  const until = epochs === undefined ? { steps: steps ?? 1 } : { epochs }
  const batchesFrom = (state?: BatchState) =>
    batches({ examples, sequences, length, accumulate, seed: recipe.seed, until }, state)
  const made = batchesFrom()
  const states = new RunStates(out, options.files)
  const from = options.resume ? states.newest().state : undefined
  const stateFile = program.storedCount > 0 ? states.stateFile() : undefined
  const binding = new CheckpointBinding(checkpoint)
  const weightFiles = new WeightFiles(frozenRanges(program, binding).map((range) => range.path))
  const session = await openTraining(program, binding, {
    toolchain: run.toolchain,
    threads: options.threads ?? 2,
    seed: recipe.seed,
    optimise: 'light',
    ...(stateFile === undefined ? {} : { stored: { path: stateFile } }),
    ...(options.kill ? { signal: options.kill } : {}),
  })
  const stop = new AbortController()
  options.stop?.addEventListener('abort', () => stop.abort())
  const observer: LoopObserver = {
    ...options.observer,
    step: (figures, total) => {
      options.observer?.step?.(figures, total)
      if (figures.step === options.stopAfter) stop.abort()
    },
  }
  try {
    if (from) await states.restore(from, program, session)
    const settings = {
      recipe,
      model: { checkpoint, traced: { modules } as unknown as TracedModel, baseName: run.checkpoint },
      data: { batches: made, batchesFrom, heldOut, steps: made.steps },
      identity,
      program,
      session,
      out,
      title: 'test',
      states,
      weightFiles,
      ...(stateFile === undefined ? {} : { stateFile }),
      stop: stop.signal,
      ...(from ? { from } : {}),
      ...(options.energy ? { energy: options.energy } : {}),
      ...(options.files ? { files: options.files } : {}),
    }
    return await trainToTheEnd(settings, observer)
  } finally {
    weightFiles.close()
    await session.close()
    if (stateFile !== undefined) states.discard(stateFile)
  }
}

/** SHA-256 over the weights that a run left, adapter or model. */
export function hashOfResult(out: string): string {
  const file = ['adapter/adapter_model.safetensors', 'model/model.safetensors']
    .map((name) => path.join(out, name))
    .find((name) => fs.existsSync(name))
  if (file === undefined) throw new Error(`${out} holds no result`)
  return createHash('sha256').update(fs.readFileSync(file)).digest('hex')
}

/** The lines of `metrics.jsonl` without what differs from run to run. */
export function metricsOf(out: string): Record<string, unknown>[] {
  const lines = fs.readFileSync(path.join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => {
    const { seconds: _seconds, peak_bytes: _peak, ...figures } = JSON.parse(line) as Record<string, unknown>
    return figures
  })
}
