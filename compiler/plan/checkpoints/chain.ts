// Choosing one configuration for each layer of a chain, exactly: least time under a budget of memory. Dynamic programming
// over the layers; knows numbers only, neither a graph nor a kernel.

import { RemainingSeconds } from './remaining.ts'

/** One way to treat a layer. */
export interface Choice {
  /** Bytes that live from the layer's forward to its backward pass. */
  readonly kept: number
  /** Bytes that live at most while the layer itself is worked on, forward or backward; without earlier layers' kept ones. */
  readonly need: number
  /** Of recomputation, and of reading weights again where they do not stay. */
  readonly seconds: number
  /** Bytes held for the whole step: weights that stay, so that nothing has to be read again. */
  readonly resident?: number
}

export interface Chain {
  /** Bytes at any time. */
  readonly budget: number
  /** Bytes between the last layer's forward and backward pass, beside all kept ones. */
  readonly middle: number
  readonly layers: readonly (readonly Choice[])[]
}

export interface ChainPlan {
  /** By layer, the place of what was chosen. */
  readonly picks: readonly number[]
  readonly seconds: number
  /** No choice within the budget takes less. */
  readonly lowerBound: number
  /** Bytes by the model of the chain. */
  readonly peak: number
}

/** Sums of kept bytes that are told apart; more are counted in coarser units, which is what leaves a gap. */
const MOST_SUMS = 1 << 14
/** For first plans, beside which most of the others need not be tried. */
const FEW_SUMS = [1 << 9, 1 << 11]

/**
 * The least `seconds` with every layer's need, all that earlier layers keep and all that is resident within the budget.
 * While a layer is worked on, in either direction, exactly the layers before it are kept: so a state is the sum they keep, and
 * of equal sums the fastest is best. Undefined when nothing fits.
 */
export function solveChain(chain: Chain, mostSums = MOST_SUMS): ChainPlan | undefined {
  const search = new Search(chain)
  const unit = search.unit(mostSums)
  let best: ChainPlan | undefined
  for (const resident of search.residents) {
    for (const sums of [...FEW_SUMS, mostSums]) {
      const plan = search.walk(resident, search.unit(sums), 'as they are', best?.seconds)
      if (plan && (best === undefined || plan.seconds < best.seconds)) best = plan
    }
  }
  return best && { ...best, lowerBound: unit === search.unit(Number.POSITIVE_INFINITY) ? best.seconds : search.bound(unit, best.seconds) } // prettier-ignore
}

/** No choice within the budget takes less; at most `known`. */
export function lowerBound(chain: Chain, known: number, mostSums = MOST_SUMS): number {
  const search = new Search(chain)
  return search.bound(search.unit(mostSums), known)
}

/** The least budget that some choice stays within, to a byte. */
export function leastPeak({ middle, layers }: Chain): number {
  const lightest = layers.map((choices) => {
    const least = Math.min(...choices.map(({ resident = 0 }) => resident))
    return choices.filter(({ resident = 0 }) => resident === least)
  })
  const resident = lightest.reduce((sum, choices) => sum + (choices[0]?.resident ?? 0), 0)
  let below = 0
  let fits = lightest.flat().reduce((sum, { kept, need }) => sum + kept + need, middle + resident)
  while (fits - below > 1) {
    const budget = Math.floor((below + fits) / 2)
    if (Number.isFinite(capacities({ budget, middle, layers: lightest }, resident)[0])) fits = budget
    else below = budget
  }
  return fits
}

/** What may be kept before each layer at most, so that the rest still finds a way; −∞ where nothing does. */
function capacities({ budget, middle, layers }: Chain, resident: number): number[] {
  const room = budget - resident
  const most = [room - middle]
  for (const choices of layers.toReversed()) {
    const after = most[0] as number
    const before = Math.max(...choices.map(({ kept, need }) => Math.min(room - need, after - kept)))
    most.unshift(before < 0 ? Number.NEGATIVE_INFINITY : before)
  }
  return (most[0] as number) < 0 ? most.map(() => Number.NEGATIVE_INFINITY) : most
}

/** Sums of kept bytes that some choices of the first layers come to, with the least seconds, and the way there. */
interface States {
  readonly kept: Float64Array
  readonly seconds: Float64Array
  /** What is resident, as a place among the sums that are possible. */
  readonly resident: Int32Array
  /** Place among the states before. */
  readonly before: Int32Array
  readonly pick: Int32Array
}

