// Whether the files that weights are read from stay as they were while a run reads them: another program that writes into one
// would make the rest of the run one of other weights, and nothing would say so. A file that is replaced or removed goes on
// being read as it was. Looks at what the system says of files, not into them.

import fs from 'node:fs'
import { UserError } from '../compiler/diagnostic.ts'
import { readFailure } from '../formats/files.ts'

interface Held {
  readonly file: string
  readonly descriptor: number
  readonly sign: string
}

export class WeightFiles {
  readonly #held: Held[] = []

  /** Errors: HD401. */
  constructor(files: Iterable<string>) {
    for (const file of new Set(files)) {
      try {
        const descriptor = fs.openSync(file, 'r')
        this.#held.push({ file, descriptor, sign: signOf(descriptor) })
      } catch (error) {
        this.close()
        throw readFailure(file, error)
      }
    }
  }

  /** UserError HD836 where something was written into a file. */
  refuseChanged(): void {
    for (const { file, descriptor, sign } of this.#held) {
      if (signOf(descriptor) === sign) continue
      throw new UserError('HD836', 'this file of weights has changed while the run was reading it', {
        place: { file },
        mend: 'bring it back as it was and give --resume: what was saved is of the weights before',
      })
    }
  }

  close(): void {
    for (const { descriptor } of this.#held.splice(0)) fs.closeSync(descriptor)
  }
}

/** Another one after each write, as far as the clock of the file system tells writes apart. */
function signOf(descriptor: number): string {
  const { size, mtimeNs } = fs.fstatSync(descriptor, { bigint: true })
  return `${size} ${mtimeNs}`
}
