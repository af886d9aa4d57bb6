// `metrics.jsonl`: one JSON object per optimizer step, on the disk as soon as the step is done. Knows no session.

import fs from 'node:fs'
import path from 'node:path'
import { makeDirectory, writeFailure } from '../formats/files.ts'
import type { StepFigures } from './trainer.ts'

const NAME = 'metrics.jsonl'
/** What an earlier run in the same directory left is kept under this name. */
const PREVIOUS = 'metrics.previous.jsonl'
const kept = 'the run stops here and earlier results are unchanged'

export class MetricsFile {
  readonly path: string
  readonly #descriptor: number

  /** Begins the file in a directory, which is made. Errors: HD405. */
  constructor(directory: string, open: (path: string) => number = (file) => fs.openSync(file, 'w')) {
    makeDirectory(directory)
    this.path = path.join(directory, NAME)
    try {
      if (fs.existsSync(this.path)) fs.renameSync(this.path, path.join(directory, PREVIOUS))
      this.#descriptor = open(this.path)
    } catch (error) {
      throw writeFailure(this.path, error, kept)
    }
  }

  /** Errors: HD405. */
  append(figures: StepFigures): void {
    const line = Buffer.from(`${JSON.stringify(figures)}\n`)
    try {
      for (let done = 0; done < line.length;) done += fs.writeSync(this.#descriptor, line, done)
    } catch (error) {
      throw writeFailure(this.path, error, kept)
    }
  }

  close(): void {
    fs.closeSync(this.#descriptor)
  }
}
