// What the compiled program computes on packed rows, against transformers, with nothing but Node. All cases, on the host's
// compiler, are in test/full/packed-host.test.ts.

import { packedCase } from '../support/packedOracle.ts'
import { openTrainCase } from '../support/trainCase.ts'
import type { TrainCase, TrainCaseOptions } from '../support/trainCase.ts'
import { checkGradients, forgetGradients } from './comparing.ts'
import { checkTrainerCurve, repackedRows } from './documents.ts'

const options: TrainCaseOptions = {
  toolchain: 'wasm',
  optimise: 'light',
  threads: 2,
  functions: ['accumulate', 'measure', 'apply'],
}

// A window with everything trained, and a stretched rotation under adapters.
for (const name of ['gemma3-small/full', 'llama-small/lora']) {
  describe(`relaxed wasm on packed rows against transformers: ${name}`, function () {
    this.timeout(240_000)
    const oracle = packedCase(name)
    let open: TrainCase

    before(async () => {
      open = await openTrainCase(oracle, options)
    })
    after(() => open?.session.close())

    it('has their loss and every gradient', () => checkGradients(oracle, open))

    it('has their loss curve of 30 steps, packed by the product in another order', async () => {
      await forgetGradients(open)
      await checkTrainerCurve(oracle, open, [repackedRows(oracle)])
    })
  })
}
