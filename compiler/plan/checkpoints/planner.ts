// Which values live from the forward to the backward pass and which are computed again, so that the step takes least time and
// its peak stays within a budget. Reads one schedule in which everything is kept; the graph is changed elsewhere.

import type { Node } from '../../graph/node.ts'
import type { ScheduledFunction } from '../../schedule/schedule.ts'
import { Costs } from '../costs.ts'
import { usualRates } from '../rates.ts'
import type { Rates } from '../rates.ts'
import { leastPeak, lowerBound, solveChain } from './chain.ts'
import type { Chain, ChainPlan, Choice } from './chain.ts'
import { frontier } from './frontier.ts'
import type { Frontier } from './frontier.ts'
import { relaxedBound, solveJoint } from './joint.ts'
import type { JointSolution } from './joint.ts'
import type { JointChain } from './jointStates.ts'
import type { Configuration } from './layer.ts'
import { LayerReads } from './reading.ts'
import type { LayerChoice, Weights } from './reading.ts'
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

/** What is computed again, whatever it was chosen for. */
export interface CheckpointChoice {
  readonly budget: number
  readonly layers: readonly LayerPlan[]
  /** Largest sum of bytes alive that the model of the step predicts. */
  readonly peak: number
  /** Of recomputation, by the device's figures. */
  readonly seconds: number
  /** Multiply-adds of recomputation as a share of the function's own. */
  readonly recomputed: number
  readonly milliseconds: number
}

/** The choice that takes least time within a budget. */
export interface CheckpointPlan extends CheckpointChoice {
  /** No plan of this kind within the budget takes less. */
  readonly lowerBound: number
  /** Share of `seconds` above the bound; 0 is optimal. */
  readonly gap: number
}

/** What is chosen together: what is computed again, which weights stay, and how much is read at once. */
export interface JointPlan {
  /** More is computed again than memory alone asks for: the least of that is not what was looked for. */
  readonly checkpoints: CheckpointChoice
  /** Names of tensors. */
  readonly stays: readonly string[]
  readonly shardBytes: number
  /**
   * The longer of computing and reading, of the layers and of what is outside of them. It is what the choice was made by, and no
   * timetable: every use counts as a read of its own, and nothing of the layers is read while what is outside of them computes.
   */
  readonly seconds: number
  readonly computeSeconds: number
  readonly storageSeconds: number
  /** No choice takes less of such seconds, whatever the size of ranges. */
  readonly lowerBound: number
  /** Every size that was planned for. */
  readonly shards: readonly {
    readonly bytes: number
    /** Absent where the bound alone says that it is not better. */
    readonly seconds?: number
    readonly lowerBound: number
  }[]
  readonly milliseconds: number
}

export interface JointOptions extends Omit<Weights, 'shardBytes'> {
  /** Bytes for intermediate values, weights that stay and ranges. */
  readonly budget: number
  /** Sizes of ranges, the usual one first: another one has to be worth scheduling for it. */
  readonly shards: readonly number[]
}

interface JointProblem {
  readonly chain: JointChain
  /** By layer. */
  readonly choices: readonly (readonly LayerChoice[])[]
  readonly reads: LayerReads
}

interface SolvedShards extends JointProblem {
  readonly bytes: number
  readonly solved: JointSolution
  readonly seconds: number
}

/** Ranges of which there is memory beside everything else: one that is used, two that are read meanwhile. */
const RANGES = 3
/** Another size of ranges than the usual one has to save such a share of the time. */
const WORTH = 0.01

/** With a larger gap, sums of bytes are told apart more finely. */
const GAP = 0.01
/** With one that is larger still, the bound is made of what was looked at more closely. */
const MOST_GAP = 0.02
const FINE_SUMS = 1 << 19

/** Plans for one function at any number of budgets. */
export class CheckpointPlanner {
  readonly #fn: ScheduledFunction
  readonly #timeline: Timeline
  readonly #costs: Costs
  readonly #forward: ForwardPass
  readonly #frontiers: readonly Frontier[]
  readonly #milliseconds: number

  constructor(fn: ScheduledFunction, forward: ForwardPass, rates: Rates = usualRates) {
    const start = performance.now()
    this.#fn = fn
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
    const listOf = (one: Frontier): readonly Choice[] => (choices === 'closer' ? one.closer() : one[choices])
    return {
      budget,
      middle: this.#timeline.middle,
      layers: this.#timeline.layers.map(({ beside }, place) =>
        listOf(this.#frontiers[place] as Frontier).map((one) => ({ ...one, need: one.need + beside })),
      ),
    }
  }

  /** The fastest plan within a budget; undefined when there is none. */
  plan(budget: number): CheckpointPlan | undefined {
    const start = performance.now()
    let found = this.#solve(budget)
    if (found && found.gap > GAP) found = this.#solve(budget, 'relaxed', FINE_SUMS)
    if (found && found.gap > MOST_GAP) found = this.#solve(budget, 'closer', FINE_SUMS)
    if (!found) return undefined
    const { solved, bound, gap } = found
    const chosen = this.#frontiers.map(({ configurations }, place) => configurations[solved.picks[place] as number])
    return {
      budget,
      ...this.#decisions(chosen as Configuration[]),
      peak: solved.peak,
      seconds: solved.seconds,
      lowerBound: bound,
      gap,
      milliseconds: this.#milliseconds + performance.now() - start,
    }
  }

