// From a model on the disk or a recipe to a text that grows token by token. Prints nothing.

import { chooseToolChain } from '../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import type { ResolveOptions } from '../formats/hub.ts'
import { openAdapter } from '../formats/peft.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { openModel } from '../train/openModel.ts'
import { openPrediction } from '../train/openPrediction.ts'
import { endsOfText, readModel } from '../train/prepare.ts'
import { deviceOf } from '../train/hostDevice.ts'
import { keptText, recomputedText } from './logits.ts'
import type { GrowingText } from './logits.ts'
import { promptTokens } from './prompt.ts'
import type { Prompt } from './prompt.ts'
import { chooseToken } from './sampling.ts'
import type { Sampling } from './sampling.ts'
import { StoppedText } from './stops.ts'

export interface GenerateOptions {
  readonly prompt: Prompt
  /** Most tokens to add. */
  readonly tokens: number
  readonly sampling: Sampling
  /** Strings that end the text; they are not part of it. */
  readonly stops?: readonly string[] | undefined
  readonly adapter?: string | undefined
  /** A directory whose weights are read instead of the recipe's. */
  readonly weights?: string | undefined
  /** Keeps no keys and values: every token computes the whole text again. */
  readonly recompute?: boolean | undefined
  readonly toolchain: ToolChainPreference
  readonly threads?: number | undefined
  readonly optimise?: 'full' | 'light' | undefined
  readonly resolving?: ResolveOptions
  readonly onCompiling?: (toolchain: string) => void
}

export interface GeneratedPart {
  readonly id: number
  /** What this token added to the text; empty while a character, or what may be a stop string, is incomplete. */
  readonly text: string
}

/** Why a text ends: its own end, a stop string, the tokens that were asked for, or the positions that there are. */
export type StopReason = 'end of text' | 'stop string' | 'tokens' | 'positions'

export interface Generated {
  readonly stopped: StopReason
  /** Text that was held back until it was known to be no stop string. */
  readonly rest: string
  readonly promptTokens: number
  /** Seconds that the prompt took, and all tokens behind the first one. */
  readonly seconds: { readonly prompt: number; readonly tokens: number }
}

/** Programs are compiled for a few lengths only, so that another prompt finds its program in the cache. */
const SHORTEST_PROGRAM = 64
/** Most tokens of a prompt at a time: beyond this a longer call is hardly faster, and only takes more memory. */
const CHUNK = 256

/**
 * Continues a prompt with a model (a directory or a Hugging Face id) or with a recipe's model.
 *
 * @throws UserError for whatever the user can mend; HD114 for a model that cannot keep keys and values
 */
export async function* generateText(
  modelOrRecipe: string,
  options: GenerateOptions,
): AsyncGenerator<GeneratedPart, Generated, undefined> {
  const opened = await openModel(modelOrRecipe, options)
  const { definition, dir, checkpoint, tokenizer, positions } = opened
  const prompt = promptTokens(options.prompt, opened)
  const capacity = programLength(prompt.length, options.tokens, positions)
  const chunk = Math.min(capacity, CHUNK)
  const recompute = options.recompute === true
  const size = recompute ? { sequences: 1, length: capacity } : { sequences: 1, length: chunk, kept: capacity }
  const model = readModel(definition, dir, size)
  const adapter = options.adapter === undefined ? undefined : openAdapter(options.adapter)
  const chain = await chooseToolChain(options.toolchain)
  const device = deviceOf(chain)
  options.onCompiling?.(chain.describe())
  const session = await openPrediction(model, definition.name, {
    chain,
    device,
    threads: options.threads ?? device.cores,
    optimise: options.optimise ?? 'full',
    functions: recompute ? ['predict'] : ['prefill', 'decode', 'clear'],
    ...(adapter ? { adapter } : {}),
  })
  try {
    const text = recompute ? recomputedText(session) : keptText(session, chunk)
    const limits = { tokens: options.tokens, ends: endsOfText(tokenizer, checkpoint), capacity }
    const spent = { prompt: 0, tokens: 0 }
    const ids = continued(text, prompt, options.sampling, limits, spent)
    const { stopped, rest } = yield* decoded(ids, tokenizer, options.stops ?? [])
    return { stopped, rest, promptTokens: prompt.length, seconds: spent }
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

interface Limits {
  readonly tokens: number
  /** Tokens that end a text; they are not part of it. */
  readonly ends: ReadonlySet<number>
  /** Most tokens of the text, prompt included, that the program can hold. */
  readonly capacity: number
}

/** The tokens behind a prompt, one by one; `spent` is told the seconds as they pass. HD810 for damaged weights. */
export async function* continued(
  growing: GrowingText,
  prompt: readonly number[],
  sampling: Sampling,
  { tokens, ends, capacity }: Limits,
  spent: { prompt: number; tokens: number },
): AsyncGenerator<number, StopReason, undefined> {
  const text = [...prompt]
  let began = performance.now()
  let logits = await growing.begin(prompt)
  spent.prompt = (performance.now() - began) / 1000
  for (let added = 0; added < tokens; added++) {
    const token = chooseToken(logits, text, sampling, added)
    if (ends.has(token)) return 'end of text'
    yield token
    if (text.push(token) > capacity) return 'positions'
    if (added + 1 === tokens) break
    began = performance.now()
    logits = await growing.add(token)
    spent.tokens += (performance.now() - began) / 1000
  }
  return 'tokens'
}

/** Texts of tokens as they come; special tokens, and ids without a token, are none. */
export async function* decoded(
  ids: AsyncGenerator<number, StopReason, undefined>,
  tokenizer: Tokenizer,
  stops: readonly string[],
): AsyncGenerator<GeneratedPart, { stopped: StopReason; rest: string }, undefined> {
  const all: number[] = []
  const ending = new StoppedText(stops)
  let shown = ''
  const decode = (): string => tokenizer.decode(all, { specials: 'omit' })
  /** What a text has more than the one that was shown. */
  const added = (text: string): string => {
    if (!text.startsWith(shown)) return ''
    const more = text.slice(shown.length)
    shown = text
    return more
  }
  for (;;) {
    const { done, value: id } = await ids.next()
    if (done === true) {
      const last = ending.add(added(decode()))
      return { stopped: last.stop === undefined ? id : 'stop string', rest: last.text + ending.end() }
    }
    all.push(id)
    // A character whose bytes are spread over tokens shows as replacements, up to three, until it is whole.
    const { text: sure, stop } = ending.add(added(decode().replace(/\ufffd{1,3}$/u, '')))
    yield { id, text: sure }
    if (stop !== undefined) return { stopped: 'stop string', rest: '' }
  }
}
