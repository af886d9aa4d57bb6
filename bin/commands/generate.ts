// `heddle generate`: the text as it grows; JSON lines for machines.

import { randomInt } from 'node:crypto'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { generateText } from '../../generate/generateText.ts'
import { greedy } from '../../generate/sampling.ts'
import type { Sampling } from '../../generate/sampling.ts'
import { downloadProgress } from '../download.ts'
import { exitCodes, outputOf } from '../output.ts'

export interface GenerateCommandOptions {
  readonly prompt: string
  readonly chat?: boolean
  readonly system?: string
  readonly tokens: number
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly repetitionPenalty?: number
  readonly seed?: number
  readonly stop?: readonly string[]
  readonly adapter?: string
  readonly weights?: string
  readonly recompute?: boolean
  readonly toolchain: ToolChainPreference
  readonly threads?: number
  readonly optimise: 'full' | 'light'
  readonly json?: boolean
}

/** Text from a model must not steer the terminal. */
function safeForTerminal(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, ' ')
}

/** Asking for a choice among several tokens asks for chance; without a seed, for another one each time. */
function samplingOf({ temperature, topK, topP, repetitionPenalty, seed }: GenerateCommandOptions): Sampling {
  const isDrawn = [temperature, topK, topP, seed].some((one) => one !== undefined) && temperature !== 0
  if (!isDrawn) return { ...greedy, repetitionPenalty }
  return { temperature: temperature ?? 1, topK, topP, repetitionPenalty, seed: seed ?? randomInt(2 ** 31) }
}

export async function generate(modelOrRecipe: string, options: GenerateCommandOptions): Promise<number> {
  const output = outputOf(options)
  const {
    prompt,
    chat,
    system,
    tokens: most,
    stop,
    adapter,
    weights,
    recompute,
    toolchain,
    threads,
    optimise,
  } = options
  if (system !== undefined && chat !== true) {
    throw new UserError('HD609', '--system belongs to a chat', { mend: 'add --chat' })
  }
  const sampling = samplingOf(options)
  const write = (text: string): void => {
    if (!output.isJson) process.stdout.write(safeForTerminal(text))
  }
  let text = ''
  let tokens = 0
  const parts = generateText(modelOrRecipe, {
    prompt: { text: prompt, chat, system },
    tokens: most,
    sampling,
    stops: stop,
    adapter,
    weights,
    recompute,
    toolchain,
    threads,
    optimise,
    resolving: { onProgress: downloadProgress(output) },
    onCompiling: (name) => {
      output.event('compiling', { toolchain: name })
    },
  })
  for (;;) {
    const { done, value } = await parts.next()
    // Behind what may go wrong before the first token: an error stands alone. What a chat shows is the answer.
    if (tokens === 0 && chat !== true) write(prompt)
    if (done === true) {
      text += value.rest
      write(`${value.rest}\n`)
      const { stopped, promptTokens, seconds } = value
      const seed = sampling.temperature === 0 ? {} : { seed: sampling.seed }
      output.event('end', { prompt, text, tokens, stopped, promptTokens, seconds, ...seed })
      if (stopped === 'positions') process.stderr.write('stopped: the model was made for no more tokens than these\n')
      if (process.stderr.isTTY) process.stderr.write(`${summary(tokens, value, sampling)}\n`)
      return exitCodes.ok
    }
    text += value.text
    tokens++
    output.event('token', value)
    write(value.text)
  }
}

/** How fast it went, and what draws the same text again. */
function summary(
  tokens: number,
  { promptTokens, seconds }: { promptTokens: number; seconds: { prompt: number; tokens: number } },
  { temperature, seed }: Sampling,
): string {
  const rate = (count: number, time: number): string => `${(count / Math.max(time, 1e-6)).toFixed(1)}/s`
  const parts = [`prompt ${promptTokens} tokens, ${rate(promptTokens, seconds.prompt)}`, `text ${tokens} tokens`]
  if (tokens > 1) parts.push(rate(tokens - 1, seconds.tokens))
  return `[${parts.join(', ')}${temperature === 0 ? '' : `; seed ${seed}`}]`
}
