// This machine as a device profile: what the operating system states, and rates, storage and power as measured. Tells an
// observer how far it is; prints nothing, writes no profile and handles no signal.

import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { InternalError } from '../../../compiler/diagnostic.ts'
import { chooseToolChain } from '../../../backends/neon/toolchain/index.ts'
import type { ToolChain, ToolChainPreference } from '../../../backends/neon/toolchain/index.ts'
import { deviceFrom, hostProfile, parseProfile, scheduleProfile } from '../../../devices/index.ts'
import type { ProfileFile } from '../../../devices/index.ts'
import { copyProgram, peakProgram } from '../machine.ts'
import { runnerOf, secondsOf } from '../runner.ts'
import type { Runner } from '../runner.ts'
import { quartiles } from '../statistics.ts'
import type { Quartiles } from '../statistics.ts'
import { batteryWattHours, energyCounters } from './power.ts'
import type { EnergyCounters } from './power.ts'
import { efforts, measureStorage } from './storage.ts'
import type { StorageTimes } from './storage.ts'

export interface DeviceMeasuring {
  /** None that an emulator runs: its speed says nothing of the processor. */
  readonly toolchain: Exclude<ToolChainPreference, 'arm64'>
  /** Where the temporary file goes whose reading and writing is timed. */
  readonly folder: string
  /** Seconds rather than a minute, for numbers that are good for a look. */
  readonly quick: boolean
  readonly name: string
  readonly title: string
  /** Kills what runs. */
  readonly kill?: AbortSignal
}

export interface DeviceObserver {
  compiling?(toolchain: string): void
  progress?(title: string, done: number, all: number): void
}

export interface MeasuredDevice {
  readonly profile: ProfileFile
  /** Sizes of requests beyond those that the profile has figures of; absent where storage was not measured. */
  readonly storage?: StorageTimes
}

/** Rounds of multiply-adds and copies in turns, and seconds of rest for what idling takes. */
const lengths = { quick: { rounds: 6, idleSeconds: 0.5 }, full: { rounds: 60, idleSeconds: 3 } } as const

/**
 * Measures this machine with the tool chain's programs. A group that cannot be measured is absent with its reason.
 *
 * @throws UserError as tool chains, `openSession` and `measureStorage` state
 */
export async function measureDevice(options: DeviceMeasuring, observer: DeviceObserver = {}): Promise<MeasuredDevice> {
  const chain = await chooseToolChain(options.toolchain)
  const stated = hostProfile(chain.isa.name)
  const counters = energyCounters()
  observer.compiling?.(chain.describe())
  // First what may be refused.
  const storage = await storageOf(chain, options, observer)
  const rates = await measureRates(chain, stated, counters, options, observer)
  const wattHours = batteryWattHours()
  const { compute: _c, bandwidth: _b, storage: _s, power: _p, battery: _w, ...absent } = stated.absent ?? {}
  const found: Partial<ProfileFile> = {
    compute: { flopsPerCore: rounded(rates.flopsPerCore), source: rates.source },
    bandwidth: { bytesPerSecond: rounded(rates.bytesPerSecond), source: rates.copySource },
    ...(typeof storage === 'string' ? {} : { storage: storageFigures(storage) }),
    ...(typeof rates.power === 'string' ? {} : { power: rates.power }),
    ...(typeof wattHours === 'string'
      ? {}
      : { battery: { wattHours: rounded(wattHours), source: 'what the battery was made for, from sysfs' } }),
  }
  const reasons = {
    ...absent,
    ...(typeof storage === 'string' ? { storage } : {}),
    ...(typeof rates.power === 'string' ? { power: rates.power } : {}),
    ...(typeof wattHours === 'string' ? { battery: wattHours } : {}),
  }
  const whole = { ...stated, name: options.name, title: options.title, ...found, absent: reasons }
  const profile = parseProfile(JSON.parse(JSON.stringify(whole)), 'this machine')
  return { profile, ...(typeof storage === 'string' ? {} : { storage }) }
}

/** Three digits: these machines are shared, and the fourth is never the same twice. */
function rounded(value: number): number {
  return Number(value.toPrecision(3))
}

interface Rates {
  readonly flopsPerCore: number
  readonly bytesPerSecond: number
  readonly source: string
  readonly copySource: string
  readonly power: NonNullable<ProfileFile['power']> | string
}

