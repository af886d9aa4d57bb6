// Files of weights that are written into while a run reads them end the run before the step is told or saved; replaced and
// removed ones do it no harm.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { WeightFiles } from '../../train/weightFiles.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { hashOfResult, metricsOf, prepareRun, trainPrepared } from '../support/preparedRun.ts'
import { temporaryDirectory } from '../formats/helpers.ts'

function refused(error: unknown, file: string): boolean {
  assert.ok(error instanceof UserError, String(error))
  assert.equal(error.code, 'HD836')
  assert.equal(error.place?.file, file)
  return true
}

describe('files of weights', function () {
  this.timeout(120_000)
  const dir = temporaryDirectory()

  it('are held as they are: written into, they are refused, replaced or removed they are not', () => {
    const file = path.join(dir, 'weights')
    const begin = (): WeightFiles => {
      fs.writeFileSync(file, 'weights')
      fs.utimesSync(file, 1, 1)
      return new WeightFiles([file, file])
    }
    const changes: Record<string, () => void> = {
      'the same length': () => fs.writeFileSync(file, 'WEIGHTS', { flag: 'r+' }),
      appended: () => fs.appendFileSync(file, '!'),
      cut: () => fs.truncateSync(file, 3),
      'put back when it was modified': () => {
        fs.writeFileSync(file, 'WEIGHTS', { flag: 'r+' })
        fs.utimesSync(file, 1, 1)
      },
    }
    for (const [what, change] of Object.entries(changes)) {
      const files = begin()
      files.refuseChanged()
      change()
      assert.throws(() => files.refuseChanged(), (error) => refused(error, file), what) // prettier-ignore
      files.close()
    }
    const harmless: Record<string, () => void> = {
      'another mode': () => fs.chmodSync(file, 0o600),
      'another name': () => fs.linkSync(file, `${file}.link`),
      'one name less': () => fs.rmSync(`${file}.link`),
      'a name elsewhere': () => fs.renameSync(file, `${file}.moved`),
    }
    const files = begin()
    for (const [what, change] of Object.entries(harmless)) {
      change()
      assert.doesNotThrow(() => files.refuseChanged(), what)
    }
    files.close()
    const others = begin()
    fs.writeFileSync(`${file}.new`, 'others')
    fs.renameSync(`${file}.new`, file)
    others.refuseChanged()
    fs.rmSync(file)
    others.refuseChanged()
    others.close()
    assert.throws(() => new WeightFiles([file]), /does not exist/)
  })

  it('end a run that reads them before a step of other weights is kept', async () => {
    const project = tinyProject()
    writeRecipe(project, 'recipe.ts', { batch: '{ sequences: 2, length: 24, steps: 4 }', save: '{ every: 1 }' })
    const run = await prepareRun(path.join(project, 'recipe.ts'), 'wasm')
    const [straight, out] = [path.join(dir, 'straight'), path.join(dir, 'out')]
    await trainPrepared(run, straight)
    const checkpoint = path.join(dir, 'model')
    fs.cpSync(run.checkpoint, checkpoint, { recursive: true })
    const file = path.join(checkpoint, 'model.safetensors')
    const { atime, mtime } = fs.statSync(file)
    const touch = ({ step }: { readonly step: number }): void => {
      if (step === 2) fs.utimesSync(file, 1, 1)
    }
    await assert.rejects(trainPrepared({ ...run, checkpoint }, out, { observer: { step: touch } }), (error) => refused(error, file)) // prettier-ignore
    assert.deepEqual(metricsOf(out).map(({ step }) => step), [1, 2]) // prettier-ignore
    fs.utimesSync(file, atime, mtime)
    await trainPrepared({ ...run, checkpoint }, out, { resume: true })
    assert.equal(hashOfResult(out), hashOfResult(straight))
  })
})
