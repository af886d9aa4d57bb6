// The files in which a program keeps what it trains where that does not fit memory: one beside the results of a run, which the
// saved states name. Knows names and directories, nothing of what is inside.

import fs from 'node:fs'
import path from 'node:path'
import { writeFailure } from '../formats/files.ts'

const NAME = /^trained-(\d{1,15})\.bin$/

export function isStateFileName(name: string): boolean {
  return NAME.test(name)
}

export class StateFiles {
  readonly #out: string

  constructor(out: string) {
    this.#out = out
  }

  /** A path that no file has yet. */
  fresh(): string {
    const numbers = this.#names().map((name) => Number(NAME.exec(name)?.[1] ?? 0))
    return path.join(this.#out, `trained-${Math.max(0, ...numbers) + 1}.bin`)
  }

  /** Where a file of that name lies, beside the results or in a directory of states that was put aside whole. */
  find(name: string, states: string): string | undefined {
    return [this.#out, states].map((dir) => path.join(dir, name)).find((file) => fs.existsSync(file))
  }

  /** Errors: HD405. */
  removeOthers(kept: ReadonlySet<string>): void {
    this.#others(kept, (file) => fs.rmSync(file, { force: true }))
  }

  /** Errors: HD405. */
  moveOthers(kept: ReadonlySet<string>, to: string): void {
    this.#others(kept, (file) => fs.renameSync(file, path.join(to, path.basename(file))))
  }

  #others(kept: ReadonlySet<string>, act: (file: string) => void): void {
    for (const name of this.#names()) {
      if (kept.has(name)) continue
      const file = path.join(this.#out, name)
      try {
        act(file)
      } catch (error) {
        throw writeFailure(file, error, 'states that were saved are unchanged')
      }
    }
  }

  #names(): string[] {
    return fs.existsSync(this.#out) ? fs.readdirSync(this.#out).filter(isStateFileName) : []
  }
}
