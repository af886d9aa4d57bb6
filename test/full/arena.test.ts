// How close the arena comes to what is needed at real sizes, as `test/plan/arenaModels.test.ts` holds it at small ones.
// Minutes of compiling rather than tools are what it needs.

import { wideProfile } from '../memory/gpt2Sizes.ts'
import { worstGap } from '../support/arenaGap.ts'
import { compileArchitecture, realArchitectures } from '../support/architectures.ts'

describe('the arena at real sizes', function () {
  this.timeout(600_000)
  for (const architecture of realArchitectures) {
    for (const adapt of ['lora', 'full'] as const) {
      for (const checkpoints of ['none', 'every'] as const) {
        const name = `${architecture.name}, ${adapt}, ${checkpoints}`
        it(`is within 2 % of its lower bound: ${name}`, () => {
          const how = { adapt, checkpoints, sequences: 1, length: 256, profile: wideProfile }
          worstGap(compileArchitecture(architecture, how), name)
        })
      }
    }
  }
})
