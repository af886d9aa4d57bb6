// All ways to treat a layer that are worth choosing from: of the sets of values that may be kept, those that no other one beats
// in bytes kept, bytes needed and seconds. What was left out on the way has a lower bound of its own.

import type { Choice } from './chain.ts'
import { Simulation } from './layer.ts'
import type { Configuration, Layer, Measured } from './layer.ts'

export interface Frontier {
  readonly configurations: readonly Configuration[]
  /** As many bytes and seconds at most as anything beside `configurations` would take: what a lower bound may assume. */
  readonly relaxed: readonly Choice[]
  /** The same, looked at more closely, which takes a few times as long. */
  readonly closer: () => readonly Choice[]
}

/** So many values are decided one by one. */
const MOST_SINGLE = 13
/** So small a share of all that can be kept is decided together with others as small. */
const SMALL = 1 / 2000
/** Of so few small values every way to keep some can be looked at. */
const FEW_SMALL = 6
/** Where so few ways were found, small values are given up in finer steps. */
const FEW = 100
/** Bytes of the relaxation are rounded down to such a share of all that can be kept: fewer choices, hardly looser. */
const ROUNDING = 1 / 8192

/**
 * Branch and bound: values are decided from the largest to the smallest; with some decided, keeping all the rest is fastest and
 * keeping none of it is smallest, and where a known set is no worse than that in every respect, nothing better follows.
 *
 * The smallest values are kept all, or none, or all but those that kernels make which run again anyway, or as many as it takes in
 * one order. What else could be done with them is in the relaxation: each one that is given up runs its own kernel again, and nothing besides.
 * Looked at more closely it is what could be done with them, where they are few; only bytes are rounded then.
 */
export function frontier(layer: Layer): Frontier {
  const { single, small } = sortedOut(layer)
  const search = new Search(layer, small)
  const decide = (next: number, bytes: number, least: number): void => {
    if (search.isHopeless(bytes, least)) return
    const value = single[next]
    if (value === undefined) return search.note()
    search.keep(value, 1)
    // Whether it is kept with all the rest or decided to be kept makes no difference to the least.
    decide(next + 1, bytes + (layer.values[value]?.bytes ?? 0), least)
    search.keep(value, 0)
    decide(next + 1, bytes, search.leastSeconds(single.slice(next + 1)))
  }
  decide(0, 0, search.leastSeconds(single))
  search.giveUpSmall()
  const configurations = search.found.all
  const relaxed = small.length === 0 ? configurations : search.relaxed.all
  let closer: readonly Choice[] | undefined
  return { configurations, relaxed, closer: () => (closer ??= search.relaxedExactly() ?? relaxed) }
}

function sortedOut({ values }: Layer): { readonly single: readonly number[]; readonly small: readonly number[] } {
  const bytesOf = (place: number): number => values[place]?.bytes ?? 0
  const wanted = [...values.keys()]
    .filter((place) => values[place]?.wanted)
    .sort((a, b) => bytesOf(b) - bytesOf(a) || a - b)
  const all = wanted.reduce((sum, place) => sum + bytesOf(place), 0)
  const single = wanted.filter((place, turn) => turn < MOST_SINGLE && bytesOf(place) >= SMALL * all)
  const small = wanted.slice(single.length)
  // One alone needs no company.
  return small.length === 1 ? { single: wanted, small: [] } : { single, small }
}

interface GivenUp {
  readonly bytes: number
  readonly seconds: number
}

class Search {
  readonly found = new Undominated<Configuration>()
  readonly relaxed = new Undominated<Choice>()
  readonly #layer: Layer
  readonly #small: readonly number[]
  readonly #simulation: Simulation
  readonly #flags: Uint8Array
  readonly #atStart: number
  /** Steps that read a value that is not small. */
  readonly #uses = new Map<number, { readonly first: number; readonly last: number }>()
  readonly #unit: number
  readonly #sums = new Map<string, readonly GivenUp[]>()
  /** Ways to keep what is not small, with the bounds of what few small values can do beside each. */
  readonly #noted: { readonly flags: Uint8Array; readonly bounds: readonly Choice[] }[] = []

  constructor(layer: Layer, small: readonly number[]) {
    this.#layer = layer
    this.#small = small
    this.#simulation = new Simulation(layer)
    this.#flags = new Uint8Array(layer.values.length)
    const all = layer.values.reduce((sum, { bytes, wanted }) => sum + (wanted ? bytes : 0), 0)
    this.#unit = 64 * Math.ceil((ROUNDING * all) / 64)
    for (const [step, { reads }] of layer.backward.entries()) {
      for (const value of reads) {
        if (!small.includes(value)) this.#uses.set(value, { first: this.#uses.get(value)?.first ?? step, last: step })
      }
    }
    this.#atStart = layer.backward[0]?.before ?? 0
  }

