// The machine this runs on: cores, caches and memory as the operating system states them. The instruction set is the
// tool chain's finding; rates are what `heddle profile` measures.

import { readFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import type { InstructionSetName } from '../backends/neon/isa/index.ts'
import { coreKinds } from './cores.ts'
import { deviceFrom } from './device.ts'
import type { DeviceProfile } from './device.ts'
import type { ProfileFile } from './profile.ts'

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE

/** Where Linux states the caches of the first core. */
const cacheFile = (index: number): string => `/sys/devices/system/cpu/cpu0/cache/index${index}/size`
const usualCache = 512 * KIBIBYTE

const notMeasured = 'not measured yet: heddle profile does'

/** What the operating system states of this machine, with the reasons why the rest is absent. */
export function hostProfile(isa: InstructionSetName): ProfileFile {
  const privateBytes = statedCache(2)
  const sharedBytes = statedCache(3)
  const { kinds, basis } = coreKinds(availableParallelism())
  const bytes = totalmem()
  const isWasm = isa === 'wasmRelaxed'
  const budgetBytes = Math.floor(bytes * 0.75)
  return {
    device: 1,
    name: isWasm ? 'wasm' : 'host',
    title: isWasm ? 'WebAssembly on this machine' : 'this machine',
    cores: { isa, kinds, source: `cores as the operating system states them, ${basis}` },
    caches: {
      privateBytes: privateBytes ?? usualCache,
      ...(sharedBytes === undefined ? {} : { sharedBytes }),
      source: privateBytes === undefined ? 'the usual private cache' : 'the caches of the first core from sysfs',
    },
    memory: {
      bytes,
      // The rest is for the operating system and whatever else is open.
      budgetBytes: isWasm ? Math.min(4096 * MEBIBYTE, budgetBytes) : budgetBytes,
      // As measured: Node with this project's own code before a program is loaded; code, stacks and buffers of a process
      // on x86-64 with two threads.
      runtimeBytes: (isWasm ? 160 : 3) * MEBIBYTE,
      source: `memory as the operating system states it, three quarters of it for a run${
        isWasm ? ', at most 4 GiB, which 32-bit addresses reach' : ''
      }`,
    },
    absent: {
      ...(sharedBytes === undefined ? { 'caches.sharedBytes': 'sysfs states no third-level cache' } : {}),
      compute: notMeasured,
      bandwidth: notMeasured,
      storage: notMeasured,
      gpu: 'no GPU of this machine is asked',
      power: notMeasured,
      battery: notMeasured,
    },
  }
}

/** The host with a native tool chain for this instruction set. */
export function hostDevice(isa: InstructionSetName): DeviceProfile {
  return deviceFrom({ ...hostProfile(isa), name: 'host' })
}

/** The host with a program in WebAssembly, inside this process. */
export function wasmDevice(): DeviceProfile {
  return deviceFrom(hostProfile('wasmRelaxed'))
}

function statedCache(index: number): number | undefined {
  try {
    const [, digits, unit] = /^(\d{1,7})([KM])\s*$/.exec(readFileSync(cacheFile(index), 'utf8')) ?? []
    if (digits === undefined) return undefined
    const bytes = Number(digits) * (unit === 'M' ? MEBIBYTE : KIBIBYTE)
    return bytes >= 64 * KIBIBYTE ? bytes : undefined
  } catch {
    return undefined
  }
}
