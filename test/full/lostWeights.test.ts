// A file of weights that becomes shorter while a run reads it from storage: the last whole step is saved before the run ends,
// and is gone on from. Needs a host compiler.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { temporaryDirectory } from '../formats/helpers.ts'
import { hashOfResult, metricsOf, prepareRun, trainPrepared } from '../support/preparedRun.ts'
import type { PreparedRun } from '../support/preparedRun.ts'

const MEBIBYTE = 2 ** 20
const batch = '{ sequences: 2, length: 24, accumulate: 2, steps: 5 }'

describe('a run whose file of weights becomes shorter', function () {
  this.timeout(600_000)
  const dir = temporaryDirectory()
  let recipe = ''

  before(() => {
    const project = tinyProject(0.1, 112)
    writeRecipe(project, 'recipe.ts', { adapt: "lora({ rank: 2, alpha: 4, targets: ['c_attn'] })", batch })
    recipe = path.join(project, 'recipe.ts')
  })

  /** Trains with a copy of the weights that is cut after two steps: what the run ends with, and the file whole again. */
  async function cut(run: PreparedRun, out: string): Promise<{ sentence: string; mended: PreparedRun }> {
    const checkpoint = path.join(dir, `${path.basename(out)}-model`)
    fs.cpSync(run.checkpoint, checkpoint, { recursive: true })
    const file = path.join(checkpoint, 'model.safetensors')
    const whole = fs.readFileSync(file)
    const shorten = ({ step }: { readonly step: number }): void => {
      if (step === 2) fs.truncateSync(file, 5000)
    }
    const mended = { ...run, checkpoint }
    const error: unknown = await trainPrepared(mended, out, { observer: { step: shorten } }).catch(
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof UserError && error.code === 'HD717', String(error))
    assert.equal(error.place?.file, file)
    fs.writeFileSync(file, whole)
    return { sentence: error.sentence, mended }
  }

  // What is trained is in memory with the one budget; with the other it is in a file, in the middle of whose update the run ends.
  for (const [title, memory, isInMemory, way] of [
    ['weights are in storage', 4.2, true, '2'],
    ['what is trained is in storage as well', 3, false, '1; what was trained since is not saved'],
  ] as const) {
    it(`goes on from the last step that could be saved where ${title}`, async () => {
      const run = await prepareRun(recipe, 'host', memory * MEBIBYTE)
      assert.ok(run.program.values.some(({ place, streamed }) => streamed && place.space === 'frozen'))
      assert.equal(run.program.storedCount === 0, isInMemory)
      const [straight, out] = [path.join(dir, `straight-${memory}`), path.join(dir, `out-${memory}`)]
      await trainPrepared(run, straight)
      const { sentence, mended } = await cut(run, out)
      const ending = `the file has become shorter; nothing was updated; bring the file back as it was and give --resume, which goes on after step ${way}`
      assert.ok(sentence.endsWith(ending), sentence)
      await trainPrepared(mended, out, { resume: true })
      assert.equal(hashOfResult(out), hashOfResult(straight))
      assert.deepEqual(metricsOf(out), metricsOf(straight))
    })
  }

  it('says that nothing was saved where weights are in memory, of which the program dies', async () => {
    const run = await prepareRun(recipe, 'host')
    assert.ok(!run.program.values.some(({ streamed }) => streamed))
    const out = path.join(dir, 'mapped')
    const { sentence } = await cut(run, out)
    assert.match(sentence, /; bring the file back as it was and start again: nothing was saved$/)
    assert.deepEqual(fs.readdirSync(out).toSorted(), ['metrics.jsonl'])
  })
})
