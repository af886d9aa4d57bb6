// Compiles an oracle case with the whole pipeline and opens a session on it, so that losses, gradients and curves of the
// emitted code can be held against PyTorch's.

import { openSession } from '../../backends/neon/driver/index.ts'
import type { Session, SessionOptions } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { compile } from '../../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../../compiler/pipeline.ts'
import { openCheckpoint } from '../../formats/checkpoint.ts'
import { openAdapter } from '../../formats/peft.ts'
import { readTensorF32 } from '../../formats/safetensors.ts'
import type { TensorEntry } from '../../formats/safetensors.ts'
import type { DType } from '../../compiler/graph/axis.ts'
import { modelFor } from '../../models/index.ts'
import type { OracleCase } from './oracle.ts'

export interface TrainCase {
  readonly compiled: Compiled
  readonly session: Session
  /** Writes the batch and runs one step; returns the loss before the update. */
  step(): Promise<number>
  /** Accumulates the batch without updating. */
  accumulate(): Promise<void>
}

const storage: Record<string, DType> = { F32: 'f32', F16: 'f16', BF16: 'bf16' }

export async function openTrainCase(
  oracle: OracleCase,
  options: { toolchain: ToolChainPreference; checkpoints?: CompileOptions['checkpoints'] } & Omit<SessionOptions, 'toolchain' | 'frozen'>,
): Promise<TrainCase> {
  const checkpoint = await openCheckpoint(oracle.modelDirectory)
  const entryOf = (name: string): TensorEntry => {
    const entry = checkpoint.tensors.get(name) ?? checkpoint.tensors.get(name.replace(/^transformer\./, ''))
    if (!entry) throw new Error(`the checkpoint has no '${name}'`)
    return entry
  }
  const definition = modelFor(checkpoint.config, 'config.json')
  const { batch, optimizer } = oracle
  const sequences = batch.tokens.length
  const length = Math.max(...batch.tokens.map((tokens) => tokens.length))
  const traced = definition.trace(definition.readConfig(checkpoint.config, 'config.json'), {
    sequences,
    length,
    storedDType: (name) => storage[entryOf(name).dtype] ?? 'f32',
  })
  const chain = await chooseToolChain(options.toolchain)
  const compiled = compile(traced.graph, traced.provenance, {
    name: 'oracle',
    adaptation: oracle.lora
      ? { kind: 'lora', options: { ...oracle.lora, modules: traced.modules } }
      : { kind: 'trainable', names: 'all' },
    optimizer: {
      schedule: { kind: 'cosine', peak: optimizer.peakRate, warmup: optimizer.warmupSteps, total: optimizer.steps, floor: 0 },
      beta1: optimizer.betas[0],
      beta2: optimizer.betas[1],
      epsilon: optimizer.epsilon,
      weightDecay: optimizer.weightDecay,
      clip: optimizer.clipNorm,
    },
    checkpoints: options.checkpoints ?? 'none',
    profile: { name: chain.name, lanes: chain.isa.lanes, tile: chain.isa.tiles, privateCache: 1 << 20, threads: options.threads ?? 2 },
  })
  const frozen = compiled.program.values
    .filter((value) => value.role === 'frozen')
    .map((value) => {
      const entry = entryOf(value.name)
      return { path: entry.file, offset: entry.begin, bytes: entry.bytes }
    })
  const session = await openSession(compiled.program, { ...options, toolchain: chain, frozen })
  if (oracle.adapterDirectory) {
    const adapter = await openAdapter(oracle.adapterDirectory)
    for (const [path, module] of adapter.modules) {
      await session.write(`${path}.lora_A.weight`, await readTensorF32(module.a))
      await session.write(`${path}.lora_B.weight`, await readTensorF32(module.b))
    }
  } else {
    for (const value of compiled.program.values) {
      if (value.role === 'trainable') await session.write(value.name, await readTensorF32(entryOf(value.name)))
    }
  }
  const flat = (rows: readonly (readonly number[])[]): number[] =>
    rows.flatMap((row) => [...row, ...Array.from({ length: length - row.length }, () => 0)])
  await session.write('tokens', Int32Array.from(flat(batch.tokens)), [sequences, length])
  await session.write('targets', Int32Array.from(flat(batch.targets)), [sequences, length])
  await session.write('weights', Float32Array.from(flat(batch.weights)), [sequences, length])
  return {
    compiled,
    session,
    accumulate: () => session.call('accumulate', { seq: length }),
    step: async () => {
      const outcome = await session.step({ seq: length }, 'last')
      if (outcome.status !== 'ok') throw new Error(outcome.message)
      return (await session.read('report/loss'))[0] as number
    },
  }
}
