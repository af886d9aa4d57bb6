// Tool chains that need nothing but Node: the cache, the choice, and what a person reads when a compiler is missing or
// refuses.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { cacheFolder, chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import { asUnit } from '../../backends/neon/toolchain/chain.ts'
import { InternalError, UserError } from '../../compiler/diagnostic.ts'

describe('the compile cache', () => {
  let folder = ''
  let cache = new CompileCache()
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-cache-'))
    cache = new CompileCache(folder)
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const key = { compiler: 'c 1', flags: ['-O3'], sources: [{ name: 'a.cpp', text: 'int a;' }] }
  let made = 0
  const make =
    (text: string) =>
    async (work: string): Promise<Uint8Array> => {
      made++
      writeFileSync(join(work, 'leftover.o'), 'x')
      return new TextEncoder().encode(text)
    }

  it('makes a result once and leaves nothing else behind', async () => {
    made = 0
    const path = await cache.result(key, 'program', make('one'))
    assert.equal(await cache.result(key, 'program', make('two')), path)
    assert.equal(await new CompileCache(folder).result(key, 'program', make('three')), path)
    assert.equal(made, 1)
    assert.equal(readFileSync(path, 'utf8'), 'one')
    assert.equal(statSync(path).mode & 0o700, 0o700)
    assert.deepEqual(readdirSync(join(folder, 'compiled')), [dirname(path).split('/').at(-1)])
    assert.deepEqual(readdirSync(dirname(path)).sort(), ['program', 'sha256'])
  })

  it('tells every part of a key apart', async () => {
    const text = key.sources[0]?.text ?? ''
    const keys = [
      key,
      { ...key, compiler: 'c 2' },
      { ...key, flags: ['-O1'] },
      { ...key, flags: [] },
      { ...key, sources: [{ name: 'b.cpp', text }] },
      { ...key, sources: [{ name: 'a.cpp', text: `${text} ` }] },
      { ...key, sources: [...key.sources, { name: 'b.h', text: '' }] },
    ]
    const paths = await Promise.all(keys.map((one) => cache.result(one, 'program', make('same'))))
    assert.equal(new Set(paths).size, keys.length)
  })

  it('lets callers at the same time wait for one compilation', async () => {
    made = 0
    const paths = await Promise.all([1, 2, 3].map(() => cache.result(key, 'program', make('one'))))
    assert.equal(new Set(paths).size, 1)
    assert.equal(made, 1)
  })

  it('agrees with another process that was faster', async () => {
    const path = await cache.result(key, 'program', async () => {
      await new CompileCache(folder).result(key, 'program', make('theirs'))
      return new TextEncoder().encode('ours')
    })
    assert.equal(readFileSync(path, 'utf8'), 'theirs')
  })

  it('makes a changed, torn or hashless result again', async () => {
    const path = await cache.result(key, 'program', make('sound'))
    const damage: (() => void)[] = [
      () => writeFileSync(path, 'other'),
      () => truncateSync(path, 2),
      () => rmSync(join(dirname(path), 'sha256')),
      () => writeFileSync(join(dirname(path), 'sha256'), 'x'.repeat(100)),
      () => rmSync(path),
    ]
    for (const harm of damage) {
      harm()
      assert.equal(await cache.result(key, 'program', make('sound')), path)
      assert.equal(readFileSync(path, 'utf8'), 'sound')
    }
  })

  it('keeps nothing of a compilation that failed', async () => {
    const failing = cache.result(key, 'program', () => Promise.reject(new InternalError('no')))
    await assert.rejects(failing, InternalError)
    assert.deepEqual(readdirSync(join(folder, 'compiled')), [])
    assert.equal(readFileSync(await cache.result(key, 'program', make('now')), 'utf8'), 'now')
  })

  it('says in one sentence that it cannot be written', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    await assert.rejects(new CompileCache(file).result(key, 'program', make('x')), (error) => {
      assert.ok(error instanceof UserError)
      assert.equal(error.code, 'HD701')
      assert.match(error.sentence, /cannot be written \(ENOTDIR\); free some space/)
      return true
    })
  })

  it('lies where the desktop standard says', () => {
    assert.equal(cacheFolder({ XDG_CACHE_HOME: '/somewhere' }), '/somewhere/heddle')
    assert.match(cacheFolder({ XDG_CACHE_HOME: 'relative' }), /\.cache.heddle$/)
    assert.match(cacheFolder({}), /\.cache.heddle$/)
  })
})

