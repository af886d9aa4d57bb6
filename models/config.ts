// Checks a parsed config.json against an architecture's schema: unknown keys pass, wrong ones are named. Knows no
// architecture; the caller has bounded and parsed the file.

import { z } from 'zod'
import { UserError } from '../compiler/diagnostic.ts'

/** Sizes of a model, bounded so that a hostile file cannot ask for an endless graph. */
export const size = z
  .int()
  .min(1)
  .max(1 << 22)
export const layerCount = z.int().min(1).max(1024)
/** A word that messages may repeat. */
export const word = z.string().regex(/^[\w.-]{1,64}$/, 'it is no name')
export const flag = z.boolean()
export const positiveNumber = z.number().positive()

/** The configuration, or UserError HD107 naming the file and the first wrong key. */
export function checkConfig<S extends z.ZodType>(schema: S, json: unknown, file: string): z.output<S> {
  const result = schema.safeParse(json)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const key = issue?.path.join('.') ?? ''
  const reason = (issue?.message ?? 'it is not a configuration').replace(/^Invalid input: /, '')
  throw new UserError('HD107', key === '' ? `the configuration is wrong: ${reason}` : `'${key}' is wrong: ${reason}`, {
    place: key === '' ? { file } : { file, at: `key "${key}"` },
  })
}

/** UserError HD108 unless `supported`: a setting is refused, never ignored. */
export function refuseUnless(supported: boolean, file: string, key: string, sentence: string): void {
  if (!supported) throw new UserError('HD108', sentence, { place: { file, at: `key "${key}"` } })
}

/**
 * UserError HD108 for the configuration of another architecture. Those that have the same tensors under the same names
 * (SmolLM3 and Llama) would otherwise be read as one another, and compute something else. One that names none passes.
 */
export function requireType(json: unknown, file: string, ...types: readonly string[]): void {
  const named = typeof json === 'object' && json !== null && 'model_type' in json ? json.model_type : undefined
  if (named === undefined || types.some((one) => one === named)) return
  const shown = typeof named === 'string' ? JSON.stringify(named.slice(0, 64)) : 'no name'
  throw new UserError('HD108', `the architecture is ${shown}, and this model reads ${types.join(' or ')}`, {
    place: { file, at: 'key "model_type"' },
    mend: 'take the model of that name, or write it with defineModel()',
  })
}

/** UserError HD107 unless sizes fit together. */
export function requireFit(fits: boolean, file: string, key: string, sentence: string): void {
  if (!fits) throw new UserError('HD107', sentence, { place: { file, at: `key "${key}"` } })
}
