// The one ordered list of stages, from a traced model to a program. Each stage says why it stands where it does.

import { InternalError } from './diagnostic.ts'
import { dtypeBytes } from './graph/axis.ts'
import type { Declaration, Graph, Provenance } from './graph/node.ts'
import { placeInArena, unplaced } from './plan/arena.ts'
import type { Placing } from './plan/arena.ts'
import { CheckpointPlanner, checkpointsOf } from './plan/checkpoints/planner.ts'
import type { CheckpointChoice, CheckpointPlan, JointPlan } from './plan/checkpoints/planner.ts'
import { planProgram } from './plan/place.ts'
import type { PlannedProgram, StorageOptions } from './plan/place.ts'
import type { Rates } from './plan/rates.ts'
import type { LoweredKernels } from './schedule/lowering.ts'
import type { ScheduleProfile } from './schedule/profile.ts'
import { ADVANCE, withAdvance } from './schedule/advance.ts'
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
import { deferred, deferUpdates, pieces } from './transform/deferUpdates.ts'
import { adamW } from './transform/optimizer.ts'
import type { AdamWOptions } from './transform/optimizer.ts'
import type { Pass } from './transform/pass.ts'
import { rematerialise } from './transform/rematerialise.ts'
import { runPasses } from './transform/runner.ts'
import type { PassesRun, PassReport } from './transform/runner.ts'
import { separateWrites } from './transform/separateWrites.ts'
import { simplify } from './transform/simplify.ts'
import { sums } from './transform/states.ts'

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
  readonly excess: Excess
  /** Bytes of everything: more than a program can have for its values. Unknown unless given. */
  readonly most?: number
  /** Of the same step with other tensors in memory: taken instead of one more schedule. */
  readonly known?: KnownPlanner
  /** What the device does at best; the usual figures unless given. */
  readonly rates?: Rates
}

export type Excess = (planned: PlannedProgram) => number

/** What can be computed again, as one schedule says. */
export interface KnownPlanner {
  readonly planner: CheckpointPlanner
  /** What it decides of. */
  readonly activations: string
}

/** A program that may be left without offsets: where it needs too much whatever they are. */
export interface Draft {
  /** What is known of it: every sum of bytes, and offsets where `isPlaced`. */
  readonly compiled: Compiled
  readonly isPlaced: boolean
  /** With offsets. */
  readonly place: () => Compiled
  /** The same computed within as little memory as goes. */
  readonly least: Compiled
  /** Where checkpoints were planned. */
  readonly known?: KnownPlanner
}

/** How the values were chosen that are computed again; with the least of that where it is what was looked for. */
export interface CheckpointReport extends CheckpointChoice, Partial<Pick<CheckpointPlan, 'lowerBound' | 'gap'>> {
  /** Multiply-adds that the program has more, as a share of those of a step that keeps everything. */
  readonly recomputed: number
  /** Every attempt: what the arena may have, what the plan predicts for it, what placing came to. */
  readonly rounds: readonly { readonly room: number; readonly predicted: number; readonly real: number }[]
  /** The smallest arena that any plan predicts. */
  readonly leastPeak: number
}

/** What was found when recomputation and weights that stay were planned together. Seconds are of a micro-batch. */
export interface JointReport extends Omit<JointPlan, 'checkpoints' | 'stays'> {
  /** Whether its plan is the one that was compiled: another one can be over sooner by what placing came to. */
  readonly isTaken: boolean
  /** Share of `seconds` above `lowerBound`, both of the plan that was made together, taken or not; 0 is optimal. */
  readonly gap: number
  /**
   * By the timetable, computing and waiting for storage: of the program, and of the one with a plan for one after the other. It
   * knows what stays between two uses and what is read beside what, so it may be below `lowerBound`, which bounds no timetable.
   */
  readonly predictedSeconds: number
  readonly sequentialSeconds: number
}

export interface Compiled extends PlannedProgram {
  readonly graph: Graph
  /** What the program was planned from. */
  readonly functions: readonly ScheduledFunction[]
  readonly reports: readonly PassReport[]
  /** Where a budget decided, and not everything could be kept. */
  readonly checkpointing?: CheckpointReport
  /** Where weights are read while a step runs and computing would wait for them. */
  readonly joint?: JointReport
}

/** Of the function that is planned. */
const accumulate = 'accumulate'

