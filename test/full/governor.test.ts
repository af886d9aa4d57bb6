// The governor under a clock of the test's own, on folders that play the operating system: what it reads, what it decides,
// how exactly it keeps a duty cycle, what it measures. Under the address and undefined-behaviour sanitizers. Needs g++.

import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, symlinkSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import fc from 'fast-check'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import { FakeSystem } from '../support/fakeSystem.ts'
import { GovernorProcess } from '../support/governorProcess.ts'
import { Reports, sanitizedChain } from '../support/sanitizedRun.ts'

describe('the governor', function () {
  this.timeout(300_000)
  const reports = new Reports()
  let governor: GovernorProcess
  let system: FakeSystem
  before(async () => {
    governor = await GovernorProcess.start(await sanitizedChain(new CompileCache(), 'address', reports))
  })
  after(async () => {
    assert.equal(await governor.end(), 0)
    reports.assertNone()
    reports.remove()
  })
  beforeEach(() => {
    system = new FakeSystem()
  })
  afterEach(() => system.close())

  const figures = async (): Promise<Readonly<Record<string, string>>> => governor.read(system.root)
  const shows = async (expected: Readonly<Record<string, string>>): Promise<void> => {
    const found = await figures()
    for (const [name, value] of Object.entries(expected)) assert.equal(found[name], value, name)
  }

  describe('reads', () => {
    it('nothing where there is nothing', async () => {
      const nothing = { battery: 'absent', charging: 'absent', temperature: 'absent', others: 'unreadable' }
      await shows({ ...nothing, power: '-1', stored: '-1' })
      assert.equal((await governor.read('/nowhere/at/all'))['battery'], 'absent')
    })

    it('a phone on its battery, and on its charger', async () => {
      system.phone(57, 'Discharging', 31.5)
      await shows({ battery: '570', charging: '0', temperature: '31500' })
      system.phone(57, 'Charging')
      await shows({ charging: '1' })
      system.phone(100, 'Full')
      await shows({ battery: '1000', charging: '1' })
      // Plugged in, but it does not say so otherwise.
      system.phone(80, 'Not charging')
      await shows({ charging: '0' })
    })

    it('a machine on mains alone', async () => {
      system.supply('AC', { type: 'Mains', online: 1 })
      await shows({ battery: 'absent', charging: '1' })
      system.supply('AC', { online: 0 })
      await shows({ charging: '0' })
    })

    it('two batteries by what each holds, and by their number where they do not say', async () => {
      system.supply('BAT0', { type: 'Battery', capacity: 10, status: 'Discharging' })
      system.supply('BAT1', { type: 'Battery', capacity: 90, status: 'Not charging' })
      await shows({ battery: '500', charging: '0' })
      system.supply('BAT0', { energy_full: 30_000_000 })
      await shows({ battery: '500' })
      system.supply('BAT1', { energy_full: 10_000_000 })
      await shows({ battery: '300' })
      system.supply('BAT1', { capacity: 'many' })
      await shows({ battery: '100' })
      system.supply('BAT0', { capacity: '' })
      await shows({ battery: 'unreadable' })
    })

    it('no battery of a mouse, of an empty bay or of a supply in the cellar', async () => {
      system.supply('hid', { type: 'Battery', scope: 'Device', capacity: 3, status: 'Discharging' })
      system.supply('BAT1', { type: 'Battery', present: 0, capacity: 0, status: 'Unknown' })
      system.supply('ups', { type: 'UPS', capacity: 2, status: 'Discharging' })
      await shows({ battery: 'absent', charging: 'absent' })
    })

    it('the hottest of the zones that can be read', async () => {
      system.zone(0, 'cpu', 51)
      system.zone(1, 'skin', 38.2)
      system.zone(2, 'modem', 'error')
      system.zone(3, 'off', -274)
      system.zone(4, 'mad', 2_147_483)
      system.write('sys/class/thermal/cooling_device0/temp', 99000)
      await shows({ temperature: '51000' })
      system.remove('sys/class/thermal/thermal_zone0')
      system.remove('sys/class/thermal/thermal_zone1')
      await shows({ temperature: 'unreadable' })
    })

    it('watts and watt-hours of batteries that discharge', async () => {
      system.phone(50, 'Discharging')
      system.supply('battery', { current_now: -500_000, voltage_now: 4_000_000, charge_now: 2_000_000 })
      await shows({ power: '2000000', stored: String(2_000_000 * 4 * 3600) })
      system.supply('battery', { power_now: 3_000_000, energy_now: 9_000_000 })
      await shows({ power: '3000000', stored: String(9_000_000 * 3600) })
      system.phone(50, 'Charging')
      await shows({ power: '-1', stored: '-1' })
    })

    for (const text of [
      '',
      '\n',
      '-',
      '--3',
      '3 4',
      '0x20',
      '1e2',
      '101',
      '-1',
      '9'.repeat(40),
      '5'.repeat(100_000),
      '\0',
    ]) {
      const shown = JSON.stringify(text.length > 50 ? `${text.slice(0, 8)}…` : text)
      it(`no charge in ${shown}`, async () => {
        system.phone(57, 'Discharging')
        system.write('sys/class/power_supply/battery/capacity', text)
        system.write('sys/class/power_supply/battery/status', text)
        system.write('sys/class/power_supply/usb/online', text === '101' ? '-7' : text)
        system.write('sys/class/thermal/thermal_zone0/temp', `${text}9`.repeat(30))
        await shows({ battery: 'unreadable', charging: 'unreadable', temperature: 'unreadable' })
      })
    }

    it('nothing from folders, pipes, loops and files that may not be read', async () => {
      const supply = join(system.root, 'sys/class/power_supply/battery')
      system.phone(57, 'Discharging')
      system.remove('sys/class/power_supply/battery/capacity')
      await shows({ battery: 'unreadable' })
      mkdirSync(join(supply, 'capacity'))
      await shows({ battery: 'unreadable' })
      system.remove('sys/class/power_supply/battery/capacity')
      execFileSync('mkfifo', [join(supply, 'capacity')])
      await shows({ battery: 'unreadable' })
      system.remove('sys/class/power_supply/battery/capacity')
      symlinkSync('capacity', join(supply, 'capacity'))
      await shows({ battery: 'unreadable' })
      system.write('sys/class/power_supply/strange', 'a file among the folders')
      system.remove('sys/class/power_supply/battery/capacity')
      system.supply('battery', { capacity: 57 })
      await shows({ battery: '570' })
      system.remove('sys/class/power_supply/battery')
      await shows({ battery: 'absent' })
      if (process.getuid?.() !== 0) {
        chmodSync(join(system.root, 'sys/class/power_supply'), 0)
        await shows({ battery: 'unreadable', charging: 'unreadable' })
      }
    })

    it('a directory with thousands of entries, and a root that is too long', async () => {
      for (let index = 0; index < 3000; index++) system.supply(`supply${index}`, {})
      const many = join(system.root, 'sys/class/thermal')
      for (let index = 0; index < 1000; index++) mkdirSync(join(many, `thermal_zone${index}`), { recursive: true })
      await shows({ battery: 'absent', temperature: 'absent' })
      assert.equal((await governor.read(`/${'r'.repeat(300)}`))['battery'], 'absent')
      assert.equal(await governor.set({ root: `/${'r'.repeat(300)}` }), 'names')
      assert.equal(await governor.set({ zone: 'z'.repeat(64) }), 'names')
    })
  })

  /** Gates as the program writes them. */
  const battery = 1
  const heat = 2
  const charger = 4
  const idle = 8
  const short = async (now: number, own = 0): Promise<string> => {
    const { wait, decisions } = await governor.stand(now, own)
    const told = decisions.map((line) => (/^\d+:(\S+ gates=\d+ unread=\d+)/.exec(line) ?? [])[1])
    return [...told, wait === 0 ? 'go' : `wait ${wait}`].join(', ')
  }
  const set = async (policy: Parameters<GovernorProcess['set']>[0]): Promise<void> => {
    assert.equal(await governor.set({ root: system.root, look: 1000, ...policy }), 'ok')
  }

  describe('holds', () => {
    it('below the battery floor, until it is two points above', async () => {
      system.phone(21, 'Discharging')
      await set({ batteryFloor: 0.2 })
      assert.equal(await short(100), 'begun>run gates=0 unread=0, go')
      system.phone(19, 'Discharging')
      assert.equal(await short(1099), 'go')
      assert.equal(await short(1100), `run>hold gates=${battery} unread=0, wait 1000`)
      assert.equal(await short(1600), 'wait 500')
      system.phone(21, 'Charging')
      assert.equal(await short(2100), 'wait 1000')
      system.phone(22, 'Charging')
      assert.equal(await short(3100), 'hold>run gates=0 unread=0, go')
      system.phone(20, 'Discharging')
      assert.equal(await short(4100), 'go')
    })

    it('above the ceiling, until it is three degrees below; of a zone by its name', async () => {
      system.zone(0, 'battery', 42.1)
      system.zone(1, 'cpu', 90)
      await set({ ceiling: 42, zone: 'battery' })
      assert.equal(await short(0), `begun>hold gates=${heat} unread=0, wait 1000`)
      system.zone(0, 'battery', 39.1)
      assert.equal(await short(1000), 'wait 1000')
      system.zone(0, 'battery', 39)
      assert.equal(await short(2000), 'hold>run gates=0 unread=0, go')
      system.zone(0, 'battery', 42)
      assert.equal(await short(3000), 'go')
    })

    it('without a charger, and tells when a second reason comes', async () => {
      system.phone(30, 'Discharging')
      await set({ onlyCharging: true, batteryFloor: 0.25 })
      assert.equal(await short(0), `begun>hold gates=${charger} unread=0, wait 1000`)
      system.phone(24, 'Discharging')
      assert.equal(await short(1000), `hold>hold gates=${charger + battery} unread=0, wait 1000`)
      system.phone(24, 'Charging')
      assert.equal(await short(2000), `hold>hold gates=${battery} unread=0, wait 1000`)
      system.phone(27, 'Charging')
      assert.equal(await short(3000), 'hold>run gates=0 unread=0, go')
    })

    it('while others use a quarter of the cores, our own work not counted', async () => {
      system.cores(1000, 1000)
      await set({ onlyIdle: true })
      // What others do is known at the second look.
      assert.equal(await short(0, 0), `begun>hold gates=0 unread=${idle}, wait 1000`)
      system.cores(1100, 1100)
      assert.equal(await short(1000, 1000), 'hold>run gates=0 unread=0, go')
      // 100 hundredths of a second, 70 of them ours.
      system.cores(1200, 1120)
      assert.equal(await short(2000, 1700), `run>hold gates=${idle} unread=0, wait 1000`)
      system.cores(1220, 1220)
      assert.equal(await short(3000, 1700), 'wait 1000')
      system.cores(1230, 1320)
      assert.equal(await short(4000, 1700), 'hold>run gates=0 unread=0, go')
    })

    it('as long as what is there cannot be read, and asks nothing of what is not', async () => {
      await set({ batteryFloor: 0.2, ceiling: 42, onlyCharging: true })
      assert.equal(await short(0), 'begun>run gates=0 unread=0, go')
      system.phone(21, 'Discharging')
      system.supply('battery', { capacity: 'none', status: 'Unknown' })
      system.zone(0, 'battery', 'none')
      system.remove('sys/class/power_supply/usb')
      assert.equal(await short(1000), `run>hold gates=0 unread=${battery + heat + charger}, wait 1000`)
      // Between floor and margin: it never was below.
      system.phone(21, 'Charging')
      assert.equal(await short(2000), 'hold>run gates=0 unread=0, go')
      system.remove('sys')
      assert.equal(await short(3000), 'go')
    })

    it('where a zone that is named is not there', async () => {
      await set({ ceiling: 42, zone: 'skin' })
      assert.equal(await short(0), `begun>hold gates=0 unread=${heat}, wait 1000`)
    })

    it('as the margin says, whatever comes (200 random walks)', async () => {
      const percent = fc.integer({ min: 0, max: 100 })
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 99 }), fc.array(percent, { maxLength: 20 }), async (floor, walk) => {
          await set({ batteryFloor: floor / 100 })
          let holds = false
          for (const [turn, charge] of walk.entries()) {
            system.supply('battery', { type: 'Battery', capacity: charge, status: 'Discharging' })
            holds = charge < floor || (holds && charge < Math.min(100, floor + 2))
            const { wait, decisions } = await governor.stand(turn * 1000)
            assert.equal(wait > 0, holds)
            assert.ok(decisions.length <= 1)
          }
        }),
        { numRuns: 200, seed: 5 },
      )
    })
  })

  describe('keeps a duty cycle', () => {
    it('to the share it is given, in kernels of any length', async () => {
      const kernels = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 2000, maxLength: 2000 })
      const duties = fc.integer({ min: 50, max: 1000 })
      await fc.assert(
        fc.asyncProperty(duties, kernels, async (duty, lengths) => {
          await set({ duty: duty / 1000, period: 1000, look: 5000 })
          let now = 0
          await governor.ask('enter 0')
          for (const length of lengths) {
            for (;;) {
              const { wait } = await governor.stand(now)
              if (wait === 0) break
              // Woken late, as on a busy machine.
              now += Math.ceil(wait) + (length % 7)
            }
            now += length
          }
          const { computing, resting } = await governor.measure(now)
          const share = computing / (computing + resting)
          assert.ok(Math.abs(share - duty / 1000) < 0.01, `${share} for ${duty / 1000}`)
        }),
        { numRuns: 4, seed: 3 },
      )
    })

    it('with rests between calls as well, and none after an end was asked for', async () => {
      await set({ duty: 0.5, period: 1000, look: 5000 })
      await governor.ask('enter 0')
      assert.equal(await short(0), 'begun>run gates=0 unread=0, go')
      assert.equal(await short(499), 'go')
      assert.equal(await short(600), 'run>rest gates=0 unread=0, wait 600')
      await governor.ask('leave 700')
      await governor.ask('enter 1100')
      assert.equal(await short(1100), 'wait 100')
      await governor.ask('hurry')
      assert.equal(await short(1150), 'rest>run gates=0 unread=0, go')
      assert.equal(await short(4000), 'go')
      const { computing, resting, held } = await governor.measure(4000)
      assert.deepEqual([computing, resting, held], [600 + 2850, 550, 0])
    })

    it('and holds in a rest', async () => {
      system.phone(50, 'Discharging')
      await set({ duty: 0.1, period: 1000, batteryFloor: 0.3, look: 200 })
      await governor.ask('enter 0')
      await short(0)
      assert.equal(await short(100), 'run>rest gates=0 unread=0, wait 100')
      system.phone(10, 'Discharging')
      assert.equal(await short(200), `rest>hold gates=${battery} unread=0, wait 200`)
      system.phone(50, 'Charging')
      assert.equal(await short(1600), 'hold>run gates=0 unread=0, go')
      const { computing, resting, held } = await governor.measure(1600)
      assert.deepEqual([computing, resting, held], [100, 100, 1400])
    })
  })

  describe('measures', () => {
    const nothing = { computing: 0, resting: 0, held: 0, joules: 0, unmeasured: 0, by: 0 }
    it("by the processor's counters, over their end and their beginning", async () => {
      system.package(0, 1_000_000)
      system.package(1, 9_000_000, 10_000_000)
      system.write('sys/class/powercap/intel-rapl:0:0/name', 'core')
      system.write('sys/class/powercap/intel-rapl:0:0/energy_uj', 77)
      system.write('sys/class/powercap/intel-rapl:2/name', 'psys')
      system.write('sys/class/powercap/intel-rapl:2/energy_uj', 77)
      await set({})
      await short(0)
      system.package(0, 3_500_000)
      system.package(1, 500_000, 10_000_000)
      const { joules, unmeasured, by } = await governor.measure(500)
      assert.deepEqual([joules, unmeasured, by], [2.5 + 1.5, 0, 1])
    })

    it('by batteries that discharge, and not while they are charged', async () => {
      system.phone(50, 'Discharging')
      system.supply('battery', { power_now: 2_000_000 })
      await set({})
      await short(0)
      system.supply('battery', { power_now: 4_000_000 })
      assert.deepEqual(await governor.measure(1000), { ...nothing, joules: 3, by: 2 })
      system.phone(50, 'Charging')
      assert.deepEqual(await governor.measure(2000), { ...nothing, joules: 3, unmeasured: 1000, by: 2 })
    })

    it('by gauges where nothing says watts', async () => {
      system.phone(50, 'Discharging')
      system.supply('battery', { energy_now: 1_000_000 })
      await set({})
      await short(0)
      system.supply('battery', { energy_now: 999_000 })
      assert.deepEqual(await governor.measure(1000), { ...nothing, joules: 3.6, by: 2 })
    })

    it('nothing where a counter comes, goes, is mad or is not allowed', async () => {
      await set({})
      await short(0)
      system.package(0, 5)
      assert.deepEqual(await governor.measure(10), { ...nothing, unmeasured: 10 })
      system.package(0, 'secret')
      assert.deepEqual(await governor.measure(20), { ...nothing, unmeasured: 20 })
      system.package(0, 1_000_005)
      assert.deepEqual(await governor.measure(30), { ...nothing, unmeasured: 30 })
      system.package(0, 5, 6)
      assert.deepEqual(await governor.measure(40), { ...nothing, unmeasured: 40 })
      system.package(0, 2_000_005)
      assert.deepEqual(await governor.measure(50), { ...nothing, unmeasured: 40, joules: 2, by: 1 })
      system.remove('sys/class/powercap/intel-rapl:0')
      assert.deepEqual(await governor.measure(60), { ...nothing, unmeasured: 50, joules: 2, by: 1 })
    })
  })

  describe('refuses', () => {
    for (const [policy, pattern] of [
      [{ duty: 0 }, /duty cycle/],
      [{ duty: 1.5 }, /duty cycle/],
      [{ period: 0 }, /period/],
      [{ batteryFloor: 1.5 }, /battery floor/],
      [{ ceiling: 300 }, /ceiling/],
      [{ look: 0 }, /look/],
    ] as const) {
      it(JSON.stringify(policy), async () => assert.match(await governor.set(policy), pattern))
    }

    it('what is no policy', async () => {
      for (const line of ['', 'off', '1 2 3', 'x '.repeat(20), '9'.repeat(50)]) {
        assert.notEqual(await governor.ask(`set ${line}`), 'ok')
      }
    })
  })
})
