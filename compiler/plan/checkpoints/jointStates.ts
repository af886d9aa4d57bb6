// Dynamic programming over the layers of a chain whose choices take computing, storage and memory, from the last layer to the
// first: the least of a weighted sum of both times. Knows numbers only; which weights are tried is decided elsewhere.

/** One way to treat a layer and its weights. */
export interface JointChoice {
  /** Bytes that live from the layer's forward to its backward pass. */
  readonly kept: number
  /** Bytes that live at most while the layer itself is worked on, without earlier layers' kept ones. */
  readonly need: number
  /** Bytes of weights that stay in memory for the whole step. */
  readonly resident: number
  /** Seconds of recomputation. */
  readonly compute: number
  /** Seconds of reading the weights that do not stay, as often as the layer needs them. */
  readonly storage: number
}

export interface JointChain {
  /** Bytes at any time. */
  readonly budget: number
  /** Bytes between the last layer's forward and backward pass, beside all that is kept. */
  readonly middle: number
  /** Seconds whatever is chosen. */
  readonly compute: number
  readonly storage: number
  /** Equal layers may share one list: what is worked out of it is then worked out once. */
  readonly layers: readonly (readonly JointChoice[])[]
  /** By layer, bytes that it needs whatever is chosen; none unless given. */
  readonly beside?: readonly number[]
}

export interface JointPicks {
  /** By layer, the place of what was chosen. */
  readonly picks: readonly number[]
  readonly compute: number
  readonly storage: number
}

export interface PassOptions {
  /** Of a second of computing; a second of storage has the rest to 1. */
  readonly weight: number
  /** Sums of bytes that are told apart. */
  readonly sums: number
  /** What takes as long or longer, whatever follows, is not looked at. */
  readonly known: number
  /** Whether it is for a bound; a plan may do without choices that hardly take less memory than another one. */
  readonly bounds?: boolean
}

/** Seconds of a plan: the longer of computing and reading, which go on beside each other. */
export function longer({ compute, storage }: Pick<JointPicks, 'compute' | 'storage'>): number {
  return Math.max(compute, storage)
}

/** Bytes at any time with these choices. */
export function jointPeak({ middle, layers, beside }: JointChain, picks: readonly number[]): number {
  let peak = middle
  let resident = 0
  for (const [layer, choices] of [...layers.entries()].reverse()) {
    const choice = choices[picks[layer] as number] as JointChoice
    peak = Math.max(choice.need + (beside?.[layer] ?? 0), choice.kept + peak)
    resident += choice.resident
  }
  return peak + resident
}

export function timesOf({ compute, storage, layers }: JointChain, picks: readonly number[]): JointPicks {
  const chosen = picks.map((pick, layer) => layers[layer]?.[pick] as JointChoice)
  return {
    picks,
    compute: chosen.reduce((sum, choice) => sum + choice.compute, compute),
    storage: chosen.reduce((sum, choice) => sum + choice.storage, storage),
  }
}

/**
 * A state is what some layers and all behind them come to: bytes that are needed at most with nothing kept before them, weights
 * that stay included (`total`), and the latter alone (`resident`). A layer before them makes a total of its own resident bytes +
 * max(kept + total, need + resident): where no earlier layer needs so much, only the total matters, and states are not told apart further.
 */
interface States {
  readonly total: number[]
  readonly resident: number[]
  readonly compute: number[]
  readonly storage: number[]
  /** Place among the states before. */
  readonly before: number[]
  readonly pick: number[]
}

interface Priced {
  readonly place: number
  readonly choice: JointChoice
  readonly cost: number
}

/** Share of the best price of a byte: others bound better where much or little memory is left. */
const PRICES = [0, 0.5, 1, 2]
/** Sums of resident bytes that are told apart where sums are rounded. */
const MOST_RESIDENT_SUMS = 96

export class JointPass {
  readonly #chain: JointChain
  readonly #options: PassOptions
  readonly #unit: number
  /** In which all sums are whole numbers. */
  readonly #exactUnit: number
  readonly #layers: readonly (readonly Priced[])[]
  /** Prices of a byte, and for each, by the number of layers that are left to decide, what these take at least without a limit. */
  readonly #prices: Float64Array
  readonly #rest: readonly Float64Array[]
  /** At this weight no plan takes less: as if choices could be mixed. */
  readonly relaxed: number

