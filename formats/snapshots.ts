// A directory of snapshots: each is one JSON file that names, with size and SHA-256, the safetensors files that belong to
// it. It is written last, so a snapshot that can be seen is whole; the one before stays. Knows nothing of what they mean.

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { makeDirectory, measureFile, quote, statusOf, systemCode, writeFailure, writeFiles } from './files.ts'
import type { WriteOptions } from './files.ts'
import { isObject, readJsonObject } from './json.ts'
import type { JsonObject } from './json.ts'
import { checkedData, encodeHeader } from './safetensors-header.ts'
import type { TensorLayout } from './safetensors-header.ts'
import { fileOperations, removeLeftovers, StagedFiles } from './staging.ts'
import type { FileOperations } from './staging.ts'

const MAX_MANIFEST_BYTES = 4 * 1024 * 1024
/** More files than this are not ours. */
const MAX_ENTRIES = 10_000
const PART_NAME = /^[a-z]{1,16}-\d{1,15}\.safetensors$/
const MANIFEST_NAME = /^step-(\d{1,15})\.json$/

/** A tensor whose bytes are had when it is its turn to be written: they never all lie in memory. */
export interface TensorSource extends TensorLayout {
  read(): Promise<Uint8Array>
}

/** A file that belongs to a snapshot. */
export interface SnapshotPart {
  /** Within the directory. */
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

export interface Snapshot {
  /** The higher, the newer. */
  readonly number: number
  /** What was given to `commit`. */
  readonly content: JsonObject
  readonly parts: readonly SnapshotPart[]
  /** The JSON file, for messages. */
  readonly file: string
}

export interface FoundSnapshot {
  readonly snapshot: Snapshot | undefined
  /** Newer ones that cannot be used, the newest first. */
  readonly damaged: readonly DamagedSnapshot[]
}

export interface DamagedSnapshot {
  readonly number: number
  readonly reason: UserError
}

export class SnapshotDirectory {
  readonly dir: string
  readonly #options: WriteOptions
  readonly #operations: FileOperations
  /** The newest one known to be whole. */
  #last: Snapshot | undefined

  constructor(dir: string, options: WriteOptions = {}) {
    this.dir = dir
    this.#options = options
    this.#operations = { ...fileOperations, ...options }
  }

  /** Where a part lies. */
  pathOf(part: SnapshotPart): string {
    return path.join(this.dir, part.name)
  }

  /**
   * The newest snapshot whose files all have the size and the bytes that it states, and that `check` does not refuse with a
   * UserError, for whatever else it needs. Takes away what dead processes left unfinished. Nothing else is removed: what is
   * damaged may yet be wanted.
   */
  newest(check: (snapshot: Snapshot) => void = () => {}): FoundSnapshot {
    removeLeftovers(this.dir)
    const damaged: DamagedSnapshot[] = []
    for (const number of this.#numbers()) {
      try {
        const snapshot = this.#read(number)
        check(snapshot)
        this.#last = snapshot
        return { snapshot, damaged }
      } catch (error) {
        if (!(error instanceof UserError)) throw error
        damaged.push({ number, reason: error })
      }
    }
    return { snapshot: undefined, damaged }
  }

