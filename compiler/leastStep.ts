// The program of a step that needs as little memory as it can with these checkpoints and ranges of this size. No budget has a
// word in it: what there is beyond is given to it afterwards.

import { InternalError } from './diagnostic.ts'
import { accumulateOf, peakOf } from './pipeline.ts'
import type { Compiled, Scheduled, StepCompiler } from './pipeline.ts'
import { unplaced } from './plan/arena.ts'
import { CheckpointPlanner, checkpointsOf } from './plan/checkpoints/planner.ts'
import type { CheckpointPlan } from './plan/checkpoints/planner.ts'
import type { Rates } from './plan/rates.ts'
import { everythingKept, forwardValues } from './transform/checkpoint.ts'

export interface LeastDraft {
  /** Without offsets: it needs this much wherever things lie. */
  readonly compiled: Compiled
  /** With offsets. */
  readonly place: () => Compiled
  /** Memory that is left over goes to tensors and to reading ahead. */
  readonly fill: () => Compiled
}

/** `shardBytes`: of ranges, where anything is in storage. */
export function leastStep(compiler: StepCompiler, checkpoints: 'none' | 'every', shardBytes?: number): LeastDraft {
  return drafted(compiler, compiler.schedule(checkpoints, shardBytes), shardBytes)
}

export interface PlannedLeastDraft extends LeastDraft {
  /** By the planner's model, what keeping everything takes beyond the plan that needs least, as a share of that. */
  readonly keptBeyond: number
}

/** Whether there is anything that could be computed again. */
export function hasLayers({ graph }: StepCompiler): boolean {
  return forwardValues(graph).activations.size > 0
}

/** With the plan of checkpoints that needs least, of a step that has layers. */
export function plannedLeastStep(
  compiler: StepCompiler,
  rates: Rates | undefined,
  shardBytes?: number,
): PlannedLeastDraft {
  const forward = forwardValues(compiler.graph)
  const whole = compiler.schedule(everythingKept(forward), shardBytes)
  const planner = new CheckpointPlanner(accumulateOf(whole), forwardValues(whole.graph), rates)
  const plan = planner.plan(planner.leastPeak)
  if (!plan) throw new InternalError('not even the smallest plan of checkpoints is one')
  const { compiled, place, fill } = drafted(compiler, compiler.schedule(checkpointsOf(plan), shardBytes), shardBytes)
  const recomputed = planner.recomputedBy(accumulateOf(compiled))
  const told = (one: Compiled): Compiled => reported(one, plan, recomputed)
  return {
    compiled: told(compiled),
    place: () => told(place()),
    fill: () => told(fill()),
    keptBeyond: planner.peak / planner.leastPeak - 1,
  }
}

function drafted(compiler: StepCompiler, scheduled: Scheduled, shardBytes: number | undefined): LeastDraft {
  const sizes = shardBytes === undefined ? {} : { shardBytes }
  return {
    compiled: compiler.plan(scheduled, { placing: unplaced, least: true, ...sizes }),
    place: () => compiler.plan(scheduled, { least: true, ...sizes }),
    fill: () => compiler.plan(scheduled, sizes),
  }
}

function reported(compiled: Compiled, plan: CheckpointPlan, recomputed: number): Compiled {
  const real = peakOf(compiled)
  const rounds = [{ room: real, predicted: plan.peak, real }]
  return { ...compiled, checkpointing: { ...plan, recomputed, rounds, leastPeak: real } }
}