  constructor(chain: JointChain, unit: number, options: PassOptions) {
    this.#chain = chain
    this.#options = options
    this.#exactUnit = unit
    this.#unit = Math.max(unit, Math.ceil(Math.max(1, chain.budget) / options.sums))
    const slack = options.bounds === true || this.#unit <= unit ? 0 : this.#unit / 2
    const known = new Map<readonly JointChoice[], readonly Priced[]>()
    const layers = chain.layers.map((choices) => {
      const found = known.get(choices) ?? this.#worthwhile(choices, slack)
      known.set(choices, found)
      return found
    })
    const hulls = new Map([...known.values()].map((choices) => [choices, hullOf(choices)]))
    const ofLayers = layers.map((choices) => hulls.get(choices) as readonly Segment[])
    const price = bestPrice(ofLayers, chain.budget - chain.middle)
    this.#prices = Float64Array.from(PRICES, (share) => share * price)
    this.#rest = PRICES.map((share) => restSums(ofLayers, share * price))
    this.relaxed = this.cost(chain) + this.least(layers.length, chain.middle)
    this.#layers = this.#promising(layers, price)
  }

  /** By the weight. */
  cost({ compute, storage }: Pick<JointChoice, 'compute' | 'storage'>): number {
    return this.#options.weight * compute + (1 - this.#options.weight) * storage
  }

  /** Without what another choice is no worse than in every respect. */
  #worthwhile(choices: readonly JointChoice[], slack: number): Priced[] {
    const priced = choices
      .map((choice, place): Priced => ({ place, choice, cost: this.cost(choice) }))
      .filter(({ choice }) => choice.need + choice.resident <= this.#chain.budget)
      .sort((a, b) => a.cost - b.cost || a.choice.kept - b.choice.kept || a.choice.need - b.choice.need)
    const found: Priced[] = []
    for (const one of priced) if (!isBeaten(one.choice, found, slack)) found.push(one)
    return found
  }

