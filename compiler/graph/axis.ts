// Axes and dtypes: the only shapes Heddle knows. An axis is an object; within one graph its name is unique.
// Knows nothing of operations.

export type DType = 'f32' | 'f16' | 'bf16' | 'i32' | 'bool'

export const dtypeBytes: Record<DType, number> = { f32: 4, f16: 2, bf16: 2, i32: 4, bool: 4 }

/**
 * A named axis. `size` is its extent, or for a `dynamic` one the bound that memory is planned for: the extent of a step
 * is then a run-time number from 1 to `size`, one per dynamic `extent` name (`seq` and the `key` renamed from it share
 * the extent `seq`).
 */
export interface Axis {
  readonly name: string
  readonly size: number
  /** The name of the run-time extent, when the extent is only known when the program runs. */
  readonly extent?: string
  /** Declaration order within the graph; `batch`, then `seq`, come first by convention of the language. */
  readonly order: number
}

/**
 * Canonical order: declaration, behind the axes that have one place at most. Layouts of everything but parameters follow
 * it; an axis without neighbours lies outermost, so that kernels never run along it.
 */
export function sortAxes(axes: Iterable<Axis>): Axis[] {
  const list = [...axes]
  // Most are sorted, and a compilation asks some million times.
  if (list.every((axis, index) => index === 0 || byOrder(list[index - 1] as Axis, axis) < 0)) return list
  return [...new Set(list)].sort(byOrder)
}

function byOrder(a: Axis, b: Axis): number {
  return Number(a.size > 1) - Number(b.size > 1) || a.order - b.order
}

export function unionAxes(...lists: readonly (readonly Axis[])[]): Axis[] {
  const union: Axis[] = []
  for (const list of lists) for (const axis of list) if (!union.includes(axis)) union.push(axis)
  return sortAxes(union)
}

export function withoutAxes(axes: readonly Axis[], removed: readonly Axis[]): Axis[] {
  return axes.filter((axis) => !removed.includes(axis))
}

export function hasAxes(axes: readonly Axis[], wanted: readonly Axis[]): boolean {
  return wanted.every((axis) => axes.includes(axis))
}

export function sameAxes(a: readonly Axis[], b: readonly Axis[]): boolean {
  return a.length === b.length && hasAxes(a, b)
}

export function elementCount(axes: readonly Axis[]): number {
  return axes.reduce((product, axis) => product * axis.size, 1)
}

export function axisNames(axes: readonly Axis[]): string {
  return axes.length === 0 ? 'scalar' : axes.map((axis) => axis.name).join(', ')
}
