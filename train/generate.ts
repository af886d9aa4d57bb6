// From a model on the disk or a recipe to a text that grows token by token. Prints nothing.

import { chooseToolChain } from '../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import { openAdapter } from '../formats/peft.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { openModel } from './openModel.ts'
import { openPrediction } from './openPrediction.ts'
import { continuePrompt } from './predict.ts'
import type { StopReason } from './predict.ts'
import { endOfText, readModel } from './prepare.ts'
import { deviceOf } from './run.ts'

export interface GenerateOptions {
  readonly prompt: string
  /** Most tokens to add. */
  readonly tokens: number
  readonly adapter?: string
  /** A directory whose weights are read instead of the recipe's. */
  readonly weights?: string
  readonly toolchain: ToolChainPreference
  readonly threads?: number
  readonly optimise?: 'full' | 'light'
  readonly resolving?: ResolveOptions
  readonly onCompiling?: (toolchain: string) => void
}

export interface GeneratedPart {
  readonly id: number
  /** What this token added to the text; empty while a character is incomplete. */
  readonly text: string
}

/** Programs are compiled for a few lengths only, so that another prompt finds its program in the cache. */
const SHORTEST_PROGRAM = 64

/**
 * Continues a prompt with a model (a directory or a Hugging Face id) or with a recipe's model.
 *
 * @throws UserError for whatever the user can mend
 */
export async function* generateText(
  modelOrRecipe: string,
  options: GenerateOptions,
): AsyncGenerator<GeneratedPart, StopReason, undefined> {
  const { definition, dir, checkpoint, tokenizer, vocabulary, positions } = await openModel(modelOrRecipe, options)
  const prompt = tokenizer.encode(options.prompt)
  const length = programLength(prompt.length, options.tokens, positions)
  const model = readModel(definition, dir, { sequences: 1, length })
  const adapter = options.adapter === undefined ? undefined : openAdapter(options.adapter)
  const chain = await chooseToolChain(options.toolchain)
  const device = deviceOf(chain)
  options.onCompiling?.(chain.describe())
  const session = await openPrediction(model, definition.name, {
    chain,
    device,
    threads: options.threads ?? device.cores,
    optimise: options.optimise ?? 'full',
    ...(adapter ? { adapter } : {}),
  })
  try {
    const limits = { tokens: options.tokens, end: endOfText(tokenizer, checkpoint) }
    const ids = continuePrompt(session, prompt, { sequences: 1, length, vocabulary }, limits)
    return yield* decoded(ids, tokenizer)
  } finally {
    await session.close()
  }
}

function programLength(prompt: number, tokens: number, positions: number): number {
  if (prompt > positions) {
    throw new UserError('HD812', `the prompt has ${prompt} tokens, the model was made for ${positions}`)
  }
  let length = SHORTEST_PROGRAM
  while (length < prompt + tokens) length *= 2
  return Math.min(length, positions)
}

async function* decoded(
  ids: AsyncGenerator<number, StopReason, undefined>,
  tokenizer: Tokenizer,
): AsyncGenerator<GeneratedPart, StopReason, undefined> {
  const all: number[] = []
  let shown = ''
  for (;;) {
    const { done, value: id } = await ids.next()
    if (done === true) return id
    all.push(id)
    const text = tokenizer.decode(all)
    // A character whose bytes are spread over tokens shows as a replacement until it is whole.
    const whole = text.replace(/\ufffd+$/u, '')
    const added = whole.startsWith(shown) ? whole.slice(shown.length) : ''
    shown += added
    yield { id, text: added }
  }
}
