// What the compiled program computes against PyTorch, transformers and PEFT, with nothing but Node: clang in wasm, wasm
// threads. The same on the host's compiler and for all cases is test/full/oracle-host.test.ts.

import assert from 'node:assert/strict'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { oracleCase } from '../support/oracle.ts'
import { hashState, openTrainCase } from '../support/trainCase.ts'
import type { TrainCase, TrainCaseOptions } from '../support/trainCase.ts'
import { checkCurve, checkGradients, checkLogits, clearAdapters, forgetGradients, functionsIn, predictedLogits, trainedNames, trainingFunctions } from './comparing.ts' // prettier-ignore

const options: TrainCaseOptions = { toolchain: 'wasm', optimise: 'light', threads: 2, functions: trainingFunctions }

/**
 * Every combination of architecture and what is trained; every dimension of the odd one crosses a tile. Compiling them
 * is what takes the time: the other cases are in the full run.
 */
const cases = ['gpt2-small/full', 'gpt2-odd/lora', 'qwen2-small/full', 'qwen2-small/lora', 'gemma3-small/full']

/** The state after two steps with some number of threads. */
async function hashAfterTwoSteps(name: string, other: Partial<TrainCaseOptions>): Promise<string> {
  const open = await openTrainCase(oracleCase(name), { ...options, ...other })
  try {
    await open.step()
    await open.step()
    return await hashState(open)
  } finally {
    await open.session.close()
  }
}

for (const name of cases) {
  describe(`relaxed wasm against PyTorch: ${name}`, function () {
    this.timeout(240_000)
    const oracle = oracleCase(name)
    const functions = functionsIn(oracle, 'wasm')
    let open: TrainCase

    before(async () => {
      open = await openTrainCase(oracle, { ...options, functions })
    })
    after(() => open?.session.close())

    if (oracle.lora) {
      it("predicts the logits of the model with PEFT's adapter, at every position", async () => {
        checkLogits(await predictedLogits(oracle, open.session), oracle.logits)
      })

      it("without the adapter's B, predicts those of the base model", async () => {
        await clearAdapters(open)
        checkLogits(await predictedLogits(oracle, open.session), oracle.baseLogits)
        await open.restart()
      })
    }

    it('has its loss and every gradient, none zero or missing', () => checkGradients(oracle, open))

    it('has its loss curve of 30 steps', async () => {
      await forgetGradients(open)
      await checkCurve(oracle, open)
    })

    it('has changed every trained tensor', async () => {
      const names = trainedNames(open.compiled.program)
      const after = new Map(await Promise.all(names.map(async (one) => [one, await open.session.read(one)] as const)))
      await open.restart()
      for (const one of names) assert.notDeepEqual(await open.session.read(one), after.get(one), one)
    })

    it('has the same bits after two steps on 1, 2 and 4 threads', async () => {
      const one = await hashAfterTwoSteps(name, { functions, threads: 1 })
      for (const threads of [2, 4])
        assert.equal(await hashAfterTwoSteps(name, { functions, threads }), one, `${threads} threads`)
    })
  })
}

describe('relaxed wasm with layers computed again', function () {
  this.timeout(240_000)
  it('has the same bits after two steps', async () => {
    const functions = functionsIn(oracleCase('qwen2-small/full'), 'wasm')
    const kept = await hashAfterTwoSteps('qwen2-small/full', { functions })
    assert.equal(await hashAfterTwoSteps('qwen2-small/full', { functions, checkpoints: 'every' }), kept)
  })

  it('hashes to something else when the batch is another', async () => {
    const open = await openTrainCase(oracleCase('qwen2-small/lora'), options)
    try {
      const weights = oracleCase('qwen2-small/lora').batch.weights.flat()
      // One weight less.
      weights[weights.indexOf(1)] = 0
      await open.session.write('weights', Float32Array.from(weights), [2, weights.length / 2])
      await open.step()
      await open.step()
      assert.notEqual(await hashState(open), await hashAfterTwoSteps('qwen2-small/lora', {}))
    } finally {
      await open.session.close()
    }
  })

  it('is what runs here', async () => {
    assert.equal((await chooseToolChain('wasm')).isa.name, 'wasmRelaxed')
  })
})
