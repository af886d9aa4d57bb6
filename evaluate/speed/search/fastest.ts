// The fastest of several that are measured in turns, because these machines are shared: all a few times, the better half
// again, and at the end the best ones anew beside the first. Knows nothing of what they are.

import { quartiles } from '../statistics.ts'

/** Turns of each round of halving; the last repeats. */
const turnsOfRound = [1, 2, 3]
/** Those that meet the first one at the end, in how many turns. */
const finalists = 2
const finalTurns = 9

export interface Fastest {
  /** Its place. */
  readonly best: number
  /** Both the best of the last turns. */
  readonly seconds: number
  readonly firstSeconds: number
  /**
   * The first's over the best's: by their best turns, or by the median turn where that says less. 1 where the first won a
   * quarter of the turns: then disturbance decided.
   */
  readonly timesAsFast: number
}

/** Measurements that `fastest` takes of so many. */
export function measurements(count: number): number {
  let [sum, left] = [0, count - 1]
  for (let round = 0; left > finalists; round++) {
    sum += (left + 1) * turnsIn(round)
    left = Math.max(finalists, Math.floor(left / 2))
  }
  return sum + (left + 1) * finalTurns
}

function turnsIn(round: number): number {
  return turnsOfRound[Math.min(round, turnsOfRound.length - 1)] ?? 1
}

/** `seconds` measures the one at a place. Undefined when `goesOn` ended it before the last turns were done. */
export async function fastest(
  count: number,
  seconds: (place: number) => Promise<number>,
  goesOn: () => boolean = () => true,
): Promise<Fastest | undefined> {
  /** Seconds of each in every turn. */
  const take = async (places: readonly number[], turns: number): Promise<Turns | undefined> => {
    const taken = new Map(places.map((place): [number, number[]] => [place, []]))
    for (let turn = 0; turn < turns; turn++) {
      for (const place of places) {
        if (!goesOn()) return undefined
        taken.get(place)?.push(await seconds(place))
      }
    }
    return taken
  }
  let left = Array.from({ length: count - 1 }, (_, place) => place + 1)
  for (let round = 0; left.length > finalists; round++) {
    const taken = await take([0, ...left], turnsIn(round))
    if (!taken) return undefined
    left = byBest(taken, left).slice(0, Math.max(finalists, Math.floor(left.length / 2)))
  }
  const taken = await take([0, ...left], finalTurns)
  if (!taken) return undefined
  const [best = 0] = byBest(taken, [0, ...left])
  const [first, fast] = [taken.get(0) ?? [], taken.get(best) ?? []]
  // Neighbours in time share a disturbance; a short undisturbed moment may have fallen to one of them only.
  const ratios = first.map((time, turn) => time / (fast[turn] ?? time))
  const [firstSeconds, bestSeconds] = [Math.min(...first), Math.min(...fast)]
  const { low, median } = quartiles(ratios)
  const timesAsFast = low < 1 ? 1 : Math.min(firstSeconds / bestSeconds, median)
  return { best, seconds: bestSeconds, firstSeconds, timesAsFast }
}

type Turns = ReadonlyMap<number, readonly number[]>

function byBest(taken: Turns, places: readonly number[]): number[] {
  const best = (place: number): number => Math.min(...(taken.get(place) ?? []))
  return places.toSorted((a, b) => best(a) - best(b))
}
