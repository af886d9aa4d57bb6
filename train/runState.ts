// The state of a run between two steps, kept in `state/` beside its results: every value that a step carries over, or which
// version of a file holds them, where the data stand, what was best so far. Knows sessions and snapshots; decides nothing
// about when.

import fs from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import type { KeptState, Session, TensorData } from '../backends/neon/driver/index.ts'
import { InternalError, UserError } from '../compiler/diagnostic.ts'
import { carriedValues } from '../compiler/plan/carried.ts'
import type { Program, ProgramValue } from '../compiler/plan/program.ts'
import type { BatchState } from '../data/batches.ts'
import { makeDirectory } from '../formats/files.ts'
import type { WriteOptions } from '../formats/files.ts'
import { checkKept, keptIdentity, readKept } from '../formats/keptStates.ts'
import { openSafetensors, readTensor } from '../formats/safetensors.ts'
import type { Dtype } from '../formats/safetensors.ts'
import { putAside, SnapshotDirectory } from '../formats/snapshots.ts'
import type { DamagedSnapshot, SnapshotPart, TensorSource } from '../formats/snapshots.ts'
import type { RunIdentity } from './identity.ts'
import { isStateFileName, StateFiles } from './stateFiles.ts'
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
  values: z.string().nullable(),
  /** Where the values are in a file that the program itself keeps. */
  kept: z
    .object({
      file: z.string().refine(isStateFileName),
      version: count,
      /** Of what the version holds; null in states that were saved before there were sums. */
      sum: z
        .string()
        .regex(/^[\da-f]{16}$/)
        .nullable()
        .default(null),
      identity: z.string().regex(/^[\da-f]{16}$/),
      values: z.array(z.object({ name: z.string(), dtype: z.string(), shape: z.array(count), offset: count })),
    })
    .nullable()
    .default(null),
  bestValues: z.string().nullable(),
})

type Kept = NonNullable<z.infer<typeof contentSchema>['kept']>

/** All of it but the tensors. */
export interface RunState {
  readonly progress: Progress
  readonly batches: BatchState
  /** Null where the recipe has no `evaluate`. */
  readonly watch: WatchState | null
  readonly identity: RunIdentity
}

/** Values in a file that a program keeps. */
interface KeptValues {
  readonly kept: Kept
  readonly path: string
}

/** A state that lies on the disk. */
export interface SavedState extends RunState {
  /** Version of Heddle that wrote it. */
  readonly heddle: string
  readonly values: SnapshotPart | KeptValues
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
  readonly #files: StateFiles
  /** What the newest two states need beside their snapshots. */
  #needed: readonly string[] = []

  constructor(out: string, options: WriteOptions = {}) {
    this.#out = out
    this.#snapshots = new SnapshotDirectory(path.join(out, NAME), options)
    this.#files = new StateFiles(out)
  }

  /** Where a program may keep what it trains: a file that is not there yet. Errors: HD405. */
  stateFile(): string {
    makeDirectory(this.#out)
    return this.#files.fresh()
  }

  /** Removes a program's file that no state was saved of. Errors: HD405. */
  discard(stateFile: string): void {
    if (this.#needed.includes(path.basename(stateFile))) return
    fs.rmSync(stateFile, { force: true })
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
    const { snapshot, damaged } = this.#snapshots.newest(({ content }) => {
      const { data } = contentSchema.safeParse(content)
      if (data?.kept) this.#checkKept(data.kept)
    })
    if (!snapshot) {
      const [newest, ...older] = damaged
      if (!newest) return { state: undefined, notes: [] }
      throw noneWhole(newest, older, this.dir)
    }
    const { parts, file } = snapshot
    const read = contentSchema.safeParse(snapshot.content)
    if (!read.success) {
      throw new UserError('HD832', 'the saved state is of another version of Heddle', {
        place: { file },
        mend: 'begin anew without --resume',
      })
    }
    const { heddle, progress, batches, watch, identity, values: valuesName, kept, bestValues } = read.data
    const partNamed = (name: string | null): SnapshotPart | undefined => parts.find((part) => part.name === name)
    const values = kept ? { kept, path: this.#pathOf(kept) } : partNamed(valuesName)
    if (!values) throw new UserError('HD832', 'the saved state names no values', { place: { file } })
    if (kept) this.#needed = [kept.file]
    const notes = damaged.map(
      ({ reason }) => `${reason.sentence}, so the state saved after step ${progress.step} is used`,
    )
    if (heddle !== heddleVersion()) {
      notes.push(
        `the state was saved by Heddle ${heddle}, this is ${heddleVersion()}: the bits of the result may differ`,
      )
    }
    const state = { heddle, progress, batches, watch, identity, values, bestValues: partNamed(bestValues), file }
    return { state, notes }
  }

  /** UserError HD412 where the file is gone, has gone on to other versions, or holds other bytes than were written. */
  #checkKept(kept: Kept): void {
    const file = this.#pathOf(kept)
    if (kept.sum !== null) return checkKept(file, kept, kept.sum)
    const [least] = kept.values.toSorted((a, b) => elements(a.shape) - elements(b.shape))
    if (least) readKept(file, kept, least)
  }

