// `heddle generate`: the text as it grows; JSON lines for machines.

import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { generateText } from '../../train/generate.ts'
import { downloadProgress } from '../download.ts'
import { exitCodes, outputOf } from '../output.ts'

export interface GenerateCommandOptions {
  readonly prompt: string
  readonly tokens: number
  readonly adapter?: string
  readonly weights?: string
  readonly toolchain: ToolChainPreference
  readonly threads?: number
  readonly optimise: 'full' | 'light'
  readonly json?: boolean
}

/** Text from a model must not steer the terminal. */
function safeForTerminal(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, ' ')
}

export async function generate(modelOrRecipe: string, options: GenerateCommandOptions): Promise<number> {
  const output = outputOf(options)
  const write = (text: string): void => {
    if (!output.isJson) process.stdout.write(safeForTerminal(text))
  }
  let text = ''
  let tokens = 0
  const parts = generateText(modelOrRecipe, {
    prompt: options.prompt,
    tokens: options.tokens,
    toolchain: options.toolchain,
    optimise: options.optimise,
    ...(options.adapter === undefined ? {} : { adapter: options.adapter }),
    ...(options.weights === undefined ? {} : { weights: options.weights }),
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    resolving: { onProgress: downloadProgress(output) },
    onCompiling: (toolchain) => {
      output.event('compiling', { toolchain })
    },
  })
  for (;;) {
    const { done, value } = await parts.next()
    // Behind what may go wrong before the first token: an error stands alone.
    if (tokens === 0) write(options.prompt)
    if (done === true) {
      write('\n')
      output.event('end', { prompt: options.prompt, text, tokens, stopped: value })
      if (value === 'positions') process.stderr.write('stopped: the model was made for no more tokens than these\n')
      return exitCodes.ok
    }
    text += value.text
    tokens++
    output.event('token', value)
    write(value.text)
  }
}
