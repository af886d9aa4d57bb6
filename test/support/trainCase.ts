// Compiles an oracle case with the whole pipeline and opens a session on it, so that losses, gradients, logits and
// curves of the emitted code can be held against PyTorch's. Only for tests.

import { createHash } from 'node:crypto'
import { openSession } from '../../backends/neon/driver/index.ts'
import type { FrozenRange, Session, SessionOptions } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain, ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { compile } from '../../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../../compiler/pipeline.ts'
import type { Program } from '../../compiler/plan/program.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { openCheckpoint } from '../../formats/checkpoint.ts'
import { openAdapter } from '../../formats/peft.ts'
import { readTensorF32 } from '../../formats/safetensors.ts'
import type { TensorEntry } from '../../formats/safetensors.ts'
import type { DType } from '../../compiler/graph/axis.ts'
import type { ModelDefinition, TracedModel } from '../../dsl/index.ts'
import { modelFor } from '../../models/index.ts'
import type { TrainingOracle } from './oracle.ts'

export interface TrainCaseOptions extends Omit<SessionOptions, 'toolchain' | 'frozen'> {
  readonly toolchain: ToolChainPreference | ToolChain
  readonly checkpoints?: CompileOptions['checkpoints']
  /** Frozen tensors stay in their files. */
  readonly storage?: CompileOptions['storage']
  /** Threads that the schedule is made for; 2 whatever the session has, so that sessions share one compiled program. */
  readonly plannedThreads?: number
  /** The architecture, where `models/` has none for the case. */
  readonly definition?: ModelDefinition<unknown>
  /** Functions of the program to compile; what a test does not call costs seconds. All where absent. */
  readonly functions?: readonly string[]
}

export interface TrainCase {
  readonly compiled: Compiled
  readonly traced: TracedModel
  readonly session: Session
  /** Writes the oracle's values of everything that is trained, if it has any; gradients, moments and sums are not touched. */
  restart(): Promise<void>
  /** Runs one step on the case's batch; returns the loss before the update. */
  step(): Promise<number>
  /** Accumulates the batch without updating. */
  accumulate(): Promise<void>
}

const storage: Record<string, DType> = { F32: 'f32', F16: 'f16', BF16: 'bf16' }

/** The checkpoint's tensors by the names that models declare; the hub's GPT-2 leaves the first component out. */
function tensorsOf(oracle: TrainingOracle): (name: string) => TensorEntry {
  const { tensors } = openCheckpoint(oracle.modelDirectory)
  return (name) => {
    const entry = tensors.get(name) ?? tensors.get(name.replace(/^transformer\./, ''))
    if (!entry) throw new Error(`the checkpoint has no '${name}'`)
    return entry
  }
}

/** An oracle case through the whole pipeline. */
export function compileCase(
  oracle: TrainingOracle,
  options: {
    readonly profile: ScheduleProfile
    readonly checkpoints?: CompileOptions['checkpoints']
    readonly storage?: CompileOptions['storage']
    readonly definition?: ModelDefinition<unknown> | undefined
  },
): { readonly compiled: Compiled; readonly traced: TracedModel } {
  const entryOf = tensorsOf(oracle)
  const { config } = openCheckpoint(oracle.modelDirectory)
  const definition = options.definition ?? modelFor(config, 'config.json')
  const { batch, optimizer } = oracle
  const traced = definition.trace(definition.readConfig(config, 'config.json'), {
    sequences: batch.tokens.length,
    length: lengthOf(oracle),
    packed: batch.segments !== undefined,
    // What is trained is held in float32, whatever the file has.
    storedDType: (name) => (oracle.lora ? (storage[entryOf(name).dtype] ?? 'f32') : 'f32'),
  })
  const compiled = compile(traced.graph, traced.provenance, {
    name: 'oracle',
    adaptation: oracle.lora
      ? { kind: 'lora', options: { ...oracle.lora, modules: traced.modules } }
      : { kind: 'trainable', names: 'all' },
    optimizer: {
      schedule: { kind: 'cosine', peak: optimizer.peakRate, warmup: optimizer.warmupSteps, total: optimizer.steps },
      beta1: optimizer.betas[0],
      beta2: optimizer.betas[1],
      epsilon: optimizer.epsilon,
      weightDecay: optimizer.weightDecay,
      clip: optimizer.clipNorm,
    },
    checkpoints: options.checkpoints ?? 'none',
    profile: options.profile,
    ...(options.storage ? { storage: options.storage } : {}),
  })
  return { compiled, traced }
}

