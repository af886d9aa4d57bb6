// Every oracle case on the host's compiler, and one result for one step whatever runs it: threads, plans, wasm, another
// compiler, emulated arm64. Needs a host compiler, clang++-22, the aarch64 cross compiler and qemu.

import assert from 'node:assert/strict'
import { chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import { findCompiler, nativeToolChain } from '../../backends/neon/toolchain/native.ts'
import { oracleCase, oracleCases } from '../support/oracle.ts'
import { hashState, openTrainCase } from '../support/trainCase.ts'
import type { TrainCase, TrainCaseOptions } from '../support/trainCase.ts'
import { checkCurve, checkGradients, checkLogits, clearAdapters, forgetGradients, predictedLogits, trainingFunctions } from '../truth/comparing.ts' // prettier-ignore

const host: TrainCaseOptions = { toolchain: 'host', optimise: 'light', threads: 2, functions: trainingFunctions }
const stepFunctions = ['accumulate', 'measure', 'apply']

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
  const open = await openTrainCase(oracleCase(name), { ...host, functions: stepFunctions, ...options })
  try {
    for (let step = 0; step < steps; step++) await open.step()
    return await hashState(open)
  } finally {
    await open.session.close()
  }
}

describe('one result after two steps', function () {
  this.timeout(600_000)

  for (const name of ['gpt2-small/full', 'gpt2-small/lora', 'qwen2-small/full', 'qwen2-small/lora', 'qwen2-odd/lora']) {
    describe(name, () => {
      let expected: string
      before(async () => {
        expected = await hashAfter(2, name, { threads: 1 })
      })

      it('on 2 and 4 threads', async () => {
        for (const threads of [2, 4]) assert.equal(await hashAfter(2, name, { threads }), expected, `${threads} threads`)
      })

      it('with schedules made for 1 and 8 threads, and optimised fully', async () => {
        for (const plannedThreads of [1, 8]) {
          assert.equal(await hashAfter(2, name, { plannedThreads }), expected, `planned for ${plannedThreads}`)
        }
        assert.equal(await hashAfter(2, name, { optimise: 'full' }), expected)
      })

      it('with layers computed again', async () => {
        assert.equal(await hashAfter(2, name, { checkpoints: 'every' }), expected)
      })

      it('in relaxed wasm, on 1 and 2 threads', async () => {
        for (const threads of [1, 2]) {
          assert.equal(await hashAfter(2, name, { toolchain: 'wasm', threads }), expected, `${threads} threads`)
        }
      })

      it('through clang', async () => {
        const compiler = await findCompiler(['clang++-22'])
        assert.ok(compiler, 'clang++-22 is missing; npm run setup:full installs it')
        const { isa } = await chooseToolChain('host')
        assert.ok(isa.name === 'avx2' || isa.name === 'avx512' || isa.name === 'neon', isa.name)
        const given = { name: 'host', isa: isa.name, compiler, flags: [], launcher: [], reason: 'test' } as const
        const clang = nativeToolChain(new CompileCache(), given)
        assert.equal(await hashAfter(2, name, { toolchain: clang }), expected)
      })
    })
  }

  it('for one small step on emulated arm64', async () => {
    for (const name of ['gpt2-small/lora', 'qwen2-small/full']) {
      const expected = await hashAfter(1, name, { threads: 1 })
      assert.equal(await hashAfter(1, name, { toolchain: 'arm64', threads: 2 }), expected, name)
    }
  })

  it('but not after another number of steps', async () => {
    assert.notEqual(await hashAfter(1, 'gpt2-small/lora', {}), await hashAfter(2, 'gpt2-small/lora', {}))
  })
})
