// Every oracle case on the host's processor. Needs clang++-22.

import { quickHost } from '../support/nativeChains.ts'
import { oracleCases } from '../support/oracle.ts'
import { openTrainCase } from '../support/trainCase.ts'
import type { TrainCase } from '../support/trainCase.ts'
import { checkCurve, checkGradients, checkLogits, clearAdapters, forgetGradients, predictedLogits, trainingFunctions } from '../truth/comparing.ts' // prettier-ignore

for (const oracle of oracleCases()) {
  describe(`the host against PyTorch: ${oracle.name}`, function () {
    this.timeout(300_000)
    let open: TrainCase
    before(async () => {
      const toolchain = await quickHost()
      open = await openTrainCase(oracle, { toolchain, optimise: 'light', threads: 2, functions: trainingFunctions })
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
