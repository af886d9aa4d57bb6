// Everything that can be said about a recipe without compiling it: types, values, graph, records. Downloads nothing.

import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { checkFile, openDecisions } from '../compiler/frontend/check.ts'
import { trainingPasses } from '../compiler/pipeline.ts'
import { runPasses } from '../compiler/transform/runner.ts'
import { refuseWithoutExamples } from '../data/examples.ts'
import type { Examples } from '../data/examples.ts'
import { noRecords, streamRecords } from '../data/records.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { atWriting } from '../dsl/index.ts'
import { adaptationOf, optimizerOf } from './compileRecipe.ts'
import { loadRecipe } from './loadRecipe.ts'
import type { LoadedRecipe } from './loadRecipe.ts'
import { endOfText, prepareModel, tokenizerOf } from './prepare.ts'
import type { PreparedModel } from './prepare.ts'
import { layoutOf, readExamples, recordsFile } from './recipeData.ts'

export interface CheckReport {
  readonly problems: readonly UserError[]
  /** What could not be looked at, and why. */
  readonly notes: readonly string[]
}

/** All type errors, or else the first thing that evaluating, building the graph, or reading the records refuses. */
export async function checkRecipe(file: string): Promise<CheckReport> {
  const problems: UserError[] = []
  const notes: string[] = []
  const attempt = async <T>(action: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      problems.push(error)
      return undefined
    }
  }
  await attempt(() => {
    for (const { sentence, place } of checkFile(file)) problems.push(new UserError('HD111', sentence, { place }))
  })
  if (problems.length > 0) return { problems, notes }
  for (const { place, text } of openDecisions(file)) {
    notes.push(`${path.basename(place.file)}:${place.line} is still to be decided: ${text}`)
  }
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
    const tokenizer = await attempt(() => model && tokenizerOf(model))
    const heldOut = recipe.evaluate?.data
    for (const source of heldOut === undefined ? [recipe.data.path] : [recipe.data.path, heldOut]) {
      await attempt(() => {
        if (model && tokenizer) notes.push(...checkExamples(loaded, model, tokenizer, source))
        else checkRecords(loaded, source)
      })
    }
  })
  // Two files of one template have the same to note.
  return { problems, notes: [...new Set(notes)] }
}

/** Reads records as training does, tokens and all; refuses what training refuses. Returns what the user should know. */
function checkExamples(loaded: LoadedRecipe, model: PreparedModel, tokenizer: Tokenizer, source: string): string[] {
  const { length } = loaded.recipe.batch
  const { examples, file, notes } = readExamples(loaded, tokenizer, endOfText(tokenizer, model.checkpoint), source)
  refuseWithoutExamples(examples, file, length)
  return [...notes, ...lossNotes(examples, path.basename(file), length)]
}

/** How many records do not go into the batch's length as they are. */
function lossNotes({ lines }: Examples, name: string, length: number): string[] {
  const dropped = new Set(lines.dropped)
  const cut = new Set(lines.truncated.filter((line) => !dropped.has(line)))
  const records = (count: number): string => (count === 1 ? '1 record is' : `${count} records are`)
  const told = [
    [cut.size, `cut short to ${length} positions`],
    [dropped.size, `left out, since within ${length} positions there is nothing to learn`],
  ] as const
  return told.flatMap(([count, what]) => (count > 0 ? [`${name}: ${records(count)} ${what}`] : []))
}

/** Reads records without a tokenizer: whether each of them is one. */
function checkRecords(loaded: LoadedRecipe, source: string): void {
  const file = recordsFile(loaded, source)
  let isEmpty = true
  for (const _ of streamRecords(file, layoutOf(loaded.recipe.data))) isEmpty = false
  if (isEmpty) throw noRecords(file)
}
