// One step has one result: by whatever compiler, instruction set, processor model, number of threads and choice of what is
// computed again. Every two of these choices occur together in some run. Needs g++, clang++-22, the aarch64 cross compiler,
// qemu and a processor with AVX-512.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { findCompiler, nativeToolChain } from '../../backends/neon/toolchain/native.ts'
import { writeSafetensors } from '../../formats/safetensors.ts'
import { modelFor } from '../../models/index.ts'
import { oracleCase } from '../support/oracle.ts'
import type { TrainingOracle } from '../support/oracle.ts'
import { hashState, openTrainCase } from '../support/trainCase.ts'

const cache = new CompileCache()

async function native(command: string, isa: 'avx2' | 'avx512'): Promise<ToolChain> {
  const compiler = await findCompiler([command])
  assert.ok(compiler, `${command} is missing; npm run setup:full installs it`)
  return nativeToolChain(cache, { name: 'host', isa, compiler, flags: [], launcher: [], reason: 'test' })
}

/** `cortex-a53` has no arithmetic in half precision; `max` has everything that the emulator knows. */
async function emulated(command: string, flags: readonly string[], cpu: 'cortex-a53' | 'max'): Promise<ToolChain> {
  const compiler = await findCompiler([command])
  assert.ok(compiler, `${command} is missing; npm run setup:full installs it`)
  const launcher = ['qemu-aarch64', '-cpu', cpu]
  return nativeToolChain(cache, { name: 'arm64', isa: 'neon', compiler, flags, launcher, reason: 'test' })
}

const crossClang = ['--target=aarch64-linux-gnu', '-fuse-ld=lld', '-static']
const targets = {
  'g++, AVX-512': () => native('g++', 'avx512'),
  'g++, AVX2': () => native('g++', 'avx2'),
  'clang, AVX-512': () => native('clang++-22', 'avx512'),
  'clang, AVX2': () => native('clang++-22', 'avx2'),
  'relaxed wasm': () => chooseToolChain('wasm', cache),
  'g++, emulated Cortex-A53': () => emulated('aarch64-linux-gnu-g++-12', ['-static'], 'cortex-a53'),
  'g++, emulated newest arm64': () => emulated('aarch64-linux-gnu-g++-12', ['-static'], 'max'),
  'clang, emulated Cortex-A53': () => emulated('clang++-22', crossClang, 'cortex-a53'),
  'clang, emulated newest arm64': () => emulated('clang++-22', crossClang, 'max'),
}
type Target = keyof typeof targets

const choices = {
  target: Object.keys(targets) as Target[],
  threads: [1, 2, 3, 5, 8],
  checkpoints: ['none', 'every'],
} as const
type Run = { [K in keyof typeof choices]: (typeof choices)[K][number] }

/** Few runs in which every two choices of different kinds occur together (greedily, in the order of the choices). */
function pairwise(): Run[] {
  const all = choices.target.flatMap((target) =>
    choices.threads.flatMap((threads) =>
      choices.checkpoints.map((checkpoints): Run => ({ target, threads, checkpoints })),
    ),
  )
  const pairs = ({ target, threads, checkpoints }: Run): string[] => [
    `${target} ${threads}`,
    `${target} ${checkpoints}`,
    `${threads} ${checkpoints}`,
  ]
  const open = new Set(all.flatMap(pairs))
  const runs: Run[] = []
  const gain = (run: Run): number => pairs(run).filter((pair) => open.has(pair)).length
  while (open.size > 0) {
    const best = all.reduce((most, run) => (gain(run) > gain(most) ? run : most))
    pairs(best).forEach((pair) => open.delete(pair))
    runs.push(best)
  }
  return runs
}

async function hashOf(oracle: TrainingOracle, { target, threads, checkpoints }: Run): Promise<string> {
  const open = await openTrainCase(oracle, {
    toolchain: await targets[target](),
    threads,
    checkpoints,
    optimise: 'light',
    functions: ['accumulate', 'measure', 'apply'],
  })
  try {
    await open.step()
    return await hashState(open)
  } finally {
    await open.session.close()
  }
}

const plain: Run = { target: 'g++, AVX-512', threads: 1, checkpoints: 'none' }

describe('one step has one result', function () {
  this.timeout(900_000)
  let begun = 0
  before(() => {
    begun = performance.now()
  })
  after(() => console.log(`      ${((performance.now() - begun) / 60_000).toFixed(1)} minutes`))

  // Each model takes its share of the runs: compiling is what takes the time.
  const names = [
    'gpt2-small/lora',
    'gpt2-small/full',
    'qwen2-small/lora',
    'qwen2-small/full',
    'gemma3-small/lora',
    'gemma3-small/full',
  ]
  for (const [place, name] of names.entries()) {
    const runs = pairwise().filter((_, index) => index % names.length === place)
    it(`${name}: ${runs.length} of ${pairwise().length} runs`, async () => {
      const expected = await hashOf(oracleCase(name), plain)
      for (const run of runs) assert.equal(await hashOf(oracleCase(name), run), expected, JSON.stringify(run))
    })
  }

  it('one layer of GPT-2 at its real width, 16 tokens, a vocabulary of 1,003, on every target', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-wide-'))
    try {
      const oracle = wideLayer(folder)
      const expected = await hashOf(oracle, plain)
      for (const target of choices.target) {
        if (target === plain.target) continue
        assert.equal(await hashOf(oracle, { target, threads: 2, checkpoints: 'none' }), expected, target)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

/** A model with made-up weights in a folder, fully trained on made-up tokens. */
function wideLayer(folder: string): TrainingOracle {
  const config = { model_type: 'gpt2', vocab_size: 1003, n_positions: 16, n_embd: 768, n_layer: 1, n_head: 12 }
  const definition = modelFor(config, 'config.json')
  const { graph } = definition.trace(definition.readConfig(config, 'config.json'), { sequences: 1, length: 16 })
  let state = 1
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31
  const tensors = [...graph.declarations.values()]
    .filter(({ role }) => role === 'frozen')
    .map(({ name, stored }) => {
      const shape = stored.map((axes) => axes.reduce((product, axis) => product * axis.size, 1))
      const data = Float32Array.from(
        { length: shape.reduce((product, size) => product * size, 1) },
        () => next() * 0.05,
      )
      return { name, dtype: 'F32', shape, data: new Uint8Array(data.buffer) } as const
    })
  writeSafetensors(join(folder, 'model.safetensors'), tensors)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const row = (value: (place: number) => number): number[][] => [Array.from({ length: 16 }, (_, place) => value(place))]
  const small = oracleCase('gpt2-small/full')
  return {
    ...small,
    modelDirectory: folder,
    batch: {
      lengths: [16],
      tokens: row((place) => (place * 61) % 1003),
      targets: row((place) => (place * 61 + 61) % 1003),
      weights: row((place) => (place % 5 === 4 ? 0 : 1)),
    },
  }
}
