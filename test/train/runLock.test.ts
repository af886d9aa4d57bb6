// One run at a time in a directory, and nobody is held up by a run that died.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { holdDirectory } from '../../train/runLock.ts'
import { temporaryDirectory } from '../bin/support.ts'

const refusal = (out: string): string => {
  try {
    holdDirectory(out)()
    return 'free'
  } catch (error) {
    assert.ok(error instanceof UserError, String(error))
    return `${error.code} ${error.message}`
  }
}

describe('a directory that a run holds', () => {
  const fileIn = (out: string): string => path.join(out, 'running.json')

  it('is refused to another, and free again afterwards', () => {
    const out = temporaryDirectory()
    const free = holdDirectory(out)
    assert.equal(refusal(out), `HD835 another run is at work here (process ${process.pid})`)
    assert.equal(refusal(path.join(out, '..', path.basename(out))), refusal(out))
    free()
    assert.equal(refusal(out), 'free')
    assert.equal(fs.existsSync(fileIn(out)), false)
  })

  it('is refused while another process is at it, and not when that is dead', async () => {
    const out = temporaryDirectory()
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    const hold = (id: number | undefined, began: string | null): void =>
      fs.writeFileSync(fileIn(out), JSON.stringify({ process: id, began }))
    // Only Linux says when a process began.
    const statFile = `/proc/${child.pid}/stat`
    const stat = fs.existsSync(statFile) ? fs.readFileSync(statFile, 'utf8') : ''
    const began = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
    hold(child.pid, began)
    assert.match(refusal(out), /^HD835/)
    // Another process that was given the same number.
    hold(child.pid, '1')
    assert.equal(refusal(out), 'free')
    hold(child.pid, began)
    child.kill('SIGKILL')
    await new Promise((resolve) => child.on('close', resolve))
    assert.equal(refusal(out), 'free')
    hold(spawnSync(process.execPath, ['-e', '']).pid, null)
    assert.equal(refusal(out), 'free')
  })

  it('is free whatever else the file says', () => {
    const out = temporaryDirectory()
    const own = JSON.stringify({ process: process.pid, began: null })
    for (const text of ['', '{', '[]', '{"process":-1,"began":null}', '{"process":1e99}', own, ' '.repeat(5000)]) {
      fs.writeFileSync(fileIn(out), text)
      assert.equal(refusal(out), 'free', text)
    }
  })
})
