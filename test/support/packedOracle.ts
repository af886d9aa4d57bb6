// Packed rows as transformers computed them, each document on its own (tools/oracle/make_packed.py), typed for tests. Their
// models and adapters are those of oracle.ts. Must not import the project's own packing: it is what they judge.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { oracleCase, readGradients, readJson } from './oracle.ts'
import type { ExpectedGradients, OracleBatch, TrainingOracle } from './oracle.ts'

const packedDirectory = fileURLToPath(new URL('../fixtures/packed', import.meta.url))

/** A document of a row: lists of one length, and what transformers gives for it alone. */
export interface PackedDocument {
  readonly tokens: readonly number[]
  readonly targets: readonly number[]
  readonly weights: readonly number[]
  /** Sum of weighted cross entropies, in nats. */
  readonly lossSum: number
  readonly weightSum: number
}

/** `batch` is packed; loss, gradients and curve are the same however its documents are arranged. */
export interface PackedCase extends TrainingOracle {
  readonly documents: readonly PackedDocument[]
}

interface Manifest {
  readonly families: readonly string[]
  readonly gradientSamples: number
}

interface Expected extends Pick<TrainingOracle, 'loss' | 'gradientNorm' | 'curve'> {
  readonly documents: readonly { readonly lossSum: number; readonly weightSum: number }[]
  readonly gradients: ExpectedGradients
}

/** The names of all cases: every family, `full` and `lora`. */
export function packedNames(): readonly string[] {
  const { families } = readJson<Manifest>(join(packedDirectory, 'manifest.json'))
  return families.flatMap((family) => [`${family}/full`, `${family}/lora`])
}

/** One case by its name, `gemma3-small/lora`. */
export function packedCase(name: string): PackedCase {
  const { gradientSamples } = readJson<Manifest>(join(packedDirectory, 'manifest.json'))
  const [family = '', mode = ''] = name.split('/')
  const directory = join(packedDirectory, family)
  const { documents: sizes, ...batch } = readJson<OracleBatch & { documents: number[][] }>(
    join(directory, 'batch.json'),
  )
  const expected = readJson<Expected>(join(directory, mode, 'expected.json'))
  const places = sizes.flatMap((row, sequence) => {
    let at = 0
    return row.map((size) => ({ sequence, from: at, to: (at += size) }))
  })
  const { family: architecture, mode: kind, modelDirectory, adapterDirectory, lora, optimizer } = oracleCase(name)
  return {
    name,
    family: architecture,
    mode: kind,
    modelDirectory,
    adapterDirectory,
    lora,
    optimizer,
    batch,
    loss: expected.loss,
    gradientNorm: expected.gradientNorm,
    gradients: readGradients(join(directory, mode, 'gradients.safetensors'), expected.gradients, gradientSamples),
    curve: expected.curve,
    documents: places.map(({ sequence, from, to }, index) => {
      const sums = expected.documents[index]
      if (!sums) throw new Error(`${name}: expected.json lacks document ${index}`)
      const cut = (rows: readonly (readonly number[])[]): readonly number[] => (rows[sequence] ?? []).slice(from, to)
      return { tokens: cut(batch.tokens), targets: cut(batch.targets), weights: cut(batch.weights), ...sums }
    }),
  }
}

/** The documents as rows of their own, padded on the right: the same case, not packed. */
export function unpacked(oracle: PackedCase): TrainingOracle {
  const { documents } = oracle
  const length = Math.max(...documents.map(({ tokens }) => tokens.length))
  const padded = (row: readonly number[]): number[] => [...row, ...Array.from({ length: length - row.length }, () => 0)]
  const batch: OracleBatch = {
    lengths: documents.map(({ tokens }) => tokens.length),
    tokens: documents.map(({ tokens }) => padded(tokens)),
    targets: documents.map(({ targets }) => padded(targets)),
    weights: documents.map(({ weights }) => padded(weights)),
  }
  return { ...oracle, batch }
}
