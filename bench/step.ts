// A whole step of a model at its real shapes with random weights: the program that `heddle train` would run.

import { closeSync, existsSync, openSync, renameSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSession } from '../backends/neon/driver/index.ts'
import type { FrozenRange, Session, SessionOptions } from '../backends/neon/driver/index.ts'
import { narrowBf16 } from '../compiler/kernel/halves.ts'
import { compile } from '../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../compiler/pipeline.ts'
import type { Program } from '../compiler/plan/program.ts'
import type { ScheduleProfile } from '../compiler/schedule/profile.ts'
import { makeDirectory } from '../formats/files.ts'
import { modelFor } from '../models/index.ts'
import { smallNumbers } from '../evaluate/speed/runner.ts'
import type { Runner } from '../evaluate/speed/runner.ts'
import { shapes, stepOperations } from './shapes.ts'
import type { gpt2Config, Shape } from './shapes.ts'

export const loraRank = 8

export const usualAdamW: CompileOptions['optimizer'] = {
  schedule: { kind: 'constant', peak: 1e-4, warmup: 0, total: 1000 },
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.01,
  clip: 1,
}

export interface StepOptions {
  readonly adapt: 'lora' | 'full'
  readonly length: number
  readonly checkpoints: CompileOptions['checkpoints']
  /** How frozen weights are stored; float32 unless given. */
  readonly dtype?: 'f32' | 'bf16'
  /** Frozen weights stay in their file. */
  readonly storage?: CompileOptions['storage']
  readonly functions?: CompileOptions['functions']
}

/** A step (adapters of rank 8 or all weights, AdamW, clipping) of one sequence. */
export function compileStep(
  { config, targets }: Pick<Shape, 'config' | 'targets'>,
  { adapt, length, checkpoints, dtype = 'f32', storage, functions }: StepOptions,
  profile: ScheduleProfile,
): Compiled & { readonly traced: ReturnType<ReturnType<typeof modelFor>['trace']> } {
  const model = modelFor(config, 'config.json')
  const traced = model.trace(model.readConfig(config, 'config.json'), {
    sequences: 1,
    length,
    storedDType: () => dtype,
  })
  const compiled = compile(traced.graph, traced.provenance, {
    name: `${String(config['model_type'])}-step`,
    adaptation:
      adapt === 'full'
        ? { kind: 'trainable', names: 'all' }
        : { kind: 'lora', options: { rank: loraRank, alpha: 16, targets, modules: traced.modules } },
    optimizer: usualAdamW,
    checkpoints,
    profile,
    ...(storage ? { storage } : {}),
    ...(functions ? { functions } : {}),
  })
  return { ...compiled, traced }
}

/** A LoRA step of a GPT-2 of a configuration. */
export function compileGpt2Step(
  config: typeof gpt2Config,
  options: Omit<StepOptions, 'adapt'>,
  profile: ScheduleProfile,
): Compiled {
  return compileStep({ config, targets: ['c_attn', 'c_proj', 'c_fc'] }, { adapt: 'lora', ...options }, profile)
}

/** Ranges of a file of random numbers for every frozen weight. */
export function randomWeights({ values }: Program, dtype: 'f32' | 'bf16' = 'f32'): readonly FrozenRange[] {
  let end = 0
  const ranges = values
    .filter((value) => value.role === 'frozen')
    .map(({ bytes }) => {
      const offset = end
      end += bytes
      return { offset, bytes }
    })
  const path = randomFile(end, dtype)
  return ranges.map((range) => ({ path, ...range }))
}

/** A batch of made-up tokens. */
export async function writeTokens(session: Session, length: number, vocabulary: number): Promise<void> {
  const ids = (factor: number): Int32Array => Int32Array.from({ length }, (_, place) => (place * factor) % vocabulary)
  await session.write('tokens', ids(7919))
  await session.write('targets', ids(104729))
  await session.write('weights', new Float32Array(length).fill(1))
}

export interface StepRunner extends Runner {
  readonly compiled: Compiled
  readonly session: Session
  /** Of `compile`, without C++. */
  readonly compileMilliseconds: number
  /** Bytes of the frozen weights. */
  readonly weightBytes: number
}

/** A step of one of `shapes`, ready to run. */
export async function modelStep(
  name: string,
  options: StepOptions,
  profile: ScheduleProfile,
  sessionOptions: SessionOptions,
): Promise<StepRunner> {
  const shape = shapes[name]
  if (!shape) throw new Error(`there is no shape '${name}': ${Object.keys(shapes).join(', ')}`)
  const start = performance.now()
  const compiled = compileStep(shape, options, profile)
  const compileMilliseconds = performance.now() - start
  const frozen = randomWeights(compiled.program)
  const weightBytes = frozen.reduce((sum, { bytes }) => sum + bytes, 0)
  const session = await openSession(compiled.program, { ...sessionOptions, frozen })
  const { adapt, length, checkpoints } = options
  // Trained weights that are zero would be multiplied as fast, but their gradients would be zero and the norm no number.
  if (adapt === 'full') {
    for (const value of compiled.program.values) {
      if (value.role !== 'trainable' || !compiled.traced.graph.declarations.has(value.name)) continue
      await session.write(value.name, smallNumbers(value.bytes / 4))
    }
  }
  await writeTokens(session, length, shape.vocabulary)
  const recomputing = checkpoints === 'none' ? '' : ', every layer recomputed'
  return {
    name: `${shape.title} ${adapt === 'lora' ? 'LoRA' : 'full'} step 1×${length}${recomputing}`,
    operations: stepOperations(shape, compiled.traced.graph, compiled.graph, length, adapt),
    compiled,
    session,
    compileMilliseconds,
    weightBytes,
    run: async () => {
      const outcome = await session.step({ seq: length }, 'last')
      if (outcome.status !== 'ok') throw new Error(outcome.message)
    },
    close: () => session.close(),
  }
}

/** A file of small random numbers, kept between runs in the temporary folder. */
function randomFile(bytes: number, dtype: 'f32' | 'bf16'): string {
  const folder = join(tmpdir(), 'heddle-bench')
  const path = join(folder, `random-${dtype}-${bytes}.bin`)
  if (existsSync(path) && statSync(path).size === bytes) return path
  makeDirectory(folder)
  const numbers = smallNumbers(1 << 20)
  const block = dtype === 'f32' ? numbers : Uint16Array.from(numbers, narrowBf16)
  const file = openSync(`${path}.part`, 'w')
  for (let left = bytes; left > 0; left -= block.byteLength) {
    writeSync(file, new Uint8Array(block.buffer, 0, Math.min(left, block.byteLength)))
  }
  closeSync(file)
  renameSync(`${path}.part`, path)
  return path
}
