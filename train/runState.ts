// The state of a run between two steps, kept in `state/` beside its results: every value that a step carries over, where
// the data stand, what was best so far. Knows sessions and snapshots; decides nothing about when.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import type { Session } from '../backends/neon/driver/index.ts'
import { InternalError, UserError } from '../compiler/diagnostic.ts'
import type { Program, ProgramValue } from '../compiler/plan/program.ts'
import { gradientOf } from '../compiler/transform/states.ts'
import type { BatchState } from '../data/batches.ts'
import type { WriteOptions } from '../formats/files.ts'
import { openSafetensors, readTensor } from '../formats/safetensors.ts'
import type { Dtype } from '../formats/safetensors.ts'
import { putAside, SnapshotDirectory } from '../formats/snapshots.ts'
import type { SnapshotPart, TensorSource } from '../formats/snapshots.ts'
import type { RunIdentity } from './identity.ts'
import type { Progress } from './trainer.ts'
import type { WatchState } from './watch.ts'

const NAME = 'state'
/** Where a run that begins anew puts the states of the one before. */
const ASIDE = 'state.previous'
const FORMAT = 'heddle run state 1'

const packageFile = new URL('../package.json', import.meta.url)
const count = z.number().int().nonnegative()

const contentSchema = z.object({
  format: z.literal(FORMAT),
  /** Version that wrote it. */
  heddle: z.string(),
  progress: z.object({ step: count, micro: count }),
  // Whatever else batches need to find their place again is theirs.
  batches: z.looseObject({ epoch: count, position: count, step: count }),
  watch: z
    .object({ evaluated: count, waited: count, best: z.object({ step: count, loss: z.number() }).nullable() })
    .nullable(),
  identity: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  values: z.string(),
  bestValues: z.string().nullable(),
})

/** All of it but the tensors. */
export interface RunState {
  readonly progress: Progress
  readonly batches: BatchState
  /** Null where the recipe has no `evaluate`. */
  readonly watch: WatchState | null
  readonly identity: RunIdentity
}

/** A state that lies on the disk. */
export interface SavedState extends RunState {
  /** Version of Heddle that wrote it. */
  readonly heddle: string
  readonly values: SnapshotPart
  readonly bestValues: SnapshotPart | undefined
  /** Its JSON file, for messages. */
  readonly file: string
}

export interface FoundState {
  /** Undefined where nothing has been saved yet. */
  readonly state: SavedState | undefined
  /** What was passed over and why; sentences. */
  readonly notes: readonly string[]
}

/** The states of one run. */
export class RunStates {
  readonly #out: string
  readonly #snapshots: SnapshotDirectory

  constructor(out: string, options: WriteOptions = {}) {
    this.#out = out
    this.#snapshots = new SnapshotDirectory(path.join(out, NAME), options)
  }

  /** Where they lie. */
  get dir(): string {
    return this.#snapshots.dir
  }

  /**
   * The newest state that is whole.
   *
   * @throws UserError HD832 when there are states and none is whole
   */
  newest(): FoundState {
    const { snapshot, damaged } = this.#snapshots.newest()
    const reasons = damaged.map((error) => error.sentence)
    if (!snapshot) {
      const [newest] = damaged
      if (!newest) return { state: undefined, notes: [] }
      throw new UserError('HD832', `no saved state is whole: ${newest.message}`, {
        place: newest.place ?? { file: this.dir },
        mend: 'begin anew without --resume',
        cause: newest,
      })
    }
    const { parts, file } = snapshot
    const read = contentSchema.safeParse(snapshot.content)
    if (!read.success) {
      throw new UserError('HD832', 'the saved state is of another version of Heddle', {
        place: { file },
        mend: 'begin anew without --resume',
      })
    }
    const { heddle, progress, batches, watch, identity, values: valuesName, bestValues } = read.data
    const partNamed = (name: string | null): SnapshotPart | undefined => parts.find((part) => part.name === name)
    const values = partNamed(valuesName)
    if (!values) throw new UserError('HD832', 'the saved state names no values', { place: { file } })
    const notes = reasons.map((reason) => `${reason}, so the state saved after step ${progress.step} is used`)
    if (heddle !== heddleVersion()) {
      notes.push(
        `the state was saved by Heddle ${heddle}, this is ${heddleVersion()}: the bits of the result may differ`,
      )
    }
    const state = { heddle, progress, batches, watch, identity, values, bestValues: partNamed(bestValues), file }
    return { state, notes }
  }

