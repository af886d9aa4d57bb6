// Everything that can be said about a recipe without compiling it: types, values, graph, records. Downloads nothing.

import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { checkFile } from '../compiler/frontend/check.ts'
import { trainingPasses } from '../compiler/pipeline.ts'
import { runPasses } from '../compiler/transform/runner.ts'
import { noRecords, streamRecords } from '../data/records.ts'
import { adaptationOf, optimizerOf } from './compileRecipe.ts'
import { loadRecipe } from './loadRecipe.ts'
import { layoutOf, prepareModel } from './prepare.ts'

export interface CheckReport {
  readonly problems: readonly UserError[]
  /** What could not be looked at, and why. */
  readonly notes: readonly string[]
}

/** All type errors, or else the first thing that evaluating, building the graph, or reading the records refuses. */
export async function checkRecipe(file: string): Promise<CheckReport> {
  const problems: UserError[] = []
  const notes: string[] = []
  const attempt = async (action: () => void | Promise<void>): Promise<void> => {
    try {
      await action()
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      problems.push(error)
    }
  }
  await attempt(() => {
    for (const { sentence, place } of checkFile(file)) problems.push(new UserError('HD111', sentence, { place }))
  })
  if (problems.length > 0) return { problems, notes }
  await attempt(async () => {
    const loaded = await loadRecipe(file)
    const { recipe, folder } = loaded
    await attempt(async () => {
      const model = await prepareModel(loaded, { offline: true }).catch((error: unknown) => {
        if (!(error instanceof UserError) || error.code !== 'HD424') throw error
        notes.push(`${recipe.model.source} has not been downloaded yet, so its graph was not built`)
        return undefined
      })
      if (!model) return
      const { graph, provenance } = model.traced
      const passes = trainingPasses({
        adaptation: adaptationOf(recipe, model.traced),
        optimizer: optimizerOf(recipe, recipe.batch.steps ?? 1),
        checkpoints: 'none',
      })
      runPasses(graph, passes, { provenance })
    })
    await attempt(() => {
      const records = path.resolve(folder, recipe.data.path)
      let count = 0
      for (const _record of streamRecords(records, layoutOf(recipe.data))) count++
      if (count === 0) throw noRecords(records)
    })
  })
  return { problems, notes }
}
