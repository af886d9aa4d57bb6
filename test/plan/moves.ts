// What transfers and computing make of memory and of storage, unit by unit, however fast storage is: every value that is
// written has a number of its own, so that a moment which does not find the last one is noticed. Only for tests.

/** Units of a tensor that lie beside each other in memory. */
export interface MovedRange {
  readonly tensor: string
  /** Which unit of the tensor each one is; −1 where there is none. */
  readonly units: ArrayLike<number>
  readonly offset: number
}

/** Something that is made at moment `first` and must be there up to `last`; behind the last moment it must be there at the end. */
export interface MovedValue {
  readonly label: string
  readonly offset: number
  readonly units: number
  readonly first: number
  readonly last: number
}

export interface MovedUse {
  readonly range: MovedRange
  readonly isRead: boolean
  readonly isWritten: boolean
}

export interface MovedTransfer {
  readonly kind: 'read' | 'readNext' | 'write'
  readonly range: MovedRange
  readonly after: number
  /** What has to be in memory while it is made. */
  readonly needs?: MovedValue
}

export interface Moves {
  /**
   * With versions what is written is not what is read: it stands when everything is over, and must be whole then. Of an updated one
   * it was made before.
   */
  readonly tensors: ReadonlyMap<
    string,
    { readonly units: number; readonly hasVersions: boolean; readonly isUpdated?: boolean }
  >
  readonly memory: number
  /** A tensor that is in memory all the time, from a place on that nothing else has. */
  readonly resident?: { readonly tensor: string; readonly offset: number }
  readonly values: readonly MovedValue[]
  readonly transfers: readonly MovedTransfer[]
  readonly moments: readonly { readonly waits: number; readonly uses: readonly MovedUse[] }[]
}

/** How many transfers are done by now, of at least so many and at most so many. */
export type Pace = (least: number, most: number) => number

export const slowest: Pace = (least) => least
export const fastest: Pace = (_, most) => most
/** The same for the same seed. */
export function uneven(seed: number): Pace {
  let state = Math.imul(seed, 2654435761) | 1
  return (least, most) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return least + ((state >>> 0) % (most - least + 1))
  }
}

/** Runs it; says what goes wrong first, or nothing. */
export function problemOf(moves: Moves, pace: Pace): string | undefined {
  try {
    new Run(moves, pace).run()
    return undefined
  } catch (error) {
    if (error instanceof Wrong) return error.message
    throw error
  }
}

class Wrong extends Error {}

class Run {
  readonly #moves: Moves
  readonly #pace: Pace
  readonly #memory: Int32Array
  /** By tensor: what the moments so far have made of it, what is read, what is written, and how often that was. */
  readonly #latest = new Map<string, Int32Array>()
  readonly #read = new Map<string, Int32Array>()
  readonly #written = new Map<string, Int32Array>()
  readonly #times = new Map<string, Int32Array>()
  readonly #tokens = new Map<MovedValue, number>()
  #next = 1
  #done = 0

