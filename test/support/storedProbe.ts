// The hand-made program with values in storage behind a probe of the C ABI (test/neon/storedProbe.cpp) instead of the command
// line. Only for tests.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { programSources } from '../../backends/neon/driver/index.ts'
import { runProgram } from '../../backends/neon/toolchain/native.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { storedProgram } from '../neon/storedProgram.ts'

const MAIN = '#include "heddle_main.h"'
const probe = readFileSync(new URL('../neon/storedProbe.cpp', import.meta.url), 'utf8')

/** What the probe prints, line by line, for words that say what it is to do. */
export type Probe = (...words: readonly string[]) => Promise<string[]>

export async function storedProbe(chain: ToolChain): Promise<Probe> {
  let replaced = 0
  const sources = (await programSources(storedProgram, chain)).map((source) => {
    if (!source.text.includes(MAIN)) return source
    replaced++
    return { ...source, text: source.text.replace(MAIN, () => probe) }
  })
  assert.equal(replaced, 1)
  const path = await chain.compile(sources, { output: 'executable', optimise: 'light' })
  return async (...words) => {
    const [command, ...operands] = [...chain.launcher, path]
    const ran = await runProgram(command, [...operands, ...words], { milliseconds: 120_000 })
    assert.equal(ran.code, 0, `${words.join(' ')}: ${ran.output}${ran.log}`)
    return ran.output.split('\n').slice(0, -1)
  }
}
