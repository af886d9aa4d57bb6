// The machine this runs on: cores, cache and memory as the operating system states them. The instruction set is the
// tool chain's finding.

import { readFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import type { InstructionSetName } from '../backends/neon/isa/index.ts'
import type { DeviceProfile } from './device.ts'

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE
const MOST_CORES = 64

/** Where Linux states the second-level cache of the first core. */
const cacheFile = '/sys/devices/system/cpu/cpu0/cache/index2/size'
const usualCache = 512 * KIBIBYTE

/** The host with a native tool chain for this instruction set. */
export function hostDevice(isa: InstructionSetName): DeviceProfile {
  const cache = statedCache()
  return {
    name: 'host',
    title: 'this machine',
    isa,
    cores: Math.min(MOST_CORES, availableParallelism()),
    privateCache: cache ?? usualCache,
    // The rest is for the operating system and whatever else is open.
    memoryBudget: Math.floor(totalmem() * 0.75),
    // Code, stacks and buffers of the process, as measured on x86-64 with two threads.
    runtimeBytes: 2 * MEBIBYTE,
    source: `cores and memory as the operating system states them, three quarters of the memory; ${
      cache === undefined ? 'the usual private cache' : 'the private cache from sysfs'
    }`,
  }
}

/** The host with a program in WebAssembly, inside this process. */
export function wasmDevice(): DeviceProfile {
  return {
    ...hostDevice('wasmRelaxed'),
    name: 'wasm',
    title: 'WebAssembly on this machine',
    memoryBudget: Math.min(4096 * MEBIBYTE, Math.floor(totalmem() * 0.75)),
    // Node with this project's own code, as measured before a program is loaded.
    runtimeBytes: 160 * MEBIBYTE,
    source: 'as the host, but a memory of at most 4 GiB, which 32-bit addresses reach',
  }
}

function statedCache(): number | undefined {
  try {
    const [, digits, unit] = /^(\d{1,7})([KM])\s*$/.exec(readFileSync(cacheFile, 'utf8')) ?? []
    if (digits === undefined) return undefined
    const bytes = Number(digits) * (unit === 'M' ? MEBIBYTE : KIBIBYTE)
    return bytes >= 64 * KIBIBYTE ? bytes : undefined
  } catch {
    return undefined
  }
}
