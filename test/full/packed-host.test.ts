// Every case of packed rows on the host's processor, against transformers: loss, gradients and curves. The same documents apart,
// a few in each micro-batch, learn the same: accumulation weighted by tokens is the large batch.

import assert from 'node:assert/strict'
import { quickHost } from '../support/nativeChains.ts'
import { packedCase, packedNames } from '../support/packedOracle.ts'
import { openTrainCase } from '../support/trainCase.ts'
import type { TrainCase, TrainCaseOptions } from '../support/trainCase.ts'
import { checkGradients, forgetGradients } from '../truth/comparing.ts'
import { checkTrainerCurve, longestFirst, openApart, repackedRows } from '../truth/documents.ts'

const host = async (): Promise<TrainCaseOptions> => ({
  toolchain: await quickHost(),
  optimise: 'light',
  threads: 2,
  functions: ['accumulate', 'measure', 'apply'],
})

for (const name of packedNames()) {
  describe(`the host on packed rows against transformers: ${name}`, function () {
    this.timeout(300_000)
    const oracle = packedCase(name)
    let open: TrainCase

    before(async () => {
      open = await openTrainCase(oracle, await host())
    })
    after(() => open?.session.close())

    it('has their loss and every gradient', () => checkGradients(oracle, open))

    it('has their loss curve of 30 steps, packed by the product in another order', async () => {
      await forgetGradients(open)
      await checkTrainerCurve(oracle, open, [repackedRows(oracle)])
    })
  })
}

describe('the host on documents apart against transformers', function () {
  this.timeout(300_000)

  for (const name of ['gpt2-small/lora', 'llama-small/lora', 'gemma3-small/full']) {
    it(`${name}: has the loss curve of the large batch, two documents at a time`, async () => {
      const oracle = packedCase(name)
      const open = await openApart(oracle, await host())
      try {
        const micro = longestFirst(oracle)
        const targets = micro.map((one) => one.weights.reduce((sum, weight) => sum + weight, 0))
        assert.ok(micro.length >= 3)
        assert.equal(new Set(micro.map(({ length }) => length)).size, micro.length, 'equal lengths')
        assert.equal(new Set(targets).size, micro.length, 'equal numbers of targets')
        await checkTrainerCurve(oracle, open, micro)
      } finally {
        await open.session.close()
      }
    })
  }
})
