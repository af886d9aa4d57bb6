// Files of weights that are written into while a run reads them end the run before the step is told or saved; replaced and
// removed ones do it no harm.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { WeightFiles } from '../../train/weightFiles.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { withWayOn } from '../../train/lostFile.ts'
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

  describe('end a run that reads them', () => {
    /** A run that is prepared, with a copy of its weights, and what it ends with when nothing happens to them. */
    async function prepare(name: string, more: Record<string, string>) {
      const project = tinyProject()
      writeRecipe(project, 'recipe.ts', { batch: '{ sequences: 2, length: 24, accumulate: 2, steps: 4 }', ...more })
      const run = await prepareRun(path.join(project, 'recipe.ts'), 'wasm')
      const [straight, out, checkpoint] = ['straight', 'out', 'model'].map((part) => path.join(dir, `${name}-${part}`)) as [string, string, string] // prettier-ignore
      await trainPrepared(run, straight)
      fs.cpSync(run.checkpoint, checkpoint, { recursive: true })
      return { run: { ...run, checkpoint }, straight, out, file: path.join(checkpoint, 'model.safetensors') }
    }

    // Five minutes are longer than this test: without saves that the recipe asks for, only the end saves.
    for (const [title, more] of [
      ['that saves every step', { save: '{ every: 1 }' }],
      ['that has saved nothing yet', {}],
      ['that evaluates', { evaluate: '{ share: 0.3, every: 2 }' }],
    ] as const) {
      it(`before a step of other weights is kept, and save the one before: a run ${title}`, async () => {
        const { run, straight, out, file } = await prepare(title.replaceAll(' ', '-'), more)
        const { atime, mtime } = fs.statSync(file)
        const touch = ({ step }: { readonly step: number }): void => {
          if (step === 2) fs.utimesSync(file, 1, 1)
        }
        await assert.rejects(trainPrepared(run, out, { observer: { step: touch } }), (error) => {
          const way =
            / has changed while the run was reading it; bring the file back as it was and give --resume, which goes on after step 2$/
          return refused(error, file) && way.test((error as UserError).sentence)
        })
        assert.deepEqual(metricsOf(out).map(({ step }) => step), [1, 2]) // prettier-ignore
        fs.utimesSync(file, atime, mtime)
        await trainPrepared(run, out, { resume: true })
        assert.equal(hashOfResult(out), hashOfResult(straight))
        assert.deepEqual(metricsOf(out), metricsOf(straight))
      })
    }

    it('and say so where the step before cannot be saved', async () => {
      const { run, out, file } = await prepare('unsaved', {})
      const full = (): never => {
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
      }
      const observer = { step: () => fs.utimesSync(file, 1, 1) }
      const files = { rename: full }
      await assert.rejects(trainPrepared(run, out, { observer, files }), (error) => {
        assert.match(
          (error as UserError).sentence,
          /; bring the file back as it was and start again: nothing was saved$/,
        )
        return refused(error, file)
      })
      assert.ok(!fs.existsSync(path.join(out, 'state')) || fs.readdirSync(path.join(out, 'state')).length === 0)
    })
  })

  it('are named with what there is to go on from, and no more', () => {
    const lost = new UserError('HD717', 'it cannot be read', { place: { file: 'x' }, mend: 'start with --resume' })
    const told = (...about: [saved: number, made: number, stateFile?: string]): string => {
      return withWayOn(lost, ...about).sentence.replace('HD717 x it cannot be read; ', '')
    }
    const back = 'bring the file back as it was and'
    const room = 'make room on its disk, or see what ails it, and'
    assert.equal(told(0, 0), `${back} start again: no step was made`)
    assert.equal(told(0, 3), `${back} start again: nothing was saved`)
    assert.equal(told(3, 3), `${back} give --resume, which goes on after step 3`)
    assert.equal(
      told(2, 3, 'y'),
      `${back} give --resume, which goes on after step 2; what was trained since is not saved`,
    )
    assert.equal(told(0, 1, 'x'), `${room} start again: nothing was saved`)
    assert.equal(told(2, 3, 'x'), `${room} give --resume, which goes on from the newest state that is whole`)
  })
})
