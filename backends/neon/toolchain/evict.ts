// Keeps a folder of compiled results under a bound: what was used longest ago goes first. Other processes may read the
// same folder, and may evict from it, at any time. Knows no compiler and not how an entry is made.

import { randomUUID } from 'node:crypto'
import { readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'

export interface CacheBound {
  /** Of all entries together. */
  readonly bytes: number
  /** An entry that was used within this time stays whatever the bound: somebody may be about to start it. */
  readonly idleMilliseconds: number
}

export const usualBound: CacheBound = { bytes: 2 * 1024 ** 3, idleMilliseconds: 60 * 60 * 1000 }

/** A compilation ends within minutes; a folder of work that is older belonged to a process that was killed. */
const ABANDONED_MILLISECONDS = 24 * 60 * 60 * 1000

/** Says that an entry is used now. A cache that cannot be written forgets it. */
export async function markUsed(entry: string): Promise<void> {
  const now = new Date()
  await utimes(entry, now, now).catch(() => undefined)
}

/**
 * Removes entries of `folder` other than `kept`, those used longest ago first, until the rest fits the bound, and what
 * killed processes left.
 * An entry is moved away before it is removed, so that none is ever seen in part; who has opened a file of it keeps the
 * file. Never throws: what cannot be removed stays.
 */
export async function evict(folder: string, kept: string, bound: CacheBound): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  const now = Date.now()
  const entries: { path: string; used: number; bytes: number }[] = []
  for (const name of names) {
    const path = join(folder, name)
    const used = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    )
    if (used === undefined) continue
    if (!name.startsWith('.')) entries.push({ path, used, bytes: await bytesIn(path) })
    else if (now - used > ABANDONED_MILLISECONDS) await remove(path)
  }
  let total = entries.reduce((sum, { bytes }) => sum + bytes, 0)
  for (const { path, used, bytes } of entries.sort((a, b) => a.used - b.used)) {
    if (total <= bound.bytes || now - used < bound.idleMilliseconds) return
    if (path === kept) continue
    const doomed = join(folder, `.evicted-${randomUUID()}`)
    const isMoved = await rename(path, doomed).then(
      () => true,
      () => false,
    )
    if (isMoved) await remove(doomed)
    total -= bytes
  }
}

async function bytesIn(entry: string): Promise<number> {
  const names = await readdir(entry).catch(() => [])
  const sizes = names.map((name) => stat(join(entry, name)).catch(() => undefined))
  return (await Promise.all(sizes)).reduce((sum, found) => sum + (found?.size ?? 0), 0)
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => undefined)
}