  /** Without choices that no plan has which takes less than what is known, all others mixed as is best. */
  #promising(layers: readonly (readonly Priced[])[], price: number): readonly (readonly Priced[])[] {
    const { budget, middle } = this.#chain
    const at = ({ choice, cost }: Priced): number => cost + price * (choice.kept + choice.resident)
    const least = layers.map((choices) =>
      choices.reduce((most, one) => Math.min(most, at(one)), Number.POSITIVE_INFINITY),
    )
    const bound = least.reduce((sum, one) => sum + one, this.cost(this.#chain) - price * (budget - middle))
    const limit = this.#options.known - bound
    return layers.map((choices, layer) => choices.filter((one) => at(one) - (least[layer] as number) < limit))
  }

  /** By the weighted sum, the first `left` layers take so long at least where all others and what is between need `total` bytes. */
  least(left: number, total: number): number {
    const room = this.#chain.budget - total
    let most = 0
    for (let place = 0; place < this.#prices.length; place++) {
      const sums = this.#rest[place] as Float64Array
      most = Math.max(most, (sums[left] as number) - (this.#prices[place] as number) * room)
    }
    return most
  }

  /** The plans of the states that are left at the end: the best by the weighted sum, and the one that is over first. */
  plans(): { readonly byWeight: JointPicks; readonly fastest: JointPicks } | undefined {
    const all = this.#run(false)
    const states = all.at(-1) as States
    let [byWeight, fastest] = [-1, -1]
    const at = (place: number): Pick<JointChoice, 'compute' | 'storage'> => ({
      compute: states.compute[place] as number,
      storage: states.storage[place] as number,
    })
    for (const place of states.total.keys()) {
      if (byWeight < 0 || this.cost(at(place)) < this.cost(at(byWeight))) byWeight = place
      if (fastest < 0 || longer(at(place)) < longer(at(fastest))) fastest = place
    }
    if (byWeight < 0) return undefined
    const planOf = (place: number): JointPicks => timesOf(this.#chain, picksOf(all, place))
    return { byWeight: planOf(byWeight), fastest: planOf(fastest) }
  }

  /** No plan takes less by the weighted sum, hence none is over sooner; at most `known`. */
  bound(): number {
    const { known } = this.#options
    if (this.relaxed >= known) return known
    const states = this.#run(true).at(-1) as States
    let least = known
    for (const place of states.total.keys()) {
      least = Math.min(least, this.cost({ compute: states.compute[place] as number, storage: states.storage[place] as number })) // prettier-ignore
    }
    return Math.max(this.relaxed, least)
  }

  /** `down`: sums are rounded down, so that every plan still is one and no state stands for less than it is. */
  #run(down: boolean): States[] {
    const { middle, budget, compute, storage } = this.#chain
    const first: States = { total: [middle], resident: [0], compute: [compute], storage: [storage], before: [-1], pick: [-1] } // prettier-ignore
    const all = [middle <= budget ? first : noStates()]
    // What earlier layers need at most.
    const needs = [0]
    for (const [layer, choices] of this.#layers.entries()) {
      const most = choices.reduce((need, { choice }) => Math.max(need, choice.need), 0)
      needs.push(Math.max(needs.at(-1) as number, most + (this.#chain.beside?.[layer] ?? 0)))
    }
    for (let layer = this.#layers.length - 1; layer >= 0; layer--) {
      all.push(this.#before(layer, all.at(-1) as States, needs[layer] as number, down))
    }
    return all
  }

  #before(layer: number, states: States, needBefore: number, down: boolean): States {
    const { budget } = this.#chain
    const { known } = this.#options
    const unit = this.#unit
    // Weights that stay are few sums.
    const residentUnit = Math.max(unit, unit <= this.#exactUnit ? 0 : budget / MOST_RESIDENT_SUMS)
    const cells = new Cells(Math.floor(budget / residentUnit) + 1, Math.floor(budget / unit) + 1)
    const { weight } = this.#options
    for (const { place, choice } of this.#layers[layer] as readonly Priced[]) {
      const { kept, resident } = choice
      const need = choice.need + (this.#chain.beside?.[layer] ?? 0)
      for (let state = 0; state < states.total.length; state++) {
        const stays = states.resident[state] as number
        const total = resident + Math.max(kept + (states.total[state] as number), need + stays)
        if (total > budget) continue
        const compute = (states.compute[state] as number) + choice.compute
        const storage = (states.storage[state] as number) + choice.storage
        const cost = weight * compute + (1 - weight) * storage
        if (cost >= known || cost + this.least(layer, total) >= known) continue
        const all = stays + resident + needBefore <= total ? 0 : stays + resident
        const units = Math.floor(total / unit)
        const slot = cells.slot(Math.floor(all / residentUnit), units, cost, down ? units * unit : total, all, down)
        if (slot >= 0) cells.put(slot, compute, storage, state, place)
      }
    }
    return cells.found()
  }
}

function noStates(): States {
  return { total: [], resident: [], compute: [], storage: [], before: [], pick: [] }
}

/** The choices that lead to a state of the first layer. */
function picksOf(all: readonly States[], place: number): number[] {
  const picks: number[] = []
  let at = place
  for (const { before, pick } of all.slice(1).reverse()) {
    picks.push(pick[at] as number)
    at = before[at] as number
  }
  return picks
}

/** Places of the choices that no other one is no worse than in every respect. */
export function unbeaten(choices: readonly JointChoice[]): number[] {
  const order = [...choices.keys()].sort((a, b) => {
    const [one, other] = [choices[a] as JointChoice, choices[b] as JointChoice]
    return one.storage - other.storage || one.compute - other.compute || one.kept - other.kept || one.need - other.need
  })
  const found: number[] = []
  for (const place of order) {
    const { kept, need, resident, compute } = choices[place] as JointChoice
    const isNoBetter = (known: number): boolean => {
      const other = choices[known] as JointChoice
      return other.kept <= kept && other.compute <= compute && other.need <= need && other.resident <= resident
    }
    if (!found.some(isNoBetter)) found.push(place)
  }
  return found
}

function isBeaten({ kept, need, resident }: JointChoice, by: readonly Priced[], slack: number): boolean {
  for (const { choice } of by) {
    if (choice.kept <= kept + slack && choice.need <= need + slack && choice.resident <= resident) return true
  }
  return false
}

/** The best state of each pair of sums of bytes. */
class Cells {
  readonly #size: number
  readonly #slots: Int32Array
  readonly #keys: number[] = []
  readonly #costs: number[] = []
  readonly #states: States = noStates()

  constructor(residents: number, totals: number) {
    this.#size = totals
    this.#slots = new Int32Array(residents * totals)
  }

  /** Where a state has to be put, or −1 where a better one is there. `down`: a cell stands for the least of all resident bytes in it. */
  slot(residents: number, totals: number, cost: number, total: number, resident: number, down: boolean): number {
    const key = residents * this.#size + totals
    const states = this.#states
    let slot = (this.#slots[key] as number) - 1
    if (slot >= 0) {
      const stays = states.resident[slot] as number
      if (down && resident < stays) states.resident[slot] = resident
      const known = this.#costs[slot] as number
      if (cost > known || (cost === known && total >= (states.total[slot] as number))) return -1
      states.resident[slot] = down ? Math.min(stays, resident) : resident
    } else {
      slot = this.#keys.push(key) - 1
      this.#slots[key] = slot + 1
      states.resident[slot] = resident
    }
    this.#costs[slot] = cost
    states.total[slot] = total
    return slot
  }

  put(slot: number, compute: number, storage: number, before: number, pick: number): void {
    const states = this.#states
    states.compute[slot] = compute
    states.storage[slot] = storage
    states.before[slot] = before
    states.pick[slot] = pick
  }

  /** Without those that another one is no worse than in memory and in time. */
  found(): States {
    const order = this.#keys
      .map((_, slot) => slot)
      .sort((a, b) => (this.#keys[a] as number) - (this.#keys[b] as number))
    const best = new PrefixMinima(this.#size)
    const left = order.filter((slot) => {
      const totals = (this.#keys[slot] as number) % this.#size
      const cost = this.#costs[slot] as number
      if (best.upTo(totals) <= cost) return false
      best.lower(totals, cost)
      return true
    })
    const { total, resident, compute, storage, before, pick } = this.#states
    const of = (values: readonly number[]): number[] => left.map((slot) => values[slot] as number)
    return { total: of(total), resident: of(resident), compute: of(compute), storage: of(storage), before: of(before), pick: of(pick) } // prettier-ignore
  }
}

/** Least numbers among the first places (Fenwick 1994). */
class PrefixMinima {
  readonly #least: Float64Array

  constructor(size: number) {
    this.#least = new Float64Array(size + 1).fill(Number.POSITIVE_INFINITY)
  }

  upTo(place: number): number {
    let least = Number.POSITIVE_INFINITY
    for (let at = place + 1; at > 0; at -= at & -at) least = Math.min(least, this.#least[at] as number)
    return least
  }

  lower(place: number, value: number): void {
    for (let at = place + 1; at < this.#least.length; at += at & -at) {
      this.#least[at] = Math.min(this.#least[at] as number, value)
    }
  }
}

/** A choice that is best for some price of a byte. */
interface Segment {
  readonly bytes: number
  readonly cost: number
}

function hullOf(choices: readonly Priced[]): readonly Segment[] {
  const hull: Segment[] = []
  const points = choices.map(({ choice, cost }): Segment => ({ bytes: choice.kept + choice.resident, cost }))
  for (const next of points.sort((a, b) => a.bytes - b.bytes || a.cost - b.cost)) {
    const last = hull.at(-1)
    if (last && next.cost >= last.cost) continue
    for (;;) {
      const [a, b] = [hull.at(-2), hull.at(-1)]
      if (!a || !b || (a.cost - b.cost) * (next.bytes - a.bytes) > (a.cost - next.cost) * (b.bytes - a.bytes)) break
      hull.pop()
    }
    hull.push(next)
  }
  return hull
}

/** The price of a byte at which the bytes that layers take are those that they may. */
function bestPrice(layers: readonly (readonly Segment[])[], room: number): number {
  const steps = layers.flatMap((hull) =>
    hull.slice(1).map(({ bytes, cost }, place) => {
      const before = hull[place] as Segment
      return { bytes: bytes - before.bytes, rate: (before.cost - cost) / (bytes - before.bytes) }
    }),
  )
  let left = room - layers.reduce((sum, hull) => sum + (hull[0]?.bytes ?? 0), 0)
  for (const { bytes, rate } of steps.sort((a, b) => b.rate - a.rate)) {
    left -= bytes
    if (left < 0) return rate
  }
  return 0
}

function restSums(layers: readonly (readonly Segment[])[], price: number): Float64Array {
  const sums = new Float64Array(layers.length + 1)
  for (const [layer, hull] of layers.entries()) {
    const least = hull.reduce((most, { bytes, cost }) => Math.min(most, cost + price * bytes), Number.POSITIVE_INFINITY)
    sums[layer + 1] = (sums[layer] as number) + least
  }
  return sums
}
