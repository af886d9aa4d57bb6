// The compile cache under a bound: what was used longest ago goes, what somebody uses stays readable.

import assert from 'node:assert/strict'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'

const HOUR = 60 * 60 * 1000

describe('the bound of the compile cache', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-bound-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  /** Each result is 1000 bytes and 64 of its hash. */
  const add = (name: string, bytes: number, idleMilliseconds: number): Promise<string> =>
    new CompileCache(folder, { bytes, idleMilliseconds }).result(
      { compiler: name, flags: [], sources: [] },
      'program',
      () => Promise.resolve(new TextEncoder().encode(name.repeat(1000))),
    )
  const lastUsed = (path: string, hoursAgo: number): void => {
    const then = new Date(Date.now() - hoursAgo * HOUR)
    utimesSync(dirname(path), then, then)
  }
  const names = (): string[] => readdirSync(join(folder, 'compiled')).sort()
  const idsOf = (...paths: readonly string[]): string[] =>
    paths.map((path) => dirname(path).split('/').at(-1) ?? '').sort()

  it('takes what was used longest ago, which is not what was made first', async () => {
    const [a, b, c] = [await add('a', 1e6, HOUR), await add('b', 1e6, HOUR), await add('c', 1e6, HOUR)]
    lastUsed(a, 30)
    lastUsed(b, 20)
    lastUsed(c, 10)
    // Found in the cache, so used now.
    assert.equal(await add('a', 1e6, HOUR), a)
    const d = await add('d', 3200, HOUR)
    assert.deepEqual(names(), idsOf(a, c, d))
    lastUsed(a, 30)
    const e = await add('e', 2128, HOUR)
    assert.deepEqual(names(), idsOf(d, e))
  })

  it('keeps what was used within the hour, though it is too much', async () => {
    const [a, b] = [await add('a', 100, HOUR), await add('b', 100, HOUR)]
    assert.deepEqual(names(), idsOf(a, b))
    lastUsed(a, 2)
    const c = await add('c', 100, HOUR)
    assert.deepEqual(names(), idsOf(b, c))
  })

  it('keeps the newest result, though it alone is too much', async () => {
    await add('a', 100, 0)
    const b = await add('b', 100, 0)
    assert.deepEqual(names(), idsOf(b))
    assert.equal(readFileSync(b, 'utf8'), 'b'.repeat(1000))
  })

  it('leaves a result whole to the one who has opened it, and makes it again for the next', async () => {
    const a = await add('a', 1e6, 0)
    const open = openSync(a, 'r')
    lastUsed(a, 1)
    await add('b', 100, 0)
    assert.ok(!existsSync(a))
    assert.equal(readFileSync(open, 'utf8'), 'a'.repeat(1000))
    closeSync(open)
    assert.equal(readFileSync(await add('a', 1e6, 0), 'utf8'), 'a'.repeat(1000))
  })

  it('agrees with others that evict at the same time', async () => {
    const all = await Promise.all(Array.from({ length: 12 }, (_, index) => add(`${index}`, 3200, 0)))
    // The last one to finish saw all the others.
    assert.ok(names().length <= 12)
    const last = await add('last', 3200, 0)
    assert.equal(readFileSync(last, 'utf8').length, 4000)
    assert.ok(names().length <= 3, `${names().length} of ${all.length}`)
    assert.ok(names().every((name) => !name.startsWith('.')))
  })

  it('removes the work of processes that were killed, not that of those that run', async () => {
    const work = (name: string, hoursAgo: number): void => {
      const path = join(folder, 'compiled', name)
      mkdirSync(path, { recursive: true })
      writeFileSync(join(path, 'unit.o'), 'x')
      const then = new Date(Date.now() - hoursAgo * HOUR)
      utimesSync(path, then, then)
    }
    work('.old', 25)
    work('.running', 1)
    const a = await add('a', 1e6, HOUR)
    assert.deepEqual(names(), ['.running', ...idsOf(a)])
  })
})
