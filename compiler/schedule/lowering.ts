// What the lowerings of all region kinds share: where values lie, the device profile, and the way from a nest with its
// directives to a lowered kernel.

import { elementCount, hasAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Declaration, Node } from '../graph/node.ts'
import { applyDirectives, printDirective } from '../kernel/directives.ts'
import type { Directive } from '../kernel/directives.ts'
import type { Kernel, Stmt } from '../kernel/ir.ts'
import { printKernel } from '../kernel/print.ts'
import { lowerKernel } from '../kernel/vectorise.ts'
import type { ScheduleProfile } from './profile.ts'
import type { Partition, Region } from './regions.ts'
import type { KernelScope, Storage, ValueRef } from './scope.ts'
import { tileDirectives } from './tile.ts'
import { chooseTile } from './tileChoice.ts'
import type { ChosenTile } from './tileChoice.ts'
import type { TileNest } from './tileNest.ts'

/** A multiply-add nest and what was chosen for it. */
export interface TileUse {
  readonly nest: TileNest
  readonly chosen: ChosenTile
}

export interface LoweredRegion {
  readonly region: Region
  /** The nest as the region means it, before any directive. */
  readonly nest: Kernel
  readonly directives: readonly Directive[]
  /** What a backend prints. */
  readonly kernel: Kernel
  /** Its multiply-add nests, in the order in which they were scheduled. */
  readonly tiles: readonly TileUse[]
  /** What each argument of the kernel stands for, in order. */
  readonly references: readonly ValueRef[]
  /** Declared values that it reads as they were before the function, and results of other kernels. */
  readonly reads: { readonly declared: ReadonlySet<string>; readonly nodes: ReadonlySet<Node> }
}

/** Lowered kernels by the text of their nest and directives: the layers of a model share them. */
export type LoweredKernels = Map<string, Kernel>

/** Those that were lowered last, whatever for: a model is compiled again for other budgets, devices and functions. */
const recent: LoweredKernels = new Map()

/** A training program has about 80 kernels. */
const MOST_RECENT = 256

function loweredKernel(key: string, nest: Kernel, directives: readonly Directive[]): Kernel {
  const kernel = recent.get(key) ?? lowerKernel(applyDirectives(nest, directives))
  // The one that was wanted longest ago stands first.
  recent.delete(key)
  recent.set(key, kernel)
  const [oldest] = recent.keys()
  if (recent.size > MOST_RECENT && oldest !== undefined) recent.delete(oldest)
  return kernel
}

/** The same region by another nest with the same loops. */
export function relowered(region: LoweredRegion, nest: Kernel): LoweredRegion {
  const kernel = loweredKernel(kernelKey(nest, region.directives), nest, region.directives)
  return { ...region, nest, kernel }
}

function kernelKey(nest: Kernel, directives: readonly Directive[]): string {
  return `${printKernel(nest)}${directives.map(printDirective).join('\n')}`
}

export class Lowering {
  readonly profile: ScheduleProfile
  readonly partition: Partition
  readonly #declarations: ReadonlyMap<string, Declaration>
  readonly #layouts: (node: Node) => readonly Axis[]
  readonly #targets: ReadonlyMap<Node, string>
  readonly #lowered: LoweredKernels
  readonly #tiles = new Map<KernelScope, TileUse[]>()

  constructor(
    profile: ScheduleProfile,
    partition: Partition,
    declarations: ReadonlyMap<string, Declaration>,
    layouts: (node: Node) => readonly Axis[],
    targets: ReadonlyMap<Node, string>,
    lowered: LoweredKernels,
  ) {
    this.profile = profile
    this.partition = partition
    this.#declarations = declarations
    this.#layouts = layouts
    this.#targets = targets
    this.#lowered = lowered
  }

  layout(node: Node): readonly Axis[] {
    return this.#layouts(node)
  }

  isStored(node: Node): boolean {
    return this.partition.stored.has(node)
  }

  declaration(name: string): Declaration {
    const declared = this.#declarations.get(name)
    if (!declared) throw new Error(`'${name}' is not declared`)
    return declared
  }

  /** Storage as the kernel of `region` sees it: its own members are not in memory yet. */
  storageFor(region: Region): Storage {
    return {
      declaration: (name) => this.declaration(name),
      layout: this.#layouts,
      target: (node) => this.#targets.get(node),
      stored: (node) => this.isStored(node) && this.partition.regionOf.get(node) !== region,
    }
  }

