// LoRA adapters in PEFT's own layout: adapter_config.json and adapter_model.safetensors with PEFT's key names.
// Knows no architecture: module paths, ranks and matrices come from the caller.

import fs from 'node:fs'
import path from 'node:path'
import { InternalError, UserError } from '../compiler/diagnostic.ts'
import { jsonFile } from './checkpoint.ts'
import { makeDirectory, quote, writeFiles } from './files.ts'
import type { WriteOptions } from './files.ts'
import { readJsonObject } from './json.ts'
import type { JsonObject } from './json.ts'
import { float32Tensor, openSafetensors, refuseNonFinite, safetensorsFile } from './safetensors.ts'
import type { NewTensor, TensorEntry } from './safetensors.ts'

const CONFIG_FILE = 'adapter_config.json'
const WEIGHTS_FILE = 'adapter_model.safetensors'
const PREFIX = 'base_model.model.'
const MAX_CONFIG_BYTES = 4 * 1024 * 1024

/** What an adapter does to every module it is on: y += scale · B A x, scale = alpha / rank (or alpha / √rank). */
export interface LoraSettings {
  readonly rank: number
  readonly alpha: number
  readonly dropout: number
  readonly scaling: 'alpha/rank' | 'alpha/sqrt(rank)'
  /** Where the base stores its weights: `[in, out]` (GPT-2's Conv1D) or `[out, in]` (Linear). A and B do not change. */
  readonly baseLayout: 'in-out' | 'out-in'
  /** Suffixes of module paths, as PEFT matches them: `c_attn`, `self_attn.q_proj`. */
  readonly targetModules: readonly string[]
  /** The hub id or directory of the base model. */
  readonly baseModel: string
}

export interface NewLoraModule {
  /** The module's path in the transformers model for causal language modelling: `transformer.h.0.attn.c_attn`. */
  readonly path: string
  readonly inputs: number
  readonly outputs: number
  /** `[rank, inputs]`, row-major. */
  readonly a: Float32Array
  /** `[outputs, rank]`, row-major. */
  readonly b: Float32Array
}

/**
 * Writes an adapter directory that `PeftModel.from_pretrained` loads.
 * Errors: HD405 (what was there is unchanged), HD408 (a value is not finite).
 */
export function saveAdapter(
  dir: string,
  settings: LoraSettings,
  modules: Iterable<NewLoraModule>,
  options: WriteOptions = {},
): void {
  const weights = path.join(dir, WEIGHTS_FILE)
  const tensors: NewTensor[] = []
  for (const module of modules) {
    // PEFT silently leaves out what no target matches; it must not come to that.
    if (!settings.targetModules.some((target) => matchesTarget(module.path, target))) {
      throw new InternalError(`adapter: no target module matches ${quote(module.path)}`)
    }
    tensors.push(float32Tensor(`${PREFIX}${module.path}.lora_A.weight`, [settings.rank, module.inputs], module.a))
    tensors.push(float32Tensor(`${PREFIX}${module.path}.lora_B.weight`, [module.outputs, settings.rank], module.b))
  }
  if (tensors.length === 0) throw new InternalError('adapter: there is no module to save')
  for (const tensor of tensors) refuseNonFinite(tensor, weights)
  const files = [
    safetensorsFile(weights, tensors, { format: 'pt' }),
    { ...jsonFile(path.join(dir, CONFIG_FILE), adapterConfig(settings)), completes: true as const },
  ]
  makeDirectory(dir)
  writeFiles(files, options)
}

/** PEFT's rule for a list of targets: the whole path, or its end behind a dot. */
function matchesTarget(modulePath: string, target: string): boolean {
  return modulePath === target || modulePath.endsWith(`.${target}`)
}

