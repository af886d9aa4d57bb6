// Files that many programs have alike are compiled once, apart. Needs g++.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { Source } from '../../backends/neon/toolchain/index.ts'
import { runProgram } from '../../backends/neon/toolchain/native.ts'
import { hostChain } from '../support/nativeChains.ts'

describe('a file that programs share', function () {
  this.timeout(120_000)
  const folder = mkdtempSync(join(tmpdir(), 'heddle-shared-'))
  after(() => rmSync(folder, { recursive: true }))

  const header: Source = { name: 'value.h', text: 'extern "C" const int value;\n' }
  const shared = (plus: number): Source => ({
    name: 'main.cpp',
    text: `#include "value.h"\n#include <stdio.h>\nint main() { printf("%d", value + ${plus}); }\n`,
    isShared: true,
  })
  const program = (value: number): Source => ({
    name: 'program.cpp',
    text: `#include "value.h"\nextern "C" const int value = ${value};\n`,
  })
  /** By the name of the result. */
  const kept = (): Record<string, number> => {
    const counts: Record<string, number> = {}
    for (const entry of readdirSync(join(folder, 'compiled')))
      for (const file of readdirSync(join(folder, 'compiled', entry))) counts[file] = (counts[file] ?? 0) + 1
    return counts
  }

  it('is compiled once for all of them, and again when it is another or for another level', async () => {
    const chain = await hostChain(new CompileCache(folder), { command: 'g++', isa: 'avx2' })
    const run = async (value: number, plus: number, optimise: 'full' | 'light'): Promise<string> => {
      const sources = [header, program(value), shared(plus)]
      const path = await chain.compile(sources, { output: 'executable', optimise })
      return (await runProgram(path, [])).output
    }
    // Two at a time wait for one compilation of what they share.
    assert.deepEqual(await Promise.all([run(1, 10, 'light'), run(2, 10, 'light')]), ['11', '12'])
    assert.deepEqual(kept(), { program: 2, 'shared.o': 1, sha256: 3 })
    assert.equal(await run(1, 20, 'light'), '21')
    assert.deepEqual(kept(), { program: 3, 'shared.o': 2, sha256: 5 })
    assert.equal(await run(3, 20, 'full'), '23')
    assert.deepEqual(kept(), { program: 4, 'shared.o': 3, sha256: 7 })
  })

  it('is refused like any other', async () => {
    const chain = await hostChain(new CompileCache(folder), { command: 'g++', isa: 'avx2' })
    const broken: Source = { name: 'main.cpp', text: 'not C++', isShared: true }
    const sources = [header, program(1), broken]
    await assert.rejects(chain.compile(sources, { output: 'executable' }), /g\+\+ refused generated code/)
  })
})
