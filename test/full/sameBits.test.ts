// One step has one result: by whatever compiler, instruction set, processor model, number of threads, whatever is computed
// again and whatever is read while it runs. Every two of these choices, of the models and of what is trained occur together
// in some run. Needs g++, clang++-22, the aarch64 cross compiler, qemu and a processor with AVX-512.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import { emulatedChain, hostChain } from '../support/nativeChains.ts'
import { oracleCase } from '../support/oracle.ts'
import type { TrainingOracle } from '../support/oracle.ts'
import { pairwise, twoAtATime } from '../support/pairwise.ts'
import { smallStorage } from '../support/smallStorage.ts'
import { hashState, openTrainCase } from '../support/trainCase.ts'
import { wideLayer, wideModels, writeAdapterNoise } from '../support/wideLayer.ts'

const cache = new CompileCache()

const targets = {
  'g++, AVX-512': () => hostChain(cache, { command: 'g++', isa: 'avx512' }),
  'g++, AVX2': () => hostChain(cache, { command: 'g++', isa: 'avx2' }),
  'clang, AVX-512': () => hostChain(cache, { command: 'clang++-22', isa: 'avx512' }),
  'clang, AVX2': () => hostChain(cache, { command: 'clang++-22', isa: 'avx2' }),
  'relaxed wasm': () => chooseToolChain('wasm', cache),
  'g++, emulated Cortex-A53': () => emulatedChain(cache, 'aarch64-linux-gnu-g++-12', 'cortex-a53'),
  'clang, emulated Cortex-A53': () => emulatedChain(cache, 'clang++-22', 'cortex-a53'),
  'g++, emulated newest arm64': () => emulatedChain(cache, 'aarch64-linux-gnu-g++-12', 'max'),
  'clang, emulated newest arm64': () => emulatedChain(cache, 'clang++-22', 'max'),
}
type Target = keyof typeof targets
const targetNames = Object.keys(targets) as Target[]

/** What an old core runs is compiled once and then run on the newest one as well, with all the same choices. */
const alsoOn: Partial<Record<Target, Target>> = {
  'g++, emulated Cortex-A53': 'g++, emulated newest arm64',
  'clang, emulated Cortex-A53': 'clang, emulated newest arm64',
}
const compiledFor = targetNames.filter((target) => !Object.values(alsoOn).includes(target))

function onAllCores<R extends { readonly target: Target }>(runs: readonly R[]): R[] {
  return runs.flatMap((run) => {
    const other = alsoOn[run.target]
    return other === undefined ? [run] : [run, { ...run, target: other }]
  })
}

interface Run {
  readonly target: Target
  readonly threads: number
  readonly checkpoints: 'none' | 'every'
  /** Bytes of the ranges by which tensors come from storage, what is trained as well in full; 0: all are in memory. */
  readonly shards?: number
  /** Threads that the schedule is made for. */
  readonly plannedThreads?: number
  readonly optimise?: 'light' | 'full'
  readonly steps?: number
}

async function hashOf(oracle: TrainingOracle, run: Run): Promise<string> {
  const { target, threads, checkpoints, plannedThreads = 2, shards = 0, optimise = 'light', steps = 1 } = run
  // A module in WebAssembly has no storage.
  const isSharded = shards > 0 && target !== 'relaxed wasm'
  const state = isSharded && oracle.mode === 'full'
  const folder = mkdtempSync(join(tmpdir(), 'heddle-state-'))
  const open = await openTrainCase(oracle, {
    toolchain: await targets[target](),
    threads,
    plannedThreads,
    checkpoints,
    ...(isSharded ? { storage: { ...smallStorage(shards), state } } : {}),
    ...(state ? { stored: { path: join(folder, 'trained.bin') } } : {}),
    optimise,
    functions: ['accumulate', 'measure', 'apply'],
  })
  try {
    assert.equal(open.compiled.program.storedCount > 0, state)
    if (oracle.adapterDirectory === undefined) await writeAdapterNoise(open)
    for (let step = 0; step < steps; step++) await open.step()
    return await hashState(open)
  } finally {
    await open.session.close()
    rmSync(folder, { recursive: true })
  }
}

