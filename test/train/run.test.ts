// A run's own order: what is refused before any work is done. Nothing is compiled.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { RunObserver } from '../../train/run.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'

describe('a run', () => {
  /** Runs a recipe up to where its records are read; which notices it gave, and the code of its refusal. */
  const refusal = async (file: string, out: string): Promise<{ code: unknown; notices: string[] }> => {
    // As the command line comes to users: mocha may have loaded this file as CommonJS, and every module exists once.
    const { loadRecipe } = await import('../../train/loadRecipe.ts')
    const { runTraining } = await import('../../train/run.ts')
    const notices: string[] = []
    const observer: RunObserver = {
      prepared: () => {
        notices.push('prepared')
        throw new Error('the run went on')
      },
    }
    const loaded = await loadRecipe(file)
    const options = { toolchain: 'wasm', out } as const
    const error: unknown = await runTraining(loaded, options, observer).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof Error, 'the run was refused')
    return { code: 'code' in error ? error.code : error.message, notices }
  }

  it('refuses a place that cannot be written before it looks at model or records', async () => {
    const dir = tinyProject()
    const file = path.join(dir, 'a-file')
    fs.writeFileSync(file, '')
    writeRecipe(dir, 'nowhere.ts', {
      model: "gpt2.from('./no-model')",
      data: "completions('none.jsonl', { loss: 'all' })",
    })
    for (const recipe of ['lora.ts', 'nowhere.ts']) {
      const refused = await refusal(path.join(dir, recipe), path.join(file, 'out'))
      assert.deepEqual(refused, { code: 'HD405', notices: [] }, recipe)
    }
  })

  it('makes the directories it will write to, and goes on', async () => {
    const dir = tinyProject()
    const out = path.join(dir, 'some/where/out')
    assert.deepEqual(await refusal(path.join(dir, 'lora.ts'), out), { code: 'the run went on', notices: ['prepared'] })
    assert.ok(fs.statSync(out).isDirectory())
  })
})
