// Whether the files that weights are read from stay as they were while a run reads them: another program that writes into one
// would make the rest of the run one of other weights, and nothing would say so. A file that is replaced or removed goes on
// being read as it was. Looks at what the system says of files, not into them.

import fs from 'node:fs'
import { UserError } from '../compiler/diagnostic.ts'
import { readFailure } from '../formats/files.ts'

interface Held {
  readonly file: string
  readonly descriptor: number
  seen: fs.BigIntStats
}

export class WeightFiles {
  readonly #held: Held[] = []

  /** Errors: HD401. */
  constructor(files: Iterable<string>) {
    for (const file of new Set(files)) {
      try {
        const descriptor = fs.openSync(file, 'r')
        this.#held.push({ file, descriptor, seen: statusOf(descriptor) })
      } catch (error) {
        this.close()
        throw readFailure(file, error)
      }
    }
  }

  /** UserError HD836 where something was written into a file. */
  refuseChanged(): void {
    for (const held of this.#held) {
      const { file, descriptor, seen } = held
      const now = statusOf(descriptor)
      if (wasWritten(seen, now, file)) {
        throw new UserError('HD836', 'this file of weights has changed while the run was reading it', {
          place: { file },
          mend: 'bring it back as it was and start again, a training run with --resume',
        })
      }
      held.seen = now
    }
  }

  close(): void {
    for (const { descriptor } of this.#held.splice(0)) fs.closeSync(descriptor)
  }
}

function statusOf(descriptor: number): fs.BigIntStats {
  return fs.fstatSync(descriptor, { bigint: true })
}

/**
 * As far as the clock of the file system tells moments apart. When a file was modified can be put back (`touch -r`, `cp -p`), when
 * its status changed cannot; but that also changes with a name, an owner or a mode, by which no byte becomes another. Where
 * nothing of that kind explains it, it was a write.
 */
function wasWritten(before: fs.BigIntStats, now: fs.BigIntStats, file: string): boolean {
  if (now.size !== before.size || now.mtimeNs !== before.mtimeNs) return true
  if (now.ctimeNs === before.ctimeNs) return false
  const isExplained = (['nlink', 'mode', 'uid', 'gid'] as const).some((key) => now[key] !== before[key])
  return !isExplained && isStillAt(file, now)
}

/** Whether a name is still that of this file, and has not been given to another or to none. */
function isStillAt(file: string, { dev, ino }: fs.BigIntStats): boolean {
  try {
    const there = fs.statSync(file, { bigint: true })
    return there.dev === dev && there.ino === ino
  } catch {
    return false
  }
}
