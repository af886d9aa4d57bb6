// A whole LoRA step of GPT-2 124M with random weights at its real shapes: the program that `heddle train` would run.

import { closeSync, existsSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSession } from '../backends/neon/driver/index.ts'
import type { FrozenRange, Session, SessionOptions } from '../backends/neon/driver/index.ts'
import { compile } from '../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../compiler/pipeline.ts'
import type { Program } from '../compiler/plan/program.ts'
import type { ScheduleProfile } from '../compiler/schedule/profile.ts'
import { gpt2 } from '../models/index.ts'
import { smallNumbers } from '../evaluate/speed/runner.ts'
import type { Runner } from '../evaluate/speed/runner.ts'

export const gpt2Config = {
  model_type: 'gpt2',
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_positions: 1024,
  vocab_size: 50257,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
}

const loraRank = 8

/**
 * Floating-point operations of a LoRA step as `shared/reference/peers.md` counts them: 2F + 3A + 3R with F the frozen
 * products, A attention's, R the adapters'. What a plan recomputes is not counted.
 */
export function loraOperations(tokens: number, rank: number): number {
  const { n_embd: d, n_layer: layers, vocab_size: vocabulary } = gpt2Config
  const frozen = 2 * tokens * (layers * 12 * d * d + vocabulary * d)
  const attention = 4 * tokens * tokens * d * layers
  const adapters = 2 * tokens * layers * rank * (d + 3 * d + (d + d) + (d + 4 * d) + (4 * d + d))
  return 2 * frozen + 3 * attention + 3 * adapters
}

/** A LoRA step (rank 8 on all projections, AdamW, clipping) of a GPT-2 of a configuration, for one sequence. */
export function compileGpt2Step(
  config: typeof gpt2Config,
  { length, checkpoints }: { readonly length: number; readonly checkpoints: CompileOptions['checkpoints'] },
  profile: ScheduleProfile,
): Compiled {
  const traced = gpt2.trace(gpt2.readConfig(config, 'config.json'), { sequences: 1, length })
  return compile(traced.graph, traced.provenance, {
    name: 'gpt2-step',
    adaptation: {
      kind: 'lora',
      options: { rank: loraRank, alpha: 16, targets: ['c_attn', 'c_proj', 'c_fc'], modules: traced.modules },
    },
    optimizer: {
      schedule: { kind: 'constant', peak: 1e-4, warmup: 0, total: 1000 },
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0.01,
      clip: 1,
    },
    checkpoints,
    profile,
  })
}

/** Ranges of a file of random numbers for every frozen weight. */
export function randomWeights({ values }: Program): readonly FrozenRange[] {
  let end = 0
  const ranges = values
    .filter((value) => value.role === 'frozen')
    .map(({ bytes }) => {
      const offset = end
      end += bytes
      return { offset, bytes }
    })
  const path = randomFile(end)
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

export async function gpt2Step(
  profile: ScheduleProfile,
  length: number,
  checkpoints: CompileOptions['checkpoints'],
  options: SessionOptions,
): Promise<StepRunner> {
  const start = performance.now()
  const compiled = compileGpt2Step(gpt2Config, { length, checkpoints }, profile)
  const compileMilliseconds = performance.now() - start
  const frozen = randomWeights(compiled.program)
  const weightBytes = frozen.reduce((sum, { bytes }) => sum + bytes, 0)
  const session = await openSession(compiled.program, { ...options, frozen })
  await writeTokens(session, length, gpt2Config.vocab_size)
  return {
    name: `GPT-2 124M LoRA step 1×${length}`,
    operations: loraOperations(length, loraRank),
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

/** A file of small random float32 numbers, kept between runs in the temporary folder. */
function randomFile(bytes: number): string {
  const folder = join(tmpdir(), 'heddle-bench')
  const path = join(folder, `random-${bytes}.bin`)
  if (existsSync(path) && statSync(path).size === bytes) return path
  mkdirSync(folder, { recursive: true })
  const block = smallNumbers(1 << 20)
  const file = openSync(`${path}.part`, 'w')
  for (let left = bytes; left > 0; left -= block.byteLength) {
    writeSync(file, new Uint8Array(block.buffer, 0, Math.min(left, block.byteLength)))
  }
  closeSync(file)
  renameSync(`${path}.part`, path)
  return path
}
