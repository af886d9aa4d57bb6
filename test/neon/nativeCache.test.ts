// What makes a native compilation another one: with a compiler that is Node itself, writing down that it was called, so
// that no C++ compiler is needed.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import { compileNative } from '../../backends/neon/toolchain/native.ts'
import type { NativeCompiler } from '../../backends/neon/toolchain/native.ts'

describe('the cache of native compilations', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-native-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const sources = [{ name: 'a.cpp', text: 'int a;\n' }]
  /** Node's own operands that make it a compiler: the result tells one call from another. */
  const flags = ['-e', "require('fs').writeFileSync(process.argv.at(-1), String(process.hrtime.bigint()))"]
  const compiler = (version: string, command = process.execPath): NativeCompiler => ({ command, version })
  const compile = async (
    using: NativeCompiler,
    more: readonly string[] = [],
  ): Promise<{ path: string; call: string }> => {
    const path = await compileNative(new CompileCache(folder), using, [...flags, ...more], sources, 'program')
    return { path, call: readFileSync(path, 'utf8') }
  }

  it('compiles once for one compiler', async () => {
    const first = await compile(compiler('g++ 12.2.0'))
    assert.match(first.call, /^\d+$/)
    assert.deepEqual(await compile(compiler('g++ 12.2.0')), first)
  })

  it('compiles again once the compiler has another version', async () => {
    const old = await compile(compiler('g++ (Debian 12.2.0-14) 12.2.0'))
    const upgraded = await compile(compiler('g++ (Debian 12.2.0-14+deb12u1) 12.2.0'))
    assert.notEqual(upgraded.path, old.path)
    assert.notEqual(upgraded.call, old.call)
    // The old one is still there for whoever goes back.
    assert.deepEqual(await compile(compiler('g++ (Debian 12.2.0-14) 12.2.0')), old)
  })

  it('compiles again for other operands', async () => {
    const one = await compile(compiler('1'))
    const other = await compile(compiler('1'), ['x'])
    assert.notEqual(other.path, one.path)
  })
})
