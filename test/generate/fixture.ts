// What transformers continues the small models' prompts with (tools/oracle/make_generation.py), and sessions to compare.

import { readFileSync } from 'node:fs'
import type { Session } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain, ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import type { ModelDefinition } from '../../dsl/index.ts'
import { openAdapter } from '../../formats/peft.ts'
import { continued } from '../../generate/generateText.ts'
import { keptText } from '../../generate/logits.ts'
import { greedy } from '../../generate/sampling.ts'
import type { Sampling } from '../../generate/sampling.ts'
import { modelFor } from '../../models/index.ts'
import { openCheckpoint } from '../../formats/checkpoint.ts'
import { openPrediction } from '../../train/openPrediction.ts'
import { readModel } from '../../train/prepare.ts'
import { deviceOf } from '../../train/hostDevice.ts'
import { oracleDirectory } from '../support/oracle.ts'

interface Continuations {
  readonly model: string
  readonly prompt: readonly number[]
  readonly greedy: readonly number[]
  readonly penalised: readonly number[]
  readonly adapter: readonly number[]
}

interface SamplingCase extends Omit<Sampling, 'seed'> {
  /** Tokens that may be drawn, with their probabilities. */
  readonly kept: readonly (readonly [number, number])[]
}

export const fixture = JSON.parse(readFileSync(new URL('../fixtures/generation.json', import.meta.url), 'utf8')) as {
  readonly penalty: number
  readonly texts: readonly Continuations[]
  readonly sampling: { readonly logits: number[]; readonly text: number[]; readonly cases: readonly SamplingCase[] }
}

export function continuationsOf(model: string): Continuations {
  const found = fixture.texts.find((one) => one.model === model)
  if (!found) throw new Error(`no continuations of ${model}`)
  return found
}

export interface TextSessionOptions {
  readonly toolchain: ToolChainPreference | ToolChain
  readonly definition?: ModelDefinition<unknown>
  readonly adapter?: boolean
  readonly sequences?: number
  /** Most tokens of a call, and of a text; without `kept` the whole text is computed each time. */
  readonly length: number
  readonly kept?: number
}

/** A session on one of the oracle's models, by its folder's name. */
export async function openText(name: string, options: TextSessionOptions): Promise<Session> {
  const { sequences = 1, length, kept } = options
  const dir = `${oracleDirectory}/${name}`
  const { config } = openCheckpoint(`${dir}/model`)
  const definition = options.definition ?? modelFor(config, `${name}/config.json`)
  const size = kept === undefined ? { sequences, length } : { sequences, length, kept }
  const { toolchain } = options
  const chain = typeof toolchain === 'string' ? await chooseToolChain(toolchain) : toolchain
  return openPrediction(readModel(definition, `${dir}/model`, size), name, {
    chain,
    device: deviceOf(chain),
    threads: 2,
    optimise: 'light',
    functions: kept === undefined ? ['predict'] : ['prefill', 'decode', 'clear'],
    ...(options.adapter === true ? { adapter: openAdapter(`${dir}/lora/adapter`) } : {}),
  })
}

/** The tokens behind a prompt, the prompt taken in by pieces of at most `chunk`. */
export async function continueText(
  session: Session,
  {
    prompt,
    count,
    chunk,
    sampling = greedy,
  }: { prompt: readonly number[]; count: number; chunk: number; sampling?: Sampling },
): Promise<number[]> {
  const limits = { tokens: count, ends: new Set<number>(), capacity: prompt.length + count }
  const tokens: number[] = []
  for await (const token of continued(keptText(session, chunk), prompt, sampling, limits, { prompt: 0, tokens: 0 })) {
    tokens.push(token)
  }
  return tokens
}
