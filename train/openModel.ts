// A model that is not trained here, found by directory, Hugging Face id or recipe, with what is needed to give it text.
// Compiles nothing.

import fs from 'node:fs'
import path from 'node:path'
import type { Recipe } from '../dsl/index.ts'
import { openCheckpoint } from '../formats/checkpoint.ts'
import type { Checkpoint } from '../formats/checkpoint.ts'
import { resolveModel } from '../formats/hub.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { modelFor } from '../models/index.ts'
import { loadRecipe } from './loadRecipe.ts'
import { modelSource, readModel, tokenizerOf } from './prepare.ts'

const sourceFile = /\.m?[jt]s$/

export interface OpenedModel {
  /** Undefined where a model was named. */
  readonly recipe: Recipe | undefined
  readonly definition: Recipe['model']['definition']
  readonly dir: string
  readonly checkpoint: Checkpoint
  readonly tokenizer: Tokenizer
  readonly vocabulary: number
  /** Positions that the model was made for; Infinity where its configuration does not say. */
  readonly positions: number
}

export interface OpenOptions {
  readonly resolving?: ResolveOptions | undefined
  /** A directory whose weights are read instead: what full fine-tuning saved, say. */
  readonly weights?: string | undefined
}

/** A model by its directory or Hugging Face id, or a recipe's model. UserError for whatever the user can mend. */
export async function openModel(modelOrRecipe: string, options: OpenOptions = {}): Promise<OpenedModel> {
  const isRecipe =
    sourceFile.test(modelOrRecipe) && !fs.statSync(modelOrRecipe, { throwIfNoEntry: false })?.isDirectory()
  const loaded = isRecipe ? await loadRecipe(modelOrRecipe) : undefined
  const source = loaded ? modelSource(loaded.recipe.model.source, loaded.folder) : modelOrRecipe
  const { dir } =
    options.weights === undefined ? await resolveModel(source, options.resolving) : { dir: options.weights }
  const checkpoint = openCheckpoint(dir)
  const definition = loaded?.recipe.model.definition ?? modelFor(checkpoint.config, path.join(dir, 'config.json'))
  // Once as short as can be, to know the vocabulary and with it what a text has as tokens.
  const { vocabulary } = readModel(definition, dir, { sequences: 1, length: 1 })
  const tokenizer = tokenizerOf({ checkpoint, vocabulary })
  return {
    recipe: loaded?.recipe,
    definition,
    dir,
    checkpoint,
    tokenizer,
    vocabulary,
    positions: positionsOf(checkpoint.config),
  }
}

/** Positions that the model was made for, where its configuration says so. */
function positionsOf(config: Readonly<Record<string, unknown>>): number {
  const nested = config['text_config']
  const text = typeof nested === 'object' && nested !== null ? (nested as Readonly<Record<string, unknown>>) : config
  const stated = text['n_positions'] ?? text['max_position_embeddings']
  return typeof stated === 'number' ? stated : Infinity
}