/** Attempts at most: each corrects the model of memory by what the one before came to. */
const MOST_ROUNDS = 4
/** With so small a share of the room unused, another attempt is not worth its time. */
const CLOSE = 0.01
/** Sizes of ranges that are planned for, as shares of the usual one. */
const SHARD_SHARES = [1, 2, 0.5, 0.25]
/** Shorter waits are not worth another plan, nor is a plan that saves no more. */
const SHORT_WAIT = 0.01
/** Share of the room by which a prediction of memory is wrong enough to plan again. */
const FAR = 0.03

export function trainingPasses(options: Omit<CompileOptions, 'profile' | 'name'>): Pass[] {
  const { checkpoints, storage } = options
  const last = fromCheckpoints(typeof checkpoints === 'string' ? checkpoints : 'none')
  return [...beforeStorage(options), ...fromStorage(storage), ...last]
}

function beforeStorage(options: StepOptions): Pass[] {
  const { adaptation } = options
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
  ]
}

/** After the derivative, which scatters where rows were looked up. */
function fromStorage(storage: CompileOptions['storage']): Pass[] {
  if (!storage) return []
  // Tables whose rows are fetched are updated before a call that needs them: pieces of an update come after.
  return [fetchRows((table) => inStorage(table, storage)), ...(storage.state ? [deferUpdates()] : [])]
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
  const { checkpoints } = options
  const compiler = new StepCompiler(prepareStep(graph, provenance, options), options)
  return typeof checkpoints === 'string' ? compiler.finish(checkpoints) : withinBudget(compiler, checkpoints).place()
}

type StepOptions = Pick<CompileOptions, 'adaptation' | 'optimizer'>

/** A training step as a graph, whatever it will run on and within which memory. */
export interface PreparedStep extends PassesRun {
  readonly provenance: Provenance
  readonly lowered: LoweredKernels
}

/** What all programs of a step have in common. UserError where the recipe does not fit the model. */
export function prepareStep(
  graph: Graph,
  provenance: Provenance,
  options: StepOptions & Pick<CompileOptions, 'dump'>,
): PreparedStep {
  const { dump } = options
  const run = runPasses(graph, beforeStorage(options), { provenance, ...(dump ? { dump } : {}) })
  return { ...run, provenance, lowered: new Map() }
}

export interface Scheduled {
  readonly graph: Graph
  readonly functions: readonly ScheduledFunction[]
  readonly reports: readonly PassReport[]
}

/** Compiles a step for one device and one place of its tensors: what all attempts at that share. */
export class StepCompiler {
  readonly #options: StepCompilerOptions
  readonly #step: PreparedStep
  readonly #before: PassesRun
  /** Functions that no checkpoint changes. */
  readonly #others = new Map<string, ScheduledFunction>()
  /** The last one with checkpoints that nothing chose: asked for again where it did not fit. */
  #last: { readonly key: string; readonly scheduled: Scheduled } | undefined

  constructor(step: PreparedStep, options: StepCompilerOptions) {
    this.#options = options
    this.#step = step
    const { graph, reports } = this.#run(step.graph, fromStorage(options.storage))
    this.#before = { graph, reports: [...step.reports, ...reports] }
  }

  /** With these checkpoints; left without offsets where it exceeds what it may whatever they are. */
  draft(checkpoints: 'none' | 'every' | WithinBudget, excess: Excess): Draft {
    if (typeof checkpoints !== 'string') return withinBudget(this, checkpoints)
    const scheduled = this.schedule(checkpoints)
    const least = this.plan(scheduled, { placing: unplaced, least: true })
    const place = (): Compiled => this.plan(scheduled)
    return excess(least) > 0 ? { compiled: least, isPlaced: false, place, least } : placedDraft(place(), least)
  }

  get graph(): Graph {
    return this.#before.graph
  }

