// What a step reads of weights that are not in memory, layer by layer: which of its kernels need which tensor, and what it saves
// when some of them stay. Every use counts as a read of its own, as it is where a kernel cuts its rows otherwise than the next.

import type { ScheduledFunction } from '../../schedule/schedule.ts'
import { requestSeconds } from '../rates.ts'
import type { StorageRate } from '../rates.ts'
import { unbeaten } from './jointStates.ts'
import type { JointChoice } from './jointStates.ts'
import type { Configuration } from './layer.ts'
import type { TimedLayer, Timeline } from './timeline.ts'

export interface Weights {
  /** Bytes of a tensor that may come by ranges; undefined where it is in memory in any case. */
  readonly streamedBytes: (name: string) => number | undefined
  readonly read: StorageRate
  /** Bytes of a range. */
  readonly shardBytes: number
}

interface Tensor {
  readonly name: string
  readonly bytes: number
  readonly seconds: number
  /** How often it is read when nothing is computed again. */
  readonly times: number
}

/** A choice with the weights that stay, by their places among the layer's. */
export interface LayerChoice extends JointChoice {
  readonly configuration: Configuration
  readonly stays: readonly number[]
}

/** Weights of a layer stay all, or none, or those that are read most often up to such shares of their bytes. */
const SHARES = [1 / 3, 2 / 3]

export class LayerReads {
  readonly #fn: ScheduledFunction
  readonly #weights: Weights
  readonly #names = new Map<number, readonly string[]>()
  readonly #byLayer = new Map<number, Tensor[]>()
  /** Seconds of reading for what belongs to no layer. */
  readonly outside: number

  constructor(fn: ScheduledFunction, { layers, layerOf }: Timeline, weights: Weights) {
    this.#fn = fn
    this.#weights = weights
    const known = new Set(layers.map(({ layer }) => layer))
    const uses = new Map<string, { readonly layer: number | undefined; times: number }>()
    for (const launch of fn.regions.keys()) {
      for (const name of this.#readBy(launch)) {
        const use = uses.get(name) ?? { layer: layerOf[launch], times: 0 }
        use.times++
        uses.set(name, use)
      }
    }
    let outside = 0
    for (const [name, { layer, times }] of uses) {
      const tensor = this.#tensor(name, times)
      if (layer === undefined || !known.has(layer)) outside += times * tensor.seconds
      else this.#byLayer.set(layer, [...(this.#byLayer.get(layer) ?? []), tensor])
    }
    this.outside = outside
  }

  /** Streamed tensors that a launch reads. */
  #readBy(launch: number): readonly string[] {
    const known = this.#names.get(launch)
    if (known) return known
    const { references = [] } = this.#fn.regions[launch] ?? {}
    const names = references.flatMap((reference) => (reference.kind === 'declared' ? [reference.name] : []))
    const streamed = [...new Set(names)].filter((name) => this.#weights.streamedBytes(name) !== undefined)
    this.#names.set(launch, streamed)
    return streamed
  }

  #tensor(name: string, times: number): Tensor {
    const { read, shardBytes, streamedBytes } = this.#weights
    const bytes = streamedBytes(name) ?? 0
    // Ranges come one after the other.
    const ranges = Math.ceil(bytes / shardBytes)
    return { name, bytes, times, seconds: ranges * requestSeconds(bytes / ranges, read) }
  }

  /** Layers with equal keys have equal choices, if their values are alike. */
  key({ layer, launches }: TimedLayer): string {
    const tensors = this.#byLayer.get(layer) ?? []
    const places = launches.map((launch) =>
      this.#readBy(launch)
        .map((name) => placeOf(tensors, name))
        .join(),
    )
    return `${tensors.map(({ bytes, times }) => `${bytes}:${times}`).join()} ${places.join(';')}`
  }

  names({ layer }: TimedLayer, { stays }: LayerChoice): string[] {
    const tensors = this.#byLayer.get(layer) ?? []
    return stays.map((place) => (tensors[place] as Tensor).name)
  }

  /** Every configuration of a layer with none of its weights staying, some, or all; without what another one is no worse than. */
  choices({ layer, launches }: TimedLayer, configurations: readonly Configuration[]): LayerChoice[] {
    const tensors = this.#byLayer.get(layer) ?? []
    const all = tensors.reduce((sum, { bytes }) => sum + bytes, 0)
    const readBy = launches.map((launch) => this.#readBy(launch).map((name) => placeOf(tensors, name)))
    const found = configurations.flatMap((configuration): LayerChoice[] => {
      const times = tensors.map((tensor) => tensor.times)
      for (const place of [...configuration.runs].flatMap((kernel) => readBy[kernel] ?? [])) {
        // What is one range is still there for the backward pass.
        if ((tensors[place]?.bytes ?? 0) > this.#weights.shardBytes) times[place] = (times[place] as number) + 1
      }
      const { kept, need, seconds: compute } = configuration
      const ordered = [...tensors.entries()].sort(([a, one], [b, other]) => (times[b] as number) - (times[a] as number) || other.bytes - one.bytes) // prettier-ignore
      const choiceOf = (count: number): LayerChoice => ({
        configuration,
        kept,
        need,
        compute,
        resident: ordered.slice(0, count).reduce((sum, [, { bytes }]) => sum + bytes, 0),
        storage: ordered
          .slice(count)
          .reduce((sum, [place, { seconds }]) => sum + (times[place] as number) * seconds, 0),
        stays: ordered.slice(0, count).map(([place]) => place),
      })
      const counts = new Set([0, ordered.length])
      let before = 0
      for (const [count, [, { bytes }]] of ordered.entries()) {
        if (SHARES.some((share) => before < share * all && before + bytes >= share * all)) counts.add(count + 1)
        before += bytes
      }
      return [...counts].map(choiceOf)
    })
    return unbeaten(found).map((place) => found[place] as LayerChoice)
  }
}

function placeOf(tensors: readonly Tensor[], name: string): number {
  return tensors.findIndex((one) => one.name === name)
}