/** The keys of LoraConfig that every PEFT since 0.10 knows; those it has gained since default to "off". */
function adapterConfig(settings: LoraSettings): JsonObject {
  return {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: settings.baseModel,
    bias: 'none',
    fan_in_fan_out: settings.baseLayout === 'in-out',
    inference_mode: true,
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: settings.alpha,
    lora_dropout: settings.dropout,
    megatron_config: null,
    megatron_core: 'megatron.core',
    modules_to_save: null,
    peft_type: 'LORA',
    r: settings.rank,
    rank_pattern: {},
    revision: null,
    target_modules: [...settings.targetModules],
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: settings.scaling === 'alpha/sqrt(rank)',
  }
}

export interface LoraModule {
  readonly path: string
  readonly inputs: number
  readonly outputs: number
  /** `[rank, inputs]`. */
  readonly a: TensorEntry
  /** `[outputs, rank]`. */
  readonly b: TensorEntry
}

export interface Adapter {
  readonly dir: string
  readonly settings: LoraSettings
  /** What the update B A x is multiplied by. */
  readonly scale: number
  readonly modules: ReadonlyMap<string, LoraModule>
}

/**
 * Opens an adapter directory written by PEFT or by `saveAdapter`; matrices are checked, not read.
 * Errors: HD406 (a file is missing), HD410 (a configuration that is malformed or does more than plain LoRA), HD411 (a
 * matrix is missing, has another rank, belongs to no target module, or an unknown key), HD401 to HD404 (a file is malformed).
 */
export function openAdapter(dir: string): Adapter {
  for (const name of [CONFIG_FILE, WEIGHTS_FILE]) {
    if (!fs.existsSync(path.join(dir, name))) {
      throw new UserError('HD406', `the adapter directory has no ${name}`, { place: { file: dir } })
    }
  }
  const file = path.join(dir, CONFIG_FILE)
  const config = readJsonObject(file, MAX_CONFIG_BYTES)
  const settings = readSettings(config, file)
  const divisor = settings.scaling === 'alpha/rank' ? settings.rank : Math.sqrt(settings.rank)
  const modules = readModules(path.join(dir, WEIGHTS_FILE), settings.rank)
  // A text is an expression or a word of PEFT's, which is left to it.
  if (Array.isArray(config.target_modules)) refuseLeftOut(modules, settings.targetModules, path.join(dir, WEIGHTS_FILE))
  return { dir, settings, scale: settings.alpha / divisor, modules }
}

/** Keys whose presence changes the adapter's meaning in a way that plain LoRA does not compute, with their "off". */
const PLAIN: Readonly<Record<string, (value: unknown) => boolean>> = {
  bias: (value) => value === 'none',
  modules_to_save: isNothing,
  rank_pattern: isNothing,
  alpha_pattern: isNothing,
  layer_replication: isNothing,
  trainable_token_indices: isNothing,
  target_parameters: isNothing,
  arrow_config: isNothing,
  alora_invocation_tokens: isNothing,
  use_bdlora: isNothing,
  use_dora: isNothing,
  use_qalora: isNothing,
  lora_bias: isNothing,
  kasa_config: isNothing,
  velora_config: isNothing,
  monteclora_config: isNothing,
  // The others (pissa, olora, corda, loftq, lora_ga) also change the base's weights when PEFT loads the adapter.
  init_lora_weights: (value) =>
    typeof value === 'boolean' || value === 'gaussian' || value === 'orthogonal' || value === 'eva',
}

function isNothing(value: unknown): boolean {
  return value === null || value === false || (typeof value === 'object' && Object.keys(value).length === 0)
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return quote(value)
  return typeof value === 'object' && value !== null ? 'what it holds' : JSON.stringify(value)
}