  #run(graph: Graph, passes: readonly Pass[]): PassesRun {
    const { dump } = this.#options
    return runPasses(graph, passes, { provenance: this.#step.provenance, ...(dump ? { dump } : {}) })
  }

  get storage(): StorageOptions | undefined {
    return this.#options.storage
  }

  /** Bytes of a declared tensor that may stay in storage. */
  streamedBytes(name: string): number | undefined {
    const declared = this.graph.declarations.get(name)
    return declared && this.storage && inStorage(declared, this.storage) ? declaredBytes(declared) : undefined
  }

  schedule(checkpoints: Checkpoints, shardBytes = this.storage?.shardBytes): Scheduled {
    if (typeof checkpoints !== 'string') return this.#schedule(checkpoints, shardBytes)
    const key = `${checkpoints} by ${shardBytes}`
    if (this.#last?.key !== key) this.#last = { key, scheduled: this.#schedule(checkpoints, shardBytes) }
    return this.#last.scheduled
  }

  #schedule(checkpoints: Checkpoints, shardBytes: number | undefined): Scheduled {
    const { graph, reports } = this.#run(this.#before.graph, fromCheckpoints(checkpoints))
    const start = performance.now()
    const { functions: names, storage } = this.#options
    const shards = shardBytes === undefined ? {} : { shardBytes, shardsState: storage?.state ?? false }
    const profile = { ...this.#options.profile, ...shards }
    const isWanted = (name: string): boolean => names?.includes(pieces.has(name) ? 'apply' : name) ?? true
    const wanted = graph.functions.filter(({ name }) => isWanted(name))
    const scheduled = wanted.map((fn) => {
      const key = `${fn.name} by ${shardBytes}`
      const known = this.#others.get(key)
      if (known) return known
      const scheduled = scheduleFunction(graph, fn, profile, this.#step.lowered)
      if (fn.name !== accumulate) this.#others.set(key, scheduled)
      return scheduled
    })
    const functions = withAdvance(scheduled, deferred, accumulate)
    const time = { name: 'schedule', milliseconds: performance.now() - start }
    return { graph, functions, reports: [...this.#before.reports, ...reports, time] }
  }

  plan(
    { graph, functions, reports }: Scheduled,
    { placing = placeInArena, least = false, keep, shardBytes }: PlanningOptions = {},
  ): Compiled {
    const start = performance.now()
    const given = this.storage && { ...this.storage, ...(shardBytes === undefined ? {} : { shardBytes }) }
    const storage = given && (least ? { ...given, limit: () => 0 } : given)
    const options = { placing, sums: sums(graph), ...(storage ? { storage } : {}), ...(keep ? { keep } : {}) }
    const planned = planProgram(this.#options.name, graph, functions, this.#step.provenance, options)
    const time = { name: 'plan', milliseconds: performance.now() - start }
    return { ...planned, graph, functions, reports: [...reports, time] }
  }

  finish(checkpoints: Checkpoints, least = false): Compiled {
    return this.plan(this.schedule(checkpoints), { least })
  }

  /** Memory that is left over goes to frozen tensors. */
  filled(compiled: Compiled): Compiled {
    return this.storage ? { ...compiled, ...this.plan(compiled) } : compiled
  }
}

export type StepCompilerOptions = Pick<CompileOptions, 'name' | 'profile' | 'storage' | 'functions' | 'dump'>

function placedDraft(compiled: Compiled, least: Compiled): Draft {
  return { compiled, isPlaced: true, place: () => compiled, least }
}

interface PlanningOptions {
  readonly placing?: Placing
  /** As little of frozen tensors in memory as goes, whatever the limit. */
  readonly least?: boolean
  /** Frozen tensors that are in memory first. */
  readonly keep?: readonly string[]
  /** The usual ones unless given. */
  readonly shardBytes?: number
}

/** Of the bytes that a program can have for its values: with so many times of them it does not keep them all. */
const FAR_TOO_MUCH = 2

/**
 * Keeps everything where that fits. Otherwise one more schedule, in which each layer's backward pass begins anew from kept
 * values, says what can be chosen; the choice is compiled like any other, and what its arena really takes corrects the next one.
 * What does not fit at all is compiled as small as it gets. Where computing then waits for storage, what is computed again and
 * which weights stay are planned once more together.
 */
function withinBudget(compiler: StepCompiler, budget: WithinBudget): Draft {
  const { excess, rates, most = Number.POSITIVE_INFINITY } = budget
  const forward = forwardValues(compiler.graph)
  const activations = JSON.stringify(
    [...forward.activations].map(([layer, nodes]) => [layer, nodes.map(({ op }) => op)]),
  )
  const planned = (): KnownPlanner => {
    if (budget.known?.activations === activations) return budget.known
    const anew = compiler.schedule(everythingKept(forward))
    return { planner: new CheckpointPlanner(accumulateOf(anew), forwardValues(anew.graph), rates), activations }
  }
  const decided = (known: KnownPlanner, room?: number): Draft => ({ ...chosen(compiler, excess, known.planner, room), known }) // prettier-ignore
  // Where it is plain that not everything is kept, the schedule in which it is tells nothing.
  if (forward.activations.size > 0 && bytesOf(forward) > FAR_TOO_MUCH * most) {
    const known = planned()
    if (known.planner.peak > FAR_TOO_MUCH * most) return decided(known)
  }
  const everything = compiler.schedule('none')
  const least = compiler.plan(everything, { placing: unplaced, least: true })
  const room = least.program.arenaBytes - excess(least)
  if (excess(least) <= 0) {
    const kept = compiler.plan(everything)
    if (excess(kept) <= 0) {
      if (!waits(kept) || forward.activations.size === 0) return placedDraft(kept, least)
      const { planner } = planned()
      const joint = jointly(compiler, excess, kept, { planner, room, correction: peakOf(least) - planner.peak })
      return placedDraft(joint, least)
    }
  }
  if (forward.activations.size > 0) return decided(planned(), room)
  const place = (): Compiled => compiler.plan(everything)
  return excess(least) > 0 ? { compiled: least, isPlaced: false, place, least } : placedDraft(place(), least)
}

/** Of all values that could be kept: more than are, since those that are fused with what reads them have none. */
function bytesOf({ activations }: ReturnType<typeof forwardValues>): number {
  let bytes = 0
  for (const nodes of activations.values())
    for (const { axes, dtype } of nodes) bytes += axes.reduce((product, { size }) => product * size, dtypeBytes[dtype])
  return bytes
}

type Chosen = Compiled & { readonly checkpointing: CheckpointReport }

/** Attempts at keeping as much as fits. `first`: bytes for the arena; where they are not known, what needs least is tried first. */
function chosen(compiler: StepCompiler, excess: Excess, planner: CheckpointPlanner, first: number | undefined): Draft {
  const { leastPeak } = planner
  const rounds: CheckpointReport['rounds'][number][] = []
  let room = first ?? leastPeak
  let correction = 0
  let before = -1
  let best: Compiled | undefined
  let smallest: Chosen | undefined
  while (rounds.length < MOST_ROUNDS) {
    const plan = planner.plan(room - correction) ?? planner.plan(leastPeak)
    if (!plan) throw new InternalError('not even the smallest plan of checkpoints is one')
    const isFirst = first === undefined && rounds.length === 0
    const isLeast = isFirst || plan.budget !== room - correction
    const scheduled = compiler.schedule(checkpointsOf(plan))
    // What needs too much whatever its offsets are is not placed yet: nothing smaller is tried after it.
    const bound = isLeast ? compiler.plan(scheduled, { placing: unplaced, least: true }) : undefined
    const isHopeless = bound !== undefined && excess(bound) > 0
    const compiled = isHopeless ? bound : compiler.plan(scheduled, { least: true })
    const real = peakOf(compiled)
    const beyond = excess(compiled)
    const isKnown = plan.peak === before
    rounds.push({
      room: isFirst ? compiled.program.arenaBytes - beyond : room,
      predicted: plan.peak + correction,
      real,
    })
    const recomputed = planner.recomputedBy(accumulateOf(compiled))
    correction = real - plan.peak
    // What was predicted wrong so far will be again, as far as it was the same choice.
    const checkpointing = { ...plan, recomputed, rounds, leastPeak: leastPeak + correction }
    const found: Chosen = { ...compiled, checkpointing }
    if (beyond <= 0 && plan.seconds <= (best?.checkpointing?.seconds ?? Number.POSITIVE_INFINITY)) best = found
    if (smallest === undefined || compiled.program.arenaBytes < smallest.program.arenaBytes) smallest = found
    room = compiled.program.arenaBytes - beyond
    if (beyond <= 0 && (plan.seconds === 0 || isKnown || room - real <= CLOSE * room)) break
    if (isLeast && beyond > 0) break
    before = plan.peak
  }
  const found = smallest
  if (!found) throw new InternalError('no plan of checkpoints was tried')
  if (best) return placedDraft(jointly(compiler, excess, compiler.filled(best), { planner, room, correction }), best)
  return { compiled: found, isPlaced: false, place: () => corrected(found, compiler.plan(found)), least: found }
}

/** What was said of a program before it had offsets, by what it takes with them. */
function corrected({ checkpointing, ...before }: Chosen, placed: Compiled): Compiled {
  const more = peakOf(placed) - peakOf(before)
  const { rounds, leastPeak } = checkpointing
  const last = rounds.at(-1)
  const told = last ? [...rounds.slice(0, -1), { ...last, real: last.real + more }] : rounds
  return { ...placed, checkpointing: { ...checkpointing, rounds: told, leastPeak: leastPeak + more } }
}

interface Known {
  readonly planner: CheckpointPlanner
  /** Bytes for the arena and the frozen tensors in memory. */
  readonly room: number
  /** What an arena takes beyond what was predicted, with a range in it. */
  readonly correction: number
}

/** Takes the joint plan of recomputation and weights that stay where its program is predicted to be over sooner than `other`. */
function jointly(
  compiler: StepCompiler,
  excess: Excess,
  other: Compiled,
  { planner, room, correction }: Known,
): Compiled {
  const { storage } = compiler
  if (!storage || storage.state || excess(other) > 0 || !waits(other)) return other
  const { shardBytes, read } = storage
  const shards = SHARD_SHARES.map((share) => Math.floor((share * shardBytes) / 1024) * 1024)
  const planned = (beyond: number): JointPlan | undefined =>
    planner.joint({
      budget: room - beyond + shardBytes,
      shards,
      read,
      streamedBytes: (name) => compiler.streamedBytes(name),
    })
  const isWorth = (plan: JointPlan): boolean => plan.seconds < (1 - SHORT_WAIT) * predictedSeconds(other)
  let plan = planned(correction)
  if (!plan) return other
  let joint: Compiled | undefined
  if (isWorth(plan)) {
    let scheduled = compiler.schedule(checkpointsOf(plan.checkpoints), plan.shardBytes)
    const least = compiler.plan(scheduled, { placing: unplaced, least: true, shardBytes: plan.shardBytes })
    const predicted = plan.checkpoints.peak + correction
    const wrong = peakOf(least) - predicted
    // What was predicted wrong is corrected once.
    const again = Math.abs(wrong) > FAR * room ? planned(correction + wrong) : undefined
    if (again) {
      plan = again
      scheduled = compiler.schedule(checkpointsOf(plan.checkpoints), plan.shardBytes)
    }
    const compiled = compiler.plan(scheduled, { keep: plan.stays, shardBytes: plan.shardBytes })
    const { checkpoints } = plan
    const recomputed = planner.recomputedBy(accumulateOf(compiled))
    const beyond = correction + (again ? wrong : 0)
    const rounds = [{ room, predicted: checkpoints.peak + beyond, real: peakOf(compiled) }]
    const leastPeak = planner.leastPeak + beyond
    joint = { ...compiled, checkpointing: { ...checkpoints, recomputed, rounds, leastPeak } }
  }
  const isTaken = joint !== undefined && excess(joint) <= 0 && predictedSeconds(joint) < predictedSeconds(other)
  const best = isTaken ? (joint as Compiled) : other
  const { checkpoints: _, stays: __, ...told } = plan
  const gap = 1 - plan.lowerBound / plan.seconds
  return { ...best, joint: { ...told, gap, isTaken, predictedSeconds: predictedSeconds(best), sequentialSeconds: predictedSeconds(other) } } // prettier-ignore
}

/** Of the arena of a micro-batch, whether or not the step before is updated meanwhile; whatever else the program needs. */
export function peakOf({ arenas }: Compiled): number {
  return Math.max(0, ...arenas.map(({ fn, peak }) => (fn === accumulate || fn === ADVANCE ? peak : 0)))
}

/** Seconds of a micro-batch by the plan's own figures; 0 where nothing is read. */
function predictedSeconds({ arenas }: Compiled): number {
  const { computeSeconds = 0, stallSeconds = 0 } = arenas.find(({ fn }) => fn === accumulate)?.storage ?? {}
  return computeSeconds + stallSeconds
}

/** Whether computing waits for storage longer than is worth nothing. */
function waits(compiled: Compiled): boolean {
  const { stallSeconds = 0 } = compiled.arenas.find(({ fn }) => fn === accumulate)?.storage ?? {}
  return stallSeconds > SHORT_WAIT * predictedSeconds(compiled)
}

export function accumulateOf({ functions }: Pick<Scheduled, 'functions'>): ScheduledFunction {
  const found = functions.find(({ fn }) => fn.name === accumulate)
  if (!found) throw new InternalError(`there is no function '${accumulate}'`)
  return found
}
