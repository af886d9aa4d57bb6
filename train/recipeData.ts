// What a recipe says about its data, put to work: the file, the chat template, the examples. Knows a tokenizer, no model.

import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { usualBounds } from '../data/buckets.ts'
import { answersApart, asConversation, encodeConversation } from '../data/chatAnswers.ts'
import { compileChatTemplate } from '../data/chatTemplate.ts'
import type { ChatTemplate } from '../data/chatTemplate.ts'
import { buildExamples } from '../data/examples.ts'
import type { Example, Examples, TextEncoding } from '../data/examples.ts'
import { readRecords } from '../data/records.ts'
import type { RecordLayout, TrainingRecord } from '../data/records.ts'
import type { ChatRecords, Recipe } from '../dsl/index.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import type { LoadedRecipe } from './loadRecipe.ts'

export interface RecipeExamples {
  readonly examples: Examples
  /** Absolute path of the records. */
  readonly file: string
  /** Something the user should know. */
  readonly notes: readonly string[]
}

/** Absolute path of a recipe's records, or of others that lie beside the recipe. */
export function recordsFile({ recipe, folder }: LoadedRecipe, source: string = recipe.data.path): string {
  return path.resolve(folder, source)
}

/** What a recipe's data says about its file. */
export function layoutOf(data: Recipe['data']): RecordLayout {
  const { kind, columns } = data
  return {
    kind,
    ...(columns === undefined ? {} : { columns }),
    ...(kind === 'text' ? { documents: data.documents } : {}),
  }
}

/** The ranges of length that a recipe's micro-batches take their examples from. */
export function bucketsOf(
  { buckets }: Pick<Recipe['data'], 'buckets'>,
  examples: readonly Example[],
): { readonly buckets?: readonly number[] } {
  if (buckets === false || examples.length === 0) return {}
  return { buckets: buckets === true ? usualBounds(examples.map(({ tokens }) => tokens.length)) : buckets }
}

/**
 * The chat template that a recipe asks for, or another one of the checkpoint's.
 *
 * @throws UserError HD530 when the checkpoint has none of that name, HD531 when it is no template
 */
export function templateOf(
  { template, variables, date }: Pick<ChatRecords, 'template' | 'variables' | 'date'>,
  tokenizer: Tokenizer,
): ChatTemplate {
  const { chatTemplates, file, specialTokens } = tokenizer
  const place = { file: path.dirname(file) }
  const source = chatTemplates.get(template)
  if (source === undefined) {
    const names = [...chatTemplates.keys()].map((name) => `'${name}'`).join(', ')
    throw chatTemplates.size === 0
      ? new UserError('HD530', 'the checkpoint has no chat template', {
          place,
          mend: 'use completions(…), or a checkpoint that was made for conversations',
        })
      : new UserError('HD530', `the checkpoint has no chat template '${template}'`, { place, mend: `it has ${names}` })
  }
  const settings = {
    specialTokens,
    ...(variables === undefined ? {} : { variables }),
    ...(date === undefined ? {} : { now: new Date(`${date}T00:00:00`) }),
  }
  return compileChatTemplate(source, settings, place)
}

/** What the template's use of the date means for a run, when it means something. */
export function dateNote({ date }: ChatRecords, template: ChatTemplate): readonly string[] {
  return template.asksForDate && date === undefined
    ? ["the chat template writes today's date, so another day gives other tokens; date: '…' in chat(…) keeps them"]
    : []
}

/**
 * Reads and encodes a recipe's records, or the like ones of another file. `eosId` ends every example that no template
 * ends.
 *
 * @throws UserError HD431, HD432 for the tokenizer, HD50x, HD51x and HD53x for the records; a record without anything to
 * learn is not refused here
 */
export function readExamples(
  loaded: LoadedRecipe,
  tokenizer: Tokenizer,
  eosId: number | undefined,
  source?: string,
): RecipeExamples {
  const { data, batch } = loaded.recipe
  const file = recordsFile(loaded, source)
  const plain: TextEncoding = {
    encode: (text) => tokenizer.encode(text),
    prefix: tokenizer.prefix,
    ...(eosId === undefined ? {} : { eosId }),
  }
  if (data.kind !== 'chat') {
    const examples = buildExamples(readRecords(file, layoutOf(data)), plain, {
      loss: data.kind === 'text' ? 'all' : data.loss,
      length: batch.length,
      ...(data.kind === 'text' ? { long: data.long } : {}),
    })
    return { examples, file, notes: [] }
  }
  const template = templateOf(data, tokenizer)
  const records = readRecords(file, layoutOf(data)).flatMap((record) => conversations(record, data))
  // An answer of its own is learnt alone: those before it have an example of their own.
  const loss = data.turns === 'apart' && data.loss === 'assistant' ? 'completion' : data.loss
  const encoding: TextEncoding = {
    ...plain,
    encodeChat: (record) => encodeConversation(record, template, tokenizer, loss, file),
  }
  const examples = buildExamples(records, encoding, { loss: 'all', length: batch.length })
  return { examples, file, notes: dateNote(data, template) }
}

function conversations(record: TrainingRecord, { turns }: ChatRecords): TrainingRecord[] {
  if ('text' in record) return []
  const conversation = asConversation(record)
  return turns === 'apart' ? answersApart(conversation) : [conversation]
}
