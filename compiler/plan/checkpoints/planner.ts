// Which values live from the forward to the backward pass and which are computed again, so that the step takes least time and
// its peak stays within a budget. Reads one schedule in which everything is kept; the graph is changed elsewhere.

import type { Node } from '../../graph/node.ts'
import type { ScheduledFunction } from '../../schedule/schedule.ts'
import { Costs } from '../costs.ts'
import { usualRates } from '../rates.ts'
import type { Rates } from '../rates.ts'
import { leastPeak, lowerBound, solveChain } from './chain.ts'
import type { Chain, ChainPlan } from './chain.ts'
import { frontier } from './frontier.ts'
import type { Frontier } from './frontier.ts'
import type { Configuration } from './layer.ts'
import { timeline } from './timeline.ts'
import type { ForwardPass, TimedLayer, Timeline } from './timeline.ts'

export interface LayerPlan {
  readonly layer: number
  /** Of the layer's activations, by place, those that are kept; undefined where nothing is computed again. */
  readonly kept: ReadonlySet<number> | undefined
  /** What is computed again, the largest first. */
  readonly again: readonly Node[]
  readonly multiplyAdds: number
  readonly keptBytes: number
}

export interface CheckpointPlan {
  readonly budget: number
  readonly layers: readonly LayerPlan[]
  /** Largest sum of bytes alive that the model of the step predicts. */
  readonly peak: number
  /** Of recomputation, by the device's figures. */
  readonly seconds: number
  /** No plan of this kind within the budget takes less. */
  readonly lowerBound: number
  /** Share of `seconds` above the bound; 0 is optimal. */
  readonly gap: number
  /** Multiply-adds of recomputation as a share of the function's own. */
  readonly recomputed: number
  readonly milliseconds: number
}

/** With a larger gap, sums of bytes are told apart more finely. */
const GAP = 0.01
const FINE_SUMS = 1 << 17

/** Plans for one function at any number of budgets. */
export class CheckpointPlanner {
  readonly #timeline: Timeline
  readonly #costs: Costs
  readonly #forward: ForwardPass
  readonly #frontiers: readonly Frontier[]
  readonly #milliseconds: number

  constructor(fn: ScheduledFunction, forward: ForwardPass, rates: Rates = usualRates) {
    const start = performance.now()
    this.#costs = new Costs(rates)
    this.#timeline = timeline(fn, forward, this.#costs)
    this.#forward = forward
    // Layers that look alike are one problem.
    const known = new Map<string, Frontier>()
    this.#frontiers = this.#timeline.layers.map(({ shape }) => {
      const key = JSON.stringify(shape)
      const found = known.get(key) ?? frontier(shape)
      known.set(key, found)
      return found
    })
    this.classes = known.size
    this.#milliseconds = performance.now() - start
  }

  /** Number of layers that differ from one another. */
  readonly classes: number

  /** Bytes alive when everything is kept. */
  get peak(): number {
    return this.#timeline.peak
  }

  /** The least budget for which there is a plan. */
  get leastPeak(): number {
    return leastPeak(this.chain(0))
  }

  /** Multiply-adds that the function with a plan has beyond those of the one where everything is kept, as a share of these. */
  recomputedBy(fn: ScheduledFunction): number {
    return this.#costs.multiplyAdds(fn) / Math.max(1, this.#timeline.multiplyAdds) - 1
  }

  /** The choices, layer by layer. */
  chain(budget: number, choices: keyof Frontier = 'configurations'): Chain {
    return {
      budget,
      middle: this.#timeline.middle,
      layers: this.#timeline.layers.map(({ beside }, place) =>
        (this.#frontiers[place] as Frontier)[choices].map((one) => ({ ...one, need: one.need + beside })),
      ),
    }
  }

  /** The fastest plan within a budget; undefined when there is none. */
  plan(budget: number): CheckpointPlan | undefined {
    const start = performance.now()
    let found = this.#solve(budget)
    if (found && found.gap > GAP) found = this.#solve(budget, FINE_SUMS)
    if (!found) return undefined
    const { solved, bound, gap } = found
    const picked = this.#timeline.layers.map((timed, place) => {
      const { configurations } = this.#frontiers[place] as Frontier
      return { timed, chosen: configurations[solved.picks[place] as number] as Configuration }
    })
    const multiplyAdds = picked.reduce((sum, { chosen }) => sum + chosen.multiplyAdds, 0)
    return {
      budget,
      layers: picked.map(({ timed, chosen }) => this.#layerPlan(timed, chosen)),
      peak: solved.peak,
      seconds: solved.seconds,
      lowerBound: bound,
      gap,
      recomputed: multiplyAdds / Math.max(1, this.#timeline.multiplyAdds),
      milliseconds: this.#milliseconds + performance.now() - start,
    }
  }

  #solve(budget: number, mostSums?: number): { solved: ChainPlan; bound: number; gap: number } | undefined {
    const solved = solveChain(this.chain(budget), mostSums)
    if (!solved) return undefined
    const relaxed = this.#frontiers.some((one) => one.relaxed !== one.configurations)
    const bound = relaxed ? lowerBound(this.chain(budget, 'relaxed'), solved.lowerBound, mostSums) : solved.lowerBound
    return { solved, bound, gap: solved.seconds === 0 ? 0 : 1 - bound / solved.seconds }
  }

  #layerPlan({ layer, nodes, shape }: TimedLayer, { keeps, again, kept, multiplyAdds }: Configuration): LayerPlan {
    const places = new Map((this.#forward.activations.get(layer) ?? []).map((node, place) => [node, place]))
    const largestFirst = [...again].sort((a, b) => (shape.values[b]?.bytes ?? 0) - (shape.values[a]?.bytes ?? 0))
    return {
      layer,
      kept:
        again.size === 0 ? undefined : new Set([...keeps].map((place) => places.get(nodes[place] as Node) as number)),
      again: largestFirst.map((place) => nodes[place] as Node),
      multiplyAdds,
      keptBytes: kept,
    }
  }
}

/** What the plan keeps of the layers that it computes again, for the transform that does. */
export function checkpointsOf({ layers }: CheckpointPlan): Map<number, ReadonlySet<number>> {
  return new Map(layers.flatMap(({ layer, kept }) => (kept ? [[layer, kept] as const] : [])))
}
