// What a config.json of an architecture that nobody has written yet tells about it, under the names that configurations
// use. Knows no architecture and writes nothing.

import { UserError } from '../../compiler/diagnostic.ts'
import { isObject } from '../../formats/json.ts'
import type { JsonObject } from '../../formats/json.ts'

/** Keys that different architectures use for one thing, the commonest first. */
const sizeKeys = {
  vocabulary: ['vocab_size'],
  width: ['hidden_size', 'n_embd', 'd_model'],
  layers: ['num_hidden_layers', 'n_layer', 'n_layers', 'num_layers'],
  heads: ['num_attention_heads', 'n_head', 'n_heads', 'num_heads'],
  groups: ['num_key_value_heads', 'num_kv_heads', 'n_kv_heads'],
  headSize: ['head_dim', 'kv_channels'],
  mlp: ['intermediate_size', 'n_inner', 'ffn_dim', 'ffn_hidden_size'],
  positions: ['max_position_embeddings', 'n_positions'],
  window: ['sliding_window'],
} as const
type Size = keyof typeof sizeKeys

const required = ['vocabulary', 'width', 'layers', 'heads'] as const
const rmsKeys = ['rms_norm_eps', 'rms_norm_epsilon']
const layerNormKeys = ['layer_norm_eps', 'layer_norm_epsilon', 'layernorm_epsilon', 'norm_epsilon', 'norm_eps']
const activationKeys = ['hidden_act', 'hidden_activation', 'activation_function']
const biasKeys = { attention: ['attention_bias', 'qkv_bias', 'use_bias'], mlp: ['mlp_bias', 'use_bias'] }
const scalingNumbers = {
  linear: ['factor'],
  llama3: ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'],
  yarn: ['factor', 'original_max_position_embeddings'],
} as const

/** Keys that say what a model was trained or run with, and nothing about what it computes. */
const harmless =
  /^(?:_.*|architectures|auto_map|model_type|text_config|transformers_version|torch_dtype|dtype|use_cache|cache_implementation|initializer_.*|.*_token_id|.*_token_index|.*dropout|.*_pdrop|summary_.*|pretraining_tp|vision_config|max_window_layers|attn_implementation)$/
/** A name that may be repeated in a comment. */
const plainName = /^[\w.-]{1,64}$/

export interface Facts {
  /** `model_type`, or 'model' where it is no plain name. */
  readonly modelType: string
  /** The language model's keys stand in `text_config`. */
  readonly isNested: boolean
  /** The key of each size that the configuration states. */
  readonly sizes: Readonly<Partial<Record<Size, string>>> & Readonly<Record<(typeof required)[number], string>>
  readonly norm: { readonly kind: 'rms' | 'layer'; readonly key: string | undefined }
  readonly activation: string | undefined
  /** Where the base of the rotation is stated; no rotation where absent. */
  readonly rotation: Rotation | undefined
  readonly biases: { readonly attention: string | undefined; readonly mlp: string | undefined }
  readonly tiedKey: string | undefined
  /** Kinds of layers in `layer_types`, when more than one. */
  readonly kinds: readonly string[]
  /** Keys that none of this speaks of and that may change what the model computes. */
  readonly unread: readonly string[]
}

export interface Rotation {
  /** As a path of keys: `rope_theta`, `rope_parameters.rope_theta`; undefined where only a scaling is stated. */
  readonly theta: string | undefined
  /** Layers of different kinds have rotations of their own, of which this is one. */
  readonly isOneOfSeveral: boolean
  readonly scaling: { readonly type: string; readonly key: string; readonly numbers: readonly string[] } | undefined
}

/**
 * Reads what a parsed config.json tells. A configuration that holds the language model's in `text_config` is read there.
 *
 * @throws UserError HD107 without the sizes that every model has
 */
export function factsOf(json: JsonObject, file: string): Facts {
  const inner = json['text_config']
  const config = isObject(inner) ? inner : json
  const stated = (keys: readonly string[], accept: (value: unknown) => boolean): string | undefined =>
    keys.find((key) => Object.hasOwn(config, key) && accept(config[key]))
  const sizes = Object.fromEntries(
    Object.entries(sizeKeys).flatMap(([name, keys]) => {
      const key = stated(keys, isSize)
      return key === undefined ? [] : [[name, key]]
    }),
  ) as Facts['sizes']
  for (const name of required) {
    if (sizes[name] !== undefined) continue
    const keys = sizeKeys[name].map((key) => `'${key}'`).join(', ')
    throw new UserError('HD107', `the configuration states none of ${keys}`, { place: { file } })
  }
  const rms = stated(rmsKeys, isNumber)
  const types = config['layer_types']
  const kinds = Array.isArray(types) ? [...new Set(types.filter(isPlain))] : []
  const facts = {
    modelType: isPlain(config['model_type']) ? config['model_type'] : 'model',
    isNested: isObject(inner),
    sizes,
    norm:
      rms === undefined
        ? { kind: 'layer' as const, key: stated(layerNormKeys, isNumber) }
        : { kind: 'rms' as const, key: rms },
    activation: stated(activationKeys, isPlain),
    rotation: rotationOf(config),
    biases: { attention: stated(biasKeys.attention, isFlag), mlp: stated(biasKeys.mlp, isFlag) },
    tiedKey: stated(['tie_word_embeddings'], isFlag),
    kinds: kinds.length > 1 ? kinds : [],
  }
  return { ...facts, activation: facts.activation && String(config[facts.activation]), unread: unreadOf(config, facts) }
}

function rotationOf(config: JsonObject): Rotation | undefined {
  const outer = isNumber(config['rope_theta']) ? 'rope_theta' : undefined
  const key = ['rope_scaling', 'rope_parameters'].find((name) => isObject(config[name]))
  if (key === undefined)
    return outer === undefined ? undefined : { theta: outer, isOneOfSeveral: false, scaling: undefined }
  const whole = config[key] as JsonObject
  const inner = Object.entries(whole).find(([name, value]) => name === 'full_attention' && isObject(value))
  const [path, parameters] = inner ? [`${key}.full_attention`, inner[1] as JsonObject] : [key, whole]
  const theta = isNumber(parameters['rope_theta']) ? `${path}.rope_theta` : outer
  const type = parameters['rope_type'] ?? parameters['type'] ?? 'default'
  const isScaled = isPlain(type) && type !== 'default'
  const wanted: readonly string[] =
    isScaled && Object.hasOwn(scalingNumbers, type) ? scalingNumbers[type as 'yarn'] : []
  const numbers = wanted.every((name) => isNumber(parameters[name])) ? wanted : []
  return { theta, isOneOfSeveral: inner !== undefined, scaling: isScaled ? { type, key: path, numbers } : undefined }
}

function unreadOf(config: JsonObject, facts: Omit<Facts, 'unread'>): string[] {
  const read = new Set<string | undefined>([
    ...Object.values(facts.sizes), ...activationKeys, ...Object.values(facts.biases), facts.norm.key, facts.tiedKey,
    'rope_theta', 'rope_scaling', 'rope_parameters', 'layer_types',
  ]) // prettier-ignore
  const isSet = (key: string): boolean => config[key] !== null && config[key] !== false
  return Object.keys(config)
    .filter((key) => plainName.test(key) && !harmless.test(key) && !read.has(key) && isSet(key))
    .slice(0, 40)
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0
}

function isSize(value: unknown): boolean {
  return isNumber(value) && Number.isSafeInteger(value)
}

function isFlag(value: unknown): boolean {
  return typeof value === 'boolean'
}

function isPlain(value: unknown): value is string {
  return typeof value === 'string' && plainName.test(value)
}
