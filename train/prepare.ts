// From a recipe to everything a run needs before it is compiled: the model's directory, its graph, its tokenizer, the
// examples and the number of steps. Every mistake in the user's files shows here. Knows neither device nor session.

import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { valueNamer } from '../compiler/frontend/names.ts'
import type { Recipe, TracedModel } from '../dsl/index.ts'
import { batches, buildExamples } from '../data/batches.ts'
import type { Batches, BatchState, Example, Examples } from '../data/batches.ts'
import { readRecords } from '../data/records.ts'
import { openCheckpoint } from '../formats/checkpoint.ts'
import type { Checkpoint } from '../formats/checkpoint.ts'
import { resolveModel } from '../formats/hub.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import { loadTokenizer } from '../formats/tokenizer.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { CheckpointBinding } from './bindCheckpoint.ts'
import { holdOut } from './heldOut.ts'
import type { LoadedRecipe } from './loadRecipe.ts'

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
  const { model, batch } = loaded.recipe
  const source = modelSource(model.source, loaded.folder)
  const resolved = await resolveModel(source, resolving)
  const isDirectory = resolved.source === 'directory'
  return {
    ...readModel(model.definition, resolved.dir, batch),
    baseName: isDirectory ? path.resolve(resolved.dir) : source,
    note: resolved.note,
  }
}

/** Reads a model directory as a graph. Errors as for `prepareModel`. */
export function readModel(
  definition: Recipe['model']['definition'],
  dir: string,
  size: { readonly sequences: number; readonly length: number },
): Pick<PreparedModel, 'checkpoint' | 'binding' | 'traced' | 'vocabulary'> {
  const checkpoint = openCheckpoint(dir)
  const configFile = path.join(dir, 'config.json')
  const config = definition.readConfig(checkpoint.config, configFile)
  const binding = new CheckpointBinding(checkpoint)
  const traced = definition.trace(config, {
    sequences: size.sequences,
    length: size.length,
    storedDType: (name) => binding.storedDType(name),
    names: valueNamer(),
  })
  binding.check(traced.graph)
  return { checkpoint, binding, traced, vocabulary: vocabularyOf(traced) }
}

/** Columns of the logits that `predict` gives. */
function vocabularyOf({ graph }: TracedModel): number {
  const logits = graph.functions.find((fn) => fn.name === 'predict')?.outputs.find(({ name }) => name === 'logits')
  return logits?.node.axes.find((axis) => axis.name !== 'batch')?.size ?? 0
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

/**
 * Reads and encodes the recipe's records. `steps` replaces the recipe's own length of the run.
 *
 * @throws UserError HD430, HD431, HD807, HD808 for the tokenizer, HD50x and HD51x for the records
 */
export function prepareData(loaded: LoadedRecipe, model: PreparedModel, steps?: number): PreparedData {
  const { data, batch, seed, evaluate } = loaded.recipe
  const tokenizer = tokenizerOf(model)
  const all = readExamples(loaded, model, tokenizer, data.path)
  const { examples, heldOut } =
    evaluate?.data === undefined
      ? holdOut(all, evaluate?.share ?? 0, seed, path.resolve(loaded.folder, data.path))
      : { examples: all, heldOut: readExamples(loaded, model, tokenizer, evaluate.data).examples }
  const perStep = batch.sequences * batch.accumulate
  const epochs = batch.epochs ?? 0
  const wanted = steps ?? batch.steps ?? Math.ceil((epochs * examples.examples.length) / perStep)
  const wholeEpochs = steps === undefined && batch.steps === undefined && Number.isInteger(epochs)
  const batchesFrom = (from?: BatchState): Batches =>
    batches(
      {
        examples: examples.examples,
        sequences: batch.sequences,
        length: batch.length,
        accumulate: batch.accumulate,
        seed,
        until: wholeEpochs ? { epochs } : { steps: wanted },
      },
      from,
    )
  const made = batchesFrom()
  return { tokenizer, examples, batches: made, batchesFrom, heldOut, steps: made.steps }
}

/** The examples of one of the recipe's files. Errors as for `prepareData`. */
function readExamples(
  { recipe, folder }: LoadedRecipe,
  model: PreparedModel,
  tokenizer: Tokenizer,
  source: string,
): Examples {
  const { data, batch } = recipe
  const file = path.resolve(folder, source)
  const records = readRecords(file)
  const kind = records.findIndex((record) => 'text' in record !== (data.kind === 'text'))
  if (kind >= 0) {
    const wanted =
      data.kind === 'text'
        ? 'text(…) reads records with a "text"'
        : 'completions(…) reads records with a "prompt" and a "completion"'
    throw new UserError('HD809', `record ${kind + 1} is of the other kind; ${wanted}`, { place: { file } })
  }
  const eosId = endOfText(tokenizer, model.checkpoint)
  const encoding = { encode: (text: string) => tokenizer.encode(text), ...(eosId === undefined ? {} : { eosId }) }
  const loss = data.kind === 'text' ? 'all' : data.loss
  return buildExamples(records, encoding, { loss, length: batch.length, file })
}
