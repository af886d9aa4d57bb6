// One layer of a step with its numbers: what it stores, which kernel makes what of what, what its backward pass reads in
// which order. From a set of kept values to bytes and seconds; knows no graph.

import type { Choice } from './chain.ts'

/** A value that the layer's forward pass stores. They are in the order of their kernels. */
export interface LayerValue {
  readonly bytes: number
  /** Place of the kernel that makes it among `seconds`. */
  readonly kernel: number
  /** Values of the layer it is made of, by place; all of them before it. */
  readonly operands: readonly number[]
  /** Values from before the layer that it is made of, by place in `outside`. */
  readonly outside: readonly number[]
  /** First and last of the layer's forward kernels that it lives in. */
  readonly born: number
  readonly lastForward: number
  /** Whether the backward pass reads it, so that it can be kept. */
  readonly wanted: boolean
  /**
   * Seconds of making it of stored values elementwise, as what is fused behind a contraction whose result is stored as well;
   * absent where its kernel has to run for it. Those of a kernel do not exceed the kernel's together.
   */
  readonly alone?: number
}

/** A kernel of the layer's part of the step. */
export interface Step {
  /** Bytes alive that no choice changes. */
  readonly during: number
  /** Of those, what lives across the point before the kernel. */
  readonly before: number
  /** Values of the layer that it reads, by place. */
  readonly reads: readonly number[]
}

export interface Layer {
  readonly values: readonly LayerValue[]
  /** Of each forward kernel. */
  readonly seconds: readonly number[]
  readonly multiplyAdds: readonly number[]
  readonly outside: readonly {
    readonly bytes: number
    /** The last backward step until which it lives in any case; −1 where it does not live that long. */
    readonly lastStep: number
  }[]
  readonly forward: readonly Step[]
  readonly backward: readonly Step[]
}

/** A way to treat the layer, with the values that it keeps. */
export interface Configuration extends Measured {
  readonly keeps: ReadonlySet<number>
  /** Values that are computed again. */
  readonly again: ReadonlySet<number>
  /** Kernels that run again for them, not only what is fused behind. */
  readonly runs: ReadonlySet<number>
}

export interface Measured extends Choice {
  /** Of all kernels that run again, each once: a part of one may have to run by itself only because more is kept. */
  readonly leastSeconds: number
  readonly multiplyAdds: number
}

/** What keeping a set of values comes to. */
export function configuration(layer: Layer, keeps: Iterable<number>): Configuration {
  const flags = new Uint8Array(layer.values.length)
  for (const value of keeps) flags[value] = 1
  return new Simulation(layer).run(flags)
}

/**
 * Runs the layer's part of the step with sets of kept values, given as flags. In the backward pass everything that is not kept
 * is computed again at its first use, with what it is made of: each kernel of it is a moment before the step that wants it.
 */
export class Simulation {
  readonly #layer: Layer
  readonly #steps: readonly Step[]
  readonly #outside: Layer['outside']
  /** The moment in which a value is there: −1 where it is not computed again (yet). */
  readonly #first: Int32Array
  /** The step that it is made before. */
  readonly #madeBefore: Int32Array
  readonly #last: Int32Array
  readonly #lastOutside: Int32Array
  readonly #stepAt: Int32Array
  readonly #changes: Float64Array
  readonly #base: Float64Array
  readonly #forward: Float64Array
  readonly #ran: Uint8Array
  /** Values that have their moment. */
  readonly #made: Uint8Array
  /** The last moment in which a kernel ran again as a whole, and the step before which that was. */
  readonly #ranAt: Int32Array
  readonly #ranBefore: Int32Array
  #keeps: Uint8Array = new Uint8Array()
  /** What the next step wants, in order, and how many that are. */
  readonly #found: Int32Array
  #count = 0
  #step = 0
  #seconds = 0

  constructor(layer: Layer) {
    const { values, outside, forward } = layer
    const { steps, places } = withoutIdleSteps(layer)
    this.#layer = layer
    this.#steps = steps
    this.#outside = outside.map(({ bytes, lastStep }) => ({ bytes, lastStep: places[lastStep] ?? -1 }))
    this.#first = new Int32Array(values.length)
    this.#madeBefore = new Int32Array(values.length)
    this.#last = new Int32Array(values.length)
    this.#lastOutside = new Int32Array(outside.length)
    this.#stepAt = new Int32Array(steps.length)
    // A kernel runs again at most once for each of its values.
    this.#changes = new Float64Array(steps.length + values.length + 1)
    this.#base = new Float64Array(steps.length + values.length)
    this.#forward = new Float64Array(forward.length + 1)
    this.#ran = new Uint8Array(layer.seconds.length)
    this.#made = new Uint8Array(values.length)
    this.#ranAt = new Int32Array(layer.seconds.length)
    this.#ranBefore = new Int32Array(layer.seconds.length)
    this.#found = new Int32Array(values.length)
  }

