// From a program to a session: emit, compile together with the run-time, start where the tool chain's output runs, and
// give state its first values. The one place that knows both the tool chains and the devices.

import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { InternalError } from '../../../compiler/diagnostic.ts'
import type { Program, ProgramValue } from '../../../compiler/plan/program.ts'
import { emitProgram } from '../emit/index.ts'
import { chooseToolChain } from '../toolchain/index.ts'
import type { Source, ToolChain, ToolChainPreference } from '../toolchain/index.ts'
import { CheckedSession } from './checkedSession.ts'
import type { DeviceOptions, FrozenRange, Pace } from './device.ts'
import { initialData } from './initial.ts'
import { openNativeDevice } from './native.ts'
import type { Session } from './session.ts'
import { openWasmDevice } from './wasm.ts'

/** As in `runtime/heddle.h`. */
const MOST_THREADS = 64

const commonHeaders = ['heddle_program.h', 'heddle.h', 'heddle_platform.h', 'heddle_pool.h', 'heddle_transfers.h', 'heddle_table.h', 'heddle_layout.h', 'heddle_text.h', 'heddle_launch.h', 'heddle_runtime.h'] // prettier-ignore
const wasmHeaders = [...commonHeaders, 'heddle_wasm.h']
const governorHeaders = ['heddle_sensors.h', 'heddle_energy.h', 'heddle_governor.h', 'heddle_governing.h']
const storageHeaders = ['heddle_files.h', 'heddle_frozen.h', 'heddle_stored.h', 'heddle_storage.h', 'heddle_keeping.h']
const nativeHeaders = [...commonHeaders, ...governorHeaders, 'heddle_count.h', 'heddle_channel.h', 'heddle_words.h', ...storageHeaders, 'heddle_main.h'] // prettier-ignore

export interface BuildOptions {
  /** `full` (the default) for what will run long, `light` for what should compile fast. */
  readonly optimise?: 'full' | 'light'
  /** Count allocations during calls (native, for tests; see `SessionStats.allocations`). */
  readonly countAllocations?: boolean
}

export interface SessionOptions extends BuildOptions {
  /** A tool chain, or which one to choose; `auto` by default. */
  readonly toolchain?: ToolChain | ToolChainPreference
  /** 1 to 64; by default one per core. The numbers that come out do not depend on it. */
  readonly threads?: number
  /** By `Place.index` of the program's frozen places. */
  readonly frozen?: readonly FrozenRange[]
  /** Seed of random first values; 0 by default. */
  readonly seed?: number
  /** Time every launch, for `stats`. */
  readonly profile?: boolean
  /**
   * The state file of a program that has values in storage; required for one, and for no other. The session makes it, so
   * there must be none yet; it stays when the session ends.
   */
  readonly stored?: { readonly path: string }
  /** Reads and writes storage no faster than this one would be, past the page cache (native, for measuring plans). */
  readonly pace?: Pace
  /** Kills the program, whatever it does. */
  readonly signal?: AbortSignal
}

/** The C++ files of a program for a tool chain: the emitted text and the run-time it needs, in two units. */
export async function programSources(
  program: Program,
  chain: ToolChain,
  options: BuildOptions = {},
): Promise<Source[]> {
  const isWasm = chain.name === 'wasm'
  const headers = await Promise.all(
    (isWasm ? wasmHeaders : nativeHeaders).map(async (name) => ({
      name,
      text: await readFile(new URL(`../runtime/${name}`, import.meta.url), 'utf8'),
    })),
  )
  const count = options.countAllocations === true && !isWasm ? '#define HEDDLE_COUNT_ALLOCATIONS 1\n' : ''
  const runtime = `${count}#include "${isWasm ? 'heddle_wasm.h' : 'heddle_main.h'}"\n`
  return [
    ...headers,
    { name: 'program.cpp', text: emitProgram(program, chain.isa) },
    { name: 'runtime.cpp', text: runtime, isShared: true },
  ]
}

/** Compiles a program with the run-time; the path belongs to the tool chain's cache. */
export async function buildProgram(program: Program, chain: ToolChain, options: BuildOptions = {}): Promise<string> {
  const sources = await programSources(program, chain, options)
  return chain.compile(sources, {
    output: chain.name === 'wasm' ? 'module' : 'executable',
    optimise: options.optimise ?? 'full',
  })
}

/**
 * Compiles a program and opens a session on it. State and inputs begin as zero, values with an `initial` as it says;
 * trainable values without one must be written before the first call.
 * UserError HD701–HD703 from the tool chain, HD710 (wasm without fused multiply-add), HD711 (a frozen file, or the state
 * file), HD715 (memory or threads refused), HD717 (a first value cannot be stored).
 */
export async function openSession(program: Program, options: SessionOptions = {}): Promise<Session> {
  const { toolchain = 'auto', frozen = [], seed = 0, profile = false, signal, pace, stored } = options
  const threads = options.threads ?? Math.min(MOST_THREADS, availableParallelism())
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw new InternalError(`a session has 1 to ${MOST_THREADS} threads, not ${threads}`)
  }
  checkFrozen(program, frozen)
  if (program.storedCount > 0 !== (stored !== undefined)) {
    throw new InternalError(`the program has ${program.storedCount} values in storage, ${stored ? 'a' : 'no'} state file was given`) // prettier-ignore
  }
  const chain = typeof toolchain === 'string' ? await chooseToolChain(toolchain) : toolchain
  if (chain.name === 'wasm' && program.values.some(({ streamed, rows }) => streamed ?? rows)) {
    const what = program.storedCount > 0 ? 'has values in storage' : 'reads frozen tensors'
    throw new InternalError(`the program ${what} while it runs, and WebAssembly has nothing to read them from`)
  }
  const path = await buildProgram(program, chain, options)
  const deviceOptions: DeviceOptions = {
    threads,
    frozen,
    profile,
    ...(stored ? { stored } : {}),
    ...(signal ? { signal } : {}),
    ...(pace ? { pace } : {}),
  }
  const device =
    chain.name === 'wasm'
      ? await openWasmDevice(path, program, deviceOptions)
      : await openNativeDevice(path, chain.launcher, deviceOptions)
  const about = { toolchain: chain.describe(), isa: chain.isa.name, threads, stateFile: stored?.path }
  const session = new CheckedSession(program, device, about)
  try {
    for (const value of program.values) {
      if (value.place.space === 'frozen' || !value.initial || isZeroState(value)) continue
      await session.write(value.name, initialData(value, seed))
    }
  } catch (error) {
    await session.close()
    throw error
  }
  return session
}

/** Memory and storage are zero when they are given: the moments of an optimizer need no gigabyte of zeros sent. */
function isZeroState({ role, initial }: ProgramValue): boolean {
  return role === 'state' && initial?.kind === 'constant' && Object.is(initial.value, 0)
}

function checkFrozen(program: Program, frozen: readonly FrozenRange[]): void {
  if (frozen.length !== program.frozenCount) {
    throw new InternalError(`the program reads ${program.frozenCount} frozen tensors, ${frozen.length} were given`)
  }
  for (const { path, offset, bytes } of frozen) {
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(bytes) || offset < 0 || bytes <= 0) {
      throw new InternalError(`bytes ${offset} to ${offset + bytes} of ${path} are no range`)
    }
  }
  for (const value of program.values) {
    if (value.place.space !== 'frozen') continue
    const range = frozen[value.place.index]
    if (range?.bytes === value.bytes) continue
    throw new InternalError(`frozen tensor '${value.name}' has ${range?.bytes} bytes, the program reads ${value.bytes}`)
  }
}
