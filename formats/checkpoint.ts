// Model directories as Hugging Face lays them out: config.json, weights in one safetensors file or in indexed shards,
// the tokenizer's files. Knows no architecture: config is an object, tensors are names with shapes.

import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { makeDirectory, quote, quoteValue, readBounded, statusOf, writeFiles } from './files.ts'
import type { NewFile, WriteOptions } from './files.ts'
import { isObject, readJsonObject } from './json.ts'
import type { JsonObject } from './json.ts'
import { openSafetensors, refuseNonFinite, safetensorsFile } from './safetensors.ts'
import type { NewTensor, TensorEntry } from './safetensors.ts'

export const WEIGHTS_FILE = 'model.safetensors'
export const INDEX_FILE = 'model.safetensors.index.json'
/** Everything a tokenizer may consist of; copied as it is when a fine-tuned model is saved. */
export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
] as const

const PICKLED_FILES = ['pytorch_model.bin', 'pytorch_model.bin.index.json']

const MAX_CONFIG_BYTES = 4 * 1024 * 1024
const MAX_INDEX_BYTES = 64 * 1024 * 1024
const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024
const MAX_SHARDS = 1000

export interface Checkpoint {
  readonly dir: string
  readonly config: JsonObject
  readonly generationConfig: JsonObject | undefined
  /** Tensors of all shards by name. */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  /** `tokenizer.json`, when the directory has one. */
  readonly tokenizerPath: string | undefined
  /** Paths of all tokenizer files that are there. */
  readonly tokenizerFiles: readonly string[]
}

/**
 * Opens a model directory: config and weight headers are read and checked, weights are not.
 * Errors: HD406 (something is missing), HD407 (the index is wrong), HD401 to HD404 (a file is).
 */
export function openCheckpoint(dir: string): Checkpoint {
  const configPath = path.join(dir, 'config.json')
  if (!statusOf(dir)?.isDirectory())
    throw new UserError('HD406', 'the model directory does not exist', { place: { file: dir } })
  if (!fs.existsSync(configPath)) {
    throw new UserError('HD406', 'the model directory has no config.json', { place: { file: dir } })
  }
  const config = readJsonObject(configPath, MAX_CONFIG_BYTES)
  const generationPath = path.join(dir, 'generation_config.json')
  const tokenizerFiles = TOKENIZER_FILES.map((name) => path.join(dir, name)).filter((file) => fs.existsSync(file))
  // They are copied beside a trained model: what cannot be read is said before the training, not after it.
  for (const file of tokenizerFiles) if (!statusOf(file)?.isFile()) throw notAFile(file)
  return {
    dir,
    config,
    generationConfig: fs.existsSync(generationPath) ? readJsonObject(generationPath, MAX_CONFIG_BYTES) : undefined,
    tensors: openWeights(dir),
    tokenizerPath: tokenizerFiles.find((file) => path.basename(file) === 'tokenizer.json'),
    tokenizerFiles,
  }
}

function notAFile(file: string): UserError {
  return new UserError('HD401', 'this is not a file', { place: { file } })
}

function openWeights(dir: string): ReadonlyMap<string, TensorEntry> {
  const single = path.join(dir, WEIGHTS_FILE)
  if (fs.existsSync(single)) return openSafetensors(single).tensors
  const index = path.join(dir, INDEX_FILE)
  if (fs.existsSync(index)) return openShards(dir, index)
  const pickled = PICKLED_FILES.find((name) => fs.existsSync(path.join(dir, name)))
  throw new UserError('HD406', `the model directory has neither ${WEIGHTS_FILE} nor ${INDEX_FILE}`, {
    place: { file: dir },
    mend: pickled ? `${pickled} is a pickle, save the model again as safetensors` : undefined,
  })
}

function openShards(dir: string, index: string): ReadonlyMap<string, TensorEntry> {
  const weightMap = readWeightMap(index)
  const shards = new Map<string, ReadonlyMap<string, TensorEntry>>()
  const tensors = new Map<string, TensorEntry>()
  for (const [name, shard] of weightMap) {
    let content = shards.get(shard)
    if (content === undefined) {
      content = openSafetensors(path.join(dir, shard)).tensors
      shards.set(shard, content)
    }
    const entry = content.get(name)
    if (entry === undefined) {
      throw new UserError('HD407', `the index places the tensor in ${quote(shard)}, which does not hold it`, {
        place: { file: index, at: `tensor ${quote(name)}` },
      })
    }
    tensors.set(name, entry)
  }
  return tensors
}

/**
 * The index of a sharded checkpoint: tensor name to the file beside the index that holds it.
 * Errors: HD401, HD402, and HD407 for a file name that could lead out of the directory.
 */
export function readWeightMap(index: string): ReadonlyMap<string, string> {
  const { weight_map: weightMap } = readJsonObject(index, MAX_INDEX_BYTES)
  if (!isObject(weightMap)) {
    throw new UserError('HD407', 'the index has no weight_map from tensor to file', { place: { file: index } })
  }
  const shards = new Map<string, string>()
  for (const [name, shard] of Object.entries(weightMap)) {
    // A plain name, no path: nothing in it can leave the directory on any system.
    if (typeof shard !== 'string' || !/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors$/.test(shard)) {
      throw new UserError('HD407', `the file name ${quoteValue(shard)} is not that of a shard beside the index`, {
        place: { file: index, at: `tensor ${quote(name)}` },
      })
    }
    shards.set(name, shard)
  }
  if (new Set(shards.values()).size > MAX_SHARDS) {
    throw new UserError('HD407', `the index names more than ${MAX_SHARDS} shards`, { place: { file: index } })
  }
  return shards
}

export interface NewCheckpoint {
  readonly config: JsonObject
  readonly generationConfig?: JsonObject | undefined
  /** Float32 tensors under the names transformers expects; a tied parameter is given once. */
  readonly tensors: Iterable<NewTensor>
  /** Files to copy into the directory under their own names. */
  readonly tokenizerFiles?: readonly string[]
}

/** A JSON file as Hugging Face's tools write them: two spaces, a newline at the end. */
export function jsonFile(file: string, value: JsonObject): NewFile {
  return { path: file, chunks: [Buffer.from(`${JSON.stringify(value, null, 2)}\n`)] }
}

/**
 * Writes a directory that `from_pretrained` loads: all files are complete on the disk before the first gets its name.
 * Errors: HD405 (what was there is unchanged), HD408 (a weight is not finite), HD401 (a tokenizer file is unreadable).
 */
export function saveCheckpoint(dir: string, checkpoint: NewCheckpoint, options: WriteOptions = {}): void {
  const weights = path.join(dir, WEIGHTS_FILE)
  const tensors = [...checkpoint.tensors]
  for (const tensor of tensors) refuseNonFinite(tensor, weights)
  // Older transformers read `torch_dtype`, newer ones `dtype`; both accept the older key.
  const { dtype: _stored, ...config } = checkpoint.config
  const files: NewFile[] = [
    safetensorsFile(weights, tensors, { format: 'pt' }),
    { ...jsonFile(path.join(dir, 'config.json'), { ...config, torch_dtype: 'float32' }), completes: true },
  ]
  if (checkpoint.generationConfig) {
    files.push(jsonFile(path.join(dir, 'generation_config.json'), checkpoint.generationConfig))
  }
  for (const source of checkpoint.tokenizerFiles ?? []) {
    files.push({ path: path.join(dir, path.basename(source)), chunks: [readBounded(source, MAX_TOKENIZER_BYTES)] })
  }
  makeDirectory(dir)
  writeFiles(files, options)
}
