// The architectures that come with the compiler, and finding one for a configuration.

import { UserError } from '../compiler/diagnostic.ts'
import type { ModelDefinition } from '../dsl/index.ts'
import { gemma3 } from './gemma3.ts'
import { gpt2 } from './gpt2.ts'
import { llama } from './llama.ts'
import { qwen2 } from './qwen2.ts'
import { qwen3 } from './qwen3.ts'
import { smollm3 } from './smollm3.ts'

export { gemma3, readGemma3Config } from './gemma3.ts'
export type { Gemma3Config, Gemma3Layer } from './gemma3.ts'
export { gpt2, readGpt2Config } from './gpt2.ts'
export type { Gpt2Config } from './gpt2.ts'
export { llama, readLlamaConfig } from './llama.ts'
export type { LlamaConfig } from './llama.ts'
export { qwen2, readQwen2Config } from './qwen2.ts'
export type { Qwen2Config } from './qwen2.ts'
export { qwen3, readQwen3Config } from './qwen3.ts'
export type { Qwen3Config } from './qwen3.ts'
export { readSmolLM3Config, smollm3 } from './smollm3.ts'
export type { SmolLM3Config } from './smollm3.ts'

/** By `model_type`. */
const models = new Map<string, ModelDefinition<unknown>>([
  ['gpt2', gpt2 as ModelDefinition<unknown>],
  ['qwen2', qwen2 as ModelDefinition<unknown>],
  ['qwen3', qwen3 as ModelDefinition<unknown>],
  ['llama', llama as ModelDefinition<unknown>],
  ['smollm3', smollm3 as ModelDefinition<unknown>],
  ['gemma3_text', gemma3 as ModelDefinition<unknown>],
  ['gemma3', gemma3 as ModelDefinition<unknown>],
])

/** The model for the `model_type` of a parsed config.json. UserError HD107 without one, HD108 for an unknown one. */
export function modelFor(config: unknown, file: string): ModelDefinition<unknown> {
  const named = typeof config === 'object' && config !== null && 'model_type' in config ? config.model_type : undefined
  const place = { file, at: 'key "model_type"' }
  if (typeof named !== 'string') throw new UserError('HD107', `'model_type' is missing`, { place })
  const model = models.get(named)
  if (model) return model
  throw new UserError('HD108', `the architecture ${JSON.stringify(named.slice(0, 64))} is not known`, {
    place,
    mend: `known are ${[...models.keys()].join(', ')}; write your own with defineModel()`,
  })
}