  constructor(moves: Moves, pace: Pace) {
    this.#moves = moves
    this.#pace = pace
    this.#memory = new Int32Array(moves.memory)
    for (const [name, { units, hasVersions, isUpdated = false }] of moves.tensors) {
      const begin = Int32Array.from({ length: units }, () => this.#next++)
      this.#latest.set(name, begin)
      this.#read.set(name, isUpdated ? new Int32Array(units) : begin.slice())
      const next = isUpdated ? begin.slice() : new Int32Array(units)
      this.#written.set(name, hasVersions ? next : (this.#read.get(name) as Int32Array))
      this.#times.set(name, new Int32Array(units).fill(isUpdated ? 1 : 0))
    }
    const { resident } = moves
    if (resident) this.#memory.set(this.#latest.get(resident.tensor) as Int32Array, resident.offset)
  }

  run(): void {
    const { moments, transfers, values } = this.#moves
    moments.forEach(({ waits, uses }, moment) => {
      const blocked = transfers.slice(0, waits).find(({ after }) => after > moment)
      if (blocked)
        throw new Wrong(`moment ${moment} waits for a ${blocked.kind} that waits for moment ${blocked.after}`)
      if (moment > 0) this.#transfer(waits, moment)
      for (const value of values) if (value.first === moment) this.#make(value)
      // What transfers need is worked out before the first of them.
      if (moment === 0) this.#transfer(waits, moment)
      for (const { range, isRead } of uses) if (isRead) this.#check(range, moment)
      this.#transfer(this.#done, moment)
      for (const { range, isWritten } of uses) if (isWritten) this.#change(range)
      this.#transfer(this.#done, moment)
      for (const value of values) if (value.last === moment) this.#find(value)
    })
    while (this.#done < transfers.length) this.#move(transfers[this.#done++] as MovedTransfer)
    for (const value of values) if (value.last >= moments.length) this.#find(value)
    for (const name of this.#moves.tensors.keys()) this.#checkStored(name)
  }

  /** At least the first `least` of the transfers; as many as may have begun at most. */
  #transfer(least: number, moment: number): void {
    const { transfers } = this.#moves
    let most = this.#done
    while (most < transfers.length && (transfers[most] as MovedTransfer).after <= moment) most++
    const first = Math.max(least, this.#done)
    const wanted = this.#pace(first, Math.max(first, most))
    while (this.#done < wanted) this.#move(transfers[this.#done++] as MovedTransfer)
  }

  #move({ kind, range, needs }: MovedTransfer): void {
    const { tensor, units, offset } = range
    if (needs) this.#find(needs)
    const [from, to, times] = [this.#read, this.#written, this.#times].map((all) => all.get(tensor) as Int32Array)
    for (let place = 0; place < units.length; place++) {
      const unit = units[place] as number
      if (unit < 0) continue
      if (kind === 'read') this.#memory[offset + place] = from?.[unit] as number
      else if (kind === 'readNext') this.#memory[offset + place] = to?.[unit] as number
      else if (to && times) {
        to[unit] = this.#memory[offset + place] as number
        times[unit] = (times[unit] ?? 0) + 1
      }
    }
  }

  #check({ tensor, units, offset }: MovedRange, moment: number): void {
    const latest = this.#latest.get(tensor) as Int32Array
    for (let place = 0; place < units.length; place++) {
      const unit = units[place] as number
      if (unit >= 0 && this.#memory[offset + place] !== latest[unit])
        throw new Wrong(`moment ${moment} does not find what unit ${unit} of '${tensor}' is`)
    }
  }

  #change({ tensor, units, offset }: MovedRange): void {
    const latest = this.#latest.get(tensor) as Int32Array
    for (let place = 0; place < units.length; place++) {
      const unit = units[place] as number
      if (unit >= 0) this.#memory[offset + place] = latest[unit] = this.#next++
    }
  }

  #make(value: MovedValue): void {
    const token = this.#next++
    this.#tokens.set(value, token)
    this.#memory.fill(token, value.offset, value.offset + value.units)
  }

  #find(value: MovedValue): void {
    const token = this.#tokens.get(value)
    for (let place = value.offset; place < value.offset + value.units; place++)
      if (this.#memory[place] !== token) throw new Wrong(`something overwrites '${value.label}' while it is needed`)
  }

  #checkStored(name: string): void {
    const { hasVersions } = this.#moves.tensors.get(name) as { hasVersions: boolean }
    const [latest, written, times] = [this.#latest, this.#written, this.#times].map(
      (all) => all.get(name) as Int32Array,
    )
    if (!latest || !written || !times) return
    // Nothing of it changes.
    if (hasVersions && times.every((count) => count === 0)) return
    latest.forEach((token, unit) => {
      if (written[unit] !== token) throw new Wrong(`what unit ${unit} of '${name}' is was not written`)
      if (hasVersions && times[unit] !== 1) throw new Wrong(`unit ${unit} of '${name}' is written ${times[unit]} times`)
    })
  }
}