  /** What `tile` will choose. */
  tileOf(nest: TileNest): ChosenTile {
    return chooseTile(nest, this.profile)
  }

  /** Directives of a multiply-add nest of the kernel that `scope` builds. */
  tile(nest: TileNest, scope: KernelScope): Directive[] {
    const uses = this.#tiles.get(scope) ?? []
    const chosen = this.tileOf(nest)
    this.#tiles.set(scope, [...uses, { nest, chosen }])
    return tileDirectives(nest, chosen, this.profile)
  }

  finish(region: Region, scope: KernelScope, body: readonly Stmt[], directives: readonly Directive[]): LoweredRegion {
    const nest = scope.kernel(region.kind, body)
    const key = kernelKey(nest, directives)
    const kernel = this.#lowered.get(key) ?? loweredKernel(key, nest, directives)
    this.#lowered.set(key, kernel)
    const tiles = this.#tiles.get(scope) ?? []
    // What a directive adds to the arguments stands behind those of the nest.
    const carried = kernel.arguments.slice(nest.arguments.length)
    const references = [...scope.references, ...carried.map((buffer): ValueRef => ({ kind: 'carry', buffer }))]
    return { region, nest, directives, kernel, tiles, references, reads: scope.reads }
  }

  /**
   * The longest run at the end of `axes` that every tensor the nodes read or write holds in one piece, or not at all:
   * one index can walk it. Run-time extents and views end the run.
   */
  contiguousSuffix(nodes: readonly Node[], axes: readonly Axis[]): Axis[] {
    const layouts = this.#leafLayouts(nodes)
    let run = axes.slice(-1)
    if (!layouts) return run
    for (let start = axes.length - 1; start >= 0; start--) {
      const candidate = axes.slice(start)
      if (candidate.some((axis) => axis.extent !== undefined)) break
      if (!layouts.every((layout) => holdsRun(layout, candidate))) break
      run = candidate
    }
    return run
  }

  /** The axis along which the largest tensor behind an operand lies contiguous. */
  fastAxis(node: Node): Axis | undefined {
    if (isOp(node, 'read')) return this.declaration(node.attrs.name).stored.flat().at(-1)
    if (this.isStored(node)) return this.layout(node).at(-1)
    let best: Node | undefined
    for (const input of node.inputs) if (!best || elementCount(input.axes) > elementCount(best.axes)) best = input
    const axis = best && this.fastAxis(best)
    if (!axis) return undefined
    if (isOp(node, 'rename') && axis === node.attrs.from) return node.attrs.to
    if (isOp(node, 'split') && axis === node.attrs.axis) return node.attrs.into.at(-1)
    if (isOp(node, 'merge') && axis === node.attrs.axes.at(-1)) return node.attrs.into
    return axis
  }

  /** Layouts of everything read at the nodes' own place, or undefined when a view or an index is in between. */
  #leafLayouts(nodes: readonly Node[]): (readonly Axis[])[] | undefined {
    const found: (readonly Axis[])[] = []
    const members = new Set(nodes)
    const seen = new Set<Node>()
    const visit = (node: Node): boolean => {
      if (seen.has(node)) return true
      seen.add(node)
      if (isOp(node, 'read')) {
        found.push(this.declaration(node.attrs.name).stored.flat())
        return true
      }
      if (this.isStored(node)) found.push(this.layout(node))
      if (this.isStored(node) && !members.has(node)) return true
      if (isOp(node, 'constant') || isOp(node, 'extent')) return true
      if (!isOp(node, 'map') && !isOp(node, 'broadcast') && !isOp(node, 'barrier'))
        return members.has(node) && isOp(node, 'dot')
      return node.inputs.every(visit)
    }
    return nodes.every(visit) ? found : undefined
  }
}

/** Whether `axes` holds `run` as one piece in its order, or none of it. */
export function holdsRun(axes: readonly Axis[], run: readonly Axis[]): boolean {
  if (!run.some((axis) => axes.includes(axis))) return true
  if (!hasAxes(axes, run)) return false
  const start = axes.indexOf(run[0] as Axis)
  return run.every((axis, offset) => axes[start + offset] === axis)
}