async function measureRates(
  chain: ToolChain,
  stated: ProfileFile,
  counters: EnergyCounters | string,
  { quick, kill }: DeviceMeasuring,
  observer: DeviceObserver,
): Promise<Rates> {
  const device = deviceFrom(stated)
  const threads = device.cores
  const { rounds, idleSeconds } = quick ? lengths.quick : lengths.full
  const common = { toolchain: chain, threads, ...(kill ? { signal: kill } : {}) }
  const open: Runner[] = []
  try {
    for (const [name, program] of [
      ['peak', peakProgram],
      ['copy', copyProgram],
    ] as const) {
      open.push(await runnerOf(name, program(scheduleProfile(device, threads)), common))
    }
    const rates = open.map((): number[] => [])
    // The first call of each finds cold caches and untouched memory.
    for (const runner of open) await runner.run()
    const energy = { joules: 0, seconds: 0 }
    for (let round = 0; round < rounds; round++) {
      for (const [index, runner] of open.entries()) {
        const before = typeof counters === 'string' ? [] : counters.read()
        const seconds = await secondsOf(runner)
        rates[index]?.push(runner.operations / seconds)
        if (typeof counters === 'string' || runner.name !== 'peak') continue
        energy.joules += counters.watts(before, counters.read(), seconds) * seconds
        energy.seconds += seconds
      }
      observer.progress?.('multiply-adds and memory', round + 1, rounds)
    }
    const [peak, copy] = rates.map(quartiles)
    if (!peak || !copy) throw new InternalError('a machine without rates')
    // How far rounds lie apart says whether something else ran.
    const how = ({ low, high }: Quartiles, parts: number): string =>
      `the median of ${rounds} rounds with ${threads} ${threads === 1 ? 'thread' : 'threads'} at once, ` +
      `half of which gave ${rounded(low / parts / 1e9)} to ${rounded(high / parts / 1e9)} G`
    return {
      flopsPerCore: peak.median / threads,
      bytesPerSecond: copy.median,
      source: `measured: multiply-adds with operands in registers, ${how(peak, threads)}; ${printable(chain.identity)}`,
      copySource: `measured: a copy of 64 MiB, bytes read and written together, ${how(copy, 1)}`,
      power: typeof counters === 'string' ? counters : await powerOf(counters, energy, idleSeconds),
    }
  } finally {
    for (const runner of open) await runner.close()
  }
}

/** Watts of the packages while they computed, and now that nothing of ours runs. */
async function powerOf(
  counters: EnergyCounters,
  { joules, seconds }: { readonly joules: number; readonly seconds: number },
  idleSeconds: number,
): Promise<Rates['power']> {
  const before = counters.read()
  const start = performance.now()
  await wait(idleSeconds * 1000)
  const idle = counters.watts(before, counters.read(), (performance.now() - start) / 1000)
  const computing = joules / seconds
  if (!(idle > 0 && computing > 0)) return 'the energy counters (RAPL) stand still'
  return {
    computingWatts: rounded(Math.max(idle, computing)),
    idleWatts: rounded(idle),
    source: "measured: the processor's packages alone, by their energy counters (RAPL)",
  }
}

async function storageOf(
  chain: ToolChain,
  { folder, quick, kill }: DeviceMeasuring,
  observer: DeviceObserver,
): Promise<StorageTimes | string> {
  if (chain.name === 'wasm') return 'without a C++ compiler nothing can be read past the page cache'
  const onProgress = (done: number, all: number): void => observer.progress?.('storage', done, all)
  return measureStorage(chain, folder, quick ? efforts.quick : efforts.full, onProgress, kill)
}

const modes = {
  direct: 'past the page cache (O_DIRECT)',
  nocache: 'past the page cache (F_NOCACHE)',
  dropped: 'with the page cache dropped before each run',
} as const

function storageFigures(times: StorageTimes): NonNullable<ProfileFile['storage']> {
  const runs = times.requests[0]?.runs ?? 0
  return {
    readBytesPerSecond: rounded(times.readBytesPerSecond),
    writeBytesPerSecond: rounded(times.writeBytesPerSecond),
    latencySeconds: rounded(times.latencySeconds),
    source: `measured: requests of 1 MiB one after the other and reads of 4 KiB from anywhere, ${modes[times.mode]}, medians of ${runs} runs${isVirtual() ? '; in a virtual machine, whose host may have kept the pages' : ''}`,
  }
}

/** Whether the processor says that it is a virtual machine's; only x86 does. */
function isVirtual(): boolean {
  try {
    return /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'))
  } catch {
    return false
  }
}

/** A compiler's version may hold anything. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]+/gu, ' ').slice(0, 200)
}
