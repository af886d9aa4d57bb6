// The cases that PyTorch, transformers and PEFT computed in float64 (tools/oracle), typed for tests.
// Must not import the project's own readers or numbers: it is what they are judged by. Its files are our own fixtures,
// so a wrong one is a broken checkout and throws a plain Error.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The committed fixtures, or those the full run has just made again (HEDDLE_ORACLE_FIXTURES). */
export const oracleDirectory =
  process.env.HEDDLE_ORACLE_FIXTURES ?? fileURLToPath(new URL('../fixtures/oracle', import.meta.url))

/** A tensor read from safetensors: values widened exactly, in stored (row-major) order. */
export interface OracleTensor {
  readonly dtype: 'F32' | 'BF16' | 'F16'
  readonly shape: readonly number[]
  readonly values: Float32Array
}

/** Two right-padded sequences; every list is [sequence][position] and equally long. */
export interface OracleBatch {
  /** Tokens of each sequence before its padding. */
  readonly lengths: readonly number[]
  readonly tokens: readonly (readonly number[])[]
  /** Already shifted: the target at position t is the record's token t + 1. */
  readonly targets: readonly (readonly number[])[]
  /** 1 where the position counts in the loss, 0 where it is masked or padding. */
  readonly weights: readonly (readonly number[])[]
  /** Of packed rows: the number of each position's document in its row, padding being one more. */
  readonly segments?: readonly (readonly number[])[]
  /** Of packed rows: each position's index within its document. */
  readonly positions?: readonly (readonly number[])[]
}

/** Logits over all positions that are not padding, in order sequence, position, token. */
export interface LogitFingerprint {
  /** `[sequence, position, token, logit]`. */
  readonly samples: readonly (readonly [sequence: number, position: number, token: number, logit: number])[]
  readonly sum: number
  readonly norm: number
}

/** The gradient of the batch's mean loss with respect to one tensor, before clipping. */
export interface OracleGradient {
  readonly shape: readonly number[]
  /** 2-norm of the whole gradient, in float64. */
  readonly norm: number
  /** Flat indices of `values` in the whole gradient; all of them when it is stored whole. */
  readonly indices: Uint32Array
  readonly values: Float32Array
}

/** 30 AdamW steps on the same batch; each list has one entry per step. */
export interface OracleCurve {
  /** Before the step's update, so that the first is the loss at step 0. */
  readonly losses: readonly number[]
  /** Global 2-norm before clipping. */
  readonly gradientNorms: readonly number[]
  readonly rates: readonly number[]
}

/** A part of the batch for accumulation: the batch's loss is the sum of `lossSum` over the sum of `weightSum`. */
export interface OracleMicroBatch {
  readonly sequences: readonly number[]
  readonly lossSum: number
  readonly weightSum: number
}

/** The optimizer of every curve; the formulas are in tools/oracle/README.md. */
export interface OracleOptimizer {
  readonly steps: number
  readonly peakRate: number
  readonly warmupSteps: number
  readonly betas: readonly [number, number]
  readonly epsilon: number
  readonly weightDecay: number
  readonly clipNorm: number
}

/** A model, what of it is trained on which batch, and what that must give. */
export interface TrainingOracle {
  /** `gpt2-small/full`, … */
  readonly name: string
  /** `model_type` of its configuration. */
  readonly family: string
  readonly mode: 'full' | 'lora'
  /** A Hugging Face model directory. */
  readonly modelDirectory: string
  /** The PEFT directory of the initial adapter (B is not zero); undefined in mode `full`. */
  readonly adapterDirectory: string | undefined
  /** Undefined in mode `full`. Targets are PEFT's `target_modules`. */
  readonly lora: { readonly rank: number; readonly alpha: number; readonly targets: readonly string[] } | undefined
  readonly optimizer: OracleOptimizer
  readonly batch: OracleBatch
  /** At step 0: sum of weighted cross entropies (nats) over the sum of weights. */
  readonly loss: number
  readonly gradientNorm: number
  /**
   * By the names transformers gives the parameters (`transformer.h.0…` even where the file leaves the prefix out) or, in
   * mode `lora`, by the names in `adapter_model.safetensors`. A tied weight stands once, with the sum of both uses.
   */
  readonly gradients: ReadonlyMap<string, OracleGradient>
  readonly curve: OracleCurve
}

