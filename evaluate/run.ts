// An evaluation from a model and files to figures: opens the model once as it is and once with its adapter, and asks both.
// Prints nothing.

import path from 'node:path'
import type { Session } from '../backends/neon/driver/index.ts'
import { chooseToolChain } from '../backends/neon/toolchain/index.ts'
import type { ToolChain, ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { openAdapter } from '../formats/peft.ts'
import type { Adapter } from '../formats/peft.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { openModel } from '../train/openModel.ts'
import type { OpenedModel } from '../train/openModel.ts'
import { openPrediction } from '../train/openPrediction.ts'
import { readModel } from '../train/prepare.ts'
import { deviceOf } from '../train/hostDevice.ts'
import { answerQuestions, scoredOf, withExamples } from './choices.ts'
import type { ChoiceResult, Encoder } from './choices.ts'
import { readText } from './lines.ts'
import { perplexityOf, refuseShortText, windows } from './perplexity.ts'
import type { Perplexity } from './perplexity.ts'
import type { ScoreSize } from './score.ts'
import { taskNamed } from './tasks/index.ts'
import type { Question } from './task.ts'

/** A benchmark's file, or a text. */
export type Item =
  | {
      readonly kind: 'task'
      readonly task: string
      readonly file: string
      readonly labels?: string
      readonly examples?: string
    }
  | { readonly kind: 'text'; readonly file: string }

export interface EvaluateOptions {
  readonly items: readonly Item[]
  readonly adapter?: string
  /** A directory whose weights are read instead of the recipe's. */
  readonly weights?: string
  /** Worked examples in front of each question. */
  readonly shots: number
  /** Only the first so many questions of each file. */
  readonly limit?: number
  /** Most tokens that a sequence reads: what the model was made for, but at most 1,024, unless stated. */
  readonly length?: number
  /** Tokens between the windows of a text; half a window unless stated. */
  readonly stride?: number
  readonly toolchain: ToolChainPreference
  readonly threads?: number
  readonly optimise: 'full' | 'light'
  readonly resolving?: ResolveOptions
  readonly onCompiling?: (toolchain: string) => void
  readonly onProgress?: (about: { item: Item; subject: Subject; done: number; all: number }) => void
}

/** What was asked: the model as it is, or with its adapter. */
export type Subject = 'base' | 'adapter'

export type ItemResult = { readonly item: Item; readonly subject: Subject } & (
  { readonly kind: 'task'; readonly result: ChoiceResult } | { readonly kind: 'text'; readonly result: Perplexity }
)

/** Rows of a call: enough to share the reading of the weights. */
const SEQUENCES = 8
/** Programs are compiled for a few lengths only, so that another file finds its program in the cache. */
const SHORTEST = 64
const DEFAULT_LENGTH = 1024

type Work = { readonly item: Item } & (
  | { readonly kind: 'task'; readonly questions: readonly Question[] }
  | { readonly kind: 'text'; readonly tokens: readonly number[] }
)

/**
 * Results in the order of the items, first of the model as it is, then with the adapter.
 *
 * @throws UserError for whatever the user can mend
 */
export async function* evaluate(
  modelOrRecipe: string,
  options: EvaluateOptions,
): AsyncGenerator<ItemResult, void, undefined> {
  const opened = await openModel(modelOrRecipe, options)
  const adapter = options.adapter === undefined ? undefined : openAdapter(options.adapter)
  const encoder = encoderOf(opened.tokenizer)
  const most = Math.min(options.length ?? DEFAULT_LENGTH, opened.positions)
  const work = options.items.map((item) => readItem(item, encoder, options))
  const length = programLength(work, encoder, most, options)
  const chain = await chooseToolChain(options.toolchain)
  options.onCompiling?.(chain.describe())
  for (const subject of adapter ? (['base', 'adapter'] as const) : (['base'] as const)) {
    const size = { sequences: SEQUENCES, length }
    const session = await openScoring(opened, size, chain, options, subject === 'adapter' ? adapter : undefined)
    try {
      for (const one of work) yield await evaluateItem(session, one, encoder, { ...size, most }, options, subject)
    } finally {
      await session.close()
    }
  }
}

async function openScoring(
  { definition, dir }: OpenedModel,
  size: ScoreSize,
  chain: ToolChain,
  { threads, optimise }: EvaluateOptions,
  adapter: Adapter | undefined,
): Promise<Session> {
  const device = deviceOf(chain)
  return await openPrediction(readModel(definition, dir, size), definition.name, {
    chain,
    device,
    threads: threads ?? device.cores,
    optimise,
    functions: ['score'],
    ...(adapter ? { adapter } : {}),
  })
}

function encoderOf(tokenizer: Tokenizer): Encoder {
  return {
    encode: (text) => tokenizer.encode(text),
    prefix: tokenizer.prefix,
    fallback: tokenizer.bosId ?? tokenizer.eosId,
  }
}

function readItem(item: Item, encoder: Encoder, { shots, limit }: EvaluateOptions): Work {
  if (item.kind === 'text') {
    const tokens = [...encoder.prefix, ...encoder.encode(readText(item.file))]
    refuseShortText(tokens, item.file)
    return { kind: 'text', item, tokens }
  }
  const task = taskNamed(item.task)
  const files = { questions: item.file, ...(item.labels === undefined ? {} : { labels: item.labels }) }
  const questions = task.read(files).slice(0, limit)
  if (shots > 0 && item.examples === undefined) {
    throw new UserError('HD607', `worked examples for '${item.task}' need a file`, {
      mend: `name it with --examples ${item.task}=FILE`,
    })
  }
  const examples = shots > 0 && item.examples !== undefined ? task.read({ ...files, questions: item.examples }) : []
  return { kind: 'task', item, questions: withExamples(questions, examples, shots, task.description(item.file)) }
}

function programLength(work: readonly Work[], encoder: Encoder, most: number, { stride }: EvaluateOptions): number {
  let wanted = 1
  for (const one of work) {
    if (one.kind === 'text') {
      windows(one.tokens, most, stride ?? Math.ceil(most / 2))
      wanted = Math.max(wanted, Math.min(one.tokens.length, most) - 1)
      continue
    }
    for (const { context, continuations } of one.questions) {
      for (const continuation of continuations) {
        wanted = Math.max(wanted, scoredOf(context, continuation, encoder, most).tokens.length - 1)
      }
    }
  }
  let length = SHORTEST
  while (length < wanted) length *= 2
  return Math.min(length, most)
}

async function evaluateItem(
  session: Session,
  work: Work,
  encoder: Encoder,
  size: ScoreSize & { readonly most: number },
  options: EvaluateOptions,
  subject: Subject,
): Promise<ItemResult> {
  const { item } = work
  const onProgress = (done: number, all: number): void => options.onProgress?.({ item, subject, done, all })
  if (work.kind === 'text') {
    const window = { length: size.most, stride: options.stride ?? Math.ceil(size.most / 2) }
    const result = await perplexityOf(session, work.tokens, size, window, onProgress)
    return { kind: 'text', item, subject, result }
  }
  const result = await answerQuestions(session, work.questions, encoder, size, onProgress)
  return { kind: 'task', item, subject, result }
}

/** How results call an item. */
export function titleOf(item: Item): string {
  return item.kind === 'task' ? item.task : path.basename(item.file)
}
