// The one ordered list of stages, from a traced model to a program. Each stage says why it stands where it does.

import type { Graph, Provenance } from './graph/node.ts'
import { planProgram } from './plan/place.ts'
import type { PlannedProgram, StorageOptions } from './plan/place.ts'
import type { LoweredKernels } from './schedule/lowering.ts'
import type { ScheduleProfile } from './schedule/profile.ts'
import { scheduleFunction } from './schedule/schedule.ts'
import type { ScheduledFunction } from './schedule/schedule.ts'
import { declaredBytes } from './schedule/shards.ts'
import { lora, trainable } from './transform/adapt.ts'
import type { LoraOptions } from './transform/adapt.ts'
import { checkpointLayers } from './transform/checkpoint.ts'
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

export interface CompileOptions {
  readonly name: string
  readonly adaptation:
    | { readonly kind: 'lora'; readonly options: LoraOptions }
    | { readonly kind: 'trainable'; readonly names: readonly string[] | 'all' }
  readonly optimizer: AdamWOptions
  /** Layers whose values are worked out again in the backward pass. */
  readonly checkpoints: 'none' | 'every'
  readonly profile: ScheduleProfile
  /** Frozen tensors stay in storage and are read by ranges; absent where all of them are in memory. */
  readonly storage?: StorageOptions
  /** The functions that are wanted; all of them unless given. */
  readonly functions?: readonly string[]
  /** Given each stage that changed something, as text. */
  readonly dump?: (text: string) => void
}

export interface Compiled extends PlannedProgram {
  readonly graph: Graph
  /** What the program was planned from. */
  readonly functions: readonly ScheduledFunction[]
  readonly reports: readonly PassReport[]
}

export function trainingPasses(options: Omit<CompileOptions, 'profile' | 'name'>): Pass[] {
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
    ...(storage ? [fetchRows((table) => declaredBytes(table) > storage.residentBytes)] : []),
    // On the graph that will run: it may only clone, so that numbers stay the same bits.
    ...(options.checkpoints === 'none' ? [] : [checkpointLayers(options.checkpoints)]),
    // Last: simplification would share the nodes again.
    separateWrites(),
  ]
}

/** From a traced model to a program. UserError where the recipe does not fit the model. */
export function compile(graph: Graph, provenance: Provenance, options: CompileOptions): Compiled {
  const passes = runPasses(graph, trainingPasses(options), {
    provenance,
    ...(options.dump ? { dump: options.dump } : {}),
  })
  const start = performance.now()
  const lowered: LoweredKernels = new Map()
  const { storage } = options
  const profile = storage ? { ...options.profile, shardBytes: storage.shardBytes } : options.profile
  const wanted = passes.graph.functions.filter(({ name }) => options.functions?.includes(name) ?? true)
  const functions = wanted.map((fn) => scheduleFunction(passes.graph, fn, profile, lowered))
  const scheduled = performance.now()
  const planned = planProgram(options.name, passes.graph, functions, provenance, storage)
  const reports = [
    ...passes.reports,
    { name: 'schedule', milliseconds: scheduled - start },
    { name: 'plan', milliseconds: performance.now() - scheduled },
  ]
  return { ...planned, graph: passes.graph, functions, reports }
}
