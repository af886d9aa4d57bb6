// One arena for the values of a function and for what comes from storage meanwhile. Ranges have lives that may grow: the more of
// them are alive the less computing waits, and the harder it is to place them.

import { settled, unplaced } from './arena.ts'
import type { Arena, Lifetime, Placing } from './arena.ts'
import type { Memory } from './ahead.ts'
import type { Draft } from './drafts.ts'
import { lifeOf } from './moments.ts'
import type { TransferPlan } from './moments.ts'
import { Room } from './room.ts'
import type { MemoryFor } from './transfers.ts'

/** Makes a plan of transfers with so many bytes alive at once. */
export type PlanWithin<Plan extends TransferPlan> = (room: number, memoryFor?: MemoryFor) => Plan

export interface PlacedRanges<Plan extends TransferPlan> {
  readonly planned: Plan
  /** Offsets of the values, then of the plan's ranges. */
  readonly arena: Arena
}

/** An arena this close to its bound is good enough. */
const CLOSE = 1.02
/** Of what the last arena really had alive, where the next one tries to end; it has a little less alive then. */
const CLOSER = 1.01
const MOST_ARENAS = 4
/** What waiting may be longer for a denser arena. */
const SLOWER = 1.01
/** Choices of ranges that stay in memory between two uses, until those fit; the last has none. */
const MOST_ATTEMPTS = 4
const LESS = 0.97

/**
 * First ranges get the lives that the sum of what is alive allows, and all is placed at once. Where that leaves gaps, everything is
 * placed with the lives that it must have, which is easy, and ranges grow from there, each where it finds room.
 * `values`: on a timeline of so many moments. `limit`: bytes of the arena; where they are too few the smallest arena is given.
 */
export function placeWithRanges<Plan extends TransferPlan>(
  placing: Placing,
  values: readonly Lifetime[],
  moments: number,
  limit: number,
  plan: PlanWithin<Plan>,
): PlacedRanges<Plan> {
  const wanted = plan(limit)
  const lives = [...values, ...wanted.ranges.map(lifeOf)]
  const bound = unplaced(lives)
  // Who asks only how much is alive gets no places by growing into them.
  if (placing === unplaced) return { planned: wanted, arena: bound }
  const growing = new Growing(placing, values, moments, plan)
  // Ranges live longer than they must only below the limit.
  if (bound.lowerBound > limit) return growing.within(0, 0)
  const arena = placing(lives)
  if (arena.peak <= limit && isClose(arena)) return { planned: wanted, arena }
  const room = growing.fittingRoom(limit)
  if (room === undefined) return growing.within(0, 0)
  let best: PlacedRanges<Plan> | undefined
  let goal = Math.min(limit, CLOSE * arena.lowerBound)
  for (let attempt = 1; attempt <= MOST_ARENAS && !(best && isClose(best.arena)); attempt++) {
    const next = growing.within(room, goal)
    if (best && next.planned.stallSeconds > SLOWER * best.planned.stallSeconds) break
    if (!best || gap(next.arena) < gap(best.arena)) best = next
    goal = CLOSER * next.arena.lowerBound
  }
  return best as PlacedRanges<Plan>
}

/** Plans whose ranges grow in an arena where everything has a place already. */
class Growing<Plan extends TransferPlan> {
  readonly #placing: Placing
  readonly #values: readonly Lifetime[]
  readonly #moments: number
  readonly #plan: PlanWithin<Plan>
  /** The arena in which ranges have the lives that they must have, by the room for those that stay between uses. */
  readonly #bases = new Map<number, Arena>()

  constructor(placing: Placing, values: readonly Lifetime[], moments: number, plan: PlanWithin<Plan>) {
    this.#placing = placing
    this.#values = values
    this.#moments = moments
    this.#plan = plan
  }

  /** Bytes alive with which there is an arena of at most `limit`; undefined where there is none. */
  fittingRoom(limit: number): number | undefined {
    let room = limit
    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
      if (attempt === MOST_ATTEMPTS) room = 0
      this.#plan(room, (drafts) => {
        this.#base(room, drafts)
        return asTheyAre
      })
      const { peak } = this.#bases.get(room) as Arena
      if (peak <= limit) return room
      room *= (LESS * limit) / peak
    }
    return undefined
  }

  /** Grows ranges as far as an arena of `goal` bytes lets them, or of what the base takes where that is more. */
  within(room: number, goal: number): PlacedRanges<Plan> {
    let grown: Room | undefined
    const planned = this.#plan(room, (drafts) => {
      const { offsets, peak } = this.#base(room, drafts)
      return (grown = new Room(this.#values, drafts, offsets, this.#moments, Math.max(goal, peak)))
    })
    const lives = [...this.#values, ...planned.ranges.map(lifeOf)]
    return { planned, arena: settled(lives, (grown as unknown as Room).offsets) }
  }

  #base(room: number, drafts: readonly Draft[]): Arena {
    const base = this.#bases.get(room) ?? this.#placing([...this.#values, ...drafts.map(lifeOf)])
    this.#bases.set(room, base)
    return base
  }
}

const asTheyAre: Memory = { grow: () => false }

function gap({ peak, lowerBound }: Arena): number {
  return peak / lowerBound - 1
}

function isClose({ peak, lowerBound }: Arena): boolean {
  return peak <= CLOSE * lowerBound
}
