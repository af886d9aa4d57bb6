// Directories that are made with those above them: what is in the way is told as the system tells it, and a file system that
// takes none holds nobody up.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { makeDirectories, tryDirectory } from '../../formats/directories.ts'
import { makeDirectory, refuseUnwritable, writeOutput } from '../../formats/files.ts'
import { temporaryDirectory } from './helpers.ts'

/** The message of an HD405 that names this place. */
function refusal(place: string, act: () => void): string {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof UserError && error.code === 'HD405', String(error))
    assert.equal(error.place?.file, place)
    return error.message
  }
  return 'none'
}

describe('directories with those above them', () => {
  const dir = temporaryDirectory()
  const real = fs.mkdirSync

  afterEach(() => {
    fs.mkdirSync = real
  })

  it('are made one by one, and only those that are missing', () => {
    const deep = path.join(dir, 'a/b/c')
    const all = ['a', 'a/b', 'a/b/c'].map((name) => path.join(dir, name))
    assert.deepEqual(makeDirectories(deep, 0o700), all)
    for (const made of all) assert.equal(fs.statSync(made).mode & 0o777, 0o700)
    assert.deepEqual(makeDirectories(deep), [])
    assert.deepEqual(makeDirectories(path.join(deep, '../d/.')), [path.join(dir, 'a/b/d')])
    fs.symlinkSync(deep, path.join(dir, 'link'))
    assert.deepEqual(makeDirectories(path.join(dir, 'link')), [])
    assert.deepEqual(makeDirectories(path.join(dir, 'link/e')), [path.join(dir, 'link/e')])
  })

  it('are there where somebody else was faster', () => {
    const wanted = path.join(dir, 'raced')
    fs.mkdirSync = ((directory: string) => {
      real(directory)
      return real(directory)
    }) as typeof real
    assert.deepEqual(makeDirectories(wanted), [])
    assert.ok(fs.statSync(wanted).isDirectory())
  })

  it('are refused with what is in the way', () => {
    const file = path.join(dir, 'file')
    fs.writeFileSync(file, '')
    fs.symlinkSync(path.join(dir, 'nowhere'), path.join(dir, 'dangling'))
    const told: Record<string, string> = {
      file: 'a file stands where the directory should go',
      'file/deep/er': 'a part of the path is a file, not a directory',
      dangling: 'a file stands where the directory should go',
    }
    for (const [name, sentence] of Object.entries(told)) {
      const place = path.join(dir, name)
      assert.equal(refusal(place, () => makeDirectory(place)), `${sentence}, nothing was written`) // prettier-ignore
    }
  })

  it('are refused by a read-only file system in its own words', () => {
    // Node's own way of making those above as well says ENOENT there.
    fs.mkdirSync = ((_: string, { recursive = false }: fs.MakeDirectoryOptions) => {
      const code = recursive ? 'ENOENT' : 'EROFS'
      throw Object.assign(new Error(code), { code, syscall: 'mkdir' })
    }) as unknown as typeof real
    const place = path.join(dir, 'out/deep')
    assert.equal(refusal(place, () => makeDirectory(place)), 'the file system is read-only, nothing was written') // prettier-ignore
  })

  it('are refused by the file system of processes, which takes none, at once', function () {
    if (!fs.existsSync('/proc/self')) {
      console.log('      this system has no /proc')
      this.skip()
    }
    this.timeout(60_000)
    const program = [
      "import { makeDirectory } from './formats/files.ts'",
      "try { makeDirectory('/proc/heddle/deep') } catch (error) { console.log(error.sentence) }",
    ].join('\n')
    const operands = ['--import', 'tsx', '--input-type=module', '--eval', program]
    const cwd = path.join(import.meta.dirname, '../..')
    const { stdout, signal } = spawnSync(process.execPath, operands, { cwd, timeout: 30_000, encoding: 'utf8' })
    assert.equal(signal, null)
    assert.equal(
      stdout,
      'HD405 /proc/heddle/deep the file system takes no new directories there, nothing was written\n',
    )
    assert.throws(() => tryDirectory('/proc'), { code: 'ENOENT' })
    for (const file of ['/proc/heddle/page.html', '/proc/page.html']) {
      const expected = (kept: string): string => `the file system takes no new directories there, ${kept}`
      assert.equal(refusal(file, () => refuseUnwritable(file, 'nothing was planned')), expected('nothing was planned')) // prettier-ignore
      assert.equal(refusal(file, () => writeOutput(file, '')), expected('nothing was written')) // prettier-ignore
    }
  })

  it('leave nothing behind where it was only found out whether they could be', () => {
    tryDirectory(dir)
    const before = fs.readdirSync(dir)
    refuseUnwritable(path.join(dir, 'x/y/page.html'), 'nothing was planned')
    assert.deepEqual(fs.readdirSync(dir), before)
  })
})
