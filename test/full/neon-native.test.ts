// The emitter through native compilers: the host's, every table its processor runs, and arm64 under emulation.
// Warnings are errors here. Needs g++, clang++-22, the aarch64 cross compiler and qemu.

import assert from 'node:assert/strict'
import { emitProgram } from '../../backends/neon/emit/index.ts'
import { isaOf } from '../../backends/neon/isa/index.ts'
import type { InstructionSetName } from '../../backends/neon/isa/index.ts'
import { chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import { findCompiler, nativeToolChain, runProgram } from '../../backends/neon/toolchain/native.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { allCases } from '../neon/emit-cases.ts'
import { compareAll } from '../neon/emit-differential.ts'
import { programOf } from '../neon/emit-harness.ts'

const strict = ['-Wall', '-Wextra', '-Werror']
const LEAST_COMPARED = 500_000

async function chainOf(
  command: string,
  isa: InstructionSetName,
  flags: readonly string[] = [],
  launcher: readonly string[] = [],
): Promise<ToolChain> {
  const compiler = await findCompiler([command])
  assert.ok(compiler, `${command} is missing; npm run setup:full installs it`)
  const options = { name: 'host', isa, compiler, flags: [...strict, ...flags], launcher, reason: 'test' } as const
  return nativeToolChain(new CompileCache(), options)
}

describe('emitted C++ in native compilers', function () {
  this.timeout(300_000)

  it('gives the bits of exact arithmetic on every table of this processor', async () => {
    const { isa } = await chooseToolChain('host')
    const tables: readonly InstructionSetName[] = isa.name === 'avx512' ? ['avx512', 'avx2'] : [isa.name]
    for (const table of tables) {
      for (const command of ['g++', 'clang++-22']) {
        const compared = await compareAll(await chainOf(command, table))
        assert.ok(compared > LEAST_COMPARED, `${command} ${table}: ${compared}`)
      }
    }
  })

  it('gives the bits of exact arithmetic on emulated arm64, old cores included', async () => {
    for (const core of ['max', 'cortex-a53']) {
      const chain = await chainOf('aarch64-linux-gnu-g++-12', 'neon', ['-static'], ['qemu-aarch64', '-cpu', core])
      const compared = await compareAll(chain)
      assert.ok(compared > LEAST_COMPARED, `${core}: ${compared}`)
    }
  })

  it('is accepted by clang for Android and iOS, without any system header', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'heddle-arm-'))
    try {
      const header = new URL('../../backends/neon/runtime/heddle_program.h', import.meta.url)
      await writeFile(join(folder, 'heddle_program.h'), readFileSync(header))
      const kernels = [...new Map(allCases(4).map(({ kernel }) => [kernel.name, kernel])).values()]
      await writeFile(join(folder, 'program.cpp'), emitProgram(programOf(kernels), isaOf('neon')))
      for (const target of ['aarch64-linux-android24', 'arm64-apple-ios14']) {
        const flags = [`--target=${target}`, '-std=c++17', '-O2', '-ffreestanding', '-nostdlibinc', ...strict]
        const ran = await runProgram('clang++-22', [...flags, '-c', 'program.cpp', '-o', 'program.o'], {
          folder,
          milliseconds: 120_000,
        })
        assert.equal(ran.code, 0, ran.log.slice(0, 2000))
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
