// Options that name a file to be written: what stands in the way is told before any work, and folders are made, by every
// command alike.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { refuseUnwritable, writeOutput } from '../../formats/files.ts'
import { assertRefused, heddle, tinyProject } from './support.ts'

const config = fileURLToPath(new URL('../fixtures/oracle/llama-small/model', import.meta.url))

describe('a file that a command is to write', function () {
  this.timeout(120_000)
  const dir = tinyProject()
  fs.mkdirSync(path.join(dir, 'folder.json'))
  fs.writeFileSync(path.join(dir, 'file'), 'mine')
  const commands: readonly (readonly [undone: string, ...operands: string[]])[] = [
    ['planned', 'plan', 'lora.ts', '--html'],
    ['measured', 'profile', '--quick', '--toolchain', 'wasm', '--out'],
    ['measured', 'bench', 'lora.ts', '--steps', '1', '--toolchain', 'wasm', '--out'],
    ['written', 'new', config, '--out'],
  ]

  for (const [undone, ...operands] of commands) {
    it(`is no folder, and in none that is a file: heddle ${operands[0]}`, async () => {
      const sentences = [
        ['folder.json', 'a directory stands where the file should go'],
        ['file/deep/x.json', 'a part of the path is a file, not a directory'],
      ] as const
      for (const [name, sentence] of sentences) {
        const expected = new RegExp(`^HD405 ${name} ${sentence}, nothing was ${undone}; name a file$`, 'm')
        assertRefused(await heddle(dir, ...operands, name), expected)
      }
      assert.equal(fs.readFileSync(path.join(dir, 'file'), 'utf8'), 'mine')
    })
  }

  it('comes into a folder that is made for it', async () => {
    const { code, stderr } = await heddle(dir, 'new', config, '--out', 'not/yet/mine.ts')
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(fs.readFileSync(path.join(dir, 'not/yet/mine.ts'), 'utf8'), /defineModel/)
    const file = path.join(dir, 'nor/this/x.json')
    refuseUnwritable(file, 'nothing was done')
    assert.ok(!fs.existsSync(path.join(dir, 'nor')))
    writeOutput(file, '{}')
    writeOutput(file, '[]')
    assert.equal(fs.readFileSync(file, 'utf8'), '[]')
  })
})
