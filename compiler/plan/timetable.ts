// When, by a device's figures, each moment of a function computes and each transfer is on its way: what a plan looks like over
// time. Predicted from counts; measures nothing.

import { InternalError } from '../diagnostic.ts'
import { Costs } from './costs.ts'
import { simulate } from './moments.ts'
import type { KeptPiece } from './moments.ts'
import type { PlannedProgram } from './place.ts'
import type { Rates, StorageRate } from './rates.ts'

/** All times in seconds from the start of the function. */
export interface Timetable {
  /** When each moment begins to compute: a launch, or a part of one. */
  readonly begins: readonly number[]
  /** How long it computes. */
  readonly seconds: readonly number[]
  /** When the last moment is over, and with it the last transfer. */
  readonly end: number
  readonly stallSeconds: number
  /** In the order in which they are made. */
  readonly moves: readonly TimedMove[]
}

/** A transfer on its way from second `begin` to second `end`. */
export interface TimedMove {
  readonly kind: 'read' | 'write'
  readonly tensor: string
  readonly bytes: number
  readonly begin: number
  readonly end: number
  /** The moment that waits for it; one behind the last where the end of the function does. */
  readonly moment: number
}

export interface TimetableRates {
  readonly compute: Rates
  readonly read: StorageRate
  readonly write: StorageRate
}

/** A timetable for each function of a program, by its name. */
export function timetables(
  { program, arenas }: PlannedProgram,
  { compute, read, write }: TimetableRates,
): ReadonlyMap<string, Timetable> {
  const costs = new Costs(compute)
  return new Map(
    arenas.flatMap(({ fn: name, storage, regions }): [string, Timetable][] => {
      const planned = program.functions.find((fn) => fn.name === name)
      if (!planned) return []
      const seconds = planned.launches.flatMap(({ parts }, launch) => {
        const region = regions[launch]
        if (!region) throw new InternalError(`launch ${launch} of ${name} was never scheduled`)
        return costs.secondsOf(region, parts)
      })
      const { ranges = [], order = [], kept = [] } = storage ?? {}
      const pace = { seconds, read, write }
      const { begins, computeSeconds, stallSeconds, ...simulated } = simulate(ranges, pace, order, kept)
      const moves = simulated.transfers.map(({ kind, range }, place): TimedMove => {
        if (kind === 'keep') {
          const { from, bytes } = kept[range] as KeptPiece
          const [begin = NaN, end = NaN] = [simulated.begun[place], simulated.done[place]]
          const tensor = `carried over in memory, from byte ${from} of the state`
          return { kind: 'write', tensor, bytes, begin, end, moment: seconds.length }
        }
        const { label, bytes, first, end } = ranges[range] as (typeof ranges)[number]
        const [begin = NaN, done = NaN] = [simulated.begun[place], simulated.done[place]]
        return { kind, tensor: label, bytes, begin, end: done, moment: kind === 'read' ? first : end + 1 }
      })
      return [[name, { begins, seconds, end: computeSeconds + stallSeconds, stallSeconds, moves }]]
    }),
  )
}
