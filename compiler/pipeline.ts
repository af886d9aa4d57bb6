// The one ordered list of stages, from a traced model to a program. Each stage says why it stands where it does.

import { InternalError } from './diagnostic.ts'
import type { Declaration, Graph, Provenance } from './graph/node.ts'
import { placeInArena, unplaced } from './plan/arena.ts'
import type { Placing } from './plan/arena.ts'
import { CheckpointPlanner, checkpointsOf } from './plan/checkpoints/planner.ts'
import type { CheckpointPlan } from './plan/checkpoints/planner.ts'
import { planProgram } from './plan/place.ts'
import type { PlannedProgram, StorageOptions } from './plan/place.ts'
import type { Rates } from './plan/rates.ts'
import type { LoweredKernels } from './schedule/lowering.ts'
import type { ScheduleProfile } from './schedule/profile.ts'
import { scheduleFunction } from './schedule/schedule.ts'
import type { ScheduledFunction } from './schedule/schedule.ts'
import { declaredBytes } from './schedule/shards.ts'
import { lora, trainable } from './transform/adapt.ts'
import type { LoraOptions } from './transform/adapt.ts'
import { checkpointLayers, everythingKept, forwardValues } from './transform/checkpoint.ts'
import type { Checkpoints } from './transform/checkpoint.ts'
import { differentiate } from './transform/differentiate.ts'
import { evaluation } from './transform/evaluation.ts'
import { fetchRows } from './transform/fetchRows.ts'
import { adamW } from './transform/optimizer.ts'
import type { AdamWOptions } from './transform/optimizer.ts'
import type { Pass } from './transform/pass.ts'
import { rematerialise } from './transform/rematerialise.ts'
import { runPasses } from './transform/runner.ts'
import type { PassReport } from './transform/runner.ts'
import { separateWrites } from './transform/separateWrites.ts'
import { simplify } from './transform/simplify.ts'
import { gradientOf, trainables } from './transform/states.ts'

export interface CompileOptions {
  readonly name: string
  readonly adaptation:
    | { readonly kind: 'lora'; readonly options: LoraOptions }
    | { readonly kind: 'trainable'; readonly names: readonly string[] | 'all' }
  readonly optimizer: AdamWOptions
  /** Layers whose values are worked out again in the backward pass, or the budget that values are chosen for. */
  readonly checkpoints: 'none' | 'every' | WithinBudget
  readonly profile: ScheduleProfile
  /** Frozen tensors stay in storage and are read by ranges; absent where all of them are in memory. */
  readonly storage?: StorageOptions
  /** The functions that are wanted; all of them unless given. */
  readonly functions?: readonly string[]
  /** Given each stage that changed something, as text. */
  readonly dump?: (text: string) => void
}

/** As few values are computed again as the budget allows. */
export interface WithinBudget {
  /** Bytes that a program needs beyond what it may; negative where there is room. */
  readonly excess: (planned: PlannedProgram) => number
  /** What the device does at best; the usual figures unless given. */
  readonly rates?: Rates
}

/** How the values were chosen that are computed again. */
export interface CheckpointReport extends CheckpointPlan {
  /** Multiply-adds that the program has more, as a share of those of a step that keeps everything. */
  readonly recomputed: number
  /** Every attempt: what the arena may have, what the plan predicts for it, what placing came to. */
  readonly rounds: readonly { readonly room: number; readonly predicted: number; readonly real: number }[]
  /** The smallest arena that any plan predicts. */
  readonly leastPeak: number
}

export interface Compiled extends PlannedProgram {
  readonly graph: Graph
  /** What the program was planned from. */
  readonly functions: readonly ScheduledFunction[]
  readonly reports: readonly PassReport[]
  /** Where a budget decided, and not everything could be kept. */
  readonly checkpointing?: CheckpointReport
}

/** Of the function that is planned. */
const accumulate = 'accumulate'

/** Attempts at most: each corrects the model of memory by what the one before came to. */
const MOST_ROUNDS = 4
/** With so small a share of the room unused, another attempt is not worth its time. */
const CLOSE = 0.01

