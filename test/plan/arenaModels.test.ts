// How close the arena comes to what is needed, over every architecture, both ways of training, with and without
// checkpoints, and the recipes in the repository. Compiles to kernels; no C++ is needed. The real sizes are in `test/full`.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { compileRecipe } from '../../train/compileRecipe.ts'
import { shippedDevices } from '../../devices/index.ts'
import recipe from '../../apps/health/recipe.ts'
import { wideProfile } from '../memory/gpt2Sizes.ts'
import { compileArchitecture, smallArchitectures } from '../support/architectures.ts'
import { worstGap } from '../support/arenaGap.ts'

describe('the arena of every program', function () {
  this.timeout(240_000)
  const seen: string[] = []
  after(() => console.log(seen.map((line) => `      ${line}`).join('\n')))

  for (const architecture of smallArchitectures) {
    it(`is within 2 % of its lower bound: ${architecture.name}`, () => {
      const gaps = (['lora', 'full'] as const).flatMap((adapt) =>
        (['none', 'every'] as const).map((checkpoints) => {
          const how = { adapt, checkpoints, sequences: 3, length: 19, profile: wideProfile }
          return worstGap(compileArchitecture(architecture, how), `${architecture.name}, ${adapt}, ${checkpoints}`)
        }),
      )
      seen.push(gaps.reduce((worst, one) => (one.gap > worst.gap ? one : worst)).text)
    })
  }

  it("is within 2 % of its lower bound: the demo's recipe", () => {
    const { sequences, length } = recipe.batch
    const file = new URL('../../apps/health/model/config.json', import.meta.url)
    const { definition } = recipe.model
    const config = definition.readConfig(JSON.parse(readFileSync(file, 'utf8')), 'config.json')
    const traced = definition.trace(config, { sequences, length })
    for (const device of shippedDevices) {
      const settings = { device, threads: device.cores, steps: 200, memoryBudget: device.memoryBudget }
      for (const checkpoints of ['none', 'every layer'] as const) {
        const compiled = compileRecipe({ ...recipe, checkpoints }, traced, settings)
        seen.push(worstGap(compiled, `the demo on ${device.name}, ${checkpoints}`).text)
      }
    }
  })
})

describe('gaps', () => {
  it('are those of the worst function, and too large ones are refused', () => {
    const use = (fn: string, peak: number): unknown => ({ fn, peak, lowerBound: 1000, buffers: [] })
    const of = (...arenas: unknown[]): Parameters<typeof worstGap>[0] => ({ arenas }) as never
    assert.equal(worstGap(of(use('a', 1010), use('b', 1019)), 'x').text, 'x: 1.90 % in b, 0 buffers')
    assert.throws(() => worstGap(of(use('a', 1021)), 'x'), /x: 2\.10 % in a/)
  })
})
