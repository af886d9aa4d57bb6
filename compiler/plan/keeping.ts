// What a step carries over in memory, on its way to the version that an update makes: pieces that wait for nobody and for which
// nobody waits, so that they go where the thread that moves has nothing else to do.

import { simulate, transfersOf } from './moments.ts'
import type { KeptPiece, PlannedRange, PlannedTransfer, Timeline } from './moments.ts'
import { requestSeconds } from './rates.ts'

/** A value in memory, and the moments that must be over before it is what the version holds. */
export interface CarriedPlace {
  /** Bytes into the state. */
  readonly offset: number
  readonly bytes: number
  readonly after: number
}

/**
 * Pieces of at most `most` bytes that are all of the first `total` bytes of the state, small values and what lies between them
 * together. `values`: in the order of their offsets.
 */
export function keptPieces(values: readonly CarriedPlace[], total: number, most: number): KeptPiece[] {
  const pieces: KeptPiece[] = []
  let [begin, after] = [0, 0]
  const cut = (end: number): void => {
    for (; begin < end; begin += Math.min(most, end - begin))
      pieces.push({ from: begin, bytes: Math.min(most, end - begin), after })
    after = 0
  }
  values.forEach((value, place) => {
    const end = values[place + 1]?.offset ?? total
    if (end - begin > most) cut(value.offset)
    after = Math.max(after, value.after)
  })
  cut(total)
  return pieces
}

type Pace = Pick<Timeline, 'seconds' | 'read' | 'write'>

/** The transfers of a plan with pieces where nothing else can be moved for as long as that takes; the rest comes last. */
export function withKept(ranges: readonly PlannedRange[], pieces: readonly KeptPiece[], pace: Pace): PlannedTransfer[] {
  const { begins, begun, done } = simulate(ranges, pace)
  const overAt = (after: number): number =>
    after === 0 ? 0 : (begins[after - 1] as number) + (pace.seconds[after - 1] as number)
  const waiting = pieces
    .map((_, place) => place)
    .sort((a, b) => (pieces[a] as KeptPiece).after - (pieces[b] as KeptPiece).after)
  const made: PlannedTransfer[] = []
  const put = (place: number): void => {
    const { after } = pieces[place] as KeptPiece
    made.push({ kind: 'keep', range: place, after: Math.max(after, made.at(-1)?.after ?? 0) })
  }
  transfersOf(ranges).forEach((transfer, index) => {
    let free = index === 0 ? 0 : (done[index - 1] as number)
    for (let [place] = waiting; place !== undefined; [place] = waiting) {
      const { bytes, after } = pieces[place] as KeptPiece
      const end = Math.max(free, overAt(after)) + requestSeconds(bytes, pace.write)
      if (end > (begun[index] as number)) break
      put(place)
      waiting.shift()
      free = end
    }
    made.push(transfer)
  })
  waiting.forEach(put)
  return made
}
