// Reading files with a size bound and replacing files as a whole: a reader of the old name sees all of the old bytes or
// all of the new ones. Knows nothing of what the bytes mean.

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { makeDirectories, tryDirectory } from './directories.ts'
import { fileOperations, PIECE, StagedFiles } from './staging.ts'
import type { FileOperations } from './staging.ts'

/** The system's code of a failed file operation (`ENOENT`, `ENOSPC`), or undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Text from a file, made safe to print: quoted, shortened, without control characters a terminal would obey. */
export function quote(text: string): string {
  const short = text.length > 100 ? `${text.slice(0, 97)}...` : text
  return printable(JSON.stringify(short))
}

/** A value of a file's JSON, made safe to print; a value that is no text prints as JSON. */
export function quoteValue(value: unknown): string {
  return quote(typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined'))
}

/** Text with every character that steers a terminal or turns the direction of writing spelled out as its code. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const READ_FAILURES: Readonly<Record<string, string>> = {
  ENOENT: 'the file does not exist',
  ENOTDIR: 'the file does not exist',
  EISDIR: 'this is a directory, not a file',
  EACCES: 'the file may not be read',
  EPERM: 'the file may not be read',
  ELOOP: 'the symbolic links go round in a circle',
  ENAMETOOLONG: 'the file name is too long',
  ERR_INVALID_ARG_VALUE: 'the file name holds a zero byte',
}

/** Turns a failed read into a sentence (HD401). */
export function readFailure(file: string, error: unknown): UserError {
  if (error instanceof UserError) return error
  const code = systemCode(error)
  const sentence = code === undefined ? undefined : READ_FAILURES[code]
  return new UserError('HD401', sentence ?? `the file cannot be read (${code ?? String(error)})`, {
    place: { file: printable(file) },
    cause: error,
  })
}

const WRITE_FAILURES: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file system does not hold files of this size',
  EACCES: 'the file may not be written',
  EPERM: 'the file may not be written',
  EROFS: 'the file system is read-only',
  ENOENT: 'the directory does not exist',
  ENOTDIR: 'a part of the path is a file, not a directory',
  EISDIR: 'a directory stands where the file should go',
  EEXIST: 'a file stands where the directory should go',
  ENAMETOOLONG: 'the file name is too long',
}

/** Of a directory that is to be made where those above it are there. */
const NO_DIRECTORIES = 'the file system takes no new directories there'

/** The system's reason in words, where there are some for it. */
function writeReason(error: unknown): string | undefined {
  const code = systemCode(error)
  if (code === 'ENOENT' && String((error as NodeJS.ErrnoException).syscall).startsWith('mkd')) return NO_DIRECTORIES
  return code === undefined ? undefined : WRITE_FAILURES[code]
}

/** Turns a failed write into a sentence (HD405); `kept` says what became of the data that was there. */
export function writeFailure(file: string, error: unknown, kept: string): UserError {
  if (error instanceof UserError) return error
  const sentence = writeReason(error) ?? `the file cannot be written (${systemCode(error) ?? String(error)})`
  return new UserError('HD405', `${sentence}, ${kept}`, { place: { file: printable(file) }, cause: error })
}

/** What stands at a path, links followed; undefined for nothing, or for what cannot be reached. */
export function statusOf(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file)
  } catch {
    return undefined
  }
}

/**
 * Opens a regular file for reading, gives it to `use` with its size in bytes, and closes it. Directories, pipes and
 * devices are refused without blocking. Errors: HD401.
 */