export interface OracleCase extends TrainingOracle {
  readonly size: 'small' | 'odd'
  /** Cross entropy of each position that is not padding, masked ones too: [sequence][position]. */
  readonly tokenLosses: readonly (readonly number[])[]
  /** Any way to accumulate over these gives the same loss, gradients and curve. */
  readonly microBatches: readonly OracleMicroBatch[]
  /** Of the model that is trained: in mode `lora` with the adapter on it. */
  readonly logits: LogitFingerprint
  /** Without an adapter. */
  readonly baseLogits: LogitFingerprint
  /**
   * transformers' float32 rotary frequencies, which entered the oracle as they are: one list for each kind of layer, in
   * the order in which layers first use them; none for GPT-2.
   */
  readonly ropeInverseFrequencies: readonly (readonly number[])[]
}

/** Rotary parameters as a configuration states them, and what transformers makes of them. */
export interface OracleRotary {
  /** Of a head: twice as many as frequencies. */
  readonly width: number
  readonly parameters: Record<string, unknown>
  readonly inverseFrequencies: readonly number[]
  readonly attentionScaling: number
}

interface Manifest {
  readonly adamw: OracleOptimizer
  readonly lora: { readonly rank: number; readonly alpha: number }
  readonly gradientSamples: number
  readonly rotary: readonly OracleRotary[]
  readonly families: Record<
    string,
    {
      readonly family: OracleCase['family']
      readonly size: OracleCase['size']
      readonly targets: readonly string[]
      readonly ropeInverseFrequencies?: readonly (readonly number[])[]
      /** False for an architecture that `models/` lacks. */
      readonly shipped?: boolean
    }
  >
}

type Expected = Pick<OracleCase, 'loss' | 'tokenLosses' | 'microBatches' | 'logits' | 'gradientNorm' | 'curve'> & {
  /** In mode `lora`, where the base under the adapter is not quite the model of mode `full`. */
  readonly baseLogits?: LogitFingerprint
  readonly gradients: ExpectedGradients
}

/** What expected.json says of each tensor in gradients.safetensors. */
export type ExpectedGradients = Record<
  string,
  { readonly shape: readonly number[]; readonly norm: number; readonly sampled: boolean }
>

/** A file of fixtures, whose shape only its maker vouches for. */
export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T
}

/** Rotary parameters of published models, scaled in every way. */
export function oracleRotaries(): readonly OracleRotary[] {
  return readJson<Manifest>(join(oracleDirectory, 'manifest.json')).rotary
}

/** How many float32 steps each of some positive numbers is away from another. */
export function float32Steps(ours: readonly number[], theirs: readonly number[]): number[] {
  const bits = (values: readonly number[]) => new Int32Array(Float32Array.from(values).buffer)
  const other = bits(theirs)
  return [...bits(ours)].map((one, place) => Math.abs(one - (other[place] ?? Number.NaN)))
}

/** Every case, `full` and `lora` of each family whose architecture is shipped; reads a few megabytes. */
export function oracleCases(): readonly OracleCase[] {
  const manifest = readJson<Manifest>(join(oracleDirectory, 'manifest.json'))
  const shipped = Object.entries(manifest.families).flatMap(([name, one]) => (one.shipped === false ? [] : [name]))
  return shipped.flatMap((family) => [readCase(manifest, family, 'full'), readCase(manifest, family, 'lora')])
}

/** One case by its name, `qwen2-odd/lora`. */
export function oracleCase(name: string): OracleCase {
  const manifest = readJson<Manifest>(join(oracleDirectory, 'manifest.json'))
  const [family = '', mode] = name.split('/')
  if (!Object.hasOwn(manifest.families, family) || (mode !== 'full' && mode !== 'lora')) {
    throw new Error(`no oracle case '${name}' in ${oracleDirectory}`)
  }
  return readCase(manifest, family, mode)
}

