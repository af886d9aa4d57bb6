// A run whose trained values are in a file, and whose result found no room on the disk: resumed, it needs no second such file, and
// what it leaves is no larger than was said. Needs a host compiler.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { Certificate } from '../../train/certificate.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { runTraining } from '../../train/run.ts'
import type { RunObserver, RunOptions } from '../../train/run.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { hashOfResult } from '../support/preparedRun.ts'

const batch = '{ sequences: 2, length: 24, accumulate: 2, steps: 3 }'

describe('a run in a file whose result found no room', function () {
  this.timeout(600_000)

  it('writes it when it is resumed, without a second file', async () => {
    const dir = tinyProject(0.1, 112)
    writeRecipe(dir, 'recipe.ts', { adapt: 'fullFineTuning()', batch })
    const loaded = await loadRecipe(path.join(dir, 'recipe.ts'))
    const [straight, out] = [path.join(dir, 'straight'), path.join(dir, 'out')]
    let planned: Certificate | undefined
    const train = (to: string, options: Partial<RunOptions>, observer: RunObserver = {}) => {
      const common = { toolchain: 'host', optimise: 'light', memoryBudget: 4.5 * 2 ** 20, threads: 2 } as const
      const planning = { planned: (certificate: Certificate) => void (planned = certificate) }
      return runTraining(loaded, { ...common, out: to, ...options }, { ...planning, ...observer })
    }
    const filesOf = (): string[] => fs.readdirSync(out).filter((name) => name.startsWith('trained-'))
    await train(straight, {})
    const real = fs.openSync
    const full = (file: string): number => {
      if (file.includes(`${path.sep}model${path.sep}`)) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
      return real(file, 'wx', 0o666)
    }
    await assert.rejects(train(out, { files: { open: full } }), { code: 'HD405' })
    assert.ok(!fs.existsSync(path.join(out, 'model', 'model.safetensors')))
    const before = filesOf()
    assert.equal(before.length, 1)
    const refuse = (): never => assert.fail('a program was made')
    await train(out, { resume: true }, { compiling: refuse, opened: refuse })
    assert.deepEqual(filesOf(), before)
    assert.equal(hashOfResult(out), hashOfResult(straight))
    const { resultBytes = 0 } = planned?.storage?.state ?? {}
    const model = path.join(out, 'model')
    const bytes = fs.readdirSync(model).reduce((sum, name) => sum + fs.statSync(path.join(model, name)).size, 0)
    assert.ok(bytes <= resultBytes && bytes > 0.9 * resultBytes, `${bytes} bytes of ${resultBytes}`)
  })
})