describe('sources', () => {
  it('become one unit', () => {
    const unit = asUnit([
      { name: 'a.cpp', text: 'a' },
      { name: 'b.h', text: 'b' },
      { name: 'c.cpp', text: 'c' },
    ])
    assert.equal(unit.at(-1)?.text, '#include "a.cpp"\n#include "c.cpp"\n')
  })

  it('must have plain names that differ, and something to compile', () => {
    for (const name of ['../a.cpp', '/a.cpp', 'a/b.cpp', '.a.cpp', '-o.cpp', 'a".cpp', '', 'unit.cpp']) {
      assert.throws(() => asUnit([{ name, text: '' }]), InternalError, name)
    }
    const twice = { name: 'a.cpp', text: '' }
    assert.throws(() => asUnit([twice, twice]), /two sources/)
    assert.throws(() => asUnit([{ name: 'a.h', text: '' }]), /no \.cpp/)
  })
})

describe('choosing a tool chain', () => {
  /** Runs with other environment variables. */
  async function within<T>(changes: Readonly<Record<string, string>>, action: () => Promise<T>): Promise<T> {
    const before = Object.keys(changes).map((name) => [name, process.env[name]] as const)
    Object.assign(process.env, changes)
    try {
      return await action()
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
  }

  async function refused(code: string, sentence: RegExp, action: () => Promise<unknown>): Promise<void> {
    await assert.rejects(action, (error) => {
      assert.ok(error instanceof UserError)
      assert.equal(error.code, code)
      assert.match(error.sentence, sentence)
      return true
    })
  }

  it('falls back to wasm and says why', async () => {
    const chain = await within({ CXX: '/nowhere/g++' }, () => chooseToolChain('auto'))
    assert.equal(chain.name, 'wasm')
    assert.match(
      chain.describe(),
      /^clang \S+ in WebAssembly, relaxed SIMD, 4 lanes \(no C\+\+ compiler found \(\/nowhere/,
    )
  })

  it('does not use a compiler that cannot compile', async () => {
    const chain = await within({ CXX: 'echo' }, () => chooseToolChain('auto'))
    assert.equal(chain.name, 'wasm')
    assert.match(chain.describe(), /echo does not compile a small program/)
  })

  it('refuses what was asked for and is missing', async () => {
    await within({ CXX: '/nowhere/g++' }, () =>
      refused('HD702', /no C\+\+ compiler found.*; install g\+\+/, () => chooseToolChain('host')),
    )
    await within({ PATH: '/nowhere' }, () =>
      refused('HD703', /needs aarch64-linux-gnu-g\+\+, which is not on PATH; `npm run setup:full`/, () =>
        chooseToolChain('arm64'),
      ),
    )
  })
})

describe('clang in wasm', () => {
  it('compiles a module with shared memory and refuses nonsense in one line', async function () {
    this.timeout(60_000)
    const folder = mkdtempSync(join(tmpdir(), 'heddle-cache-'))
    try {
      const chain = await chooseToolChain('wasm', new CompileCache(folder))
      const source = {
        name: 'a.cpp',
        text: '#include "b.h"\nextern "C" __attribute__((export_name("f"), used)) int f() { return SEVEN; }\n',
      }
      const sources = [source, { name: 'b.h', text: '#define SEVEN 7\n' }]
      const path = await chain.compile(sources, { output: 'module', optimise: 'light' })
      assert.deepEqual([...(await readFile(path)).subarray(0, 4)], [0, 0x61, 0x73, 0x6d])

      await assert.rejects(chain.compile([{ name: 'a.cpp', text: 'not C++' }], { output: 'module' }), (error) => {
        assert.ok(error instanceof InternalError)
        assert.ok(error.message.length < 300 && !error.message.includes('\n'), error.message)
        const log = /its words are in (\S+)$/.exec(error.message)?.[1] ?? ''
        assert.match(readFileSync(log, 'utf8'), /a\.cpp:1:1.*error/)
        return true
      })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