  /** Where the file lies. Errors: HD412 where it is not there. */
  #pathOf({ file }: Kept): string {
    const found = this.#files.find(file, this.dir)
    if (found !== undefined) return found
    throw new UserError('HD412', 'this file, which holds what was trained, is not there', {
      place: { file: path.join(this.#out, file) },
    })
  }

  /**
   * Makes place for a run that begins anew, whose program may have a state file already; says whether there was a state.
   * Errors: HD405.
   */
  putAside(stateFile?: string): boolean {
    const aside = path.join(this.#out, ASIDE)
    const live = new Set(stateFile === undefined ? [] : [path.basename(stateFile)])
    if (!putAside(this.dir, aside)) return false
    this.#files.moveOthers(live, aside)
    return true
  }

  /**
   * Saves the state of a session; the one before stays as well. `bestValues` is what `saveBest` gave last. `isBehind`: of the step
   * before an update that the session owes, of which the version stands. Errors: HD405.
   */
  async save(
    state: RunState,
    bestValues: SnapshotPart | undefined,
    program: Program,
    session: Session,
    isBehind = false,
  ): Promise<void> {
    const { step } = state.progress
    const keep = (): Promise<KeptState> => (isBehind ? session.keepStanding() : session.keep())
    const kept = program.storedCount > 0 ? keptOf(await keep()) : null
    const values = kept
      ? undefined
      : await this.#snapshots.writePart('values', step, sourcesOf(carriedValues(program), session))
    const content = {
      format: FORMAT,
      heddle: heddleVersion(),
      ...state,
      values: values?.name ?? null,
      kept,
      bestValues: bestValues?.name ?? null,
    }
    this.#snapshots.commit(step, content, [...(values ? [values] : []), ...(bestValues ? [bestValues] : [])])
    const file = kept ? [kept.file] : []
    this.#files.removeOthers(new Set([...file, ...this.#needed]))
    this.#needed = file
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

  /**
   * What a run's result is made of, as a session that has it gives it: the best of what was trained where that is not the last.
   * Errors as for `restore`.
   */
  trained({ values, bestValues, watch, progress }: SavedState, program: Program): Pick<Session, 'read'> {
    const best = watch?.best && watch.best.step !== progress.step ? bestValues : undefined
    const read = best ? this.#readerOf(best, trainedValues(program)) : this.#readerOf(values, carriedValues(program))
    return { read: async (name) => read(name) }
  }

  async #write(values: SavedState['values'], wanted: readonly ProgramValue[], session: Session): Promise<void> {
    const read = this.#readerOf(values, wanted)
    for (const { name } of wanted) await session.write(name, read(name))
  }

  /** Reads one value at a time of those that a state should have. Errors: HD833 at once, HD40x and HD412 at each. */
  #readerOf(values: SavedState['values'], wanted: readonly ProgramValue[]): (name: string) => TensorData {
    return 'kept' in values ? keptReader(values, wanted) : partReader(this.#snapshots.pathOf(values), wanted)
  }
}

function keptReader({ kept, path: file }: KeptValues, wanted: readonly ProgramValue[]): (name: string) => TensorData {
  const entries = new Map(kept.values.map((entry) => [entry.name, entry]))
  refuseUnlessSame(wanted, entries.size, file, ({ name, dtype, shape }) => {
    const entry = entries.get(name)
    return entry?.dtype === dtype && entry.shape.join() === shape.join()
  })
  return (name) => readKept(file, kept, known(entries.get(name), name))
}

function partReader(file: string, wanted: readonly ProgramValue[]): (name: string) => TensorData {
  const { tensors } = openSafetensors(file)
  refuseUnlessSame(wanted, tensors.size, file, ({ name, dtype, shape }) => {
    const entry = tensors.get(name)
    return entry?.dtype === storedType(dtype) && entry.shape.join() === shape.join()
  })
  return (name) => {
    const entry = known(tensors.get(name), name)
    const { buffer } = readTensor(entry)
    return entry.dtype === 'F32' ? new Float32Array(buffer) : new Int32Array(buffer)
  }
}

function known<Entry>(entry: Entry | undefined, name: string): Entry {
  if (entry === undefined) throw new InternalError(`a saved state has no '${name}'`)
  return entry
}

/** HD832, with the reason of each state; where all ail of one thing, it is told once. */
function noneWhole({ reason }: DamagedSnapshot, older: readonly DamagedSnapshot[], dir: string): UserError {
  const place = reason.place ?? { file: dir }
  const others = older.flatMap(({ number, reason: other }) => {
    const file = other.place?.file ?? dir
    if (file === place.file && other.message === reason.message) return []
    const name = file === place.file ? '' : `${path.basename(file)} `
    return [`; nor is that after step ${number}: ${name}${other.message}`]
  })
  return new UserError('HD832', `no saved state is whole: ${reason.message}${others.join('')}`, {
    place,
    mend: 'begin anew without --resume',
    cause: reason,
  })
}

/** UserError HD833. */
function refuseUnlessSame(
  wanted: readonly ProgramValue[],
  count: number,
  file: string,
  isThere: (value: ProgramValue) => boolean,
): void {
  if (count === wanted.length && wanted.every(isThere)) return
  throw new UserError('HD833', 'the state holds other values than the program that the recipe makes', {
    place: { file },
    mend: 'begin anew without --resume',
  })
}

function keptOf({ file, version, sum, values }: KeptState): Kept {
  return {
    file: path.basename(file),
    version,
    sum,
    identity: keptIdentity(file),
    values: values.map(({ name, dtype, shape, offset }) => ({ name, dtype, shape: [...shape], offset })),
  }
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
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
  return (JSON.parse(fs.readFileSync(packageFile, 'utf8')) as { version: string }).version
}
