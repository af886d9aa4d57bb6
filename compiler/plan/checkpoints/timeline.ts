// Reads a scheduled function whose layers keep everything as a chain: for each layer what it stores, what makes what, and how
// many bytes live beside that at each of its kernels.

import { dtypeBytes } from '../../graph/axis.ts'
import type { Node } from '../../graph/node.ts'
import type { LoweredRegion } from '../../schedule/lowering.ts'
import type { ScheduledFunction } from '../../schedule/schedule.ts'
import { align } from '../arena.ts'
import type { Costs } from '../costs.ts'
import type { Layer, LayerValue, Step } from './layer.ts'

/** The forward pass: its nodes, and by layer the values that may be computed again, in order of creation. */
export interface ForwardPass {
  readonly nodes: ReadonlySet<Node>
  readonly activations: ReadonlyMap<number, readonly Node[]>
}

export interface TimedLayer {
  /** Number of the layer in the model. */
  readonly layer: number
  /** Bytes alive during the layer's part that have nothing to do with it; `shape` counts without them. */
  readonly beside: number
  readonly shape: Layer
  /** The nodes that `shape.values` are. */
  readonly nodes: readonly Node[]
  /** The launches that `shape.seconds` are of. */
  readonly launches: readonly number[]
}

export interface Timeline {
  /** In the order of the forward pass. */
  readonly layers: readonly TimedLayer[]
  /** Bytes alive between the last layer's forward and backward pass, beside what layers keep. */
  readonly middle: number
  /** The largest sum of bytes alive when everything is kept. */
  readonly peak: number
  /** Of the whole function. */
  readonly multiplyAdds: number
  /** By launch, the layer that it works for. */
  readonly layerOf: readonly (number | undefined)[]
}

interface Life {
  readonly first: number
  readonly last: number
  readonly bytes: number
}

interface Span {
  readonly from: number
  readonly to: number
}

export function timeline(fn: ScheduledFunction, forward: ForwardPass, costs: Costs): Timeline {
  return new Reader(fn, forward, costs).read()
}

class Reader {
  readonly #fn: ScheduledFunction
  readonly #regions: readonly LoweredRegion[]
  readonly #forward: ForwardPass
  readonly #costs: Costs
  /** Of what lies in the arena. */
  readonly #lives: Map<Node, Life>
  readonly #producer = new Map<Node, number>()
  readonly #readers = new Map<Node, number[]>()
  readonly #isForward: readonly boolean[]

  constructor(fn: ScheduledFunction, forward: ForwardPass, costs: Costs) {
    this.#fn = fn
    this.#regions = fn.regions
    this.#forward = forward
    this.#costs = costs
    this.#lives = livesOf(fn)
    for (const [launch, { region, references }] of fn.regions.entries()) {
      const members = new Set(region.nodes)
      for (const reference of references) {
        if (reference.kind !== 'node') continue
        if (members.has(reference.node)) this.#producer.set(reference.node, launch)
        else this.#readers.set(reference.node, [...(this.#readers.get(reference.node) ?? []), launch])
      }
    }
    this.#isForward = fn.regions.map(({ region }) => forward.nodes.has(region.nodes[0] as Node))
  }

