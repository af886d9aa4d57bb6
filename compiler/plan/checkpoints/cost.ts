// What a kernel costs by a device's figures: the longer one of computing and of moving bytes. Counts, not times that were
// measured.

import type { Kernel } from '../../kernel/ir.ts'
import { countKernel, kernelTraffic } from '../../kernel/traffic.ts'
import type { LoweredRegion } from '../../schedule/lowering.ts'
import type { ScheduledFunction } from '../../schedule/schedule.ts'

/** What a device does at best, all threads together. */
export interface Rates {
  readonly flopsPerSecond: number
  readonly bytesPerSecond: number
}

/** Of two x86-64 cores with AVX2, in round numbers: only their ratio has a part in what is chosen. */
export const usualRates: Rates = { flopsPerSecond: 1e11, bytesPerSecond: 1.5e10 }

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
    const { read, written } = kernelTraffic(nest, 0).compulsory
    const { flopsPerSecond, bytesPerSecond } = this.#rates
    const seconds = Math.max((2 * multiplyAdds) / flopsPerSecond, (read + written) / bytesPerSecond)
    const cost = { seconds, multiplyAdds: chained }
    this.#known.set(kernel, cost)
    return cost
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
