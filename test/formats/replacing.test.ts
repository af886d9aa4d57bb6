// An adapter written over another one: whatever operation is the last one, the directory is read as the old one, the new
// one, or not at all, and with the same settings it can always be read.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import type { WriteOptions } from '../../formats/files.ts'
import { openAdapter, saveAdapter } from '../../formats/peft.ts'
import { readTensorF32 } from '../../formats/safetensors.ts'
import { killedFiles, tracedFiles } from '../support/tracedFiles.ts'

describe('an adapter over another', () => {
  let base = ''
  let made = 0
  before(() => (base = fs.mkdtempSync(path.join(os.tmpdir(), 'heddle-replacing-'))))
  after(() => fs.rmSync(base, { recursive: true, force: true }))

  function save(dir: string, alpha: number, value: number, options: WriteOptions = {}): void {
    const [rank, inputs, outputs] = [3, 5, 7]
    const settings = { rank, alpha, dropout: 0, scaling: 'alpha/rank', baseLayout: 'out-in', targetModules: ['q'], baseModel: '' } as const // prettier-ignore
    const a = new Float32Array(rank * inputs).fill(value)
    const b = new Float32Array(outputs * rank).fill(value)
    saveAdapter(dir, settings, [{ path: 'layer.q', inputs, outputs, a, b }], options)
  }

  /** Alpha and the value of every weight, or the code of the refusal. */
  function read(dir: string): [number, number] | string {
    try {
      const { settings, modules } = openAdapter(dir)
      const [module] = modules.values()
      assert.ok(module)
      const values = new Set([...readTensorF32(module.a), ...readTensorF32(module.b)])
      assert.equal(values.size, 1)
      return [settings.alpha, [...values][0] as number]
    } catch (error) {
      assert.ok(error instanceof UserError, String(error))
      return error.code
    }
  }

  /** What is read after a kill at each operation of writing `alpha` and 2 over an adapter of 8 and 1. */
  function afterKills(alpha: number): ([number, number] | string)[] {
    const { operations, trace } = tracedFiles()
    const whole = path.join(base, String(made++))
    save(whole, 8, 1)
    save(whole, alpha, 2, operations)
    assert.deepEqual(read(whole), [alpha, 2])
    return trace.map((_, at) => {
      const dir = path.join(base, String(made++))
      save(dir, 8, 1)
      assert.throws(() => save(dir, alpha, 2, killedFiles(at).operations))
      return read(dir)
    })
  }

  it('of the same settings can be read at any moment', () => {
    const found = afterKills(8)
    const [old, young] = [
      [8, 1],
      [8, 2],
    ] as const
    assert.deepEqual(found[0], old)
    assert.deepEqual(found.at(-1), young)
    for (const one of found) assert.ok(one[1] === 1 ? one[0] === 8 : one[0] === 8 && one[1] === 2, String(one))
  })

  it('of other settings is never a mixture', () => {
    const found = afterKills(4).map((one) => (typeof one === 'string' ? one : one.join()))
    assert.deepEqual([...new Set(found)], ['8,1', 'HD406', '4,2'])
  })
})