export function trainingPasses(options: Omit<CompileOptions, 'profile' | 'name'>): Pass[] {
  const { checkpoints } = options
  return [...beforeCheckpoints(options), ...fromCheckpoints(typeof checkpoints === 'string' ? checkpoints : 'none')]
}

function beforeCheckpoints(options: Pick<CompileOptions, 'adaptation' | 'optimizer' | 'storage'>): Pass[] {
  const { adaptation, storage } = options
  return [
    // Adapters first: what is trained decides what is differentiated.
    adaptation.kind === 'lora' ? lora(adaptation.options) : trainable(adaptation.names),
    // Before the derivative, so that a target logit is gathered rather than all logits, in both directions.
    simplify(),
    // Reads `loss` without dropout before the derivative replaces it.
    evaluation(),
    differentiate(),
    adamW(options.optimizer),
    // Again, for what derivatives leave: zeros, stacks of parts, the loss's gradient as a streamed softmax.
    simplify(),
    // Before checkpoints, which then recompute only what is dear.
    rematerialise(),
    // After the derivative, which scatters where rows were looked up.
    ...(storage ? [fetchRows((table) => inStorage(table, storage))] : []),
  ]
}

/** Whether a parameter may lie in storage; whether it does is the plan's decision. */
function inStorage(table: Declaration, { residentBytes, state = false }: StorageOptions): boolean {
  return declaredBytes(table) > residentBytes && (table.role === 'frozen' || state)
}

function fromCheckpoints(checkpoints: Checkpoints): Pass[] {
  return [
    // On the graph that will run: it may only clone, so that numbers stay the same bits.
    ...(checkpoints === 'none' ? [] : [checkpointLayers(checkpoints)]),
    // Last: simplification would share the nodes again.
    separateWrites(),
  ]
}

/** From a traced model to a program. UserError where the recipe does not fit the model. */
export function compile(graph: Graph, provenance: Provenance, options: CompileOptions): Compiled {
  const compiler = new Compiler(graph, provenance, options)
  const { checkpoints } = options
  return typeof checkpoints === 'string' ? compiler.finish(checkpoints) : withinBudget(compiler, checkpoints)
}

interface Scheduled {
  readonly graph: Graph
  readonly functions: readonly ScheduledFunction[]
  readonly reports: readonly PassReport[]
}

/** What all attempts at one program share. */
class Compiler {
  readonly #options: CompileOptions
  readonly #provenance: Provenance
  readonly #lowered: LoweredKernels = new Map()
  readonly #before: ReturnType<typeof runPasses>
  /** Functions that no checkpoint changes. */
  readonly #others = new Map<string, ScheduledFunction>()

  constructor(graph: Graph, provenance: Provenance, options: CompileOptions) {
    this.#options = options
    this.#provenance = provenance
    this.#before = this.#run(graph, beforeCheckpoints(options))
  }

  get graph(): Graph {
    return this.#before.graph
  }

