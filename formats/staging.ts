// The file operations that saving consists of, and files that get their names only once all of them are on the disk.
// Knows nothing of what the bytes mean; raises the system's own errors, which callers put into words.

import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

/** Largest piece given to one read or write call; the kernel refuses lengths of 2 GiB and more. */
export const PIECE = 64 * 1024 * 1024

/** All that saving does to a disk. Tests give operations that fail, or that end the process. */
export interface FileOperations {
  /** Makes a file, which must not exist, and opens it for writing. */
  open(path: string): number
  /** Writes bytes from index `from` on, perhaps not all of them; returns how many. */
  write(descriptor: number, bytes: Uint8Array, from: number): number
  /** Returns once what was written is on the disk. */
  sync(descriptor: number): void
  rename(from: string, to: string): void
  /** Removes a file, if there is one. */
  remove(path: string): void
  /** Returns once the names in a directory are on the disk. */
  syncDirectory(directory: string): void
}

/** Those of the operating system. */
export const fileOperations: FileOperations = {
  open: (file) => fs.openSync(file, 'wx', 0o666),
  write: (descriptor, bytes, from) => fs.writeSync(descriptor, bytes, from, Math.min(PIECE, bytes.byteLength - from)),
  sync: (descriptor) => fs.fsyncSync(descriptor),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (file) => fs.rmSync(file, { force: true }),
  syncDirectory,
}

/** A rename is durable once its directory is; systems that cannot sync a directory do so by themselves. */
function syncDirectory(directory: string): void {
  if (process.platform === 'win32') return
  const descriptor = fs.openSync(directory, 'r')
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Writes all bytes of a chunk. */
export function writeFully(operations: Pick<FileOperations, 'write'>, descriptor: number, chunk: Uint8Array): void {
  for (let done = 0; done < chunk.byteLength;) done += operations.write(descriptor, chunk, done)
}

/** Files under temporary names beside where they will stand: `begin`, `append` and `finish` each, then `commit` all. */
export class StagedFiles {
  readonly #operations: FileOperations
  readonly #staged: { temporary: string; path: string }[] = []
  #descriptor: number | undefined
  #current = ''

  constructor(operations: Partial<FileOperations> = {}) {
    this.#operations = { ...fileOperations, ...operations }
  }

  /** The file that the last operation was about, by the name that it will have. */
  get current(): string {
    return this.#current
  }

  /** Opens the next file; the one before must be finished. */
  begin(file: string): void {
    this.#current = file
    const temporary = path.join(path.dirname(file), temporaryName(path.basename(file)))
    this.#descriptor = this.#operations.open(temporary)
    this.#staged.push({ temporary, path: file })
  }

  append(chunk: Uint8Array): void {
    if (this.#descriptor !== undefined) writeFully(this.#operations, this.#descriptor, chunk)
  }

  /** The file's bytes are on the disk afterwards. */
  finish(): void {
    if (this.#descriptor !== undefined) this.#operations.sync(this.#descriptor)
    this.#close()
  }

  /** Gives every file its name, in the order in which they were begun, replacing what stood there. */
  commit(): void {
    for (const { temporary, path: target } of this.#staged) {
      this.#current = target
      this.#operations.rename(temporary, target)
    }
    for (const directory of new Set(this.#staged.map((file) => path.dirname(file.path)))) {
      this.#operations.syncDirectory(directory)
    }
  }

  /** Takes away what has no name yet; what cannot be taken away now is left to `removeLeftovers`. */
  discard(): void {
    this.#close()
    for (const { temporary } of this.#staged) {
      try {
        this.#operations.remove(temporary)
      } catch {
        continue
      }
    }
  }

  #close(): void {
    const descriptor = this.#descriptor
    this.#descriptor = undefined
    if (descriptor !== undefined) fs.closeSync(descriptor)
  }
}

function temporaryName(name: string): string {
  return `.${name}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`
}

/**
 * Removes the temporary files that dead processes left in a directory, if there is one. Those of this process's own
 * number count as dead: nothing may be staged there meanwhile.
 */
export function removeLeftovers(directory: string): void {
  if (!fs.existsSync(directory)) return
  for (const name of fs.readdirSync(directory)) {
    const pid = /^\..+\.(\d{1,10})\.[0-9a-f]{8}\.tmp$/.exec(name)?.[1]
    if (pid === undefined || (Number(pid) !== process.pid && isRunning(Number(pid)))) continue
    fs.rmSync(path.join(directory, name), { force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process exists, though it may not be signalled.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
