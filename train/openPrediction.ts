// A session that only predicts or scores: the model, with an adapter's values when one is given, and none of what training
// needs.
// Knows the compiler, the driver and adapters; no text.

import { openSession } from '../backends/neon/driver/index.ts'
import type { Session } from '../backends/neon/driver/index.ts'
import type { ToolChain } from '../backends/neon/toolchain/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { planProgram } from '../compiler/plan/place.ts'
import type { Program } from '../compiler/plan/program.ts'
import { scheduleFunction } from '../compiler/schedule/schedule.ts'
import { lora, loraNames } from '../compiler/transform/adapt.ts'
import { runPasses } from '../compiler/transform/runner.ts'
import { separateWrites } from '../compiler/transform/separateWrites.ts'
import { simplify } from '../compiler/transform/simplify.ts'
import { scheduleProfile } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import type { TracedModel } from '../dsl/index.ts'
import { quote } from '../formats/files.ts'
import type { Adapter } from '../formats/peft.ts'
import { readTensorF32 } from '../formats/safetensors.ts'
import type { TensorEntry } from '../formats/safetensors.ts'
import type { PreparedModel } from './prepare.ts'
import { frozenRanges } from './openTraining.ts'

export interface PredictionOptions {
  readonly chain: ToolChain
  readonly device: DeviceProfile
  readonly threads: number
  readonly adapter?: Adapter
  /** The functions it is for: `predict` unless stated. */
  readonly functions?: readonly string[]
  readonly optimise: 'full' | 'light'
}

/** The program of a few functions alone. UserError HD302 when the adapter is on a module that the model lacks. */
export function compilePrediction(
  traced: TracedModel,
  name: string,
  { device, threads, adapter, functions: wanted = ['predict'] }: Omit<PredictionOptions, 'chain' | 'optimise'>,
): Program {
  const { provenance, modules } = traced
  const graph = { ...traced.graph, functions: traced.graph.functions.filter((fn) => wanted.includes(fn.name)) }
  const adapting = adapter ? [lora({ ...adapterOptions(adapter), modules })] : []
  const passes = runPasses(graph, [...adapting, simplify(), separateWrites()], { provenance })
  const functions = passes.graph.functions.map((each) =>
    scheduleFunction(passes.graph, each, scheduleProfile(device, threads)),
  )
  return planProgram(name, passes.graph, functions, provenance).program
}

/** The modules themselves are the targets: a list of suffixes or a pattern has been resolved by whoever wrote the file. */
function adapterOptions({ settings, modules }: Adapter): {
  rank: number
  alpha: number
  rslora: boolean
  targets: string[]
} {
  return {
    rank: settings.rank,
    alpha: settings.alpha,
    rslora: settings.scaling === 'alpha/sqrt(rank)',
    targets: [...modules.keys()],
  }
}

/**
 * Opens a session for `predict` or what else is asked for.
 *
 * @throws UserError HD302 or HD813 for an adapter that does not fit the model, HD40x for its file
 */
export async function openPrediction(
  { traced, binding }: Pick<PreparedModel, 'traced' | 'binding'>,
  name: string,
  options: PredictionOptions,
): Promise<Session> {
  const program = compilePrediction(traced, name, options)
  const values = adapterValues(program, options.adapter, traced)
  const session = await openSession(program, {
    toolchain: options.chain,
    threads: options.threads,
    optimise: options.optimise,
    frozen: frozenRanges(program, binding),
  })
  try {
    for (const [parameter, entry] of values) await session.write(parameter, readTensorF32(entry))
    return session
  } catch (error) {
    await session.close()
    throw error
  }
}

function adapterValues(
  program: Program,
  adapter: Adapter | undefined,
  { modules }: TracedModel,
): Map<string, TensorEntry> {
  const values = new Map<string, TensorEntry>()
  for (const [path, { a, b }] of adapter?.modules ?? []) {
    const module = modules.find((one) => one.path === path)
    if (!module) continue
    const { down, up } = loraNames(module)
    for (const [parameter, entry] of [
      [down, a],
      [up, b],
    ] as const) {
      const shape = program.values.find((value) => value.name === parameter)?.shape ?? []
      if (shape.join() !== entry.shape.join()) {
        throw new UserError(
          'HD813',
          `its shape is [${entry.shape.join(', ')}], but the model asks for [${shape.join(', ')}]`,
          {
            place: { file: entry.file, at: `tensor ${quote(entry.name)}` },
          },
        )
      }
      values.set(parameter, entry)
    }
  }
  return values
}
