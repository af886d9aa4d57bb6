// From a recipe to everything a run needs before it is compiled: the model's directory, its graph, its tokenizer, the
// examples and the number of steps. Every mistake in the user's files shows here. Knows neither device nor session.

import path from 'node:path'
import { InternalError, UserError } from '../compiler/diagnostic.ts'
import { valueNamer } from '../compiler/frontend/names.ts'
import { atWriting } from '../dsl/index.ts'
import type { Recipe, TracedModel, TraceOptions } from '../dsl/index.ts'
import { batches } from '../data/batches.ts'
import type { Batches, BatchState } from '../data/batches.ts'
import { refuseWithoutExamples } from '../data/examples.ts'
import type { Example, Examples } from '../data/examples.ts'
import { packExamples, rowsApart } from '../data/packing.ts'
import { openCheckpoint } from '../formats/checkpoint.ts'
import type { Checkpoint } from '../formats/checkpoint.ts'
import { resolveModel } from '../formats/hub.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import { loadTokenizer } from '../formats/tokenizer.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { CheckpointBinding } from './bindCheckpoint.ts'
import { holdOut } from './heldOut.ts'
import type { LoadedRecipe } from './loadRecipe.ts'
import { bucketsOf, readExamples } from './recipeData.ts'

/** A model with its checkpoint, read as a graph for batches of one size. */
export interface PreparedModel {
  readonly checkpoint: Checkpoint
  readonly binding: CheckpointBinding
  readonly traced: TracedModel
  /** Entries of the vocabulary: what a token number must stay below. */
  readonly vocabulary: number
  /** What an adapter's file calls the model: the id, or the directory. */
  readonly baseName: string
  /** Something the user should know about where the model came from. */
  readonly note: string | undefined
}

export interface PreparedData {
  readonly tokenizer: Tokenizer
  readonly examples: Examples
  readonly batches: Batches
  /** What the user should know about the records. */
  readonly notes: readonly string[]
  /** The same batches from where another run was. UserError HD513 for a state of other records. */
  readonly batchesFrom: (state: BatchState) => Batches
  /** What the recipe's `evaluate` measures; empty without it. */
  readonly heldOut: readonly Example[]
  /** Optimizer steps of the whole run. */
  readonly steps: number
}

/** `source` as written in a recipe: a directory beside the recipe when there is one, otherwise left as it is. */
export function modelSource(source: string, folder: string): string {
  const isPath = /^\.{1,2}(?:[/\\]|$)/.test(source) || path.isAbsolute(source)
  return isPath ? path.resolve(folder, source) : source
}

/**
 * Finds the recipe's model, downloading it if need be, and reads it as a graph.
 *
 * @throws UserError for a model that cannot be had (HD42x), a checkpoint or configuration that is wrong (HD40x, HD107,
 * HD108) or does not fit the model (HD803 to HD806), and whatever the model's own file gets wrong (HD1xx)
 */
export async function prepareModel(loaded: LoadedRecipe, resolving: ResolveOptions = {}): Promise<PreparedModel> {
  const { model, batch, data, adapt } = loaded.recipe
  const size = { sequences: batch.sequences, length: batch.length, packed: data.pack }
  const source = modelSource(model.source, loaded.folder)
  const resolved = await resolveModel(source, resolving).catch((error: unknown) => {
    throw atWriting(model, error)
  })
  const isDirectory = resolved.source === 'directory'
  return {
    ...readModel(model.definition, resolved.dir, size, adapt.kind === 'full' ? 'trained' : 'frozen'),
    baseName: isDirectory ? path.resolve(resolved.dir) : source,
    note: resolved.note,
  }
}

/**
 * Reads a model directory as a graph. Weights that are trained are held in float32; frozen ones stay as they are stored,
 * and so do constants that a model keeps in the type of its weights. Errors as for `prepareModel`.
 */
export function readModel(
  definition: Recipe['model']['definition'],
  dir: string,
  size: Pick<TraceOptions, 'sequences' | 'length' | 'packed' | 'kept'>,
  weights: 'frozen' | 'trained' = 'frozen',
): Pick<PreparedModel, 'checkpoint' | 'binding' | 'traced' | 'vocabulary'> {
  const checkpoint = openCheckpoint(dir)
  const configFile = path.join(dir, 'config.json')
  const config = definition.readConfig(checkpoint.config, configFile)
  const binding = new CheckpointBinding(checkpoint)
  const traced = definition.trace(config, {
    ...size,
    storedDType: (name) => {
      const stored = binding.storedDType(name)
      return weights === 'trained' ? 'f32' : stored
    },
    names: valueNamer(),
  })
  binding.check(traced.graph, weights)
  return { checkpoint, binding, traced, vocabulary: vocabularyOf(traced) }
}

/** Columns of the logits that predicting a token gives. */
function vocabularyOf({ graph }: TracedModel): number {
  const logits = graph.functions.flatMap(({ outputs }) => outputs).find(({ name }) => name === 'logits')
  const axis = logits?.node.axes.find(({ name }) => name !== 'batch')
  if (axis === undefined) throw new InternalError('the graph of a model gives no logits')
  return axis.size
}

