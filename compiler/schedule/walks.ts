// Loops over axes: one axis each, or a run of them that lies in one piece.

import { withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import type { Index } from '../kernel/index.ts'
import { declareLoop } from './nest.ts'
import type { Env, KernelScope } from './scope.ts'

export interface Walk {
  readonly axes: readonly Axis[]
  readonly name: string
  readonly index: Index
  readonly extent: Index
  readonly bound: number
}

function boundOf(axes: readonly Axis[]): number {
  return axes.reduce((product, axis) => product * axis.size, 1)
}

/** A loop over one axis or over a run of them. */
export function walkRun(scope: KernelScope, prefix: string, axes: readonly Axis[]): Walk {
  const bound = boundOf(axes)
  const extent = axes.length === 1 && axes[0] ? scope.extent(axes[0]) : { constant: bound, terms: [] }
  const { name, index } = declareLoop(scope, prefix, extent)
  return { axes, name, index, extent, bound }
}

export function enter(env: Env, walk: Walk, scope: KernelScope): Env {
  return env.withGroup(walk.axes, walk.index, scope.ranges)
}

/** Outer loops one axis each, then a run that one index walks. */
export function walksOver(scope: KernelScope, prefix: string, axes: readonly Axis[], run: readonly Axis[]): Walk[] {
  const outer = withoutAxes(axes, run).map((axis) => walkRun(scope, prefix, [axis]))
  return run.length === 0 ? outer : [...outer, walkRun(scope, prefix, run)]
}
