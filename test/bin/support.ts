// What the tests of the command line share: a tiny random GPT-2 with its own tokenizer, recipes, and running `heddle` in
// this process or in one of its own.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { trainByteBpe } from '../../data/byteBpe.ts'
import { Random } from '../../data/random.ts'
import { saveCheckpoint } from '../../formats/checkpoint.ts'
import { float32Tensor } from '../../formats/safetensors.ts'
import type { NewTensor } from '../../formats/safetensors.ts'

const script = fileURLToPath(new URL('../../bin/heddle.mjs', import.meta.url))
const made: string[] = []

after(() => {
  for (const dir of made.splice(0)) fs.rmSync(dir, { recursive: true, force: true })
})

/** A fresh directory that is removed when the tests are done. */
export function temporaryDirectory(): string {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'heddle-bin-')))
  made.push(dir)
  return dir
}

const positions = 40

/** Parameters of a GPT-2 with one layer, whose sizes are no multiples of a tile. `scale` is that of the weights. */
function tinyTensors(vocabulary: number, scale: number, width: number): NewTensor[] {
  const random = new Random(3)
  const tensor = (name: string, shape: number[], mean: number, spread: number): NewTensor => {
    const count = shape.reduce((product, extent) => product * extent, 1)
    const values = Float32Array.from({ length: count }, () => mean + spread * (random.bits() / 2 ** 31 - 1))
    return float32Tensor(`transformer.${name}`, shape, values)
  }
  const linear = (name: string, inputs: number, outputs: number): NewTensor[] => [
    tensor(`${name}.weight`, [inputs, outputs], 0, scale),
    tensor(`${name}.bias`, [outputs], 0, 0.1),
  ]
  const norm = (name: string): NewTensor[] => [
    tensor(`${name}.weight`, [width], 1, 0.1),
    tensor(`${name}.bias`, [width], 0, 0.1),
  ]
  return [
    tensor('wte.weight', [vocabulary, width], 0, scale),
    tensor('wpe.weight', [positions, width], 0, 0.3),
    ...norm('h.0.ln_1'),
    ...linear('h.0.attn.c_attn', width, 3 * width),
    ...linear('h.0.attn.c_proj', width, width),
    ...norm('h.0.ln_2'),
    ...linear('h.0.mlp.c_fc', width, 4 * width),
    ...linear('h.0.mlp.c_proj', 4 * width, width),
    ...norm('ln_f'),
  ]
}

/** A directory with `model/`, `records.jsonl` and recipes; files may be changed afterwards. */
export function tinyProject(scale = 0.3, width = 20): string {
  const dir = temporaryDirectory()
  const vocabulary = trainByteBpe(['how is my pulse, it is low'], { vocabulary: 261, special: ['<|end|>'] })
  const config = {
    model_type: 'gpt2',
    architectures: ['GPT2LMHeadModel'],
    vocab_size: vocabulary.size,
    n_positions: positions,
    n_embd: width,
    n_layer: 1,
    n_head: 2,
  }
  const staging = path.join(dir, 'tokenizer')
  fs.mkdirSync(staging)
  const tokenizerFiles = ['tokenizer.json', 'tokenizer_config.json'].map((name) => path.join(staging, name))
  fs.writeFileSync(tokenizerFiles[0] as string, vocabulary.json)
  fs.writeFileSync(tokenizerFiles[1] as string, JSON.stringify({ eos_token: '<|end|>' }))
  saveCheckpoint(path.join(dir, 'model'), {
    config,
    tensors: tinyTensors(vocabulary.size, scale, width),
    tokenizerFiles,
  })
  const records = Array.from({ length: 7 }, (_, index) => ({
    prompt: `pulse ${index}?`,
    completion: ` it is ${index % 2}`,
  }))
  fs.writeFileSync(path.join(dir, 'records.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''))
  writeRecipe(dir, 'lora.ts')
  writeRecipe(dir, 'full.ts', { adapt: 'fullFineTuning()' })
  return dir
}

/** A recipe whose parts are the source text given, and usual ones otherwise. */
export function writeRecipe(dir: string, name: string, parts: Readonly<Record<string, string>> = {}): void {
  const all: Record<string, string> = {
    model: "gpt2.from('./model')",
    adapt: "lora({ rank: 3, alpha: 6, targets: ['c_attn', 'c_proj', 'c_fc'] })",
    data: "completions('records.jsonl', { loss: 'completion' })",
    optimizer: 'adamW({ rate: constant(0.01), clip: 1 })',
    batch: '{ sequences: 2, length: 24, accumulate: 2, steps: 3 }',
    seed: '5',
    ...parts,
  }
  const lines = Object.entries(all).map(([key, value]) => `  ${key}: ${value},`)
  fs.writeFileSync(
    path.join(dir, name),
    `import { adamW, chat, completions, constant, cosine, fullFineTuning, lora, recipe, text } from 'heddle'
import { gpt2 } from 'heddle/models'

export default recipe({
${lines.join('\n')}
})
`,
  )
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `heddle` in this process, with another working directory. */
export async function heddle(dir: string, ...operands: string[]): Promise<Ran> {
  // Mocha may have loaded this file as CommonJS: the command line must come as it does for users, every module once.
  const { main } = await import('../../bin/heddle.ts')
  const written = { stdout: '', stderr: '' }
  const originals = {
    stdout: process.stdout.write.bind(process.stdout),
    stderr: process.stderr.write.bind(process.stderr),
  }
  const before = process.cwd()
  process.chdir(dir)
  for (const stream of ['stdout', 'stderr'] as const) {
    process[stream].write = ((chunk: string | Uint8Array) => {
      written[stream] += String(chunk)
      return true
    }) as typeof process.stdout.write
  }
  try {
    return { code: await main(operands), ...written }
  } finally {
    process.stdout.write = originals.stdout
    process.stderr.write = originals.stderr
    process.chdir(before)
  }
}

/** Starts `heddle` as a process of its own. */
export function startHeddle(
  dir: string,
  ...operands: string[]
): { child: ChildProcessWithoutNullStreams; ended: Promise<Ran> } {
  const { HEDDLE_DEBUG: _debug, NODE_OPTIONS: _options, ...env } = process.env
  // A process group of its own, as a shell gives it: Ctrl-C in a terminal reaches every process of the group.
  const options = { cwd: dir, env, detached: true }
  const child = spawn(process.execPath, [script, ...operands], { ...options, stdio: ['pipe', 'pipe', 'pipe'] })
  const written = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (written.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (written.stderr += text))
  const ended = new Promise<Ran>((resolve) => child.on('close', (code) => resolve({ code, ...written })))
  return { child, ended }
}

export interface Event {
  readonly event: string
  readonly [key: string]: unknown
}

/** The JSON lines that a command printed. */
export function eventsOf(text: string): Event[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Event)
}

/** Holds a refusal to the promise: exit code 1, one line, the code and sentence expected, no stack. */
export function assertRefused({ code, stderr }: Ran, expected: RegExp): void {
  assert.equal(code, 1, stderr)
  // Colours belong to terminals that ask for them.
  // oxlint-disable-next-line no-control-regex
  const text = stderr.replace(/\u001b\[\d+m/g, '')
  assert.equal(text.trimEnd().split('\n').length, 1, `one line was expected:\n${text}`)
  assert.match(text, expected)
  assert.doesNotMatch(text, /^\s+at |\bat .*:\d+:\d+\)?$/m)
}
