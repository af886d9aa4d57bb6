// One function after another as a single one: kernels of the first run as late as the second allows, so that what they move between
// storage and memory is on its way while the second computes. Knows what kernels read and write, not what they compute.

import { InternalError } from '../diagnostic.ts'
import type { Node } from '../graph/node.ts'
import type { LoweredRegion } from './lowering.ts'
import type { ScheduledFunction } from './schedule.ts'

/** What a kernel reads and writes of declared values, and which results of other kernels it needs or makes. */
interface Touched {
  readonly region: LoweredRegion
  readonly reads: ReadonlySet<string>
  readonly writes: ReadonlySet<string>
  readonly needs: ReadonlySet<Node>
  readonly makes: ReadonlySet<Node>
}

/**
 * The function `name` that does what `first` does, function by function, and then what `second` does. Kernels of `second` keep their
 * order; each kernel of `first` stands before the first of them that reads or overwrites what it writes, or overwrites what it reads.
 */
export function interleave(
  name: string,
  first: readonly ScheduledFunction[],
  second: ScheduledFunction,
): ScheduledFunction {
  const functions = [...first, second]
  const before = first.flatMap(touchedOf)
  const after = touchedOf(second)
  refuseShared(before, after)
  const waiting = new Set(before)
  const regions: LoweredRegion[] = []
  const put = (one: Touched): void => {
    if (!waiting.delete(one)) return
    for (const other of before) {
      if (other === one) break
      if (mustPrecede(other, one)) put(other)
    }
    regions.push(one.region)
  }
  for (const one of after) {
    for (const other of before) if (mustPrecede(other, one)) put(other)
    regions.push(one.region)
  }
  for (const one of before) put(one)
  const owner = new Map(functions.flatMap((fn) => fn.regions.map(({ region }) => [region, fn] as const)))
  return {
    fn: { name, outputs: second.fn.outputs, writes: functions.flatMap(({ fn }) => fn.writes) },
    regions,
    targets: new Map(functions.flatMap(({ targets }) => [...targets])),
    layout: second.layout,
    lowerAgain: (region, profile) => (owner.get(region) ?? second).lowerAgain(region, profile),
  }
}

function touchedOf({ regions, targets }: ScheduledFunction): Touched[] {
  return regions.map((region) => {
    const { nodes } = region.region
    const writes = new Set(nodes.flatMap((node) => targets.get(node) ?? []))
    return { region, reads: region.reads.declared, writes, needs: region.reads.nodes, makes: new Set(nodes) }
  })
}

function mustPrecede(one: Touched, other: Touched): boolean {
  return (
    share(one.writes, other.reads) ||
    share(one.writes, other.writes) ||
    share(one.reads, other.writes) ||
    share(one.makes, other.needs)
  )
}

function share<Item>(one: ReadonlySet<Item>, other: ReadonlySet<Item>): boolean {
  for (const item of one) if (other.has(item)) return true
  return false
}

/** A result has one place: that of equal nodes would be one, though they read declared values at different times. */
function refuseShared(before: readonly Touched[], after: readonly Touched[]): void {
  const needed = new Set(before.flatMap(({ needs }) => [...needs]))
  for (const { region, needs } of after) {
    if (share(needs, needed))
      throw new InternalError(`a kernel of ${region.region.kind} needs what one of the function before it makes`)
  }
}
