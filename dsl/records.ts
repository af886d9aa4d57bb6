// What a recipe learns from: files of records, and which of their tokens count. Data only; no file is opened here.

import { callPlace } from './place.ts'
import { frozen, GivenValues } from './validation.ts'

/** How examples of different lengths come together in a batch; the same for every kind of records. */
export interface Batching {
  /** Whether short examples share a row, kept apart in attention, positions and loss. */
  readonly pack: boolean
  /**
   * Whether a micro-batch takes examples of like length: between these lengths, or about eight ranges that hold equally
   * many.
   */
  readonly buckets: boolean | readonly number[]
}

/** JSON lines or CSV rows of a prompt and its completion. */
export interface CompletionRecords extends Batching {
  readonly kind: 'completions'
  /** As written in the recipe; relative to the recipe's file. */
  readonly path: string
  /** Whether the prompt's tokens count in the loss too. */
  readonly loss: 'completion' | 'all'
  /** Names of the columns or keys, where they are not `prompt` and `completion`. */
  readonly columns?: PromptColumns
}

/** Plain text, or JSON lines or CSV rows of it, all of which counts. */
export interface TextRecords extends Batching {
  readonly kind: 'text'
  /** As written in the recipe; relative to the recipe's file. */
  readonly path: string
  /** How a `.txt` file is divided: by blank lines, or not at all. */
  readonly documents: 'paragraphs' | 'file'
  /** What becomes of a document beyond the batch's length: its end is lost, or it goes on in further examples. */
  readonly long: 'cut' | 'split'
  /** Name of the column or key, where it is not `text`. */
  readonly columns?: TextColumns
}

/** Conversations, written out by the checkpoint's own chat template. */
export interface ChatRecords extends Batching {
  readonly kind: 'chat'
  /** As written in the recipe; relative to the recipe's file. */
  readonly path: string
  /** What counts: every answer of the assistant, its last one, or every token. */
  readonly loss: 'assistant' | 'completion' | 'all'
  /** Whether a conversation is one example, or one for each of its answers. */
  readonly turns: 'together' | 'apart'
  /** Which of the checkpoint's templates. */
  readonly template: string
  /** What the template is given besides the conversation: `enable_thinking`, say. */
  readonly variables?: { readonly [name: string]: string | number | boolean }
  /** What a template that asks for today's date is told; the day of the run unless stated. */
  readonly date?: string
  /** Names of the columns or keys, where they are not `messages` or `prompt` and `completion`. */
  readonly columns?: ChatColumns
}

export type Records = CompletionRecords | TextRecords | ChatRecords

export interface PromptColumns {
  readonly prompt?: string
  readonly completion?: string
}

export interface ChatColumns extends PromptColumns {
  readonly messages?: string
}

export interface TextColumns {
  readonly text?: string
}

export interface BatchingOptions {
  /** false unless stated. */
  readonly pack?: boolean
  /** false unless stated; true for ranges of our choice, or the greatest length of each, ascending. */
  readonly buckets?: boolean | readonly number[]
}

export interface CompletionOptions extends BatchingOptions {
  readonly loss: 'completion' | 'all'
  readonly columns?: PromptColumns
}

export interface TextOptions extends BatchingOptions {
  /** 'paragraphs' unless stated. */
  readonly documents?: 'paragraphs' | 'file'
  /** 'cut' unless stated, 'split' for a file that is one document. */
  readonly long?: 'cut' | 'split'
  readonly columns?: TextColumns
}

export interface ChatOptions extends BatchingOptions {
  readonly loss: 'assistant' | 'completion' | 'all'
  /** 'together' unless stated. */
  readonly turns?: 'together' | 'apart'
  /** 'default' unless stated. */
  readonly template?: string
  readonly variables?: { readonly [name: string]: string | number | boolean }
  /** As `2026-03-07`. */
  readonly date?: string
  readonly columns?: ChatColumns
}

/** What `recipe` accepts as its data, for its messages. */
export const recordKinds = ['completions', 'text', 'chat'] as const satisfies readonly Records['kind'][]
export const recordCalls = 'completions(…), text(…) or chat(…)'

/**
 * Records of a prompt and its completion: lines of `{"prompt": …, "completion": …}` (`.jsonl`) or CSV rows (`.csv`,
 * `.tsv`) under a header. @throws UserError HD301, HD302, HD304
 */
export function completions(path: string, options: CompletionOptions): CompletionRecords {
  const place = callPlace()
  const file = pathOf(path, 'completions', place)
  const given = new GivenValues(options, 'completions', ['loss', 'columns', ...batchingKeys], place)
  return frozen({
    kind: 'completions',
    path: file,
    loss: given.choice('loss', ['completion', 'all']),
    ...batchingOf(given),
    ...columnsOf(given, ['prompt', 'completion'], place),
  })
}

