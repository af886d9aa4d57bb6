// What is read of energy and storage when a machine is measured: counters that go round, batteries of a mouse, folders that
// are no storage or have no room.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { batteryWattHours, energyCounters } from '../../evaluate/speed/device/power.ts'
import { efforts, measureStorage } from '../../evaluate/speed/device/storage.ts'
import { temporaryDirectory } from '../bin/support.ts'

function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = temporaryDirectory()
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    fs.writeFileSync(path.join(folder, name), `${text}\n`)
  }
  return folder
}

describe('energy counters', () => {
  it('are the packages, summed, and may go round', () => {
    const folder = folderOf({
      'intel-rapl:0/name': 'package-0',
      'intel-rapl:0/energy_uj': '5000000',
      'intel-rapl:0/max_energy_range_uj': '10000000',
      'intel-rapl:0:0/name': 'core',
      'intel-rapl:0:0/energy_uj': '1',
      'intel-rapl:1/name': 'package-1',
      'intel-rapl:1/energy_uj': '9000000',
      'intel-rapl:1/max_energy_range_uj': '10000000',
      'intel-rapl:2/name': 'psys',
      'intel-rapl:2/energy_uj': '1',
    })
    const counters = energyCounters(folder)
    if (typeof counters === 'string') return assert.fail(counters)
    const before = counters.read()
    assert.deepEqual(before, [5, 9])
    fs.writeFileSync(path.join(folder, 'intel-rapl:0/energy_uj'), '8000000')
    fs.writeFileSync(path.join(folder, 'intel-rapl:1/energy_uj'), '2000000')
    assert.equal(counters.watts(before, counters.read(), 2), (3 + 3) / 2)
    return undefined
  })

  it('are absent with a reason', () => {
    assert.equal(energyCounters('/nowhere'), 'this system has no energy counters (RAPL)')
    assert.equal(energyCounters(folderOf({ 'dtpm/name': 'x' })), 'this system has no energy counters (RAPL)')
    const withoutNumbers = folderOf({
      'intel-rapl:0/name': 'package-0',
      'intel-rapl:0/energy_uj': 'many',
      'intel-rapl:0/max_energy_range_uj': '10000000',
    })
    assert.equal(energyCounters(withoutNumbers), 'the energy counters (RAPL) hold no numbers')
    const unreadable = folderOf({ 'intel-rapl:0/name': 'package-0' })
    assert.equal(energyCounters(unreadable), 'the energy counters (RAPL) may be read by root only')
  })
})

describe('batteries', () => {
  it('are those of the machine, by energy or by charge and voltage', () => {
    const folder = folderOf({
      'BAT0/type': 'Battery',
      'BAT0/energy_full_design': '50000000',
      'BAT1/type': 'Battery',
      'BAT1/charge_full_design': '2000000',
      'BAT1/voltage_min_design': '10000000',
      'mouse/type': 'Battery',
      'mouse/scope': 'Device',
      'mouse/energy_full_design': '1000000',
      'AC/type': 'Mains',
    })
    assert.equal(batteryWattHours(folder), 70)
  })

  it('are absent with a reason', () => {
    for (const folder of ['/nowhere', folderOf({ 'AC/type': 'Mains', 'BAT0/type': 'Battery' })]) {
      assert.equal(batteryWattHours(folder), 'this system states no battery')
    }
  })
})

describe('storage', () => {
  const none = (): void => {}

  it('is not measured where there is no room or no folder', async () => {
    const chain = await chooseToolChain('auto')
    const folder = temporaryDirectory()
    const huge = { ...efforts.quick, fileBytes: 2 ** 50 }
    await assert.rejects(
      measureStorage(chain, folder, huge, none),
      /there are \d+ MiB free, and measuring storage wants \d+/,
    )
    await assert.rejects(measureStorage(chain, path.join(folder, 'x'), efforts.quick, none), { code: 'HD405' })
    assert.deepEqual(fs.readdirSync(folder), [])
  })

  it('is not what lies in memory', async () => {
    // Linux has this folder; elsewhere there is nothing to be mistaken for storage.
    if (process.platform !== 'linux' || !fs.existsSync('/dev/shm')) return
    const found = await measureStorage(
      await chooseToolChain('auto'),
      '/dev/shm',
      { ...efforts.quick, fileBytes: 0 },
      none,
    )
    assert.equal(found, 'the folder is in memory, not in storage; --folder names another one')
  })
})
