// What a tool chain is: C++ text in, the path of something that runs out. Knows no program and no kernel.

import { InternalError } from '../../../compiler/diagnostic.ts'
import type { InstructionSet } from '../isa/table.ts'

export type ToolChainName = 'host' | 'wasm' | 'arm64'

/** A file of C++ text. The name is plain (no folders); those that end in `.cpp` are compiled, the others included. */
export interface Source {
  readonly name: string
  readonly text: string
  /**
   * A `.cpp` file that many programs have alike: where compilers link, it is a translation unit of its own, compiled once for
   * all of them.
   */
  readonly isShared?: true
}

export interface CompileOptions {
  /** `module`: what a process loads (a `.wasm` file, a shared library). The wasm chain makes nothing else. */
  readonly output: 'executable' | 'module'
  /** `full` (the default) for what will run long, `light` for what should compile fast. The bits are the same. */
  readonly optimise?: 'full' | 'light'
}

export interface ToolChain {
  readonly name: ToolChainName
  /** The table to emit with. */
  readonly isa: InstructionSet
  /** What stands in front of an executable to run it; empty when it runs by itself. */
  readonly launcher: readonly string[]
  /** One line for people: which compiler, which instruction set, and why. */
  describe(): string
  /** Which compiler and instruction set, without the reason: the same where programs run alike. */
  readonly identity: string
  /**
   * Compiles all `.cpp` files that are not shared as one translation unit, in the order given, and returns the path of the
   * result, which belongs to a cache: read it, never write it. InternalError with the path of a log when the compiler refuses.
   */
  compile(sources: readonly Source[], options: CompileOptions): Promise<string>
}

/** Name of the file that includes all the others. */
export const UNIT = 'unit.cpp'

/**
 * The sources with the one file that is compiled: it includes the `.cpp` files for which `isIn`. InternalError for names that are not plain or come twice: sources are
 * ours, but a path out of the folder must be impossible.
 */
export function asUnit(sources: readonly Source[], isIn: (source: Source) => boolean = () => true): readonly Source[] {
  const names = new Set([UNIT])
  for (const { name } of sources) {
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(name)) throw new InternalError(`'${name}' is no plain file name`)
    if (names.has(name)) throw new InternalError(`two sources are called '${name}'`)
    names.add(name)
  }
  const compiled = sources.filter((source) => source.name.endsWith('.cpp') && isIn(source))
  if (compiled.length === 0) throw new InternalError('there is no .cpp file to compile')
  return [...sources, { name: UNIT, text: compiled.map(({ name }) => `#include "${name}"\n`).join('') }]
}

/** What every compiler is told: exactly the arithmetic that is written, and no language run-time. */
export const commonFlags: readonly string[] = [
  '-std=c++17',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-threadsafe-statics',
]

export function optimiseFlag(options: CompileOptions): string {
  return options.optimise === 'light' ? '-O1' : '-O3'
}
