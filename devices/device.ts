// What the compiler is told of a device: data, with where each figure comes from. Knows no program and no backend but
// the names of instruction sets.

import { UserError } from '../compiler/diagnostic.ts'
import type { ScheduleProfile } from '../compiler/schedule/profile.ts'
import { isaOf } from '../backends/neon/isa/index.ts'
import type { InstructionSetName } from '../backends/neon/isa/index.ts'

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
  /** Where the figures come from. */
  readonly source: string
}

/** What the schedule may know of a device; lanes and register tile are the instruction set's. */
export function scheduleProfile(device: DeviceProfile, threads: number = device.cores): ScheduleProfile {
  const { lanes, tiles, otherTiles, fetchesAhead } = isaOf(device.isa)
  return {
    name: device.name,
    lanes,
    tile: tiles,
    ...(otherTiles ? { otherTiles } : {}),
    ...(fetchesAhead === undefined ? {} : { fetchesAhead }),
    privateCache: device.privateCache,
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
