// What the compiler is told of a device: data, with where each figure comes from. Knows no program and no backend but
// the names of instruction sets.

import type { ScheduleProfile, TileChoice } from '../compiler/schedule/profile.ts'
import { isaOf } from '../backends/neon/isa/index.ts'
import type { InstructionSetName } from '../backends/neon/isa/index.ts'
import { usedCores } from './profile.ts'
import type { ProfileFile } from './profile.ts'

export interface FoundChoices {
  readonly threads: number
  /** By the name of a nest, as the schedule spells it. */
  readonly choices: Readonly<Record<string, TileChoice>>
}

/** All that a profile states, group by group, each with its source; see `profile.ts` for the units. */
export type DeviceFigures = Omit<ProfileFile, 'device' | 'name' | 'title'>

export interface DeviceProfile {
  readonly name: string
  /** For people. */
  readonly title: string
  readonly isa: InstructionSetName
  /** Cores that a run may use. */
  readonly cores: number
  /** Bytes of the second-level cache that one core has to itself. */
  readonly privateCache: number
  /** Bytes that one app may hold. */
  readonly memoryBudget: number
  /** Bytes of the run-time itself: its code, its threads' stacks, what drives it. */
  readonly runtimeBytes: number
  /** Choices that a search has measured here, by numbers of threads. */
  readonly found?: readonly FoundChoices[]
  /** Where the figures above come from. */
  readonly source: string
  /** The figures above and all others: rates, storage, GPU, power. */
  readonly figures: DeviceFigures
}

/** A profile as the compiler reads it. */
export function deviceFrom({ device: _device, name, title, ...figures }: ProfileFile): DeviceProfile {
  const { cores, caches, memory } = figures
  return {
    name,
    title,
    isa: cores.isa,
    cores: usedCores(cores.kinds),
    privateCache: caches.privateBytes,
    memoryBudget: memory.budgetBytes,
    runtimeBytes: memory.runtimeBytes,
    source: [...new Set([cores.source, caches.source, memory.source])].join('; '),
    figures,
  }
}

/** What the schedule may know of a device; lanes and register tile are the instruction set's. */
export function scheduleProfile(
  device: Pick<DeviceProfile, 'name' | 'isa' | 'cores' | 'privateCache' | 'found'>,
  threads: number = device.cores,
): ScheduleProfile {
  const { lanes, tiles, otherTiles, fetchesAhead } = isaOf(device.isa)
  const found = device.found?.find((one) => one.threads === threads)
  return {
    name: device.name,
    lanes,
    tile: tiles,
    ...(otherTiles ? { otherTiles } : {}),
    ...(fetchesAhead === undefined ? {} : { fetchesAhead }),
    privateCache: device.privateCache,
    ...(found ? { choices: found.choices } : {}),
    threads,
  }
}
