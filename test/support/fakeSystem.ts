// A folder that looks like /sys and /proc to the governor: batteries, chargers, thermal zones, counters. Only for tests.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

type Files = Readonly<Record<string, string | number>>

export class FakeSystem {
  readonly root = mkdtempSync(join(tmpdir(), 'heddle-system-'))

  /** Replaces a file as a whole, so that nobody reads half of one. */
  write(path: string, text: string | number): void {
    const file = join(this.root, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(`${file}.new`, `${text}\n`)
    renameSync(`${file}.new`, file)
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true, force: true })
  }

  has(path: string): boolean {
    return existsSync(join(this.root, path))
  }

  supply(name: string, files: Files): void {
    for (const [file, text] of Object.entries(files)) this.write(`sys/class/power_supply/${name}/${file}`, text)
  }

  /** As a phone names them; charge in percent. */
  phone(capacity: number, status: 'Charging' | 'Discharging' | 'Full' | 'Not charging', degrees = 30): void {
    this.supply('battery', { type: 'Battery', scope: 'System', present: 1, capacity, status })
    this.supply('usb', { type: 'USB', online: status === 'Charging' || status === 'Full' ? 1 : 0 })
    this.zone(0, 'battery', degrees)
  }

  zone(index: number, type: string, degrees: number | string): void {
    this.write(`sys/class/thermal/thermal_zone${index}/type`, type)
    this.write(
      `sys/class/thermal/thermal_zone${index}/temp`,
      typeof degrees === 'number' ? Math.round(degrees * 1000) : degrees,
    )
  }

  /** Hundredths of seconds of all cores since the machine was started. */
  cores(busy: number, idle: number): void {
    this.write('proc/stat', `cpu  ${busy} 0 0 ${idle} 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0`)
  }

  package(index: number, microjoules: number | string, range = 262143328850): void {
    const folder = `sys/class/powercap/intel-rapl:${index}`
    this.write(`${folder}/name`, `package-${index}`)
    this.write(`${folder}/max_energy_range_uj`, range)
    this.write(`${folder}/energy_uj`, microjoules)
  }

  close(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}