function readCase(manifest: Manifest, name: string, mode: OracleCase['mode']): OracleCase {
  const family = manifest.families[name]
  if (!family) throw new Error(`no oracle family '${name}'`)
  const directory = join(oracleDirectory, name)
  const expected = readJson<Expected>(join(directory, mode, 'expected.json'))
  const base = mode === 'full' ? expected : readJson<Expected>(join(directory, 'full', 'expected.json'))
  const { family: architecture, size, targets, ropeInverseFrequencies = [] } = family
  return {
    name: `${name}/${mode}`,
    family: architecture,
    size,
    mode,
    modelDirectory: join(directory, 'model'),
    adapterDirectory: mode === 'lora' ? join(directory, 'lora', 'adapter') : undefined,
    lora: mode === 'lora' ? { ...manifest.lora, targets } : undefined,
    optimizer: manifest.adamw,
    batch: readJson<OracleBatch>(join(directory, 'batch.json')),
    loss: expected.loss,
    tokenLosses: expected.tokenLosses,
    microBatches: expected.microBatches,
    logits: expected.logits,
    baseLogits: expected.baseLogits ?? base.logits,
    gradientNorm: expected.gradientNorm,
    gradients: readGradients(
      join(directory, mode, 'gradients.safetensors'),
      expected.gradients,
      manifest.gradientSamples,
    ),
    curve: expected.curve,
    ropeInverseFrequencies,
  }
}

/** Gradients stored whole, or as `samples` entries. */
export function readGradients(
  path: string,
  expected: ExpectedGradients,
  samples: number,
): ReadonlyMap<string, OracleGradient> {
  const tensors = readOracleSafetensors(path)
  return new Map(
    Object.entries(expected).map(([name, { shape, norm, sampled }]) => {
      const stored = tensors.get(name)
      const count = shape.reduce((product, size) => product * size, 1)
      if (!stored || stored.values.length !== (sampled ? samples : count)) {
        throw new Error(`${path}: tensor '${name}' is not as expected.json describes it`)
      }
      const indices = Uint32Array.from(stored.values, (_, i) => (sampled ? Math.floor((i * count) / samples) : i))
      return [name, { shape, norm, indices, values: stored.values }]
    }),
  )
}

/**
 * How far a gradient is from the oracle's, relative to its norm: over what is stored, and over the norms themselves.
 * `actual` is the whole gradient in stored order. Samples stand for the rest, so their difference is scaled up.
 */
export function gradientError(actual: ArrayLike<number>, expected: OracleGradient): number {
  const count = expected.shape.reduce((product, size) => product * size, 1)
  if (actual.length !== count) throw new Error(`a gradient of ${actual.length} elements, not ${count}`)
  let difference = 0
  for (const [i, index] of expected.indices.entries()) difference += (actual[index]! - expected.values[i]!) ** 2
  let squares = 0
  for (let i = 0; i < count; i++) squares += actual[i]! ** 2
  const error = Math.sqrt((difference * count) / expected.indices.length) / expected.norm
  const normError = Math.abs(Math.sqrt(squares) - expected.norm) / expected.norm
  // NaN must not look small: Math.max passes it on.
  return Math.max(error, normError)
}

/** A safetensors file of f32, bf16 and f16 tensors, written apart from formats/ so that neither proves itself. */
export function readOracleSafetensors(path: string): ReadonlyMap<string, OracleTensor> {
  const file = readFileSync(path)
  const headerLength = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const tensors = new Map<string, OracleTensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const { dtype, shape, data_offsets: offsets } = entry
    const bytes = file.subarray(8 + headerLength + offsets[0], 8 + headerLength + offsets[1])
    const count = shape.reduce((product, size) => product * size, 1)
    if (dtype !== 'F32' && dtype !== 'BF16' && dtype !== 'F16') throw new Error(`${path}: '${name}' is ${dtype}`)
    if (bytes.length !== count * (dtype === 'F32' ? 4 : 2)) throw new Error(`${path}: '${name}' has the wrong length`)
    tensors.set(name, { dtype, shape, values: Float32Array.from({ length: count }, (_, i) => widen(bytes, i, dtype)) })
  }
  return tensors
}

function widen(bytes: Buffer, index: number, dtype: OracleTensor['dtype']): number {
  if (dtype === 'F32') return bytes.readFloatLE(4 * index)
  const bits = bytes.readUInt16LE(2 * index)
  if (dtype === 'F16') {
    const sign = bits >> 15 ? -1 : 1
    const exponent = (bits >> 10) & 31
    const fraction = bits & 1023
    if (exponent === 31) return fraction ? NaN : sign * Infinity
    return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction)
  }
  const word = new DataView(new ArrayBuffer(4))
  word.setUint32(0, bits * 65536)
  return word.getFloat32(0)
}