  read(): Timeline {
    const values = new Map([...this.#forward.activations.keys()].map((layer) => [layer, this.#valuesOf(layer)]))
    const layers = [...values.keys()].filter((layer) => (values.get(layer)?.length ?? 0) > 0).sort((a, b) => a - b)
    const ofLayers = new Set([...values.values()].flat())
    const everything = this.#liveSums(() => true)
    this.#holdShared(values, ofLayers)
    const base = this.#liveSums((node) => !ofLayers.has(node))
    const spans = this.#spansOf(layers, values)
    const timed = layers.map((layer, place) => {
      const { forward, backward } = spans[place] as { forward: Span; backward: Span }
      return this.#layer(layer, values.get(layer) ?? [], forward, backward, base)
    })
    const lastForward = spans.at(-1)?.forward.to ?? -1
    const firstBackward = spans.at(-1)?.backward.from ?? this.#regions.length
    return {
      layers: timed,
      middle: Math.max(0, ...base.during.slice(lastForward + 1, firstBackward)),
      peak: Math.max(0, ...everything.during),
      multiplyAdds: this.#costs.multiplyAdds(this.#fn),
      layerOf: this.#regions.map((_, launch) => this.#layerOf(launch)),
    }
  }

  /** What the layer's forward kernels store for it alone: what other layers' backward passes read is kept in any case. */
  #valuesOf(layer: number): Node[] {
    const activations = this.#forward.activations.get(layer) ?? []
    const own = activations.filter((node) => {
      const producer = this.#producer.get(node)
      if (producer === undefined || !this.#lives.has(node) || !this.#isForward[producer]) return false
      const readers = this.#backwardReaders(node)
      return readers.every((launch) => this.#layerOf(launch) === layer)
    })
    const launchOf = (node: Node): number => this.#producer.get(node) ?? 0
    return own.sort((a, b) => launchOf(a) - launchOf(b) || a.id - b.id)
  }

  /** What several layers are made of, tables of angles for one, is taken to live until the last of them is worked on. */
  #holdShared(values: ReadonlyMap<number, readonly Node[]>, ofLayers: ReadonlySet<Node>): void {
    const users = new Map<Node, number>()
    for (const nodes of values.values()) {
      for (const node of new Set(nodes.flatMap((one) => this.#storedBehind(one))))
        users.set(node, (users.get(node) ?? 0) + 1)
    }
    const last = Math.max(0, ...[...ofLayers].flatMap((node) => this.#readers.get(node) ?? []))
    for (const [node, layers] of users) {
      const life = this.#lives.get(node)
      if (layers > 1 && life && !ofLayers.has(node)) this.#lives.set(node, { ...life, last: Math.max(life.last, last) })
    }
  }

  #backwardReaders(node: Node): number[] {
    return (this.#readers.get(node) ?? []).filter((launch) => !this.#isForward[launch])
  }

  /** The layer that a kernel works for: of the kernels between two layers, the one that is computed first. */
  #layerOf(launch: number): number | undefined {
    const { nodes = [] } = this.#regions[launch]?.region ?? {}
    const forward = this.#isForward[launch]
    return nodes.find((node) => node.layer !== undefined && (forward || !this.#forward.nodes.has(node)))?.layer
  }

  /** The kernels from a layer to the next one, in both directions. */
  #spansOf(
    layers: readonly number[],
    values: ReadonlyMap<number, readonly Node[]>,
  ): { forward: Span; backward: Span }[] {
    const spans: { forward: Span; backward: Span }[] = []
    let from = 0
    for (const layer of layers) {
      const last = (values.get(layer) ?? []).map((node) => this.#producer.get(node) ?? 0)
      const to = Math.max(from, ...last)
      spans.push({ forward: { from, to }, backward: { from: 0, to: 0 } })
      from = to + 1
    }
    let next = this.#regions.findIndex(
      (_, launch) => !this.#isForward[launch] && this.#layerOf(launch) === layers.at(-1),
    )
    for (const [place, layer] of [...layers.entries()].reverse()) {
      const reads = (values.get(layer) ?? []).flatMap((node) => this.#backwardReaders(node))
      const to = Math.max(next, ...reads)
      spans[place] = { forward: spans[place]?.forward as Span, backward: { from: next, to } }
      next = to + 1
    }
    return spans
  }

  #layer(layer: number, nodes: readonly Node[], forward: Span, backward: Span, base: LiveSums): TimedLayer {
    const places = new Map(nodes.map((node, place) => [node, place]))
    const outside: Node[] = []
    const kernels: number[] = []
    const placeIn = <T>(list: T[], one: T): number => {
      const known = list.indexOf(one)
      return known >= 0 ? known : list.push(one) - 1
    }
    const values = nodes.map((node): LayerValue => {
      const producer = this.#producer.get(node) as number
      const stored = this.#storedBehind(node)
      const readers = (this.#readers.get(node) ?? []).filter((launch) => this.#isForward[launch])
      return {
        bytes: this.#lives.get(node)?.bytes ?? 0,
        kernel: placeIn(kernels, producer),
        operands: stored.flatMap((one) => places.get(one) ?? []),
        outside: stored.filter((one) => !places.has(one)).map((one) => placeIn(outside, one)),
        born: producer - forward.from,
        lastForward: Math.min(forward.to, Math.max(producer, ...readers)) - forward.from,
        wanted: this.#backwardReaders(node).length > 0,
        ...this.#aloneOf(node, stored),
      }
    })
    const least = Math.min(...base.during.slice(forward.from, forward.to + 1), ...base.before.slice(backward.from, backward.to + 1)) // prettier-ignore
    const steps = ({ from, to }: Span): Step[] =>
      this.#regions.slice(from, to + 1).map(({ references }, place) => ({
        during: (base.during[from + place] as number) - least,
        before: (base.before[from + place] as number) - least,
        reads: references.flatMap((reference) => (reference.kind === 'node' ? (places.get(reference.node) ?? []) : [])),
      }))
    const costs = kernels.map((launch) => this.#costs.of(this.#regions[launch] as LoweredRegion))
    return {
      layer,
      beside: least,
      nodes,
      launches: kernels,
      shape: {
        values,
        seconds: costs.map(({ seconds }) => seconds),
        multiplyAdds: costs.map(({ multiplyAdds }) => multiplyAdds),
        outside: outside.map((node) => {
          const { last = -1, bytes = 0 } = this.#lives.get(node) ?? {}
          return { bytes, lastStep: last < backward.from ? -1 : Math.min(last, backward.to) - backward.from }
        }),
        forward: steps(forward),
        backward: steps(backward),
      },
    }
  }

  /** Seconds of making a node of what is stored elementwise; nothing where it is made of more. */
  #aloneOf(node: Node, stored: readonly Node[]): Pick<LayerValue, 'alone'> {
    const isMadeElementwise = (one: Node): boolean =>
      !sums.has(one.op) && one.inputs.every((input) => this.#lives.has(input) || isMadeElementwise(input))
    if (!isMadeElementwise(node)) return {}
    const launch = this.#producer.get(node) as number
    const { region } = this.#regions[launch] as LoweredRegion
    const together = region.nodes.filter((one) => this.#lives.has(one)).length
    const bytes = [node, ...stored].reduce((sum, one) => sum + (this.#lives.get(one)?.bytes ?? 0), 0)
    const whole = this.#costs.of(this.#regions[launch] as LoweredRegion).seconds
    return { alone: Math.min(this.#costs.ofMoving(bytes), whole / together) }
  }

  /** What is stored of all that a node is made of. */
  #storedBehind(node: Node): Node[] {
    const found = new Set<Node>()
    const seen = new Set<Node>()
    const visit = (input: Node): void => {
      if (seen.has(input)) return
      seen.add(input)
      if (this.#lives.has(input)) found.add(input)
      else input.inputs.forEach(visit)
    }
    node.inputs.forEach(visit)
    return [...found].sort((a, b) => a.id - b.id)
  }

  #liveSums(counts: (node: Node) => boolean): LiveSums {
    const during = this.#regions.map(() => 0)
    const before = this.#regions.map(() => 0)
    for (const [node, { first, last, bytes }] of this.#lives) {
      if (!counts(node)) continue
      for (let launch = first; launch <= last && launch < during.length; launch++) {
        during[launch] = (during[launch] ?? 0) + bytes
        if (launch > first) before[launch] = (before[launch] ?? 0) + bytes
      }
    }
    return { during, before }
  }
}

/** What no element is made of by itself. */
const sums: ReadonlySet<Node['op']> = new Set(['dot', 'softmaxDot', 'logSumExp', 'sum', 'maximum', 'scatterAdd'])

interface LiveSums {
  /** Bytes alive while each kernel runs. */
  readonly during: readonly number[]
  /** Bytes alive across the point before it. */
  readonly before: readonly number[]
}

function livesOf(fn: ScheduledFunction): Map<Node, Life> {
  const lives = new Map<Node, Life>()
  const touch = (node: Node, launch: number): void => {
    const known = lives.get(node)
    const bytes =
      known?.bytes ?? align(node.axes.reduce((product, axis) => product * axis.size, 1) * dtypeBytes[node.dtype])
    lives.set(node, { first: known?.first ?? launch, last: launch, bytes })
  }
  for (const [launch, { references }] of fn.regions.entries()) {
    for (const reference of references) if (reference.kind === 'node') touch(reference.node, launch)
  }
  for (const { node } of fn.fn.outputs) if (!fn.targets.has(node)) touch(node, fn.regions.length)
  return lives
}
