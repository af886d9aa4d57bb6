// A recipe that is prepared and compiled once and then trained as often as a test likes: stopped, resumed, on other
// threads, with file operations of the test's own. Only for tests.

import fs from 'node:fs'
import path from 'node:path'
import { createHash } from 'node:crypto'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import type { Program } from '../../compiler/plan/program.ts'
import type { WriteOptions } from '../../formats/files.ts'
import { compileRecipe, keepFunctions } from '../../train/compileRecipe.ts'
import { identityOf } from '../../train/identity.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import type { LoadedRecipe } from '../../train/loadRecipe.ts'
import { trainToTheEnd } from '../../train/loop.ts'
import type { LoopObserver, LoopResult } from '../../train/loop.ts'
import { openTraining } from '../../train/openTraining.ts'
import { prepareData, prepareModel } from '../../train/prepare.ts'
import { deviceOf, trainingFunctions } from '../../train/run.ts'
import { RunStates } from '../../train/runState.ts'

/** The recipe's program for a tool chain here. */
export async function compiledProgram(loaded: LoadedRecipe, toolchain: ToolChainPreference): Promise<Program> {
  const model = await prepareModel(loaded)
  const data = prepareData(loaded, model)
  const device = deviceOf(await chooseToolChain(toolchain))
  const settings = { device, threads: 2, steps: data.steps, memoryBudget: device.memoryBudget }
  const compiled = compileRecipe(loaded.recipe, model.traced, settings)
  return keepFunctions(compiled, trainingFunctions(loaded.recipe), settings).program
}

export interface TryOptions {
  readonly resume?: boolean
  /** Asks for an end after this step. */
  readonly stopAfter?: number
  readonly threads?: number
  readonly files?: WriteOptions
  readonly observer?: LoopObserver
}

export interface PreparedRun {
  /** Trains into a directory. */
  train(out: string, options?: TryOptions): Promise<LoopResult>
}

/** What `heddle train` does, but the compilation, which is done once. */
export async function preparedRun(
  recipe: string | LoadedRecipe,
  toolchain: ToolChainPreference,
  given?: Program,
): Promise<PreparedRun> {
  const loaded = typeof recipe === 'string' ? await loadRecipe(recipe) : recipe
  const program = given ?? (await compiledProgram(loaded, toolchain))
  const chain = await chooseToolChain(toolchain)
  const model = await prepareModel(loaded)
  return {
    train: async (out, options = {}) => {
      const data = prepareData(loaded, model)
      const states = new RunStates(out, options.files)
      const from = options.resume ? states.newest().state : undefined
      const { seed } = loaded.recipe
      const session = await openTraining(program, model.binding, {
        toolchain: chain,
        threads: options.threads ?? 2,
        seed,
        optimise: 'light',
      })
      const stop = new AbortController()
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
          recipe: loaded.recipe,
          model,
          data,
          identity: identityOf(loaded.recipe, model, data),
          program,
          session,
          out,
          title: 'test',
          states,
          stop: stop.signal,
          ...(from ? { from } : {}),
          ...(options.files ? { files: options.files } : {}),
        }
        return await trainToTheEnd(settings, observer)
      } finally {
        await session.close()
      }
    },
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
