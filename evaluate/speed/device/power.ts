// What the system's counters say of energy: joules of the processor's packages (RAPL, through Linux's powercap), and what the
// battery holds. Where there is no counter, the reason as a sentence.

import fs from 'node:fs'
import path from 'node:path'

export interface EnergyCounters {
  /** Joules of all packages since some moment; they go round at `range` each. */
  read(): readonly number[]
  /** Watts between two readings, `seconds` apart. */
  watts(before: readonly number[], after: readonly number[], seconds: number): number
}

function numberIn(file: string): number | undefined {
  const value = Number(fs.readFileSync(file, 'utf8').trim() || NaN)
  return Number.isFinite(value) ? value : undefined
}

/** Counters of the packages, or why there are none. */
export function energyCounters(folder = '/sys/class/powercap'): EnergyCounters | string {
  let zones: string[]
  try {
    // `intel-rapl:0` is a package (on AMD as well); `intel-rapl:0:0` is a part of one.
    zones = fs.readdirSync(folder).filter((name) => /^intel-rapl:\d+$/.test(name))
  } catch {
    zones = []
  }
  try {
    const packages = zones
      .map((zone) => path.join(folder, zone))
      .filter((zone) => fs.readFileSync(path.join(zone, 'name'), 'utf8').startsWith('package'))
    if (packages.length === 0) return 'this system has no energy counters (RAPL)'
    const ranges = packages.map((zone) => (numberIn(path.join(zone, 'max_energy_range_uj')) ?? Infinity) / 1e6)
    const read = (): readonly number[] => packages.map((zone) => (numberIn(path.join(zone, 'energy_uj')) ?? NaN) / 1e6)
    if (read().some(Number.isNaN)) return 'the energy counters (RAPL) hold no numbers'
    return {
      read,
      watts: (before, after, seconds) => {
        const joules = after.map((joule, index) => {
          const gone = joule - (before[index] ?? NaN)
          return gone < 0 ? gone + (ranges[index] ?? NaN) : gone
        })
        return joules.reduce((sum, joule) => sum + joule, 0) / seconds
      },
    }
  } catch {
    return 'the energy counters (RAPL) may be read by root only'
  }
}

/** Watt-hours that the batteries were made for, or why there is no figure. */
export function batteryWattHours(folder = '/sys/class/power_supply'): number | string {
  let names: string[]
  try {
    names = fs.readdirSync(folder)
  } catch {
    return 'this system states no battery'
  }
  const capacities = names.map((name) => capacityOf(path.join(folder, name))).filter((one) => one !== undefined)
  const sum = capacities.reduce((all, one) => all + one, 0)
  return sum > 0 ? sum : 'this system states no battery'
}

/** Of a supply that feeds this machine: a mouse has a battery too. */
function capacityOf(supply: string): number | undefined {
  const read = (name: string): string => {
    try {
      return fs.readFileSync(path.join(supply, name), 'utf8').trim()
    } catch {
      return ''
    }
  }
  if (read('type') !== 'Battery' || read('scope') === 'Device') return undefined
  const micro = (name: string): number => Number(read(name) || NaN) / 1e6
  const stated = micro('energy_full_design')
  const computed = micro('charge_full_design') * micro('voltage_min_design')
  const wattHours = Number.isFinite(stated) ? stated : computed
  return wattHours > 0 && Number.isFinite(wattHours) ? wattHours : undefined
}
