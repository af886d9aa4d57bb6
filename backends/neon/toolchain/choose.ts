// Which tool chain a run uses. `auto` takes the host's compiler when it compiles, runs, and the processor has vectors
// that a table spells; otherwise clang in wasm, which always works. The reason is part of the description.

import { UserError } from '../../../compiler/diagnostic.ts'
import type { InstructionSetName } from '../isa/index.ts'
import { CompileCache } from './cache.ts'
import type { ToolChain, ToolChainName } from './chain.ts'
import { compileNative, findCompiler, nativeToolChain, runProgram } from './native.ts'
import type { NativeCompiler } from './native.ts'
import { wasmToolChain } from './wasm.ts'

export type ToolChainPreference = 'auto' | ToolChainName

/** Prints the best table that this processor and this operating system can run. */
const probe = `#include <pthread.h>
#include <stdio.h>
int main() {
#if defined(__aarch64__)
  puts("neon");
#elif defined(__x86_64__)
  __builtin_cpu_init();
  const bool narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  puts(narrow && wide ? "avx512" : narrow ? "avx2" : "none");
#else
  puts("none");
#endif
  return 0;
}
`

const hostCompilers = ['g++', 'clang++', 'clang++-22', 'c++']
const crossCompilers = ['aarch64-linux-gnu-g++-12', 'aarch64-linux-gnu-g++']
const EMULATOR = 'qemu-aarch64'

/**
 * The tool chain of a preference. UserError HD702 when the host's compiler was asked for and does not work, HD703 when
 * the cross compiler or the emulator was asked for and is missing.
 */
export async function chooseToolChain(
  preference: ToolChainPreference = 'auto',
  cache: CompileCache = new CompileCache(),
): Promise<ToolChain> {
  switch (preference) {
    case 'wasm':
      return wasmToolChain(cache, 'asked for')
    case 'arm64':
      return crossToolChain(cache)
    case 'host': {
      const host = await hostToolChain(cache, 'asked for')
      if (typeof host !== 'string') return host
      throw new UserError('HD702', `the host's compiler cannot be used: ${host}`, {
        mend: 'install g++ or clang++, or use the wasm tool chain',
      })
    }
    case 'auto': {
      const host = await hostToolChain(cache, "the host's own compiler is the fastest")
      return typeof host === 'string' ? wasmToolChain(cache, host) : host
    }
  }
}

/** The instruction sets of the host, widest first, or why its compiler is of no use. */
async function hostToolChain(cache: CompileCache, reason: string): Promise<ToolChain | string> {
  const configured = process.env['CXX']
  const candidates = configured === undefined || configured === '' ? hostCompilers : [configured]
  const compiler = await findCompiler(candidates)
  if (!compiler) return `no C++ compiler found (${candidates.join(', ')})`
  const isa = await probeHost(cache, compiler)
  if (!isInstructionSet(isa)) return isa
  return nativeToolChain(cache, { name: 'host', isa, compiler, flags: [], launcher: [], reason })
}

function isInstructionSet(text: string): text is Exclude<InstructionSetName, 'wasmRelaxed'> {
  return text === 'neon' || text === 'avx2' || text === 'avx512'
}

/** Compiles and runs the probe: an instruction set's name, or a sentence. */
async function probeHost(cache: CompileCache, compiler: NativeCompiler): Promise<string> {
  let path: string
  try {
    path = await compileNative(cache, compiler, ['-O1', '-pthread'], [{ name: 'probe.cpp', text: probe }], 'probe')
  } catch (cause) {
    if (cause instanceof UserError) throw cause
    return `${compiler.command} does not compile a small program`
  }
  const { code, output } = await runProgram(path, [])
  const answer = output.trim()
  if (code !== 0) return `what ${compiler.command} compiles does not run`
  return answer === 'none' ? 'the processor has neither AVX2 nor NEON' : answer
}

async function crossToolChain(cache: CompileCache): Promise<ToolChain> {
  const compiler = await findCompiler(crossCompilers)
  const emulator = await findCompiler([EMULATOR])
  if (!compiler || !emulator) {
    const missing = compiler ? EMULATOR : 'aarch64-linux-gnu-g++'
    throw new UserError('HD703', `the arm64 tool chain needs ${missing}, which is not on PATH`, {
      mend: '`npm run setup:full` installs it on Debian',
    })
  }
  return nativeToolChain(cache, {
    name: 'arm64',
    isa: 'neon',
    compiler,
    flags: ['-static', '-mtune=cortex-a76'],
    launcher: [EMULATOR, '-cpu', 'max'],
    reason: `run by ${emulator.version.split(' (')[0]}`,
  })
}