/**
 * Text to learn as a whole: documents of a `.txt` file, lines of `{"text": …}` (`.jsonl`) or CSV rows under a header.
 * @throws UserError HD301, HD302, HD304
 */
export function text(path: string, options: TextOptions = {}): TextRecords {
  const place = callPlace()
  const file = pathOf(path, 'text', place)
  const given = new GivenValues(options, 'text', ['documents', 'long', 'columns', ...batchingKeys], place)
  const documents = given.choice('documents', ['paragraphs', 'file'], 'paragraphs')
  return frozen({
    kind: 'text',
    path: file,
    documents,
    long: given.choice('long', ['cut', 'split'], documents === 'file' ? 'split' : 'cut'),
    ...batchingOf(given),
    ...columnsOf(given, ['text'], place),
  })
}

/**
 * Conversations: lines of `{"messages": [{"role": …, "content": …}, …]}`, or prompts with completions as a question and its
 * answer. The checkpoint's chat template writes them out. @throws UserError HD301, HD302, HD304
 */
export function chat(path: string, options: ChatOptions): ChatRecords {
  const place = callPlace()
  const file = pathOf(path, 'chat', place)
  const names = ['loss', 'turns', 'template', 'variables', 'date', 'columns', ...batchingKeys]
  const given = new GivenValues(options, 'chat', names, place)
  return frozen({
    kind: 'chat',
    path: file,
    loss: given.choice('loss', ['assistant', 'completion', 'all']),
    turns: given.choice('turns', ['together', 'apart'], 'together'),
    template: given.has('template')
      ? given.text('template', "the name of one of the checkpoint's templates")
      : 'default',
    ...variablesOf(given),
    ...dateOf(given),
    ...batchingOf(given),
    ...columnsOf(given, ['messages', 'prompt', 'completion'], place),
  })
}

const batchingKeys = ['pack', 'buckets'] as const

function batchingOf(given: GivenValues): Batching {
  const pack = given.flag('pack')
  const buckets = bucketsOf(given)
  if (pack && buckets !== false) {
    given.refuse("packed rows are of one length, so 'pack' and 'buckets' exclude each other")
  }
  return { pack, buckets }
}

function bucketsOf(given: GivenValues): Batching['buckets'] {
  const value = given.value('buckets') ?? false
  if (typeof value === 'boolean') return value
  const list: readonly unknown[] = Array.isArray(value) ? value : []
  const bounds = list.filter((one): one is number => typeof one === 'number' && Number.isSafeInteger(one) && one > 0)
  const isAscending = bounds.every((bound, index) => index === 0 || bound > (bounds[index - 1] ?? 0))
  const isList = bounds.length > 0 && bounds.length === list.length && isAscending
  return isList ? bounds : given.fail('buckets', 'true, false or a list of ascending lengths')
}

function variablesOf(given: GivenValues): Pick<ChatRecords, 'variables'> {
  const value = given.value('variables')
  if (value === undefined) return {}
  const expected = 'an object of texts, numbers and truth values'
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return given.fail('variables', expected)
  const variables: Record<string, string | number | boolean> = {}
  for (const [name, one] of Object.entries(value as Record<string, unknown>)) {
    if (typeof one !== 'string' && typeof one !== 'number' && typeof one !== 'boolean')
      given.fail('variables', expected)
    variables[name] = one
  }
  return { variables }
}

function dateOf(given: GivenValues): Pick<ChatRecords, 'date'> {
  if (!given.has('date')) return {}
  const expected = "a day, as '2026-03-07'"
  const date = given.text('date', expected)
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(date) && new Date(`${date}T00:00:00Z`).toJSON()?.startsWith(date)
  return isDay ? { date } : given.fail('date', expected)
}

type CallPlace = ReturnType<typeof callPlace>

function pathOf(path: string, call: string, place: CallPlace): string {
  return new GivenValues({ path }, call, ['path'], place).text('path', 'the path of a .jsonl, .csv or .txt file')
}

function columnsOf<Name extends string>(
  given: GivenValues,
  names: readonly Name[],
  place: CallPlace,
): { readonly columns?: { readonly [N in Name]?: string } } {
  if (!given.has('columns')) return {}
  const columns = new GivenValues(given.value('columns'), 'columns', names, place)
  const chosen = names.filter((name) => columns.has(name))
  const named = chosen.map((name) => [name, columns.text(name, 'the name of a column')] as const)
  return { columns: Object.fromEntries(named) as { readonly [N in Name]?: string } }
}

/** Predict each token from those before it. */
export interface NextToken {
  readonly kind: 'nextToken'
}

export function nextToken(): NextToken {
  return frozen({ kind: 'nextToken' })
}