  /**
   * The fastest plan in which weights may stay and the rest of them is read beside computing, for the best of some sizes of
   * ranges. Undefined where nothing fits.
   */
  joint({ budget, shards, ...weights }: JointOptions): JointPlan | undefined {
    const start = performance.now()
    const computing = this.#computing()
    let first: SolvedShards | undefined
    let fastest: SolvedShards | undefined
    const told: JointPlan['shards'][number][] = []
    for (const bytes of shards) {
      const problem = this.#jointProblem(budget - RANGES * bytes, computing.layers, { ...weights, shardBytes: bytes })
      // Most sizes are seen to be no better without being solved.
      // The head is read while it is computed, and ranges of layers hardly: there is no memory for them meanwhile.
      const outside = Math.max(computing.outside, problem.reads.outside)
      const bound = fastest ? outside + relaxedBound(problem.chain, fastest.solved.weight) : 0
      if (fastest && bound >= fastest.seconds) {
        told.push({ bytes, lowerBound: bound })
        continue
      }
      const solved = solveJoint(problem.chain)
      if (!solved) continue
      const found = { ...problem, bytes, solved, seconds: outside + solved.seconds }
      told.push({ bytes, seconds: found.seconds, lowerBound: outside + solved.lowerBound })
      first ??= found
      if (!fastest || found.seconds < fastest.seconds) fastest = found
    }
    if (!first || !fastest) return undefined
    const best = fastest.seconds < (1 - WORTH) * first.seconds ? fastest : first
    const { solved, bytes: shardBytes, reads } = best
    const chosen = best.choices.map((choices, layer) => choices[solved.picks[layer] as number] as LayerChoice)
    const stays = chosen.flatMap((choice, place) => reads.names(this.#timeline.layers[place] as TimedLayer, choice))
    const resident = chosen.reduce((sum, choice) => sum + choice.resident, 0)
    const seconds = chosen.reduce((sum, choice) => sum + choice.compute, 0)
    const milliseconds = performance.now() - start
    return {
      checkpoints: {
        budget,
        ...this.#decisions(chosen.map(({ configuration }) => configuration)),
        peak: solved.peak - resident,
        seconds,
        milliseconds: this.#milliseconds + milliseconds,
      },
      stays,
      shardBytes,
      seconds: best.seconds,
      computeSeconds: computing.outside + solved.compute,
      storageSeconds: reads.outside + solved.storage,
      lowerBound: told.reduce((least, one) => Math.min(least, one.lowerBound), Number.POSITIVE_INFINITY),
      shards: told,
      milliseconds,
    }
  }

  /** Seconds of kernels when nothing is computed again: the layers', and all others'. */
  #computing(): { readonly layers: number; readonly outside: number } {
    const { layers, layerOf } = this.#timeline
    const known = new Set<number | undefined>(layers.map(({ layer }) => layer))
    const sums = { layers: 0, outside: 0 }
    for (const [launch, region] of this.#fn.regions.entries()) {
      sums[known.has(layerOf[launch]) ? 'layers' : 'outside'] += this.#costs.of(region).seconds
    }
    return sums
  }

  #jointProblem(budget: number, computing: number, weights: Weights): JointProblem {
    const { layers, middle } = this.#timeline
    const reads = new LayerReads(this.#fn, this.#timeline, weights)
    // Layers whose numbers are alike are one problem here, too.
    const known = new Map<Frontier, Map<string, readonly LayerChoice[]>>()
    const choices = layers.map((timed, place) => {
      const frontier = this.#frontiers[place] as Frontier
      const lists = known.get(frontier) ?? new Map<string, readonly LayerChoice[]>()
      known.set(frontier, lists)
      const key = reads.key(timed)
      const list = lists.get(key) ?? reads.choices(timed, frontier.configurations)
      lists.set(key, list)
      return list
    })
    const beside = layers.map((timed) => timed.beside)
    return { chain: { budget, middle, compute: computing, storage: 0, layers: choices, beside }, choices, reads }
  }

  #decisions(chosen: readonly Configuration[]): Pick<CheckpointPlan, 'layers' | 'recomputed'> {
    const multiplyAdds = chosen.reduce((sum, one) => sum + one.multiplyAdds, 0)
    return {
      layers: this.#timeline.layers.map((timed, place) => this.#layerPlan(timed, chosen[place] as Configuration)),
      recomputed: multiplyAdds / Math.max(1, this.#timeline.multiplyAdds),
    }
  }

  #solve(
    budget: number,
    bounding: Exclude<keyof Frontier, 'configurations'> = 'relaxed',
    mostSums?: number,
  ): { solved: ChainPlan; bound: number; gap: number } | undefined {
    const solved = solveChain(this.chain(budget), mostSums)
    if (!solved) return undefined
    const relaxed = this.#frontiers.some((one) => one.relaxed !== one.configurations)
    const bound = relaxed ? lowerBound(this.chain(budget, bounding), solved.lowerBound, mostSums) : solved.lowerBound
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
export function checkpointsOf({ layers }: CheckpointChoice): Map<number, ReadonlySet<number>> {
  return new Map(layers.flatMap(({ layer, kept }) => (kept ? [[layer, kept] as const] : [])))
}
