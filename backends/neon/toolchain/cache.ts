// Compiled results by the hash of everything that went into them. An entry is a folder that appears whole or not at all
// and carries the hash of its content, so that a torn or changed one is compiled again. Knows no compiler.

import { createHash, randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { InternalError, UserError } from '../../../compiler/diagnostic.ts'
import { makeDirectories } from '../../../formats/directories.ts'
import type { Source } from './chain.ts'
import { evict, markUsed, usualBound } from './evict.ts'
import type { CacheBound } from './evict.ts'
import { undoAtExit } from './unfinished.ts'

/** Changes when what an entry holds changes meaning. */
const FORMAT = 'heddle compiled 1'
const HASH_FILE = 'sha256'
/** Far above any result (a few MB); a larger file is not ours. */
const LARGEST_RESULT = 512 * 1024 * 1024

/** Everything that decides what a compiler makes. */
export interface CompileKey {
  readonly compiler: string
  readonly flags: readonly string[]
  readonly sources: readonly Source[]
}

/** The cache folder: `$XDG_CACHE_HOME/heddle`, by default `~/.cache/heddle`. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const configured = environment['XDG_CACHE_HOME']
  // The standard says to ignore relative paths.
  if (configured !== undefined && isAbsolute(configured)) return join(configured, 'heddle')
  const home = homedir()
  return home === '' ? join(tmpdir(), 'heddle-cache') : join(home, '.cache', 'heddle')
}

function keyHash({ compiler, flags, sources }: CompileKey): string {
  const parts = [compiler, flags, sources.map(({ name, text }) => [name, text])]
  return createHash('sha256')
    .update(JSON.stringify([FORMAT, ...parts]))
    .digest('hex')
}

function contentHash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export class CompileCache {
  readonly #folder: string
  readonly #bound: CacheBound
  /** Compilations under way in this process: two callers with the same sources wait for one. */
  readonly #running: Map<string, Promise<string>> = new Map()

  /** Results that were used longest ago are removed when all are beyond `bound` together. */
  constructor(folder: string = cacheFolder(), bound: CacheBound = usualBound) {
    this.#folder = folder
    this.#bound = bound
  }

  /**
   * Path of the file `name` that `make` produces for this key; `make` runs only when no sound entry exists, in a
   * folder of its own that is gone afterwards, even if the process is interrupted. UserError HD701 when the cache
   * cannot be written.
   */
  async result(key: CompileKey, name: string, make: (folder: string) => Promise<Uint8Array>): Promise<string> {
    const hash = keyHash(key)
    const running = this.#running.get(hash)
    if (running) return running
    const promise = this.#lookUp(hash, name, make).finally(() => this.#running.delete(hash))
    this.#running.set(hash, promise)
    return promise
  }

  async #lookUp(hash: string, name: string, make: (folder: string) => Promise<Uint8Array>): Promise<string> {
    const entry = join(this.#folder, 'compiled', hash)
    const path = join(entry, name)
    if (await isSound(entry, path)) {
      await markUsed(entry)
      return path
    }
    const fresh = join(this.#folder, 'compiled', `.${hash.slice(0, 16)}-${randomUUID()}`)
    await this.#writing(() => Promise.resolve(makeDirectories(fresh, 0o700)))
    // A compiler that has just been killed may still have written a file.
    const finished = undoAtExit(() => rmSync(fresh, { recursive: true, force: true, maxRetries: 5 }))
    try {
      const work = join(fresh, 'work')
      await this.#writing(() => mkdir(work))
      const bytes = await this.#making(() => make(work))
      await rm(work, { recursive: true, force: true })
      await this.#writing(async () => {
        await writeSynced(join(fresh, name), bytes)
        await chmod(join(fresh, name), 0o755)
        await writeSynced(join(fresh, HASH_FILE), new TextEncoder().encode(contentHash(bytes)))
      })
      await this.#publish(fresh, entry, path)
    } finally {
      await rm(fresh, { recursive: true, force: true })
      finished()
    }
    await evict(join(this.#folder, 'compiled'), entry, this.#bound)
    return path
  }

  /** Compilers' errors are their own; a full disk under them is the cache's. */
  async #making<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action()
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
      throw code === 'ENOSPC' || code === 'EDQUOT' ? unwritable(this.#folder, cause) : cause
    }
  }

  /** Puts a finished entry in its place, where another process may have put the same one, or a broken one may lie. */
  async #publish(fresh: string, entry: string, path: string): Promise<void> {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        return await rename(fresh, entry)
      } catch (cause) {
        if (await isSound(entry, path)) return
        if (!isTaken(cause)) throw unwritable(this.#folder, cause)
        await rm(entry, { recursive: true, force: true })
      }
    }
    throw new InternalError(`another process keeps replacing ${entry}`)
  }

  async #writing<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action()
    } catch (cause) {
      throw unwritable(this.#folder, cause)
    }
  }

  /** Keeps what a compiler said where a person can read it; returns the path. */
  async log(text: string): Promise<string> {
    const folder = join(this.#folder, 'logs')
    const path = join(folder, `compiler-${contentHash(new TextEncoder().encode(text)).slice(0, 16)}.log`)
    await this.#writing(async () => {
      makeDirectories(folder, 0o700)
      await writeSynced(path, new TextEncoder().encode(text))
    })
    return path
  }
}

function unwritable(folder: string, cause: unknown): UserError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  const what = code === 'ENOSPC' ? 'the disk is full' : code
  return new UserError('HD701', `the compile cache ${folder} cannot be written (${what})`, {
    mend: 'free some space there or point XDG_CACHE_HOME to another folder',
    cause,
  })
}

function isTaken(cause: unknown): boolean {
  const code = (cause as NodeJS.ErrnoException).code
  return code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR' || code === 'EPERM'
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Whether an entry's content is what was written. */
async function isSound(entry: string, path: string): Promise<boolean> {
  const expected = await readBounded(join(entry, HASH_FILE), 64)
  const bytes = expected === undefined ? undefined : await readBounded(path, LARGEST_RESULT)
  return bytes !== undefined && contentHash(bytes) === new TextDecoder().decode(expected)
}

/** A file's bytes; undefined when it cannot be read or is larger than expected. */
async function readBounded(path: string, most: number): Promise<Uint8Array | undefined> {
  try {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      return size > most ? undefined : await readFile(file)
    } finally {
      await file.close()
    }
  } catch {
    return undefined
  }
}
