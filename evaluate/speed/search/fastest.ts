// The fastest of several that are measured in turns, because these machines are shared: all a few times, the better half
// again, and at the end the best ones anew beside the first. Knows nothing of what they are.

/** Turns of each round of halving; the last repeats. */
const turnsOfRound = [1, 2, 3]
/** Those that meet the first one at the end, in how many turns. */
const finalists = 2
const finalTurns = 5

export interface Fastest {
  /** Its place. */
  readonly best: number
  /** Both from the last turns, where all had the same disturbances. */
  readonly seconds: number
  readonly firstSeconds: number
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
  const take = async (places: readonly number[], turns: number): Promise<Map<number, number> | undefined> => {
    const best = new Map<number, number>()
    for (let turn = 0; turn < turns; turn++) {
      for (const place of places) {
        if (!goesOn()) return undefined
        best.set(place, Math.min(best.get(place) ?? Infinity, await seconds(place)))
      }
    }
    return best
  }
  const sorted = (times: ReadonlyMap<number, number>, places: readonly number[]): number[] =>
    places.toSorted((a, b) => (times.get(a) ?? Infinity) - (times.get(b) ?? Infinity))
  let left = Array.from({ length: count - 1 }, (_, place) => place + 1)
  for (let round = 0; left.length > finalists; round++) {
    const times = await take([0, ...left], turnsIn(round))
    if (!times) return undefined
    left = sorted(times, left).slice(0, Math.max(finalists, Math.floor(left.length / 2)))
  }
  const times = await take([0, ...left], finalTurns)
  const [best = 0] = sorted(times ?? new Map(), [0, ...left])
  const firstSeconds = times?.get(0)
  const bestSeconds = times?.get(best)
  return firstSeconds === undefined || bestSeconds === undefined
    ? undefined
    : { best, seconds: bestSeconds, firstSeconds }
}