const plain: Run = { target: 'g++, AVX-512', threads: 1, checkpoints: 'none' }

/** The runs that are not the plain one give its hash. */
async function compareRuns(oracle: TrainingOracle, runs: readonly Run[]): Promise<void> {
  const expected = await hashOf(oracle, plain)
  await twoAtATime(runs, async (run) => {
    assert.equal(await hashOf(oracle, run), expected, `${oracle.name} ${JSON.stringify(run)}`)
  })
}

describe('one step has one result', function () {
  this.timeout(1_500_000)
  let begun = 0
  before(() => {
    begun = performance.now()
  })
  after(() => console.log(`      ${((performance.now() - begun) / 60_000).toFixed(1)} minutes`))

  const small = onAllCores(
    pairwise({
      name: [
        'gpt2-small/lora',
        'gpt2-small/full',
        'qwen2-small/lora',
        'qwen2-small/full',
        'gemma3-small/lora',
        'gemma3-small/full',
      ],
      target: compiledFor,
      threads: [1, 2, 3, 5, 8],
      plannedThreads: [2, 1, 8],
      checkpoints: ['none', 'every'],
      shards: [0, 2048, 16384],
    }),
  )
  for (const name of new Set(small.map((run) => run.name))) {
    const runs = small.filter((run) => run.name === name)
    it(`${name}: ${runs.length} of ${small.length} runs`, () => compareRuns(oracleCase(name), runs))
  }

  // The second leaves blocks of keys out.
  for (const name of ['gpt2-odd/lora', 'gemma3-odd/full']) {
    it(`${name}: two steps at odd sizes, which are not one, optimised fully and in relaxed wasm`, async () => {
      const oracle = oracleCase(name)
      const two = { ...plain, steps: 2 }
      const expected = await hashOf(oracle, two)
      assert.notEqual(await hashOf(oracle, plain), expected)
      assert.equal(await hashOf(oracle, { ...two, optimise: 'full' }), expected, 'optimised fully')
      assert.equal(await hashOf(oracle, { ...two, target: 'relaxed wasm' }), expected, 'relaxed wasm')
    })
  }

  // The plain target is what the others are compared with.
  const wide = onAllCores(
    pairwise({
      model: wideModels,
      mode: ['lora', 'full'],
      target: compiledFor.filter((target) => target !== plain.target),
      checkpoints: ['none', 'every'],
      shards: [0, 65536],
    }),
  )
  for (const model of wideModels) {
    for (const mode of ['lora', 'full'] as const) {
      const runs = wide.filter((run) => run.model === model && run.mode === mode)
      const title = `one layer of ${model} at its real width, 16 tokens, a vocabulary of 1,003, ${mode}`
      it(`${title}: ${runs.length} of ${wide.length} runs`, async () => {
        const folder = mkdtempSync(join(tmpdir(), 'heddle-wide-'))
        try {
          // Threads were paired with everything else at the small sizes.
          await compareRuns(
            wideLayer(folder, model, mode),
            runs.map((run, turn) => ({ ...run, threads: [2, 8, 3, 1, 5][turn % 5] ?? 2 })),
          )
        } finally {
          rmSync(folder, { recursive: true })
        }
      })
    }
  }

  it('was run for every model, with adapters and in full, on every target', () => {
    assert.equal(new Set(small.map(({ name, target }) => `${name} ${target}`)).size, 6 * targetNames.length)
    assert.equal(new Set(wide.map(({ model, target }) => `${model} ${target}`)).size, 3 * (targetNames.length - 1))
    assert.equal(new Set(wide.map(({ mode, target }) => `${mode} ${target}`)).size, 2 * (targetNames.length - 1))
  })
})
