// GPT-2 at chosen sizes through the whole compiler, without C++: what its plan needs of memory. Only for tests.

import type { Compiled, CompileOptions } from '../../compiler/pipeline.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { compileArchitecture } from '../support/architectures.ts'

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
  const { width, heads, layers, vocabulary, positions = 8192, length, mode, checkpoints = 'none' } = sizes
  const config = {
    model_type: 'gpt2',
    n_embd: width,
    n_layer: layers,
    n_head: heads,
    n_positions: positions,
    vocab_size: vocabulary,
    activation_function: 'gelu_new',
  }
  const architecture = { name: 'gpt2', config, targets: ['c_attn', 'c_proj', 'c_fc'] }
  return compileArchitecture(architecture, { adapt: mode, checkpoints, sequences: 1, length, dtype: 'f32', profile })
}