/** The tokenizer of a model directory. UserError HD807 without one, HD808 when its ids exceed the model's vocabulary. */
export function tokenizerOf({ checkpoint, vocabulary }: Pick<PreparedModel, 'checkpoint' | 'vocabulary'>): Tokenizer {
  const { tokenizerPath, dir } = checkpoint
  if (tokenizerPath === undefined) {
    throw new UserError('HD807', 'the model directory has no tokenizer.json', { place: { file: dir } })
  }
  const tokenizer = loadTokenizer(tokenizerPath)
  if (tokenizer.vocabSize <= vocabulary) return tokenizer
  throw new UserError(
    'HD808',
    `the tokenizer has ids up to ${tokenizer.vocabSize - 1}, the model embeds only ${vocabulary}`,
    {
      place: { file: tokenizerPath },
    },
  )
}

/** The token that ends a text: the tokenizer's, otherwise the one config.json names. */
export function endOfText(tokenizer: Tokenizer, { config }: Checkpoint): number | undefined {
  if (tokenizer.eosId !== undefined) return tokenizer.eosId
  const named: unknown = Array.isArray(config['eos_token_id']) ? config['eos_token_id'][0] : config['eos_token_id']
  return typeof named === 'number' && Number.isInteger(named) && named >= 0 && named < tokenizer.vocabSize
    ? named
    : undefined
}

/** The tokens that end what a model writes: that of `endOfText`, and those its configurations name for generating. */
export function endsOfText(tokenizer: Tokenizer, checkpoint: Checkpoint): ReadonlySet<number> {
  const { config, generationConfig } = checkpoint
  const named: unknown[] = [config, generationConfig].flatMap((one) => one?.['eos_token_id'] ?? [])
  const end = endOfText(tokenizer, checkpoint)
  return new Set([...(end === undefined ? [] : [end]), ...named.filter((id) => typeof id === 'number')])
}

/**
 * Reads and encodes the recipe's records. `steps` replaces the recipe's own length of the run.
 *
 * @throws UserError HD43x, HD807, HD808 for the tokenizer, HD50x, HD51x and HD53x for the records
 */
export function prepareData(loaded: LoadedRecipe, model: PreparedModel, steps?: number): PreparedData {
  const { batch, data, seed, evaluate } = loaded.recipe
  const tokenizer = tokenizerOf(model)
  const eosId = endOfText(tokenizer, model.checkpoint)
  const { examples: all, file, notes } = readExamples(loaded, tokenizer, eosId)
  refuseWithoutExamples(all, file, batch.length)
  const evaluated = evaluate?.data === undefined ? undefined : readExamples(loaded, tokenizer, eosId, evaluate.data)
  if (evaluated) refuseWithoutExamples(evaluated.examples, evaluated.file, batch.length)
  const { examples, heldOut } = evaluated
    ? { examples: all, heldOut: evaluated.examples.examples }
    : holdOut(all, evaluate?.share ?? 0, seed, file)
  const rows = data.pack ? packExamples(examples.examples, { length: batch.length, seed }) : examples.examples
  const perStep = batch.sequences * batch.accumulate
  const epochs = batch.epochs ?? NaN
  const wanted = steps ?? batch.steps ?? Math.ceil((epochs * rows.length) / perStep)
  const wholeEpochs = steps === undefined && Number.isInteger(epochs)
  const batchesFrom = (from?: BatchState): Batches =>
    batches(
      {
        examples: rows,
        sequences: batch.sequences,
        length: batch.length,
        accumulate: batch.accumulate,
        seed,
        ...bucketsOf(data, rows),
        until: wholeEpochs ? { epochs } : { steps: wanted },
      },
      from,
    )
  const made = batchesFrom()
  // A program that reads packed rows reads nothing else.
  const measured = data.pack ? rowsApart(heldOut) : heldOut
  return { tokenizer, examples, batches: made, batchesFrom, heldOut: measured, notes, steps: made.steps }
}

/** What becomes of a recipe's records in batches of another length. */
export interface RecordsWithin {
  /** Records that something of is learnt, though they are cut short. */
  readonly cut: number
  /** Records of which nothing is left to learn. */
  readonly leftOut: number
  readonly examples: number
}

/** Undefined where a run would be refused for want of examples. Reads and encodes the records once more. */
export function recordsWithin(loaded: LoadedRecipe, model: PreparedModel, length: number): RecordsWithin | undefined {
  const { recipe } = loaded
  const shorter = { ...loaded, recipe: { ...recipe, batch: { ...recipe.batch, length } } }
  try {
    const { lines, examples, dropped } = prepareData(shorter, model).examples
    const leftOut = new Set(lines.dropped)
    const cut = new Set(lines.truncated.filter((line) => !leftOut.has(line)))
    return { cut: cut.size, leftOut: dropped, examples: examples.length }
  } catch (error) {
    if (error instanceof UserError) return undefined
    throw error
  }
}
