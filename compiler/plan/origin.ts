// Where a kernel comes from: its nest before any directive, the directives, and the researcher's lines that it computes.
// For people and tools; nothing that runs depends on it.

import type { Place } from '../diagnostic.ts'
import type { Provenance } from '../graph/node.ts'
import type { Directive } from '../kernel/directives.ts'
import type { Kernel } from '../kernel/ir.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import type { Region } from '../schedule/regions.ts'
import type { ValueRef } from '../schedule/scope.ts'
import type { ChosenTile } from '../schedule/tileChoice.ts'
import { tileName } from '../schedule/tileNest.ts'

/** `name`: the nest as a search knows it. */
export interface TileOrigin extends ChosenTile {
  readonly name: string
}

export interface KernelOrigin {
  readonly kind: Region['kind']
  /** What it means, before any directive. */
  readonly nest: Kernel
  /** In the order in which they were applied. */
  readonly directives: readonly Directive[]
  /** What was chosen for its multiply-add nests, by whom. */
  readonly tiles: readonly TileOrigin[]
  /** What the arguments stand for at the first launch: a declared name, or the name of a value between kernels. */
  readonly arguments: readonly string[]
  /** What it computes, by function, in launch order. */
  readonly results: readonly LaunchOrigin[]
}

export interface LaunchOrigin {
  readonly fn: string
  readonly layer: number | undefined
  /** Values that the researcher, or a pass, has named; a gradient is `d NAME`. */
  readonly names: readonly string[]
  /** Lines that those values come from, each once. */
  readonly places: readonly Place[]
}

/** Collects origins while kernels are numbered. Equal kernels are one: its nest and directives are the first one's. */
export class Origins {
  readonly #provenance: Provenance
  readonly #origins = new Map<string, KernelOrigin & { readonly results: LaunchOrigin[] }>()

  constructor(provenance: Provenance) {
    this.#provenance = provenance
  }

  /** By the kernel's name in the program. */
  get byKernel(): ReadonlyMap<string, KernelOrigin> {
    return this.#origins
  }

  note(kernel: string, fn: string, lowered: LoweredRegion): void {
    const known = this.#origins.get(kernel)
    const launch = this.#launch(fn, lowered)
    if (known) known.results.push(launch)
    else {
      this.#origins.set(kernel, {
        kind: lowered.region.kind,
        nest: lowered.nest,
        directives: lowered.directives,
        tiles: lowered.tiles.map(({ nest, chosen }) => ({ name: tileName(nest), ...chosen })),
        arguments: lowered.references.map((reference) => this.#argument(reference)),
        results: [launch],
      })
    }
  }

  #argument(reference: ValueRef): string {
    switch (reference.kind) {
      case 'declared':
        return reference.name
      case 'table':
        return `table of ${reference.node.attrs.axis.name}`
      case 'carry':
        return 'what its phases pass on'
      case 'named':
        return `rows of ${reference.name} that ${reference.ids} name`
      case 'firsts':
        return `first occurrences in ${reference.ids}`
      case 'node':
        return this.#provenance.name(reference.node) ?? `a ${reference.node.op}`
    }
  }

  #launch(fn: string, { region }: LoweredRegion): LaunchOrigin {
    const names = new Set<string>()
    const places = new Map<string, Place>()
    for (const node of region.nodes) {
      const name = this.#provenance.name(node)
      const place = this.#provenance.place(node)
      if (name !== undefined) names.add(name)
      if (place) places.set(`${place.file}:${place.line}`, place)
    }
    return { fn, layer: region.nodes[0]?.layer, names: [...names], places: [...places.values()] }
  }
}
