// One file of a repository into the blobs of the cache: resumed by range request, checked by hash, kept as a partial file
// when interrupted. Knows neither snapshots nor which files a model has.

import { createHash, randomBytes } from 'node:crypto'
import type { Hash } from 'node:crypto'
import fs from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { makeDirectories } from './directories.ts'
import { statusOf, systemCode, writeFailure } from './files.ts'
import { asInterruption, getFile, Interruption, sleep, watchStall } from './hub-transport.ts'
import type { Hub, RemoteFile } from './hub-transport.ts'

export interface Progress {
  readonly file: string
  /** Bytes on the disk so far, those of earlier attempts included. */
  readonly received: number
  readonly total: number
}

export interface DownloadOptions {
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Pauses between attempts, in milliseconds; as many attempts in a row may fail without a new byte. */
  readonly pauses: readonly number[]
  /** Opens the partial file; tests give one that is full. */
  readonly openPartial?: ((path: string) => Promise<FileHandle>) | undefined
}

/**
 * Fetches a file into `<blobs>/<hash>`, unless it is there. An interrupted or aborted download leaves its bytes in a
 * `.incomplete` file that the next one continues.
 * Errors: HD423 (the bytes are not those of the hash; they are deleted), HD405 (disk), HD421, HD422, the signal's reason.
 */
export async function downloadBlob(
  hub: Hub,
  name: string,
  remote: RemoteFile,
  blobs: string,
  options: DownloadOptions,
): Promise<void> {
  const blob = path.join(blobs, remote.hash)
  if (statusOf(blob)?.size === remote.size) return
  try {
    makeDirectories(blobs)
  } catch (error) {
    throw writeFailure(blobs, error, 'nothing was downloaded')
  }
  const partial = claimPartial(blobs, remote.hash)
  try {
    const digest = await receive(hub, name, remote, partial, options)
    if (digest !== remote.hash) {
      fs.rmSync(partial, { force: true })
      throw new UserError('HD423', `the download does not have the hash that the hub states, so it was deleted`, {
        place: { file: `${hub.repository}/${name}` },
        mend: 'try again; if it happens again, the network or a mirror changes the file',
      })
    }
    fs.renameSync(partial, blob)
  } catch (error) {
    releasePartial(partial, blobs, remote.hash)
    if (systemCode(error) !== undefined)
      throw writeFailure(blob, error, 'what was received is kept for the next attempt')
    throw error
  }
}

/**
 * The name under which this download alone writes. A partial file that nobody writes is taken over by renaming, which
 * only one of several processes can do: that of a finished attempt, or of a process on this machine that died.
 */
function claimPartial(blobs: string, hash: string): string {
  const machine = createHash('sha256').update(os.hostname()).digest('hex').slice(0, 8)
  const own = path.join(blobs, `${hash}.heddle-${machine}-${process.pid}-${randomBytes(4).toString('hex')}.incomplete`)
  const abandoned = fs
    .readdirSync(blobs)
    .filter((name) => name.startsWith(`${hash}.heddle-${machine}-`) && isAbandoned(name))
  for (const name of [releasedName(hash), ...abandoned]) {
    try {
      fs.renameSync(path.join(blobs, name), own)
      return own
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw writeFailure(path.join(blobs, name), error, 'nothing was downloaded')
    }
  }
  return own
}

function releasedName(hash: string): string {
  return `${hash}.heddle.incomplete`
}

function isAbandoned(name: string): boolean {
  const owner = /-(\d{1,10})-[0-9a-f]{8}\.incomplete$/.exec(name)?.[1]
  if (owner === undefined || Number(owner) === process.pid) return false
  try {
    process.kill(Number(owner), 0)
    return false
  } catch (error) {
    return systemCode(error) === 'ESRCH'
  }
}

function releasePartial(partial: string, blobs: string, hash: string): void {
  try {
    fs.renameSync(partial, path.join(blobs, releasedName(hash)))
  } catch {
    // It was deleted or never created; there is nothing to keep.
  }
}