  keep(value: number, flag: 0 | 1): void {
    this.#flags[value] = flag
  }

  /** With what is decided, all of the rest and all small values kept. */
  leastSeconds(rest: readonly number[]): number {
    return this.#with([...rest, ...this.#small], (flags) => this.#simulation.leastSeconds(flags))
  }

  /** Whether nothing that keeps so many bytes and takes so many seconds at least is better than what is known. */
  isHopeless(bytes: number, seconds: number): boolean {
    const least = { kept: bytes, need: bytes + this.#atStart, seconds }
    return this.found.beats(least) && (this.#small.length === 0 || this.relaxed.beats(least))
  }

  /** Takes what is decided as one way to treat the layer. */
  note(): void {
    const simulation = this.#simulation
    this.#consider(this.#flags)
    if (this.#small.length === 0) return
    const earliest = this.#simulation.times()
    const all = this.#with(this.#small, (flags) => this.#consider(flags))
    const sameTimes = this.#simulation.times().every((time, value) => time < 0 || time === earliest[value])
    const free = this.#small.filter((value) => simulation.runsAgain(this.#kernelOf(value)))
    const costly = this.#small.filter((value) => !simulation.runsAgain(this.#kernelOf(value)))
    if (free.length > 0) this.#with(costly, (flags) => this.#consider(flags))
    const bounds = this.#boundsOf(all, free, costly, sameTimes && this.#areAlone(costly))
    for (const bound of bounds) this.relaxed.add(bound)
    if (this.#small.length <= FEW_SMALL) this.#noted.push({ flags: this.#flags.slice(), bounds })
  }

  /** Of what was found, also what gives up small values one kernel after another, those first that save most for their time. */
  giveUpSmall(): void {
    if (this.found.all.length > FEW) return
    const rateOf = (value: number): number => this.#bytesOf(value) / this.#secondsOf(value)
    const order = this.#small.toSorted((a, b) => rateOf(b) - rateOf(a) || this.#kernelOf(a) - this.#kernelOf(b))
    for (const { keeps } of this.found.all) {
      let kept = [...keeps]
      for (const value of order) {
        if (!keeps.has(value)) continue
        kept = kept.filter((one) => one !== value)
        this.#flags.fill(0)
        this.#with(kept, (flags) => this.#consider(flags))
      }
    }
    this.#flags.fill(0)
  }

  #consider(flags: Uint8Array): Measured {
    const measured = this.#simulation.measure(flags)
    if (!this.found.beats(measured)) this.found.add(this.#simulation.run(flags))
    return measured
  }

  /** What is found, and every way to keep some of the small values that may be better; undefined where there are none, or many. */
  relaxedExactly(): readonly Choice[] | undefined {
    if (this.#small.length === 0 || this.#small.length > FEW_SMALL) return undefined
    const exact = new Undominated<Choice>()
    const add = ({ kept, need, seconds }: Choice): void =>
      exact.add({ kept: this.#rounded(kept), need: this.#rounded(need), seconds })
    const decide = (next: number): void => {
      const value = this.#small[next]
      if (value === undefined) return add(this.#simulation.measure(this.#flags))
      for (const flag of [1, 0] as const) {
        this.keep(value, flag)
        decide(next + 1)
      }
    }
    // What was not looked at is no better than something that was found.
    this.found.all.forEach(add)
    for (const { flags, bounds } of this.#noted) {
      this.#flags.set(flags)
      if (!bounds.every((bound) => exact.beats(bound))) decide(0)
    }
    this.#flags.fill(0)
    return exact.all
  }

  /** What giving up some of the small values comes to at least: each one runs its own kernel again. */
  #boundsOf(all: Measured, free: readonly number[], costly: readonly number[], isFixed: boolean): Choice[] {
    const saved = this.#sum(free)
    const atLeast = this.#leastNeed()
    return this.#givenUp(costly).map(({ bytes, seconds }) => {
      const kept = this.#rounded(all.kept - saved - bytes)
      // Giving up one may have another one made earlier, with less alive, and spare a second run.
      const need = isFixed ? Math.max(all.need - saved - bytes, atLeast) : atLeast
      return { kept, need: this.#rounded(need), seconds: all.leastSeconds + seconds }
    })
  }

  /** Whenever the rest is computed again: what is kept lives to its last use, anything else from its first to its last. */
  #leastNeed(): number {
    const { backward } = this.#layer
    let live = 0
    let need = 0
    const ends = backward.map(() => 0)
    const begins = backward.map(() => 0)
    for (const [value, { first, last }] of this.#uses) {
      const bytes = this.#bytesOf(value)
      const from = this.#flags[value] === 1 ? 0 : first
      begins[from] = (begins[from] ?? 0) + bytes
      ends[last] = (ends[last] ?? 0) + bytes
    }
    for (const [step, { during }] of backward.entries()) {
      live += begins[step] ?? 0
      need = Math.max(need, during + live)
      live -= ends[step] ?? 0
    }
    return need
  }

  /** The least seconds for every sum of bytes, rounded up, that some of the values take. */
  #givenUp(values: readonly number[]): readonly GivenUp[] {
    const key = values.join()
    const known = this.#sums.get(key)
    if (known) return known
    let sums = new Map<number, GivenUp>([[0, { bytes: 0, seconds: 0 }]])
    for (const { bytes, seconds } of this.#together(values)) {
      const next = new Map(sums)
      for (const before of sums.values()) {
        const more = { bytes: before.bytes + bytes, seconds: before.seconds + seconds }
        const units = Math.ceil(more.bytes / this.#unit)
        const other = next.get(units)
        // Of two the better half of each: what both could do is a bound for either.
        const merged = other && { bytes: Math.max(other.bytes, more.bytes), seconds: Math.min(other.seconds, more.seconds) } // prettier-ignore
        next.set(units, merged ?? more)
      }
      sums = next
    }
    const found = [...sums.values()]
    this.#sums.set(key, found)
    return found
  }

  /** Whether kernels that make them make nothing else that is wanted, which might then come earlier. */
  #areAlone(values: readonly number[]): boolean {
    const { values: all } = this.#layer
    return values.every(
      (value) => !all.some((other, place) => place !== value && other.wanted && other.kernel === this.#kernelOf(value)),
    )
  }

  /** Values that one run of their kernel makes, with all that it makes besides; and each of those that need none. */
  #together(values: readonly number[]): GivenUp[] {
    const alone = values.filter((value) => this.#layer.values[value]?.alone !== undefined)
    const runs = new Set(values.filter((value) => !alone.includes(value)).map((value) => this.#kernelOf(value)))
    const made = [...runs].map((kernel): GivenUp => {
      const together = values.filter((value) => this.#kernelOf(value) === kernel)
      // What would be made by itself comes with the run.
      const spared = [...this.#layer.values.keys()].filter(
        (value) => this.#kernelOf(value) === kernel && this.#layer.values[value]?.alone !== undefined,
      )
      const seconds = spared.reduce((sum, value) => sum - this.#secondsOf(value), this.#layer.seconds[kernel] ?? 0)
      return { bytes: this.#sum(together), seconds }
    })
    return [...made, ...alone.map((value) => ({ bytes: this.#bytesOf(value), seconds: this.#secondsOf(value) }))]
  }

  #sum(values: readonly number[]): number {
    return values.reduce((sum, value) => sum + this.#bytesOf(value), 0)
  }

  /** Of making a value again while what it is made of is there. */
  #secondsOf(value: number): number {
    return this.#layer.values[value]?.alone ?? this.#layer.seconds[this.#kernelOf(value)] ?? 1
  }

  #rounded(bytes: number): number {
    return Math.floor(bytes / this.#unit) * this.#unit
  }

  #with<T>(values: readonly number[], use: (flags: Uint8Array) => T): T {
    for (const value of values) this.#flags[value] = 1
    const result = use(this.#flags)
    for (const value of values) this.#flags[value] = 0
    return result
  }

  #bytesOf(value: number): number {
    return this.#layer.values[value]?.bytes ?? 0
  }

  #kernelOf(value: number): number {
    return this.#layer.values[value]?.kernel ?? 0
  }
}

/** Choices of which none is worse than another one in every respect. */
class Undominated<T extends Choice> {
  #all: T[] = []

  get all(): readonly T[] {
    return this.#all.toSorted((a, b) => b.kept - a.kept || a.seconds - b.seconds)
  }

  /** Whether a known choice is at least as good. */
  beats({ kept, need, seconds }: Choice): boolean {
    for (const one of this.#all) if (one.kept <= kept && one.need <= need && one.seconds <= seconds) return true
    return false
  }

  add(choice: T): void {
    if (this.beats(choice)) return
    const { kept, need, seconds } = choice
    this.#all = this.#all.filter((one) => one.kept < kept || one.need < need || one.seconds < seconds)
    this.#all.push(choice)
  }
}
