// Tool chains that name their compiler, instruction set and processor model, for tests that compare several. A missing
// tool fails.

import assert from 'node:assert/strict'
import { chooseToolChain, CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { findCompiler, nativeToolChain } from '../../backends/neon/toolchain/native.ts'
import type { NativeCompiler } from '../../backends/neon/toolchain/native.ts'

async function found(command: string): Promise<NativeCompiler> {
  const compiler = await findCompiler([command])
  assert.ok(compiler, `${command} is missing; npm run setup:full installs it`)
  return compiler
}

export interface HostOptions {
  readonly command: 'g++' | 'clang++-22'
  readonly isa: 'avx2' | 'avx512'
  readonly flags?: readonly string[]
  readonly launcher?: readonly string[]
}

/** This processor, with a table that it runs. */
export async function hostChain(cache: CompileCache, options: HostOptions): Promise<ToolChain> {
  const { command, isa, flags = [], launcher = [] } = options
  return nativeToolChain(cache, { name: 'host', isa, compiler: await found(command), flags, launcher, reason: 'test' })
}

/**
 * This processor, by the compiler that takes half the time of g++, for tests that compile many programs to run each once. That
 * both give the same bits is seen in `test/full/sameBits.test.ts`.
 */
export async function quickHost(cache = new CompileCache()): Promise<ToolChain> {
  const { isa } = await chooseToolChain('host', cache)
  assert.ok(isa.name === 'avx2' || isa.name === 'avx512', isa.name)
  return hostChain(cache, { command: 'clang++-22', isa: isa.name })
}

const crossFlags = {
  'aarch64-linux-gnu-g++-12': ['-static'],
  'clang++-22': ['--target=aarch64-linux-gnu', '-fuse-ld=lld', '-static'],
}

/** `cortex-a53` has no arithmetic in half precision; `max` has everything that the emulator knows. */
export async function emulatedChain(
  cache: CompileCache,
  command: keyof typeof crossFlags,
  cpu: 'cortex-a53' | 'max',
): Promise<ToolChain> {
  const launcher = ['qemu-aarch64', '-cpu', cpu]
  const [compiler, flags] = [await found(command), crossFlags[command]]
  return nativeToolChain(cache, { name: 'arm64', isa: 'neon', compiler, flags, launcher, reason: 'test' })
}
