// The end of a run: what was trained, as a directory that others load, and the curve. Knows where values can be read, not whether a
// program has them or a saved state.

import path from 'node:path'
import type { Session } from '../backends/neon/driver/index.ts'
import type { Program } from '../compiler/plan/program.ts'
import type { Recipe } from '../dsl/index.ts'
import { writeFiles } from '../formats/files.ts'
import type { WriteOptions } from '../formats/files.ts'
import { lossCurveSvg } from './lossCurve.ts'
import type { Figures, MetricsFile } from './metrics.ts'
import type { PreparedModel } from './prepare.ts'
import { saveTrained } from './save.ts'
import type { StepFigures } from './trainer.ts'
import type { Best, HeldOutFigures } from './watch.ts'

export interface LoopResult {
  /** `early`: held-out records showed no improvement for as long as the recipe waits. */
  readonly outcome: 'finished' | 'early' | 'stopped'
  /** From the first step on, those before a resumption included. */
  readonly figures: readonly StepFigures[]
  readonly heldOut: readonly HeldOutFigures[]
  /** Steps that were made, and of how many. */
  readonly steps: number
  readonly total: number
  /** Directory of the adapter or model; undefined when the run was stopped before its first step. */
  readonly saved: string | undefined
  /** Whose weights were saved; undefined where nothing was held out: the last ones then. */
  readonly best: Best | undefined
  readonly metrics: string | undefined
  readonly curve: string | undefined
}

export interface ResultSettings {
  readonly recipe: Pick<Recipe, 'adapt'>
  readonly model: Pick<PreparedModel, 'checkpoint' | 'traced' | 'baseName'>
  readonly program: Program
  readonly out: string
  /** What the picture calls the run. */
  readonly title: string
  /** Operations that stand in for the system's. */
  readonly files?: WriteOptions
}

/** How a run came to its end. */
export interface Ending extends Pick<LoopResult, 'outcome' | 'steps' | 'total' | 'best'> {
  readonly metrics: Pick<MetricsFile, 'path' | 'figures'> | undefined
}

/** Writes what was trained, which `values` has, and the curve. `saved` is called between the two. Errors: HD405, HD408. */
export async function writeResults(
  { recipe, model, program, out, title, files }: ResultSettings,
  { metrics, ...ending }: Ending,
  values: Pick<Session, 'read'>,
  saved: (directory: string) => void = () => {},
): Promise<LoopResult> {
  const { steps: figures, heldOut }: Figures = metrics?.figures ?? { steps: [], heldOut: [] }
  const directory = await saveTrained(out, recipe, model, program, values, files)
  saved(directory)
  const curve = path.join(out, 'loss.svg')
  if (figures.length > 0) {
    const points = heldOut.map(({ step: after, heldout_loss }) => ({ step: after, loss: heldout_loss }))
    const svg = lossCurveSvg(figures, `${title}: loss over ${ending.steps} steps`, {
      points,
      ...(ending.best ? { best: ending.best.step } : {}),
    })
    writeFiles([{ path: curve, chunks: [Buffer.from(svg)] }], files)
  }
  const drawn = figures.length > 0 ? curve : undefined
  return { ...ending, figures, heldOut, saved: directory, metrics: metrics?.path, curve: drawn }
}
