// Every oracle case on the host's compiler, and one result for one step whatever runs it: threads, plans, wasm, another
// compiler, emulated arm64. Needs a host compiler, clang++-22, the aarch64 cross compiler and qemu.

import assert from 'node:assert/strict'
import { chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { findCompiler, nativeToolChain } from '../../backends/neon/toolchain/native.ts'
import { oracleCase, oracleCases } from '../support/oracle.ts'
import { hashState, openTrainCase } from '../support/trainCase.ts'
import type { TrainCase, TrainCaseOptions } from '../support/trainCase.ts'
import { checkCurve, checkGradients, checkLogits, clearAdapters, forgetGradients, functionsIn, predictedLogits, trainingFunctions } from '../truth/comparing.ts' // prettier-ignore

const host: TrainCaseOptions = { toolchain: 'host', optimise: 'light', threads: 2, functions: trainingFunctions }

for (const oracle of oracleCases()) {
  describe(`the host against PyTorch: ${oracle.name}`, function () {
    this.timeout(300_000)
    let open: TrainCase
    before(async () => {
      open = await openTrainCase(oracle, host)
    })
    after(() => open?.session.close())

    it('has its logits', async () => {
      checkLogits(await predictedLogits(oracle, open.session), oracle.logits)
      if (!oracle.lora) return
      await clearAdapters(open)
      checkLogits(await predictedLogits(oracle, open.session), oracle.baseLogits)
      await open.restart()
    })

    it('has its loss and every gradient, none zero or missing', () => checkGradients(oracle, open))

    it('has its loss curve of 30 steps', async () => {
      await forgetGradients(open)
      await checkCurve(oracle, open)
    })
  })
}

async function hashAfter(steps: number, name: string, options: Partial<TrainCaseOptions>): Promise<string> {
  const oracle = oracleCase(name)
  const functions = functionsIn(oracle, options.toolchain === 'wasm' ? 'wasm' : 'host')
  const open = await openTrainCase(oracle, { ...host, functions, ...options })
  try {
    for (let step = 0; step < steps; step++) await open.step()
    return await hashState(open)
  } finally {
    await open.session.close()
  }
}

async function clangOnHost(): Promise<ToolChain> {
  const compiler = await findCompiler(['clang++-22'])
  assert.ok(compiler, 'clang++-22 is missing; npm run setup:full installs it')
  const { isa } = await chooseToolChain('host')
  assert.ok(isa.name === 'avx2' || isa.name === 'avx512' || isa.name === 'neon', isa.name)
  const given = { name: 'host', isa: isa.name, compiler, flags: [], launcher: [], reason: 'test' } as const
  return nativeToolChain(new CompileCache(), given)
}

describe('one result after two steps', function () {
  this.timeout(600_000)

  for (const name of ['gpt2-small/full', 'gpt2-small/lora', 'qwen2-small/full', 'qwen2-small/lora']) {
    describe(name, () => {
      let expected: string
      before(async () => {
        expected = await hashAfter(2, name, { threads: 1 })
      })

      it('on 2 and 4 threads', async () => {
        for (const threads of [2, 4])
          assert.equal(await hashAfter(2, name, { threads }), expected, `${threads} threads`)
      })

      it('with layers computed again', async () => {
        assert.equal(await hashAfter(2, name, { checkpoints: 'every' }), expected)
      })

      it('in relaxed wasm, on 1 and 2 threads', async () => {
        for (const threads of [1, 2]) {
          assert.equal(await hashAfter(2, name, { toolchain: 'wasm', threads }), expected, `${threads} threads`)
        }
      })
    })
  }

  it('at odd sizes in relaxed wasm', async () => {
    // The second leaves blocks of keys out.
    for (const name of ['gpt2-odd/lora', 'gemma3-odd/full']) {
      assert.equal(await hashAfter(2, name, { toolchain: 'wasm' }), await hashAfter(2, name, {}), name)
    }
  })

  it('with schedules made for 1 and 8 threads, and optimised fully', async () => {
    const name = 'qwen2-small/full'
    const expected = await hashAfter(2, name, { threads: 1 })
    for (const plannedThreads of [1, 8]) {
      assert.equal(await hashAfter(2, name, { plannedThreads }), expected, `planned for ${plannedThreads}`)
    }
    assert.equal(await hashAfter(2, name, { optimise: 'full' }), expected)
  })

  it('through clang', async () => {
    const clang = await clangOnHost()
    for (const name of ['gpt2-small/full', 'qwen2-small/lora']) {
      assert.equal(await hashAfter(2, name, { toolchain: clang }), await hashAfter(2, name, { threads: 1 }), name)
    }
  })

  it('for one small step on emulated arm64', async () => {
    const expected = await hashAfter(1, 'gpt2-small/lora', { threads: 1 })
    assert.equal(await hashAfter(1, 'gpt2-small/lora', { toolchain: 'arm64', threads: 2 }), expected)
  })

  it('but not after another number of steps', async () => {
    assert.notEqual(await hashAfter(1, 'gpt2-small/lora', {}), await hashAfter(2, 'gpt2-small/lora', {}))
  })
})
