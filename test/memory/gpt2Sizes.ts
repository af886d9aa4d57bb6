// GPT-2 at chosen sizes through the whole compiler, without C++: what its plan needs of memory. Only for tests.

import { compile } from '../../compiler/pipeline.ts'
import type { Compiled, CompileOptions } from '../../compiler/pipeline.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { gpt2, readGpt2Config } from '../../models/gpt2.ts'

export interface Gpt2Sizes {
  readonly width: number
  readonly heads: number
  readonly layers: number
  readonly vocabulary: number
  /** Tokens of the one sequence. */
  readonly length: number
  /** Rows of the table of positions; 8,192 unless stated. */
  readonly positions?: number
  readonly mode: 'lora' | 'full'
  readonly checkpoints?: CompileOptions['checkpoints']
}

/** A wide host: 16 lanes, 12 × 32 tiles, 1 MiB of private cache. */
export const wideProfile: ScheduleProfile = {
  name: 'wide',
  lanes: 16,
  tile: { rows: 12, vectors: 2 },
  privateCache: 1 << 20,
  threads: 2,
}

export function compileGpt2(sizes: Gpt2Sizes, profile = wideProfile): Compiled {
  const config = readGpt2Config(
    {
      model_type: 'gpt2',
      n_embd: sizes.width,
      n_layer: sizes.layers,
      n_head: sizes.heads,
      n_positions: sizes.positions ?? 8192,
      vocab_size: sizes.vocabulary,
      activation_function: 'gelu_new',
    },
    'config.json',
  )
  const traced = gpt2.trace(config, { sequences: 1, length: sizes.length })
  const targets = ['c_attn', 'c_proj', 'c_fc']
  return compile(traced.graph, traced.provenance, {
    name: 'gpt2',
    adaptation:
      sizes.mode === 'lora'
        ? { kind: 'lora', options: { rank: 8, alpha: 16, targets, modules: traced.modules } }
        : { kind: 'trainable', names: 'all' },
    optimizer: {
      schedule: { kind: 'constant', peak: 1e-3, warmup: 0, total: 30 },
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0.01,
      clip: 1,
    },
    checkpoints: sizes.checkpoints ?? 'none',
    profile,
  })
}
