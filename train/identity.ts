// What makes two runs the same run: the recipe's words, the model, its weights, the records. A state is continued only by
// a run with the same ones; otherwise the first difference is named. Knows nothing of how states are kept.

import { createHash } from 'node:crypto'
import { UserError } from '../compiler/diagnostic.ts'
import { printGraph } from '../compiler/graph/print.ts'
import type { Example } from '../data/examples.ts'
import type { Recipe } from '../dsl/index.ts'
import type { Checkpoint } from '../formats/checkpoint.ts'
import { readFully, withFile } from '../formats/files.ts'
import type { PreparedData, PreparedModel } from './prepare.ts'

/** By what is compared, in the order in which it is. */
export type RunIdentity = Readonly<Record<string, string | number | boolean>>

/** Sentences for what is compared as a digest, which would say nothing to anybody. */
const DIGESTS: Readonly<Record<string, string>> = {
  graph: 'the model is defined otherwise than when the state was saved',
  checkpoint: "the checkpoint's weights are others than when the state was saved",
  records: 'the records to learn from are others than when the state was saved',
  'held-out records': 'the held-out records are others than when the state was saved',
}

/** The identity of a run. Reads a little of every tensor of the checkpoint. Errors: HD401. */
export function identityOf(recipe: Recipe, model: PreparedModel, data: PreparedData): RunIdentity {
  const { adapt, optimizer, objective, batch, data: given, weights, seed } = recipe
  const { sequences, length, accumulate } = batch
  return {
    model: recipe.model.model,
    ...flat('adapt', adapt),
    ...flat('optimizer', optimizer),
    ...flat('objective', objective),
    ...flat('batch', { sequences, length, accumulate }),
    ...flat('data', { pack: given.pack, buckets: given.buckets }),
    ...flat('weights', weights),
    seed,
    // A rate that falls is stretched over the whole run; with a constant one a run may be made longer.
    ...(optimizer.rate.kind === 'constant' ? {} : { steps: data.steps }),
    graph: digest((add) => add(Buffer.from(printGraph(model.traced.graph)))),
    checkpoint: fingerprint(model.checkpoint),
    records: digestOfExamples(data.examples.examples),
    'held-out records': digestOfExamples(data.heldOut),
  }
}

/**
 * Refuses to continue the state of another run.
 *
 * @throws UserError HD831 with the first difference; `file` is the state's
 */
export function refuseOther(saved: RunIdentity, now: RunIdentity, file: string): void {
  for (const what of new Set([...Object.keys(now), ...Object.keys(saved)])) {
    if (saved[what] === now[what]) continue
    const sentence =
      DIGESTS[what] ?? `${what} is ${shown(now[what])}, but ${shown(saved[what])} in the run that was saved`
    throw new UserError('HD831', sentence, {
      place: { file },
      mend: 'undo the change, or begin anew without --resume',
    })
  }
}

function shown(value: string | number | boolean | undefined): string {
  return value === undefined ? 'not given' : String(value)
}

function flat(name: string, value: unknown): RunIdentity {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return { [name]: value }
  if (Array.isArray(value)) return { [name]: JSON.stringify(value) }
  if (typeof value !== 'object' || value === null) return {}
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(`${name}.${key}`, inner))) as RunIdentity
}

function digest(write: (add: (bytes: Uint8Array) => void) => void): string {
  const hash = createHash('sha256')
  write((bytes) => hash.update(bytes))
  return hash.digest('hex')
}

/** Every array of every example, whatever it is for. */
function digestOfExamples(examples: readonly Example[]): string {
  return digest((add) => {
    for (const example of examples) {
      for (const [name, array] of Object.entries(example) as [string, unknown][]) {
        if (!ArrayBuffer.isView(array)) continue
        add(Buffer.from(`${name} ${array.byteLength}\n`))
        add(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
      }
    }
  })
}

/** Bytes that are looked at in one place of a tensor. */
const SAMPLE = 4096

/**
 * Names, shapes and samples from the beginning, the middle and the end of every tensor: other weights differ nearly
 * everywhere, and reading them whole would take longer than many a resumed run.
 */
function fingerprint({ tensors }: Checkpoint): string {
  return digest((add) => {
    for (const name of [...tensors.keys()].sort()) {
      const entry = tensors.get(name)
      if (!entry) continue
      const { file, dtype, shape, begin, bytes } = entry
      add(Buffer.from(`${JSON.stringify(name)} ${dtype} ${shape.join(',')}\n`))
      const sample = Buffer.alloc(Math.min(SAMPLE, bytes))
      withFile(file, (descriptor) => {
        for (const share of [0, 0.5, 1]) {
          readFully(file, descriptor, sample, begin + Math.floor((bytes - sample.length) * share))
          add(Buffer.from(sample))
        }
      })
    }
  })
}