  #run(graph: Graph, passes: readonly Pass[]): ReturnType<typeof runPasses> {
    const { dump } = this.#options
    return runPasses(graph, passes, { provenance: this.#provenance, ...(dump ? { dump } : {}) })
  }

  schedule(checkpoints: Checkpoints): Scheduled {
    const { graph, reports } = this.#run(this.#before.graph, fromCheckpoints(checkpoints))
    const start = performance.now()
    const { functions: names, storage } = this.#options
    const { shardBytes, state = false } = storage ?? {}
    const shards = shardBytes === undefined ? {} : { shardBytes, shardsState: state }
    const profile = { ...this.#options.profile, ...shards }
    const wanted = graph.functions.filter(({ name }) => names?.includes(name) ?? true)
    const functions = wanted.map((fn) => {
      const known = this.#others.get(fn.name)
      if (known) return known
      const scheduled = scheduleFunction(graph, fn, profile, this.#lowered)
      if (fn.name !== accumulate) this.#others.set(fn.name, scheduled)
      return scheduled
    })
    const time = { name: 'schedule', milliseconds: performance.now() - start }
    return { graph, functions, reports: [...this.#before.reports, ...reports, time] }
  }

  /** `least`: as little of frozen tensors in memory as goes, whatever the limit. */
  plan({ graph, functions, reports }: Scheduled, placing: Placing = placeInArena, least = false): Compiled {
    const start = performance.now()
    const { storage: given } = this.#options
    const storage = given && (least ? { ...given, limit: () => 0 } : given)
    const sums = new Set(trainables(graph).map(({ name }) => gradientOf(name)))
    const options = { placing, sums, ...(storage ? { storage } : {}) }
    const planned = planProgram(this.#options.name, graph, functions, this.#provenance, options)
    const time = { name: 'plan', milliseconds: performance.now() - start }
    return { ...planned, graph, functions, reports: [...reports, time] }
  }

  finish(checkpoints: Checkpoints, least = false): Compiled {
    return this.plan(this.schedule(checkpoints), placeInArena, least)
  }

  /** Memory that is left over goes to frozen tensors. */
  filled(compiled: Compiled): Compiled {
    return this.#options.storage ? { ...compiled, ...this.plan(compiled) } : compiled
  }
}

/**
 * Keeps everything where that fits. Otherwise one more schedule, in which each layer's backward pass begins anew from kept
 * values, says what can be chosen; the choice is compiled like any other, and what its arena really takes corrects the next one.
 * What does not fit at all is compiled as small as it gets.
 */
function withinBudget(compiler: Compiler, { excess, rates }: WithinBudget): Compiled {
  const everything = compiler.schedule('none')
  const least = compiler.plan(everything, unplaced, true)
  if (excess(least) <= 0) {
    const kept = compiler.plan(everything)
    if (excess(kept) <= 0) return kept
  }
  const forward = forwardValues(compiler.graph)
  if (forward.activations.size === 0) return compiler.plan(everything)
  const anew = compiler.schedule(everythingKept(forward))
  const planner = new CheckpointPlanner(accumulateOf(anew), forwardValues(anew.graph), rates)
  const { leastPeak } = planner
  const rounds: CheckpointReport['rounds'][number][] = []
  let room = least.program.arenaBytes - excess(least)
  let correction = 0
  let before = -1
  let best: Compiled | undefined
  let smallest: Compiled | undefined
  while (rounds.length < MOST_ROUNDS) {
    const plan = planner.plan(room - correction) ?? planner.plan(leastPeak)
    if (!plan) throw new InternalError('not even the smallest plan of checkpoints is one')
    const compiled = compiler.finish(checkpointsOf(plan), true)
    const real = compiled.arenas.find(({ fn }) => fn === accumulate)?.peak ?? 0
    const isLeast = plan.budget !== room - correction
    const isKnown = plan.peak === before
    rounds.push({ room, predicted: plan.peak + correction, real })
    const recomputed = planner.recomputedBy(accumulateOf(compiled))
    correction = real - plan.peak
    // What was predicted wrong so far will be again, as far as it was the same choice.
    const checkpointing = { ...plan, recomputed, rounds, leastPeak: leastPeak + correction }
    const found = { ...compiled, checkpointing }
    const beyond = excess(compiled)
    if (beyond <= 0 && plan.seconds <= (best?.checkpointing?.seconds ?? Number.POSITIVE_INFINITY)) best = found
    if (smallest === undefined || compiled.program.arenaBytes < smallest.program.arenaBytes) smallest = found
    room = compiled.program.arenaBytes - beyond
    if (beyond <= 0 && (plan.seconds === 0 || isKnown || room - real <= CLOSE * room)) break
    if (isLeast && beyond > 0) break
    before = plan.peak
  }
  return compiler.filled(best ?? smallest ?? compiler.plan(everything))
}

function accumulateOf({ functions }: Pick<Scheduled, 'functions'>): ScheduledFunction {
  const found = functions.find(({ fn }) => fn.name === accumulate)
  if (!found) throw new InternalError(`there is no function '${accumulate}'`)
  return found
}
