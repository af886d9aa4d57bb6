// Compilers that run as processes: the host's own, and the aarch64 cross compiler whose output qemu runs. Knows flags
// and files, no program.

import { execFile, spawn } from 'node:child_process'
import type { ExecFileException } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InternalError } from '../../../compiler/diagnostic.ts'
import { isaOf } from '../isa/index.ts'
import type { InstructionSetName } from '../isa/index.ts'
import type { CompileCache } from './cache.ts'
import { asUnit, commonFlags, optimiseFlag, UNIT } from './chain.ts'
import type { CompileOptions, Source, ToolChain, ToolChainName } from './chain.ts'
import { undoAtExit } from './unfinished.ts'

/** A program of a few thousand kernels compiles in a minute or two. */
const COMPILE_MILLISECONDS = 15 * 60 * 1000
const PROBE_MILLISECONDS = 20 * 1000
const LONGEST_LOG = 8 << 20
const OBJECT = 'shared.o'

/** Exactly the instructions that a table spells, never -march=native: a cached result must mean the same anywhere. */
const isaFlags: Readonly<Record<InstructionSetName, readonly string[]>> = {
  neon: [],
  avx2: ['-mavx2', '-mfma', '-mf16c'],
  avx512: ['-mavx2', '-mfma', '-mf16c', '-mavx512f', '-mavx512vl', '-mavx512dq', '-mavx512bw'],
  wasmRelaxed: [],
}

/**
 * The instruction set's flags and what the compiler needs to keep the emitted order. On arm64 the first scheduling pass of
 * g++ moves every load of an unrolled tile to its top, and then has too few registers; clang has no such pass.
 */
function targetFlags(isa: InstructionSetName, { version }: NativeCompiler): readonly string[] {
  const keepsOrder = isa !== 'neon' || version.includes('clang')
  return [...isaFlags[isa], ...(keepsOrder ? [] : ['-fno-schedule-insns'])]
}

/** What a process said and how it ended; `code` is a number or, when it could not start, a system error's name. */
export interface Ran {
  readonly code: number | string
  readonly output: string
  readonly log: string
}

/** Runs a program without a shell; never throws. */
export function runProgram(
  command: string,
  operands: readonly string[],
  options: { folder?: string; milliseconds?: number } = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(
      command,
      [...operands],
      { cwd: options.folder, timeout: options.milliseconds ?? PROBE_MILLISECONDS, maxBuffer: LONGEST_LOG },
      (error: ExecFileException | null, output, log) => {
        const code = error === null ? 0 : (error.code ?? error.signal ?? 'killed')
        resolve({ code, output, log })
      },
    )
  })
}

/** Runs a compiler in its folder, where its temporary files are too; never throws. It ends when this process does. */
function runCompiler(command: string, operands: readonly string[], folder: string): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(command, [...operands], {
      cwd: folder,
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'ignore', 'pipe'],
      // A process group of its own: a compiler starts others, and a signal to it alone would leave them running.
      detached: true,
    })
    const kill = (): void => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }
    const finished = undoAtExit(kill)
    const timer = setTimeout(kill, COMPILE_MILLISECONDS)
    let log = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (log.length < LONGEST_LOG) log += text
    })
    const end = (code: number | string): void => {
      clearTimeout(timer)
      finished()
      resolve({ code, output: '', log })
    }
    child.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'))
    child.on('close', (code, signal) => end(code ?? signal ?? 'killed'))
  })
}

export interface NativeCompiler {
  readonly command: string
  /** First line of `--version`. */
  readonly version: string
}

/** The first of the candidates that answers `--version`. */
export async function findCompiler(candidates: readonly string[]): Promise<NativeCompiler | undefined> {
  for (const command of candidates) {
    const { code, output } = await runProgram(command, ['--version'])
    const version = output.split('\n')[0]?.trim()
    if (code === 0 && version) return { command, version }
  }
  return undefined
}

/**
 * Compiles one unit in a folder of its own, by way of the cache, after the shared files, each by way of the cache as well.
 * InternalError with the log's path on refusal.
 */
export async function compileNative(
  cache: CompileCache,
  compiler: NativeCompiler,
  flags: readonly string[],
  sources: readonly Source[],
  result: string,
): Promise<string> {
  const headers = sources.filter(({ name }) => !name.endsWith('.cpp'))
  const shared = sources.filter(({ isShared }) => isShared)
  const compile = (
    unit: readonly Source[],
    more: readonly string[],
    file: string,
    objects: () => Promise<string[]>,
  ) => {
    const key = { compiler: `${compiler.command} ${compiler.version}`, flags: [...flags, ...more], sources: unit }
    return cache.result(key, file, async (folder) => {
      for (const { name, text } of unit) await writeFile(join(folder, name), text)
      const operands = [...flags, ...more, UNIT, ...(await objects()), '-o', file]
      const ran = await runCompiler(compiler.command, operands, folder)
      if (ran.code === 0) return readFile(join(folder, file))
      const log = await cache.log(`${compiler.command} ${operands.join(' ')}\n${ran.code}\n${ran.log}`)
      throw new InternalError(`${compiler.command} refused generated code; its words are in ${log}`)
    })
  }
  const object = ({ name, text }: Source): Promise<string> =>
    compile(asUnit([...headers, { name, text }]), ['-c'], OBJECT, async () => [])
  return compile(
    asUnit(sources, ({ isShared }) => !isShared),
    [],
    result,
    () => Promise.all(shared.map(object)),
  )
}

export interface NativeOptions {
  readonly name: ToolChainName
  readonly isa: InstructionSetName
  readonly compiler: NativeCompiler
  /** Beyond those of the instruction set. */
  readonly flags: readonly string[]
  readonly launcher: readonly string[]
  readonly reason: string
}

export function nativeToolChain(cache: CompileCache, options: NativeOptions): ToolChain {
  const isa = isaOf(options.isa)
  const target = targetFlags(options.isa, options.compiler)
  const identity = `${options.compiler.version}, ${isa.name}, ${isa.lanes} lanes`
  return {
    name: options.name,
    isa,
    launcher: options.launcher,
    identity,
    describe: () => `${identity} (${options.reason})`,
    compile(sources: readonly Source[], given: CompileOptions): Promise<string> {
      const kind = given.output === 'module' ? ['-shared', '-fPIC'] : options.flags
      const flags = [...commonFlags, optimiseFlag(given), '-pthread', ...target, ...kind]
      const result = given.output === 'module' ? 'program.so' : 'program'
      return compileNative(cache, options.compiler, flags, sources, result)
    },
  }
}