class Search {
  readonly #chain: Chain
  /** All that can be resident in all. */
  readonly residents: readonly number[]
  readonly #residentSums: readonly number[]
  readonly #commonUnit: number

  constructor(chain: Chain) {
    this.#chain = chain
    const { totals, sums } = residentSums(chain)
    this.residents = totals
    this.#residentSums = sums
    this.#commonUnit = chain.layers.flat().reduce((unit, { kept }) => greatestCommonDivisor(unit, kept), 0) || 1
  }

  /** In which at most so many sums are told apart. */
  unit(sums: number): number {
    return Math.max(this.#commonUnit, Math.ceil(Math.max(1, this.#chain.budget) / sums))
  }

  /** Rounded down, every sum still stands for what it is, and a choice that fits is still one. */
  bound(unit: number, known: number): number {
    const bounds = this.residents.map((resident) => this.walk(resident, unit, 'rounded down', known)?.seconds ?? known)
    return Math.min(known, ...bounds)
  }

  /** The best choice of which exactly `resident` bytes stay, if it takes less than `known`. */
  walk(
    resident: number,
    unit: number,
    sums: 'as they are' | 'rounded down',
    known = Number.POSITIVE_INFINITY,
  ): ChainPlan | undefined {
    const { budget, layers } = this.#chain
    const room = budget - resident
    const most = capacities(this.#chain, resident)
    if (!Number.isFinite(most[0])) return undefined
    const residents = this.#residentSums.filter((sum) => sum <= resident)
    const bounds = boundsOf(this.#chain, room, most)
    const candidates = bounds.map((bound) => bound.canImprove(known))
    const all = [firstState()]
    for (const [layer, choices] of layers.entries()) {
      const states = all.at(-1) as States
      const next = new Best(room, unit, residents.length, sums)
      const largest = states.kept.reduce((sum, kept) => Math.max(sum, kept), 0)
      for (const pick of worthwhile(choices, room, largest)) {
        if (candidates.some((can) => can[layer]?.[pick] === false)) continue
        const { kept, need, seconds, resident: stays = 0 } = choices[pick] as Choice
        const highest = Math.min(room - need, (most[layer + 1] as number) - kept)
        const groups = residents.map((sum) => residents.indexOf(sum + stays))
        for (let place = 0; place < states.kept.length; place++) {
          const before = states.kept[place] as number
          const group = groups[states.resident[place] as number] as number
          if (before > highest || group < 0) continue
          next.offer(before + kept, (states.seconds[place] as number) + seconds, group, place, pick)
        }
      }
      all.push(next.states((kept, seconds) => bounds.some((bound) => seconds + bound.from(layer + 1, kept) >= known)))
    }
    const picks = pathTo(all, residents.indexOf(resident))
    if (!picks) return undefined
    const seconds = picks.reduce((sum, pick, layer) => sum + (layers[layer]?.[pick]?.seconds ?? 0), 0)
    return { picks, seconds, lowerBound: seconds, peak: peakOf(this.#chain, picks) }
  }
}

/** Of all layers together, and of all but the last, whose need often leaves the others less than the end does. */
function boundsOf({ layers }: Chain, room: number, most: readonly number[]): RemainingSeconds[] {
  const fitting = layers.map((choices) => choices.map((one) => (one.need <= room ? one : { ...one, seconds: Number.POSITIVE_INFINITY }))) // prettier-ignore
  const last = fitting.at(-1) ?? []
  const after = last.reduce((least, { seconds }) => Math.min(least, seconds), Number.POSITIVE_INFINITY)
  const whole = new RemainingSeconds(fitting, most.at(-1) as number)
  return last.length === 0 ? [whole] : [whole, new RemainingSeconds(fitting.slice(0, -1), most.at(-2) as number, after)]
}

function firstState(): States {
  const one = (): Int32Array => new Int32Array(1)
  return { kept: new Float64Array(1), seconds: new Float64Array(1), resident: one(), before: one(), pick: one() }
}

/** Without choices that another one beats whose need is no matter, whatever was kept before. */
function worthwhile(choices: readonly Choice[], room: number, mostBefore: number): number[] {
  const safe = choices.filter(({ need }) => mostBefore + need <= room)
  return [...choices.keys()].filter((place) => {
    const one = choices[place] as Choice
    if (one.need > room) return false
    return !safe.some(
      (other) =>
        other !== one &&
        other.kept <= one.kept &&
        other.seconds <= one.seconds &&
        (other.resident ?? 0) === (one.resident ?? 0) &&
        (other.kept < one.kept || other.seconds < one.seconds || choices.indexOf(other) < place),
    )
  })
}

/** The choices that lead to the fastest state with so much resident. */
function pathTo(all: readonly States[], group: number): number[] | undefined {
  const { seconds = new Float64Array(), resident } = all.at(-1) ?? {}
  let best = -1
  for (let place = 0; place < seconds.length; place++) {
    const isBetter = best < 0 || (seconds[place] as number) < (seconds[best] as number)
    if (resident?.[place] === group && isBetter) best = place
  }
  if (best < 0) return undefined
  const picks: number[] = []
  for (const { before, pick } of all.slice(1).reverse()) {
    picks.unshift(pick[best] as number)
    best = before[best] as number
  }
  return picks
}

/** The fastest way to each sum of kept bytes, in units, and of resident ones. */
class Best {
  readonly #unit: number
  readonly #units: number
  readonly #groups: number
  readonly #roundsDown: boolean
  readonly #seconds: Float64Array
  readonly #kept: Float64Array
  readonly #before: Int32Array
  readonly #pick: Int32Array

  constructor(room: number, unit: number, groups: number, sums: 'as they are' | 'rounded down') {
    this.#unit = unit
    this.#units = Math.floor(room / unit) + 1
    this.#groups = groups
    this.#roundsDown = sums === 'rounded down'
    this.#seconds = new Float64Array(this.#units * groups).fill(Number.POSITIVE_INFINITY)
    this.#kept = new Float64Array(this.#units * groups)
    this.#before = new Int32Array(this.#units * groups)
    this.#pick = new Int32Array(this.#units * groups)
  }

  offer(kept: number, seconds: number, group: number, before: number, pick: number): void {
    const units = Math.floor(kept / this.#unit)
    const key = group * this.#units + units
    const known = this.#seconds[key] as number
    if (seconds > known || (seconds === known && kept >= (this.#kept[key] as number))) return
    this.#seconds[key] = seconds
    this.#kept[key] = this.#roundsDown ? units * this.#unit : kept
    this.#before[key] = before
    this.#pick[key] = pick
  }

  /** Without those that keep no less than another one and take no less time, and those of which nothing can become. */
  states(isHopeless: (kept: number, seconds: number) => boolean): States {
    const places: number[] = []
    const groups: number[] = []
    for (let group = 0; group < this.#groups; group++) {
      let least = Number.POSITIVE_INFINITY
      for (let key = group * this.#units; key < (group + 1) * this.#units; key++) {
        if ((this.#seconds[key] as number) >= least) continue
        least = this.#seconds[key] as number
        if (isHopeless(this.#kept[key] as number, least)) continue
        places.push(key)
        groups.push(group)
      }
    }
    return {
      kept: Float64Array.from(places, (key) => this.#kept[key] as number),
      seconds: Float64Array.from(places, (key) => this.#seconds[key] as number),
      resident: Int32Array.from(groups),
      before: Int32Array.from(places, (key) => this.#before[key] as number),
      pick: Int32Array.from(places, (key) => this.#pick[key] as number),
    }
  }
}

/** Bytes at any time with these choices. */
export function peakOf({ middle, layers }: Chain, picks: readonly number[]): number {
  let kept = 0
  let resident = 0
  let peak = 0
  for (const [layer, choices] of layers.entries()) {
    const choice = choices[picks[layer] as number] as Choice
    peak = Math.max(peak, kept + choice.need)
    kept += choice.kept
    resident += choice.resident ?? 0
  }
  return Math.max(peak, kept + middle) + resident
}

/** What may be resident in all, one choice a layer, and of the first layers. */
function residentSums({ layers }: Chain): { readonly totals: readonly number[]; readonly sums: readonly number[] } {
  let totals = new Set([0])
  const sums = new Set(totals)
  for (const choices of layers) {
    const amounts = new Set(choices.map(({ resident = 0 }) => resident))
    totals = new Set([...totals].flatMap((sum) => [...amounts].map((amount) => sum + amount)))
    for (const total of totals) sums.add(total)
  }
  return { totals: [...totals].sort((a, b) => a - b), sums: [...sums].sort((a, b) => a - b) }
}

function greatestCommonDivisor(a: number, b: number): number {
  let [greater, less] = [a, b]
  while (less > 0) [greater, less] = [less, greater % less]
  return greater
}