  /**
   * Writes a file of tensors, `NAME-NUMBER.safetensors`, which belongs to no snapshot until one is committed with it.
   * Errors: HD405; snapshots are unchanged.
   */
  async writePart(name: string, number: number, tensors: readonly TensorSource[]): Promise<SnapshotPart> {
    const file = path.join(this.dir, `${name}-${number}.safetensors`)
    const staged = new StagedFiles(this.#options)
    const hash = createHash('sha256')
    let bytes = 0
    const append = (chunk: Uint8Array): void => {
      staged.append(chunk)
      hash.update(chunk)
      bytes += chunk.byteLength
    }
    try {
      makeDirectory(this.dir)
      const { header, ordered } = encodeHeader(tensors, {})
      staged.begin(file)
      append(header)
      for (const tensor of ordered) append(checkedData(tensor, await tensor.read()))
      staged.finish()
      staged.commit()
    } catch (error) {
      staged.discard()
      throw this.#failure(file, error)
    }
    return { name: path.basename(file), bytes, sha256: hash.digest('hex') }
  }

  /**
   * Makes a snapshot of parts that have been written, then removes every file that neither it nor the one before needs.
   * Errors: HD405; snapshots are unchanged.
   */
  commit(number: number, content: JsonObject, parts: readonly SnapshotPart[]): void {
    const file = this.#manifest(number)
    const body = { content, parts }
    const text = `${JSON.stringify({ ...body, sha256: digestOf(body) })}\n`
    try {
      // There may be no part that made it.
      makeDirectory(this.dir)
      writeFiles([{ path: file, chunks: [Buffer.from(text)] }], this.#options)
    } catch (error) {
      throw this.#failure(file, error)
    }
    const before = this.#last
    this.#last = { number, content, parts, file }
    const kept = [this.#last, ...(before && before.number !== number ? [before] : [])]
    this.#removeOthers(new Set(kept.flatMap((one) => [path.basename(one.file), ...one.parts.map(({ name }) => name)])))
  }

  #removeOthers(kept: ReadonlySet<string>): void {
    const others = fs
      .readdirSync(this.dir)
      .filter((name) => !kept.has(name) && (PART_NAME.test(name) || MANIFEST_NAME.test(name)))
    // A manifest goes before its parts, so that what can be seen stays whole.
    others.sort((left, right) => Number(MANIFEST_NAME.test(right)) - Number(MANIFEST_NAME.test(left)))
    for (const name of others) {
      const file = path.join(this.dir, name)
      try {
        this.#operations.remove(file)
      } catch (error) {
        throw this.#failure(file, error)
      }
    }
  }

  /** What a failed write did not touch; anything but a failed write is passed on. */
  #failure(file: string, error: unknown): unknown {
    const cause = error instanceof UserError && error.code === 'HD405' ? error.cause : error
    if (systemCode(cause) === undefined) return error
    const kept = this.#last ? `the state saved after step ${this.#last.number} is unchanged` : 'no state is saved yet'
    return writeFailure(file, cause, kept)
  }

  #manifest(number: number): string {
    return path.join(this.dir, `step-${number}.json`)
  }

  /** Numbers of all manifests, the highest first. */
  #numbers(): number[] {
    if (!fs.existsSync(this.dir)) return []
    const names = fs.readdirSync(this.dir)
    if (names.length > MAX_ENTRIES) {
      throw new UserError('HD401', `the directory holds ${names.length} files, more than saving ever leaves`, {
        place: { file: this.dir },
      })
    }
    return names
      .flatMap((name) => {
        const number = MANIFEST_NAME.exec(name)?.[1]
        return number === undefined ? [] : [Number(number)]
      })
      .sort((left, right) => right - left)
  }

  /** Errors: HD401, HD402, HD412. */
  #read(number: number): Snapshot {
    const file = this.#manifest(number)
    const { sha256, ...body } = readJsonObject(file, MAX_MANIFEST_BYTES)
    if (digestOf(body) !== sha256)
      throw new UserError('HD412', 'its checksum is not that of its content', { place: { file } })
    const { content, parts } = body
    if (!isObject(content) || !Array.isArray(parts) || !parts.every(isPart)) {
      throw new UserError('HD412', 'this is not the description of a saved state', { place: { file } })
    }
    for (const part of parts) this.#check(part)
    return { number, content, parts, file }
  }

  #check(part: SnapshotPart): void {
    const file = this.pathOf(part)
    // A wrong size is seen without reading gigabytes; a file that is not there is the reader's to refuse.
    const bytes = statusOf(file)?.size ?? part.bytes
    if (bytes !== part.bytes) {
      throw new UserError('HD412', `it has ${bytes} bytes, but ${part.bytes} were saved`, { place: { file } })
    }
    if (measureFile(file).sha256 === part.sha256) return
    throw new UserError('HD412', 'its checksum is not the one that was saved', { place: { file } })
  }
}

function isPart(value: unknown): value is SnapshotPart {
  return (
    isObject(value) &&
    typeof value['name'] === 'string' &&
    PART_NAME.test(value['name']) &&
    Number.isSafeInteger(value['bytes']) &&
    typeof value['sha256'] === 'string'
  )
}

/** Keys keep their order through JSON, so equal text means equal content. */
function digestOf(body: object): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex')
}

/**
 * Puts a directory aside under another name, in place of what an earlier call put there. Returns whether there was one.
 * Errors: HD405.
 */
export function putAside(dir: string, aside: string): boolean {
  if (!fs.existsSync(dir)) return false
  try {
    fs.rmSync(aside, { recursive: true, force: true })
    fs.renameSync(dir, aside)
    return true
  } catch (error) {
    throw writeFailure(dir, error, `${quote(path.basename(dir))} is unchanged`)
  }
}
