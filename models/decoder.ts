// What the configurations of decoders after Llama have in common: sizes, heads, rotary positions. Reads them as
// transformers does, in the spelling of either generation, and makes their axes. Knows no architecture and no operation.

import { z } from 'zod'
import { axis } from '../dsl/index.ts'
import type { Axis, RopeScaling } from '../dsl/index.ts'
import { flag, layerCount, positiveNumber, refuseUnless, requireFit, size, word } from './config.ts'

/** Rotary tables have half as many entries; no model comes near. */
const headSize = z.int().min(1).max(8192)

export const rotarySchema = z.looseObject({
  rope_theta: positiveNumber.nullish(),
  rope_type: word.nullish(),
  type: word.nullish(),
  factor: positiveNumber.nullish(),
  low_freq_factor: positiveNumber.nullish(),
  high_freq_factor: positiveNumber.nullish(),
  original_max_position_embeddings: size.nullish(),
  attention_factor: positiveNumber.nullish(),
  beta_fast: positiveNumber.nullish(),
  beta_slow: positiveNumber.nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: flag.nullish(),
  partial_rotary_factor: positiveNumber.nullish(),
})
export type RotaryKeys = z.output<typeof rotarySchema>

/** The keys that all of these architectures have. */
export const decoderKeys = {
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: layerCount,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: headSize.nullish(),
  max_position_embeddings: size.nullish(),
  rms_norm_eps: positiveNumber.default(1e-6),
  rope_theta: positiveNumber.nullish(),
  rope_parameters: rotarySchema.nullish(),
  rope_scaling: rotarySchema.nullish(),
  partial_rotary_factor: positiveNumber.nullish(),
}

type DecoderKeys = z.output<z.ZodObject<typeof decoderKeys>>

/** Rotary positions as `rope` takes them. */
export interface Rotary {
  readonly theta: number
  readonly scaling: RopeScaling | undefined
}

/** What every decoder's graph depends on. */
export interface DecoderConfig {
  readonly vocab_size: number
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly num_hidden_layers: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly head_dim: number
  readonly rms_norm_eps: number
}

/** The axes of a decoder whose queries come in groups, one group for each head of the keys. */
export interface DecoderAxes {
  readonly embed: Axis<'embed'>
  readonly vocab: Axis<'vocab'>
  readonly mlp: Axis<'mlp'>
  readonly kv: Axis<'kv_head'>
  readonly group: Axis<'group'>
  readonly dim: Axis<'head_dim'>
}

/** Axes of a model's own: those of another model contract with none of them. */
export function decoderAxes(c: DecoderConfig): DecoderAxes {
  return {
    embed: axis('embed', c.hidden_size),
    vocab: axis('vocab', c.vocab_size),
    mlp: axis('mlp', c.intermediate_size),
    kv: axis('kv_head', c.num_key_value_heads),
    group: axis('group', c.num_attention_heads / c.num_key_value_heads),
    dim: axis('head_dim', c.head_dim),
  }
}

/** Fills in heads and their size. UserError HD107 where sizes do not fit together. */
export function readHeads<C extends DecoderKeys>(
  c: C,
  file: string,
): C & Pick<DecoderConfig, 'num_key_value_heads' | 'head_dim'> {
  const heads = c.num_attention_heads
  const groups = c.num_key_value_heads ?? heads
  const fits = (whole: number, part: number, key: string) =>
    requireFit(whole % part === 0, file, key, `${whole} places do not divide among ${part}`)
  fits(heads, groups, 'num_key_value_heads')
  if (c.head_dim == null) fits(c.hidden_size, heads, 'num_attention_heads')
  const dim = c.head_dim ?? c.hidden_size / heads
  requireFit(dim % 2 === 0, file, 'head_dim', `heads of ${dim} cannot be rotated by halves`)
  return { ...c, num_key_value_heads: groups, head_dim: dim }
}

/**
 * The rotary positions of a model that has one kind of them. `rope_scaling` wins over `rope_parameters`, and what either
 * says over `rope_theta`, as in transformers.
 *
 * @throws UserError HD107 for a number that is missing, HD108 for a scaling without support
 */
export function readRotary(c: DecoderKeys, theta: number, file: string): Rotary {
  const key = c.rope_scaling ? 'rope_scaling' : 'rope_parameters'
  const partial = c.partial_rotary_factor ?? 1
  refuseUnless(partial === 1, file, 'partial_rotary_factor', 'rotation of a part of the heads is not supported')
  return rotaryOf(c[key] ?? {}, c.rope_theta ?? theta, c.max_position_embeddings ?? undefined, file, key)
}

/** One set of rotary parameters; `theta` and `length` are what counts where it says nothing. Errors as `readRotary`. */
export function rotaryOf(
  keys: RotaryKeys,
  theta: number,
  length: number | undefined,
  file: string,
  key: string,
): Rotary {
  const partial = keys.partial_rotary_factor ?? 1
  refuseUnless(partial === 1, file, key, 'rotation of a part of the heads is not supported')
  const kind = keys.rope_type ?? keys.type ?? 'default'
  const needed = (name: keyof RotaryKeys, otherwise?: number): number => {
    const value = keys[name] ?? otherwise
    requireFit(typeof value === 'number', file, key, `rotary scaling '${kind}' needs '${name}'`)
    return value as number
  }
  return { theta: keys.rope_theta ?? theta, scaling: scalingOf() }

  function scalingOf(): RopeScaling | undefined {
    const original = (): number => needed('original_max_position_embeddings', length)
    switch (kind) {
      case 'default':
        return undefined
      case 'linear':
        return { type: 'linear', factor: needed('factor') }
      case 'llama3': {
        const [lowFrequency, highFrequency] = [needed('low_freq_factor'), needed('high_freq_factor')]
        requireFit(highFrequency > lowFrequency, file, key, `'high_freq_factor' is not above 'low_freq_factor'`)
        return { type: 'llama3', factor: needed('factor'), lowFrequency, highFrequency, originalLength: original() }
      }
      case 'yarn':
        refuseUnless(
          keys.mscale == null && keys.mscale_all_dim == null,
          file,
          key,
          `yarn with 'mscale' is not supported`,
        )
        return {
          type: 'yarn',
          factor: needed('factor'),
          originalLength: original(),
          ...(keys.beta_fast == null ? {} : { betaFast: keys.beta_fast }),
          ...(keys.beta_slow == null ? {} : { betaSlow: keys.beta_slow }),
          ...(keys.attention_factor == null ? {} : { attentionFactor: keys.attention_factor }),
          ...(keys.truncate == null ? {} : { truncate: keys.truncate }),
        }
      default:
        refuseUnless(false, file, key, `rotary scaling '${kind}' is not supported`)
        return undefined
    }
  }
}

/** Refuses sliding windows for architectures whose published models have none. UserError HD108. */
export function refuseWindows(
  c: { readonly use_sliding_window: boolean; readonly layer_types?: readonly string[] | null | undefined },
  called: string,
  file: string,
): void {
  const other = c.layer_types?.find((type) => type !== 'full_attention')
  refuseUnless(!c.use_sliding_window, file, 'use_sliding_window', `${called} with a sliding window is not supported`)
  refuseUnless(other === undefined, file, 'layer_types', `${called} with layers of '${other}' is not supported`)
}

/** Refuses every activation but the one that `key` has in all published models. UserError HD108. */
export function refuseOtherActivations(given: string, known: string, called: string, file: string, key: string): void {
  refuseUnless(given === known, file, key, `${called} with the activation '${given}' is not supported`)
}

/** Last path components of the linear modules that they all have. */
export const decoderTargets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const