  run(keeps: Uint8Array): Configuration {
    const measured = this.measure(keeps)
    const places = [...this.#layer.values.keys()]
    return {
      ...measured,
      keeps: new Set(places.filter((value) => keeps[value] === 1)),
      again: new Set(places.filter((value) => this.isMadeAgain(value))),
      runs: new Set([...this.#ran.keys()].filter((kernel) => this.runsAgain(kernel))),
    }
  }

  measure(keeps: Uint8Array): Measured {
    const { values, multiplyAdds } = this.#layer
    const { peak, extended } = this.#backward(keeps)
    let kept = extended
    for (let value = 0; value < values.length; value++) if (keeps[value] === 1) kept += bytesOf(values, value)
    let recomputed = 0
    for (let kernel = 0; kernel < this.#ran.length; kernel++) {
      recomputed += (this.#ran[kernel] as number) * (multiplyAdds[kernel] ?? 0)
    }
    const seconds = this.#seconds
    const need = Math.max(this.#forwardNeed(), peak)
    return { kept, need, seconds, leastSeconds: this.#leastSeconds(), multiplyAdds: recomputed }
  }

  leastSeconds(keeps: Uint8Array): number {
    this.#recompute(keeps)
    return this.#leastSeconds()
  }

  #leastSeconds(): number {
    let seconds = 0
    for (let kernel = 0; kernel < this.#ran.length; kernel++)
      if (this.runsAgain(kernel)) seconds += this.#secondsOf(kernel)
    for (const [value, { kernel, alone = 0 }] of this.#layer.values.entries())
      if (this.isMadeAgain(value) && !this.runsAgain(kernel)) seconds += alone
    return seconds
  }

  /** Whether the last set that was tried has a value computed again. */
  isMadeAgain(value: number): boolean {
    return (this.#first[value] as number) >= 0
  }

  /** By value, the step before which the last set that was tried has it made again; −1 where it has not. */
  times(): Int32Array {
    return this.#madeBefore.slice()
  }

  /** Whether the last set that was tried has a kernel run again as a whole. */
  runsAgain(kernel: number): boolean {
    return (this.#ran[kernel] as number) > 0
  }

  #secondsOf(kernel: number): number {
    return this.#layer.seconds[kernel] ?? 0
  }

  /** Finds what has to be computed before a value is there, that one included. */
  #need(value: number): void {
    if (this.#keeps[value] === 1 || (this.#first[value] as number) >= 0) return
    // Found; its moment follows.
    this.#first[value] = 0
    this.#madeBefore[value] = this.#step
    for (const operand of (this.#layer.values[value] as LayerValue).operands) this.#need(operand)
    let place = this.#count++
    for (; place > 0 && (this.#found[place - 1] as number) > value; place--) {
      this.#found[place] = this.#found[place - 1] as number
    }
    this.#found[place] = value
  }

  /** Lays out the moments of the backward pass, and says how many there are. */
  #recompute(keeps: Uint8Array): number {
    this.#keeps = keeps
    this.#first.fill(-1)
    this.#madeBefore.fill(-1)
    this.#last.fill(-1)
    this.#lastOutside.fill(-1)
    this.#ran.fill(0)
    this.#made.fill(0)
    this.#seconds = 0
    const found = this.#found
    let moment = 0
    for (let step = 0; step < this.#steps.length; step++) {
      const { reads, before, during } = this.#steps[step] as Step
      this.#count = 0
      this.#step = step
      for (const value of reads) this.#need(value)
      for (let next = 0; next < this.#count;) {
        const kernel = this.#kernelOf(found[next] as number)
        let end = next
        // What the kernel's last run has made as well is there; the others come together.
        const start = next
        for (; next < this.#count && this.#kernelOf(found[next] as number) === kernel; next++) {
          const value = found[next] as number
          if (this.#isMadeBeside(value))
            this.#makeAt(value, this.#ranAt[kernel] as number, this.#ranBefore[kernel] as number)
          else found[end++] = value
        }
        if (end === start) continue
        for (let place = start; place < end; place++) this.#first[found[place] as number] = moment
        for (let place = start; place < end; place++) this.#makeAt(found[place] as number, moment, step)
        const alone = this.#aloneIn(start, end)
        if (alone === undefined) {
          this.#ran[kernel] = (this.#ran[kernel] as number) + 1
          this.#ranAt[kernel] = moment
          this.#ranBefore[kernel] = step
        }
        this.#seconds += alone ?? this.#secondsOf(kernel)
        this.#base[moment++] = before
      }
      for (const value of reads) this.#last[value] = moment
      this.#stepAt[step] = moment
      this.#base[moment++] = during
    }
    return moment
  }

  /** Seconds of what was found from one place to another, if that needs no run of its kernel. */
  #aloneIn(start: number, end: number): number | undefined {
    let seconds = 0
    for (let place = start; place < end; place++) {
      const { alone } = this.#layer.values[this.#found[place] as number] as LayerValue
      if (alone === undefined) return undefined
      seconds += alone
    }
    return seconds
  }

  /** Whether its kernel has run again when all that it is made of was there: then that has made it as well. */
  #isMadeBeside(value: number): boolean {
    const { kernel, operands } = this.#layer.values[value] as LayerValue
    if (!this.runsAgain(kernel)) return false
    const ranAt = this.#ranAt[kernel] as number
    return operands.every(
      (one) => this.#keeps[one] === 1 || (this.#made[one] === 1 && (this.#first[one] as number) <= ranAt),
    )
  }

  #makeAt(value: number, moment: number, step: number): void {
    this.#first[value] = moment
    this.#made[value] = 1
    this.#madeBefore[value] = step
    this.#use(value, moment)
  }

  #kernelOf(value: number): number {
    return (this.#layer.values[value] as LayerValue).kernel
  }

  #use(value: number, moment: number): void {
    const { operands, outside } = this.#layer.values[value] as LayerValue
    for (const operand of operands) {
      // What only the same kernel reads is never stored.
      if (this.#first[operand] !== moment) this.#last[operand] = Math.max(this.#last[operand] as number, moment)
    }
    for (const given of outside) this.#lastOutside[given] = Math.max(this.#lastOutside[given] as number, moment)
  }

  #live(bytes: number, from: number, to: number): void {
    this.#changes[from] = (this.#changes[from] as number) + bytes
    this.#changes[to + 1] = (this.#changes[to + 1] as number) - bytes
  }

  /** The peak of the backward pass, and bytes that live on from before the layer only for what is computed again. */
  #backward(keeps: Uint8Array): { readonly peak: number; readonly extended: number } {
    const moments = this.#recompute(keeps)
    const { values } = this.#layer
    this.#changes.fill(0)
    for (let value = 0; value < values.length; value++) {
      const until = this.#last[value] as number
      if (until < 0) continue
      this.#live(bytesOf(values, value), keeps[value] === 1 ? 0 : (this.#first[value] as number), until)
    }
    let extended = 0
    for (let given = 0; given < this.#outside.length; given++) {
      const until = this.#lastOutside[given] as number
      const { bytes, lastStep } = this.#outside[given] as Layer['outside'][number]
      const held = lastStep < 0 ? -1 : (this.#stepAt[lastStep] as number)
      if (until < 0 || held >= until) continue
      if (lastStep < 0) extended += bytes
      this.#live(bytes, held + 1, until)
    }
    let sum = 0
    let peak = 0
    for (let moment = 0; moment < moments; moment++) {
      sum += this.#changes[moment] as number
      peak = Math.max(peak, sum + (this.#base[moment] as number))
    }
    return { peak, extended }
  }

  #forwardNeed(): number {
    const { values, forward } = this.#layer
    this.#forward.fill(0)
    for (let value = 0; value < values.length; value++) {
      const { bytes, born, lastForward } = values[value] as LayerValue
      this.#forward[born] = (this.#forward[born] as number) + bytes
      if (this.#keeps[value] === 0) this.#forward[lastForward + 1] = (this.#forward[lastForward + 1] as number) - bytes
    }
    let live = 0
    let peak = 0
    for (let step = 0; step < forward.length; step++) {
      live += this.#forward[step] as number
      peak = Math.max(peak, live + (forward[step] as Step).during)
    }
    return peak
  }
}

function bytesOf(values: readonly LayerValue[], place: number): number {
  return (values[place] as LayerValue).bytes
}

/** Backward steps with neighbours that read nothing of the layer made one; `places` says which one a step has become. */
function withoutIdleSteps({ backward, outside }: Layer): {
  readonly steps: readonly Step[]
  readonly places: readonly number[]
} {
  const ends = new Set(outside.map(({ lastStep }) => lastStep))
  const steps: Step[] = []
  const places: number[] = []
  for (const [place, step] of backward.entries()) {
    const last = steps.at(-1)
    const joins = last !== undefined && step.reads.length === 0 && last.reads.length === 0 && !ends.has(place - 1)
    if (joins) steps[steps.length - 1] = { ...last, during: Math.max(last.during, step.during) }
    else steps.push(step)
    places.push(steps.length - 1)
  }
  return { steps, places }
}
