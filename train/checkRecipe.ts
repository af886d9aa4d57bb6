// Everything that can be said about a recipe without compiling it: types, values, graph, records. Downloads nothing.

import { UserError } from '../compiler/diagnostic.ts'
import { checkFile } from '../compiler/frontend/check.ts'
import { trainingPasses } from '../compiler/pipeline.ts'
import { runPasses } from '../compiler/transform/runner.ts'
import { asConversation } from '../data/chatAnswers.ts'
import { noRecords, streamRecords } from '../data/records.ts'
import type { TrainingRecord } from '../data/records.ts'
import { atWriting } from '../dsl/index.ts'
import type { ChatRecords } from '../dsl/index.ts'
import { adaptationOf, optimizerOf } from './compileRecipe.ts'
import { loadRecipe } from './loadRecipe.ts'
import { prepareModel, tokenizerOf } from './prepare.ts'
import type { PreparedModel } from './prepare.ts'
import { dateNote, layoutOf, recordsFile, templateOf } from './recipeData.ts'

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
    const { recipe } = loaded
    let model: PreparedModel | undefined
    await attempt(async () => {
      model = await prepareModel(loaded, { offline: true }).catch((error: unknown) => {
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
      try {
        runPasses(graph, passes, { provenance })
      } catch (error) {
        throw atWriting(recipe.adapt, error)
      }
    })
    const heldOut = recipe.evaluate?.data
    const files = [recordsFile(loaded), ...(heldOut === undefined ? [] : [recordsFile(loaded, heldOut)])]
    for (const records of files) {
      await attempt(() => {
        const write =
          model && recipe.data.kind === 'chat' ? conversationWriter(recipe.data, model, records, notes) : undefined
        let count = 0
        for (const record of streamRecords(records, layoutOf(recipe.data))) {
          count++
          write?.(record)
        }
        if (count === 0) throw noRecords(records)
      })
    }
  })
  // Two files of one template have the same to note.
  return { problems, notes: [...new Set(notes)] }
}

/** Writes a conversation out by the checkpoint's template, which refuses roles out of order. */
function conversationWriter(
  data: ChatRecords,
  model: PreparedModel,
  file: string,
  notes: string[],
): (record: TrainingRecord) => void {
  const template = templateOf(data, tokenizerOf(model))
  notes.push(...dateNote(data, template))
  return (record) => {
    if (!('text' in record)) template.render(asConversation(record).messages, false, { file, line: record.line })
  }
}
