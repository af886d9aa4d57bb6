// What the compiler is told of a device: data, with where each figure comes from. Knows no program and no backend but
// the names of instruction sets.

import { UserError } from '../compiler/diagnostic.ts'
import type { ScheduleProfile, TileChoice } from '../compiler/schedule/profile.ts'
import { isaOf } from '../backends/neon/isa/index.ts'
import type { InstructionSetName } from '../backends/neon/isa/index.ts'

export interface FoundChoices {
  readonly threads: number
  /** By the name of a nest, as the schedule spells it. */
  readonly choices: Readonly<Record<string, TileChoice>>
}

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
  /** Where the figures come from. */
  readonly source: string
}

/** What the schedule may know of a device; lanes and register tile are the instruction set's. */
export function scheduleProfile(device: DeviceProfile, threads: number = device.cores): ScheduleProfile {
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

/** The profile of a name among some. UserError HD820 when there is none. */
export function deviceNamed(name: string, devices: readonly DeviceProfile[]): DeviceProfile {
  const found = devices.find((device) => device.name === name)
  if (found) return found
  throw new UserError('HD820', `there is no device profile '${name.slice(0, 64)}'`, {
    mend: `there are ${devices.map((device) => device.name).join(', ')}`,
  })
}
