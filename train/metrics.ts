// `metrics.jsonl`: one JSON object per optimizer step, per evaluation and per decision about energy, written as soon as it is there. A run that is
// resumed goes on in it behind its last saved step. Knows no session.

import fs from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { makeDirectory, readBounded, writeFailure } from '../formats/files.ts'
import type { WriteOptions } from '../formats/files.ts'
import { fileOperations, writeFully } from '../formats/staging.ts'
import type { FileOperations } from '../formats/staging.ts'
import type { DecisionFigures, EnergyFigures } from './energy.ts'
import type { StepFigures } from './trainer.ts'
import type { HeldOutFigures } from './watch.ts'

const NAME = 'metrics.jsonl'
/** What an earlier run in the same directory left is kept under this name. */
const PREVIOUS = 'metrics.previous.jsonl'
const kept = 'the run stops here and earlier results are unchanged'
/** A line has some 200 bytes: two million steps. */
const MAX_BYTES = 512 * 1024 * 1024

const stepSchema = z.object({
  step: z.number().int().positive(),
  loss: z.number(),
  gradient_norm: z.number(),
  rate: z.number(),
  tokens: z.number(),
  seconds: z.number(),
  peak_bytes: z.number(),
})

const heldOutSchema = z.object({
  step: z.number().int().positive(),
  heldout_loss: z.number(),
  best: z.boolean(),
  seconds: z.number(),
})

/** Decisions about energy and what was used; only their places matter when a run goes on. */
const energySchema = z.union([
  z.object({ step: z.number().int().nonnegative(), decision: z.string() }),
  z.object({ step: z.number().int().positive(), computing_seconds: z.number() }),
])

/** The figures of a run so far, in the order of its steps. */
export interface Figures {
  readonly steps: StepFigures[]
  readonly heldOut: HeldOutFigures[]
}

export class MetricsFile {
  readonly path: string
  /** What the file holds. */
  readonly figures: Figures
  readonly #descriptor: number
  readonly #operations: FileOperations

  /**
   * Begins the file in a directory, which is made; with `after`, goes on behind the lines up to that step, and whatever
   * follows them is cut off. Errors: HD405, HD401.
   */
  constructor(directory: string, options: WriteOptions = {}, after = 0) {
    this.#operations = { ...fileOperations, ...options }
    makeDirectory(directory)
    this.path = path.join(directory, NAME)
    const isThere = fs.existsSync(this.path)
    const { figures, bytes } =
      isThere && after > 0 ? linesUpTo(this.path, after) : { figures: { steps: [], heldOut: [] }, bytes: 0 }
    this.figures = figures
    try {
      if (isThere && after > 0) {
        fs.truncateSync(this.path, bytes)
        this.#descriptor = fs.openSync(this.path, 'a')
        return
      }
      if (isThere) fs.renameSync(this.path, path.join(directory, PREVIOUS))
      this.#descriptor = this.#operations.open(this.path)
    } catch (error) {
      throw writeFailure(this.path, error, kept)
    }
  }

  /** Errors: HD405. */
  step(figures: StepFigures): void {
    this.#append(figures)
    this.figures.steps.push(figures)
  }

  /** Errors: HD405. */
  heldOut(figures: HeldOutFigures): void {
    this.#append(figures)
    this.figures.heldOut.push(figures)
  }

  /** Errors: HD405. */
  energy(figures: EnergyFigures | DecisionFigures): void {
    this.#append(figures)
  }

  /** Returns once all lines are on the disk: a state must not be newer than its figures. Errors: HD405. */
  sync(): void {
    try {
      this.#operations.sync(this.#descriptor)
    } catch (error) {
      throw writeFailure(this.path, error, kept)
    }
  }

  close(): void {
    fs.closeSync(this.#descriptor)
  }

  #append(figures: object): void {
    try {
      writeFully(this.#operations, this.#descriptor, Buffer.from(`${JSON.stringify(figures)}\n`))
    } catch (error) {
      throw writeFailure(this.path, error, kept)
    }
  }
}

/** Whole lines from the beginning that belong to steps up to one, and how many bytes they take. */
function linesUpTo(file: string, last: number): { figures: Figures; bytes: number } {
  const content = Buffer.from(readBounded(file, MAX_BYTES).buffer)
  const figures: Figures = { steps: [], heldOut: [] }
  let bytes = 0
  for (let end = content.indexOf(0x0a); end >= 0; end = content.indexOf(0x0a, bytes)) {
    const line = parsed(content.toString('utf8', bytes, end))
    const step = stepSchema.safeParse(line)
    const heldOut = heldOutSchema.safeParse(line)
    const energy = energySchema.safeParse(line)
    if (step.success && step.data.step <= last) figures.steps.push(step.data)
    else if (heldOut.success && heldOut.data.step <= last) figures.heldOut.push(heldOut.data)
    else if (!energy.success || energy.data.step > last) break
    bytes = end + 1
  }
  return { figures, bytes }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