export function withFile<Result>(file: string, use: (descriptor: number, size: number) => Result): Result {
  let descriptor: number
  try {
    // Without O_NONBLOCK, opening a named pipe that nobody writes to would wait for ever.
    descriptor = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0))
  } catch (error) {
    throw readFailure(file, error)
  }
  try {
    const status = fs.fstatSync(descriptor)
    if (!status.isFile()) throw new UserError('HD401', 'this is not a regular file', { place: { file } })
    return use(descriptor, status.size)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Fills `target` from the file, starting at byte `position`. Errors: HD401 when the file ends before that. */
export function readFully(file: string, descriptor: number, target: Uint8Array, position: number): void {
  let done = 0
  while (done < target.byteLength) {
    let count: number
    try {
      count = fs.readSync(descriptor, target, done, Math.min(PIECE, target.byteLength - done), position + done)
    } catch (error) {
      throw readFailure(file, error)
    }
    if (count === 0) {
      throw new UserError('HD401', 'the file ends before its data does', {
        place: { file, at: `byte ${position + done}` },
      })
    }
    done += count
  }
}

/** The whole of a file of at most `limit` bytes. Errors: HD401. */
export function readBounded(file: string, limit: number): Uint8Array<ArrayBuffer> {
  return withFile(file, (descriptor, size) => {
    if (size > limit) {
      throw new UserError('HD401', `the file has ${size} bytes, more than the ${limit} that such a file may have`, {
        place: { file },
      })
    }
    const bytes = new Uint8Array(size)
    readFully(file, descriptor, bytes, 0)
    return bytes
  })
}

/** A file to be written: where, and its bytes in order. */
export interface NewFile {
  readonly path: string
  readonly chunks: Iterable<Uint8Array>
  /**
   * Nobody reads the directory without this file, which is small. Where its bytes change it is taken away before other
   * files get their names, and comes back last: a crash leaves no directory made of two.
   */
  readonly completes?: true
}

/** Operations that stand in for the system's. */
export type WriteOptions = Partial<FileOperations>

/** Makes a directory and those above it; they outlast a crash. Errors: HD405. */
export function makeDirectory(directory: string): void {
  try {
    for (const made of makeDirectories(directory).reverse()) fileOperations.syncDirectory(path.dirname(made))
  } catch (error) {
    throw writeFailure(directory, error, 'nothing was written')
  }
}

/**
 * Writes files as a whole: all bytes of all files are on the disk under temporary names before the first one is renamed,
 * so a full disk or a bad chunk changes nothing that was there, and a crash can at worst fall between two renames.
 * Errors: HD405, after the temporary files are removed.
 */
export function writeFiles(files: readonly NewFile[], options: WriteOptions = {}): void {
  const staged = new StagedFiles(options)
  const completing = files.filter((file) => file.completes)
  try {
    for (const file of [...files.filter((one) => !one.completes), ...completing]) {
      staged.begin(file.path)
      for (const chunk of file.chunks) staged.append(chunk)
      staged.finish()
    }
    for (const file of completing) removeIfOther(file, { ...fileOperations, ...options })
    staged.commit()
  } catch (error) {
    staged.discard()
    throw writeFailure(staged.current, error, 'what was there before is unchanged')
  }
}

/**
 * Refuses a place where no file can come to be, before the work for it is done: a folder, a part of the path that is a file,
 * a folder above it that takes nothing new. Errors: HD405; `kept` says what became of the work.
 */
export function refuseUnwritable(file: string, kept: string): void {
  const whole = path.resolve(file)
  if (statusOf(whole)?.isDirectory() === true) throw noFileAt(file, 'EISDIR', kept)
  let above = path.dirname(whole)
  while (!fs.existsSync(above) && above !== path.dirname(above)) above = path.dirname(above)
  if (statusOf(above)?.isDirectory() !== true) throw noFileAt(file, 'ENOTDIR', kept)
  try {
    tryDirectory(above)
  } catch (error) {
    throw writeFailure(file, error, kept)
  }
}

function noFileAt(file: string, code: string, kept: string): UserError {
  return new UserError('HD405', `${WRITE_FAILURES[code]}, ${kept}`, {
    place: { file: printable(file) },
    mend: 'name a file',
  })
}

/**
 * Writes one file of text as a whole, and makes the folders that it goes to: what every command does whose option names a
 * file. Errors: HD405.
 */
export function writeOutput(file: string, text: string): void {
  const whole = path.resolve(file)
  refuseUnwritable(file, 'nothing was written')
  makeDirectory(path.dirname(whole))
  writeFiles([{ path: whole, chunks: [Buffer.from(text)] }])
}

function removeIfOther({ path: file, chunks }: NewFile, operations: FileOperations): void {
  if (!fs.existsSync(file) || Buffer.concat([...chunks]).equals(fs.readFileSync(file))) return
  operations.remove(file)
  operations.syncDirectory(path.dirname(file))
}

/** Bytes of a file that are held at a time while it is hashed. */
const WINDOW = 4 * 1024 * 1024

/** Size and SHA-256 (hexadecimal) of a file. Errors: HD401. */
export function measureFile(file: string): { readonly bytes: number; readonly sha256: string } {
  return withFile(file, (descriptor, size) => {
    const hash = createHash('sha256')
    const window = new Uint8Array(Math.min(WINDOW, size))
    for (let done = 0; done < size; done += window.byteLength) {
      const part = window.subarray(0, Math.min(window.byteLength, size - done))
      readFully(file, descriptor, part, done)
      hash.update(part)
    }
    return { bytes: size, sha256: hash.digest('hex') }
  })
}