export function lengthOf({ batch }: TrainingOracle): number {
  return Math.max(...batch.tokens.map((tokens) => tokens.length))
}

/** What the schedule is told of a tool chain's target. */
export function profileOf(chain: ToolChain, threads = 2): ScheduleProfile {
  const { lanes, tiles } = chain.isa
  return { name: chain.name, lanes, tile: tiles, privateCache: 1 << 20, threads }
}

/** The same program with some of its functions; kernels that none of them launches are left out. */
export function withFunctions(program: Program, names: readonly string[]): Program {
  const functions = program.functions.filter((fn) => names.includes(fn.name))
  const used = [...new Set(functions.flatMap((fn) => fn.launches.map(({ kernel }) => kernel)))].sort((a, b) => a - b)
  return {
    ...program,
    kernels: used.flatMap((kernel) => program.kernels[kernel] ?? []),
    functions: functions.map((fn) => ({
      ...fn,
      launches: fn.launches.map((launch) => ({ ...launch, kernel: used.indexOf(launch.kernel) })),
    })),
  }
}

export async function openTrainCase(oracle: TrainingOracle, options: TrainCaseOptions): Promise<TrainCase> {
  const { toolchain, checkpoints, storage, plannedThreads, functions, definition, ...sessionOptions } = options
  const chain = typeof toolchain === 'string' ? await chooseToolChain(toolchain) : toolchain
  const all = compileCase(oracle, {
    profile: profileOf(chain, plannedThreads),
    definition,
    ...(checkpoints ? { checkpoints } : {}),
    ...(storage ? { storage } : {}),
  })
  const { traced } = all
  const compiled = functions
    ? { ...all.compiled, program: withFunctions(all.compiled.program, functions) }
    : all.compiled
  const { program } = compiled
  const entryOf = tensorsOf(oracle)
  const frozen = program.values
    .filter((value) => value.role === 'frozen')
    .map((value): FrozenRange => {
      const entry = entryOf(value.name)
      return { path: entry.file, offset: entry.begin, bytes: entry.bytes }
    })
  const session = await openSession(program, { ...sessionOptions, toolchain: chain, frozen })
  const restart = async (): Promise<void> => {
    if (oracle.adapterDirectory) {
      for (const [path, module] of openAdapter(oracle.adapterDirectory).modules) {
        await session.write(`${path}.lora_A.weight`, readTensorF32(module.a))
        await session.write(`${path}.lora_B.weight`, readTensorF32(module.b))
      }
    } else if (oracle.mode === 'full') {
      for (const value of program.values) {
        if (value.role === 'trainable') await session.write(value.name, readTensorF32(entryOf(value.name)))
      }
    }
  }
  try {
    await restart()
    await writeBatch(oracle, session)
  } catch (error) {
    await session.close()
    throw error
  }
  const length = lengthOf(oracle)
  return {
    compiled,
    traced,
    session,
    restart,
    accumulate: () => session.call('accumulate', { seq: length }),
    step: async () => {
      const outcome = await session.step({ seq: length }, 'last')
      if (outcome.status !== 'ok') throw new Error(outcome.message)
      return (await session.read('report/loss'))[0] as number
    },
  }
}

async function writeBatch(oracle: TrainingOracle, session: Session): Promise<void> {
  const { batch } = oracle
  const length = lengthOf(oracle)
  const shape = [batch.tokens.length, length]
  const flat = (rows: readonly (readonly number[])[]): number[] =>
    rows.flatMap((row) => [...row, ...Array.from({ length: length - row.length }, () => 0)])
  await session.write('tokens', Int32Array.from(flat(batch.tokens)), shape)
  await session.write('targets', Int32Array.from(flat(batch.targets)), shape)
  await session.write('weights', Float32Array.from(flat(batch.weights)), shape)
  if (batch.segments && batch.positions) {
    await session.write('segments', Int32Array.from(flat(batch.segments)), shape)
    await session.write('positions', Int32Array.from(flat(batch.positions)), shape)
  }
}

/** SHA-256 over the bytes of everything a step changes: trained values, gradients, moments and reports, by name. */
export async function hashState({ compiled, session }: Pick<TrainCase, 'compiled' | 'session'>): Promise<string> {
  const hash = createHash('sha256')
  const changing = compiled.program.values.filter(({ role, initial }) => {
    return role === 'trainable' || (role === 'state' && initial?.kind !== 'values')
  })
  for (const name of changing.map((value) => value.name).sort()) {
    const data = await session.read(name)
    hash.update(`${name} ${data.length}\n`).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  }
  return hash.digest('hex')
}