  /** Makes place for a run that begins anew; says whether there was a state. Errors: HD405. */
  putAside(): boolean {
    return putAside(this.dir, path.join(this.#out, ASIDE))
  }

  /**
   * Saves the state of a session; the one before stays as well. `bestValues` is what `saveBest` gave last. Errors: HD405.
   */
  async save(state: RunState, bestValues: SnapshotPart | undefined, program: Program, session: Session): Promise<void> {
    const { step } = state.progress
    const values = await this.#snapshots.writePart('values', step, sourcesOf(carriedValues(program), session))
    const content = {
      format: FORMAT,
      heddle: heddleVersion(),
      ...state,
      values: values.name,
      bestValues: bestValues?.name ?? null,
    }
    this.#snapshots.commit(step, content, bestValues ? [values, bestValues] : [values])
  }

  /** Writes the trained values alone; they are kept from the next `save` on. Errors: HD405. */
  saveBest(step: number, program: Program, session: Session): Promise<SnapshotPart> {
    return this.#snapshots.writePart('best', step, sourcesOf(trainedValues(program), session))
  }

  /**
   * Gives a session every value of a saved state.
   *
   * @throws UserError HD833 when the state holds other values than the program, HD40x for its file
   */
  async restore({ values }: SavedState, program: Program, session: Session): Promise<void> {
    await this.#write(values, carriedValues(program), session)
  }

  /** Gives a session the trained values that `saveBest` wrote. Errors as for `restore`. */
  async restoreBest(part: SnapshotPart, program: Program, session: Session): Promise<void> {
    await this.#write(part, trainedValues(program), session)
  }

  async #write(part: SnapshotPart, wanted: readonly ProgramValue[], session: Session): Promise<void> {
    const file = this.#snapshots.pathOf(part)
    const { tensors } = openSafetensors(file)
    const fits = wanted.every(({ name, dtype, shape }) => {
      const entry = tensors.get(name)
      return entry?.dtype === storedType(dtype) && entry.shape.join() === shape.join()
    })
    if (!fits || tensors.size !== wanted.length) {
      throw new UserError('HD833', 'the state holds other values than the program that the recipe makes', {
        place: { file },
        mend: 'begin anew without --resume',
      })
    }
    for (const { name, dtype } of wanted) {
      const entry = tensors.get(name)
      if (!entry) continue
      const { buffer } = readTensor(entry)
      await session.write(name, dtype === 'f32' ? new Float32Array(buffer) : new Int32Array(buffer))
    }
  }
}

/**
 * What a step carries over to the next: everything but tables, which never change, and gradients, which are zero between
 * two steps.
 */
export function carriedValues({ values }: Program): ProgramValue[] {
  const gradients = new Set(values.flatMap(({ name, role }) => (role === 'trainable' ? [gradientOf(name)] : [])))
  return values.filter(({ name, role, initial }) => {
    return role === 'trainable' || (role === 'state' && initial?.kind !== 'values' && !gradients.has(name))
  })
}

function trainedValues({ values }: Program): ProgramValue[] {
  return values.filter(({ role }) => role === 'trainable')
}

function sourcesOf(values: readonly ProgramValue[], session: Session): TensorSource[] {
  return values.map(({ name, dtype, shape }) => ({
    name,
    dtype: storedType(dtype),
    shape,
    read: async () => {
      const data = await session.read(name)
      return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    },
  }))
}

function storedType(dtype: ProgramValue['dtype']): Dtype {
  if (dtype === 'f32') return 'F32'
  if (dtype === 'i32') return 'I32'
  throw new InternalError(`a state of ${dtype} cannot be saved`)
}

function heddleVersion(): string {
  return (JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }).version
}
