// What kernels cost by a device's figures: counts of what they compute and of the bytes that they must move, not times that
// were measured.

import type { Kernel } from '../kernel/ir.ts'
import { compulsoryBytes, countKernel } from '../kernel/traffic.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import type { ScheduledFunction } from '../schedule/schedule.ts'
import { outermostLoop } from './footprint.ts'
import { kernelSeconds } from './rates.ts'
import type { Rates } from './rates.ts'

export interface KernelCost {
  readonly seconds: number
  /** Of the contractions that it means. */
  readonly multiplyAdds: number
}

/** Costs by kernel; the layers of a model share theirs. */
export class Costs {
  readonly #rates: Rates
  readonly #known = new Map<Kernel, KernelCost>()
  readonly #chained = new Map<Kernel, number>()

  constructor(rates: Rates) {
    this.#rates = rates
  }

  of({ nest, kernel }: LoweredRegion): KernelCost {
    const known = this.#known.get(kernel)
    if (known) return known
    const { chained, multiplyAdds } = countKernel(nest)
    const { read, written } = compulsoryBytes(nest)
    const seconds = kernelSeconds(2 * multiplyAdds, read + written, this.#rates)
    const cost = { seconds, multiplyAdds: chained }
    this.#known.set(kernel, cost)
    return cost
  }

  /** Seconds of elementwise work that reads and writes so many bytes. */
  ofMoving(bytes: number): number {
    return kernelSeconds(0, bytes, this.#rates)
  }

  /** Seconds of a launch, or of each of the parts that it is cut into, by their iterations of its outermost loop. */
  secondsOf(
    region: LoweredRegion,
    parts: readonly { readonly begin: number; readonly end: number }[] | undefined,
  ): number[] {
    const whole = this.of(region).seconds
    const count = outermostLoop(region.kernel)?.count ?? 1
    return parts ? parts.map(({ begin, end }) => (whole * (end - begin)) / count) : [whole]
  }

  #chainedIn({ nest, kernel }: LoweredRegion): number {
    const known = this.#chained.get(kernel) ?? countKernel(nest).chained
    this.#chained.set(kernel, known)
    return known
  }

  /** Multiply-adds of a whole function. */
  multiplyAdds({ regions }: ScheduledFunction): number {
    return regions.reduce((sum, region) => sum + this.#chainedIn(region), 0)
  }
}
