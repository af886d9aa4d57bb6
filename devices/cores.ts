// Which kinds of cores Linux states: by the capacity that it schedules with, else by the highest clock. Reads sysfs and
// decides nothing about a run.

import { readFileSync } from 'node:fs'
import path from 'node:path'
import { MOST_CORES } from './profile.ts'
import type { CoreKind } from './profile.ts'

/** Cores of one kind differ by less: makers sort the best ones out for a slightly higher clock. */
const SAME_KIND = 0.9

/**
 * Kinds of the cores that a process may run on, fastest first, all of them used up to 64. `available` is their number;
 * where sysfs does not speak of just as many there is one kind.
 */
export function coreKinds(
  available: number,
  system = '/sys/devices/system/cpu',
  status = '/proc/self/status',
): { readonly kinds: CoreKind[]; readonly basis: string } {
  for (const [file, basis] of [
    ['cpu_capacity', 'the capacities in sysfs'],
    ['cpufreq/cpuinfo_max_freq', 'the highest clocks in sysfs'],
  ] as const) {
    const speeds = allowedCores(status).map((core) => readNumber(path.join(system, `cpu${core}`, file)))
    if (speeds.length !== available || !speeds.every((speed) => speed !== undefined)) continue
    return { kinds: kindsOf(speeds), basis: `kinds of cores by ${basis}` }
  }
  return { kinds: withUse([['big', available]]), basis: 'one kind of cores, since sysfs tells none apart' }
}

/** Kinds by speed: the fastest is `big`, the slowest `little`, what lies between `middle`. */
function kindsOf(speeds: readonly number[]): CoreKind[] {
  const counts: { fastest: number; count: number }[] = []
  for (const speed of speeds.toSorted((a, b) => b - a)) {
    const last = counts.at(-1)
    if (last && speed > SAME_KIND * last.fastest) last.count++
    else counts.push({ fastest: speed, count: 1 })
  }
  const between = counts.slice(1, -1).reduce((sum, { count }) => sum + count, 0)
  const rows: [CoreKind['kind'], number][] = [
    ['big', counts[0]?.count ?? 0],
    ['middle', between],
    ['little', counts.length > 1 ? (counts.at(-1)?.count ?? 0) : 0],
  ]
  return withUse(rows.filter(([, count]) => count > 0))
}

function withUse(rows: readonly (readonly [CoreKind['kind'], number])[]): CoreKind[] {
  let left = MOST_CORES
  return rows.map(([kind, count]) => {
    const used = Math.min(left, count)
    left -= used
    return { kind, count, used }
  })
}

/** Numbers of the cores that this process may run on: `Cpus_allowed_list: 0-3,8`. */
function allowedCores(status: string): number[] {
  const list = /^Cpus_allowed_list:\s*([\d,-]{1,1000})$/m.exec(readText(status) ?? '')?.[1] ?? ''
  return list
    .split(',')
    .filter((range) => range !== '')
    .flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number)
      return Array.from({ length: Math.min(1024, Math.max(0, last - first + 1)) }, (_, index) => first + index)
    })
}

function readNumber(file: string): number | undefined {
  const value = Number(readText(file)?.trim() || NaN)
  return value > 0 ? value : undefined
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
