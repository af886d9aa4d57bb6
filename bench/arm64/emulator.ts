// Programs for arm64 under qemu with a plugin that counts executed blocks. Gives a tool chain whose launcher counts, so
// that sessions are driven as anywhere else. Knows no program and no processor's cycles.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { compileNative, findCompiler, nativeToolChain } from '../../backends/neon/toolchain/native.ts'
import type { NativeCompiler } from '../../backends/neon/toolchain/native.ts'

export type CrossCompiler = 'g++' | 'clang'

const emulator = ['qemu-aarch64', '-cpu', 'max'] as const

/** `-fno-ipa-icf`: g++ gives equal kernels one body otherwise, and what ran could not be told from whom. */
const compilers: Readonly<Record<CrossCompiler, { readonly candidates: readonly string[]; readonly flags: readonly string[] }>> = {
  'g++': { candidates: ['aarch64-linux-gnu-g++-12', 'aarch64-linux-gnu-g++'], flags: ['-static', '-fno-ipa-icf'] },
  clang: {
    candidates: ['clang++-22', 'clang++'],
    flags: ['--target=aarch64-linux-gnu', '-fuse-ld=lld', '-static', '-Wno-unused-command-line-argument'],
  },
} // prettier-ignore

/** A block as the emulator translated it: blocks may overlap, since a jump into one begins another. */
export interface BlockCount {
  readonly address: number
  readonly instructions: number
  readonly executions: number
}

/** How often each instruction ran, by its address. */
export type InstructionCounts = ReadonlyMap<number, number>

export interface CountingChain {
  readonly toolchain: ToolChain
  /** The counts of the one process that was launched with it, after that has ended. */
  counts(): Promise<readonly BlockCount[]>
  close(): Promise<void>
}

/** The plugin for the installed emulator, compiled by the host's compiler. */
async function plugin(cache: CompileCache): Promise<string> {
  const text = await readFile(new URL('./blockCounter.cpp', import.meta.url), 'utf8')
  const compiler = await required(['g++', 'clang++', 'clang++-22', 'c++'])
  const flags = ['-std=c++17', '-O2', '-shared', '-fPIC', '-fvisibility=hidden']
  return compileNative(cache, compiler, flags, [{ name: 'blockCounter.cpp', text }], 'blockCounter.so')
}

async function required(candidates: readonly string[]): Promise<NativeCompiler> {
  const found = await findCompiler(candidates)
  if (!found) throw new Error(`none of ${candidates.join(', ')} is on PATH; npm run setup:full installs them on Debian`)
  return found
}

/** The emulator's command line in front of a program; what it counts is written to `output` when the program ends. */
export async function countingLauncher(output: string, cache = new CompileCache()): Promise<readonly string[]> {
  if (/[,\s]/.test(output)) throw new Error(`the emulator splits its plugin's operands at commas: ${output}`)
  await required([emulator[0]])
  return [...emulator, '-plugin', `${await plugin(cache)},output=${output}`]
}

export interface Build {
  readonly compiler: CrossCompiler
  /** The processor that is tuned for. */
  readonly tune: string
  /** Tried on top of what the tool chain gives. */
  readonly flags?: readonly string[]
  readonly optimise?: 'full' | 'light'
}

/** A tool chain for arm64. Every session needs a new one: it counts one process. */
export async function countingChain(build: Build, cache = new CompileCache()): Promise<CountingChain> {
  const { tune, flags: tried = [] } = build
  const folder = await mkdtemp(join(tmpdir(), 'heddle-arm64-'))
  const output = join(folder, 'blocks')
  const { candidates, flags } = compilers[build.compiler]
  const toolchain = nativeToolChain(cache, {
    name: 'arm64',
    isa: 'neon',
    compiler: await required(candidates),
    flags: [...flags, `-mtune=${tune}`, ...tried],
    launcher: await countingLauncher(output, cache),
    reason: `${[`tuned for ${tune}`, ...tried].join(' ')}, counted under ${emulator[0]}`,
  })
  return {
    toolchain,
    counts: async () => parseCounts(await readFile(output, 'utf8')),
    close: () => rm(folder, { recursive: true, force: true }),
  }
}

/** Reads what the plugin wrote. Error when it is not whole. */
export function parseCounts(text: string): readonly BlockCount[] {
  const lines = text.trimEnd().split('\n')
  if (lines.pop() !== 'end') throw new Error('the emulator did not finish writing its counts')
  return lines.map((line) => {
    const [, address, instructions, executions] = /^([0-9a-f]{1,13}) (\d{1,4}) (\d{1,16})$/.exec(line) ?? []
    if (address === undefined) throw new Error(`the emulator's plugin wrote '${line.slice(0, 80)}'`)
    return {
      address: Number.parseInt(address, 16),
      instructions: Number(instructions),
      executions: Number(executions),
    }
  })
}

export function totalInstructions(blocks: readonly BlockCount[]): number {
  return blocks.reduce((sum, { instructions, executions }) => sum + instructions * executions, 0)
}

/** Every instruction of arm64 is four bytes long. */
export const instructionBytes = 4

export function perInstruction(blocks: readonly BlockCount[]): InstructionCounts {
  const counts = new Map<number, number>()
  for (const { address, instructions, executions } of blocks) {
    if (executions === 0) continue
    for (let place = 0; place < instructions; place++) {
      const at = address + place * instructionBytes
      counts.set(at, (counts.get(at) ?? 0) + executions)
    }
  }
  return counts
}