/** Brings the partial file to its full size and returns the hash of its bytes. */
async function receive(
  hub: Hub,
  name: string,
  remote: RemoteFile,
  partial: string,
  options: DownloadOptions,
): Promise<string> {
  const file = await (options.openPartial ?? openPartial)(partial)
  try {
    let received = (await file.stat()).size
    if (received > remote.size) {
      await file.truncate(0)
      received = 0
    }
    const state: Transfer = { file, received, hash: await hashPrefix(file, received, remote) }
    const report = (): void => options.onProgress?.({ file: name, received: state.received, total: remote.size })
    report()
    for (let failures = 0; state.received < remote.size;) {
      const before = state.received
      try {
        await attempt(hub, name, remote, state, report)
      } catch (error) {
        if (!(error instanceof Interruption)) throw error
        failures = state.received > before ? 1 : failures + 1
        const pause = options.pauses[failures - 1]
        if (pause === undefined) {
          throw new UserError('HD422', `the download broke off and could not be continued: ${error.message}`, {
            place: { file: `${hub.repository}/${name}`, at: `byte ${state.received} of ${remote.size}` },
            mend: 'what was received is kept; run the command again to continue',
            cause: error,
          })
        }
        await sleep(pause, hub.signal)
      }
    }
    await file.truncate(remote.size)
    await file.sync()
    return state.hash.digest('hex')
  } finally {
    await file.close()
  }
}

function openPartial(partial: string): Promise<FileHandle> {
  return open(partial, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666)
}

interface Transfer {
  readonly file: FileHandle
  received: number
  hash: Hash
}

/** git names a blob by the SHA-1 of a small header and the content; LFS by the SHA-256 of the content. */
function newHash(remote: RemoteFile): Hash {
  return remote.hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${remote.size}\0`)
}

async function hashPrefix(file: FileHandle, length: number, remote: RemoteFile): Promise<Hash> {
  const hash = newHash(remote)
  const window = Buffer.alloc(Math.min(length, 1 << 20))
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(window, 0, Math.min(window.byteLength, length - done), done)
    if (bytesRead === 0) throw new UserError('HD405', 'another program changes the cache')
    hash.update(window.subarray(0, bytesRead))
    done += bytesRead
  }
  return hash
}

/** One request for what is missing; returns when the answer ends, throws an Interruption when it is cut off. */
async function attempt(hub: Hub, name: string, remote: RemoteFile, state: Transfer, report: () => void): Promise<void> {
  const watch = watchStall(hub)
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  try {
    const range: Record<string, string> = state.received > 0 ? { range: `bytes=${state.received}-` } : {}
    const response = await getFile(hub, remote.commit, name, range, watch.signal)
    if (response.body === null) throw new Interruption('the server sent nothing')
    reader = response.body.getReader()
    if (!continues(response, state.received, remote.size)) {
      // The server sends the file from its beginning, or will not continue: start over.
      await restart(state, remote)
      if (response.status !== 200) {
        throw new Interruption(`the server did not continue the file (it answered ${response.status})`)
      }
    }
    for (;;) {
      const chunk = await nextChunk(hub, reader)
      if (chunk === undefined) break
      watch.heard()
      if (state.received + chunk.byteLength > remote.size) {
        throw new UserError('HD422', `the server sends more than the ${remote.size} bytes it announced`, {
          place: { file: `${hub.repository}/${name}` },
        })
      }
      await writeAll(state.file, chunk, state.received)
      state.hash.update(chunk)
      state.received += chunk.byteLength
      report()
    }
    if (state.received < remote.size) throw new Interruption('the connection ended before the file did')
  } finally {
    watch.stop()
    await reader?.cancel().catch(() => undefined)
  }
}

/** The next bytes, or undefined at the end. Only here do errors of the connection arise, so only here are they tamed. */
async function nextChunk(hub: Hub, reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
  try {
    return (await reader.read()).value
  } catch (error) {
    throw asInterruption(error, hub)
  }
}

async function restart(state: Transfer, remote: RemoteFile): Promise<void> {
  state.received = 0
  state.hash = newHash(remote)
  await state.file.truncate(0)
}

/** Whether the body continues at byte `from`: a 206 that says exactly so, or the whole file when nothing is there yet. */
function continues(response: Response, from: number, size: number): boolean {
  if (from === 0) return response.status === 200
  return response.status === 206 && response.headers.get('content-range') === `bytes ${from}-${size - 1}/${size}`
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.byteLength;) {
    done += (await file.write(chunk, done, chunk.byteLength - done, position + done)).bytesWritten
  }
}