function readSettings(config: JsonObject, file: string): LoraSettings {
  const wrong = (key: string, expected: string): UserError =>
    new UserError('HD410', `${expected}, not ${shown(config[key])}`, { place: { file, at: key } })
  if (config.peft_type !== 'LORA') throw wrong('peft_type', 'only LORA adapters can be read')
  for (const [key, isPlain] of Object.entries(PLAIN)) {
    if (config[key] !== undefined && !isPlain(config[key])) throw wrong(key, 'plain LoRA was expected')
  }
  const { r: rank, lora_alpha: alpha, lora_dropout: dropout = 0, target_modules: targets } = config
  if (typeof rank !== 'number' || !Number.isSafeInteger(rank) || rank < 1)
    throw wrong('r', 'the rank must be 1 or more')
  if (typeof alpha !== 'number') throw wrong('lora_alpha', 'a number was expected')
  if (typeof dropout !== 'number' || dropout < 0 || dropout >= 1)
    throw wrong('lora_dropout', 'a number in [0, 1) was expected')
  const targetModules = typeof targets === 'string' ? [targets] : targets
  if (!Array.isArray(targetModules) || !targetModules.every((target) => typeof target === 'string')) {
    throw wrong('target_modules', 'a list of module names was expected')
  }
  return {
    rank,
    alpha,
    dropout,
    scaling: readSwitch(config, 'use_rslora', wrong) ? 'alpha/sqrt(rank)' : 'alpha/rank',
    baseLayout: readSwitch(config, 'fan_in_fan_out', wrong) ? 'in-out' : 'out-in',
    targetModules,
    baseModel: typeof config.base_model_name_or_path === 'string' ? config.base_model_name_or_path : '',
  }
}

function readSwitch(config: JsonObject, key: string, wrong: (key: string, expected: string) => UserError): boolean {
  const value = config[key] ?? false
  if (typeof value !== 'boolean') throw wrong(key, 'true or false was expected')
  return value
}

function readModules(file: string, rank: number): ReadonlyMap<string, LoraModule> {
  const halves = new Map<string, { a?: TensorEntry; b?: TensorEntry }>()
  for (const [name, entry] of openSafetensors(file).tensors) {
    const match = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name)
    if (!match) throw wrongTensor(file, name, 'the key is not that of a LoRA matrix on a linear module')
    const [, modulePath, which] = match as unknown as [string, string, 'A' | 'B']
    const found = halves.get(modulePath) ?? {}
    halves.set(modulePath, which === 'A' ? { ...found, a: entry } : { ...found, b: entry })
  }
  const modules = new Map<string, LoraModule>()
  for (const [modulePath, { a, b }] of halves) {
    if (!a || !b)
      throw wrongTensor(file, `${PREFIX}${modulePath}.lora_${a ? 'B' : 'A'}.weight`, 'the matrix is missing')
    for (const [entry, axis] of [
      [a, 0],
      [b, 1],
    ] as const) {
      if (entry.shape.length !== 2 || entry.shape[axis] !== rank) {
        const shape = axis === 0 ? `[${rank}, in]` : `[out, ${rank}]`
        throw wrongTensor(file, entry.name, `the shape is [${entry.shape.join(', ')}], but ${shape} was expected`)
      }
      if (!['F32', 'F16', 'BF16'].includes(entry.dtype)) {
        throw wrongTensor(file, entry.name, `the dtype is ${entry.dtype}, but F32, F16 or BF16 was expected`)
      }
    }
    modules.set(modulePath, { path: modulePath, inputs: a.shape[1]!, outputs: b.shape[0]!, a, b })
  }
  if (modules.size === 0) throw new UserError('HD411', 'the file holds no LoRA matrix', { place: { file } })
  return modules
}

/** PEFT would load the model without a module that no target matches. */
function refuseLeftOut(modules: ReadonlyMap<string, LoraModule>, targets: readonly string[], file: string): void {
  for (const { path: modulePath, a } of modules.values()) {
    if (targets.some((target) => matchesTarget(modulePath, target))) continue
    throw wrongTensor(file, a.name, `no entry of target_modules in ${CONFIG_FILE} is this module`)
  }
}

function wrongTensor(file: string, name: string, reason: string): UserError {
  return new UserError('HD411', reason, { place: { file, at: `tensor ${quote(name)}` } })
}
