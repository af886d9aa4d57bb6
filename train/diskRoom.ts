// Whether a disk has room for a run whose trained values are in a file, before the hours that it takes to find out. Asks the file
// system; writes nothing.

import fs from 'node:fs'
import { UserError } from '../compiler/diagnostic.ts'
import type { StateCertificate } from './certificate.ts'
import type { SavedState } from './runState.ts'

/** States that a resumed run saves before the file that it went on from is removed. */
const STATES_OF_BOTH = 2

/**
 * Bytes that have to be free: for the file and, at the end, the result beside it. A run that goes on and saves two states has
 * room for its result where the old file was.
 */
export function roomFor(
  { fileBytes, resultBytes }: Pick<StateCertificate, 'fileBytes' | 'resultBytes'>,
  steps: number,
  from?: Pick<SavedState, 'progress' | 'values'>,
): number {
  const isFreed = from !== undefined && 'kept' in from.values && steps - from.progress.step >= STATES_OF_BOTH
  return isFreed ? Math.max(fileBytes, resultBytes) : fileBytes + resultBytes
}

/** UserError HD837 where a run of so many steps finds no room in `out`; `state` is undefined where what is trained is in memory. */
export function refuseWithoutRoom(
  out: string,
  state: StateCertificate | undefined,
  steps: number,
  from: SavedState | undefined,
  freeIn: (directory: string) => number = freeBytes,
): void {
  if (state === undefined) return
  const [needed, free] = [roomFor(state, steps, from), freeIn(out)]
  if (free >= needed) return
  const tenths = 2 ** 20 / 10
  const [wanted, there] = [Math.ceil(needed / tenths) / 10, Math.floor(free / tenths) / 10]
  throw new UserError(
    'HD837',
    `what is trained and its result need ${wanted} MiB of disk here; ${there} MiB are free`,
    {
      place: { file: out },
      mend: 'make room, or give another --out',
    },
  )
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = fs.statfsSync(directory)
  return bavail * bsize
}
