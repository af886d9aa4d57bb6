// A recipe's limits on energy, in the governor's words and back: policies, reasons for people, figures of steps, lines of
// metrics. No program runs; what the governor decides is in test/full.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { Decision, EnergyUse, GovernorPolicy, Session } from '../../backends/neon/driver/index.ts'
import { DecisionReader, governCommand } from '../../backends/neon/driver/governor.ts'
import { InternalError, UserError } from '../../compiler/diagnostic.ts'
import { celsius } from '../../dsl/index.ts'
import type { Energy } from '../../dsl/index.ts'
import { energyFigures, energySettings, GovernedSession, idleLimits, reasonsOf } from '../../train/energy.ts'
import { policyOf, refuseUngoverned } from '../../train/energy.ts'
import type { DecisionFigures } from '../../train/energy.ts'
import { MetricsFile } from '../../train/metrics.ts'
import { temporaryDirectory } from '../bin/support.ts'

const none: Energy = { dutyCycle: 1, whenCharging: false, whenIdle: false, lookEvery: 5 }
const all: Energy = {
  dutyCycle: 0.8,
  pauseBelowBattery: 0.2,
  pauseAbove: celsius(42, 'skin'),
  whenCharging: true,
  whenIdle: true,
  lookEvery: 2.5,
}
const decision: Decision = {
  milliseconds: 1234,
  from: 'run',
  to: 'hold',
  gates: [],
  unread: [],
  rest: 0,
  battery: 0.184,
  charging: 0,
  temperature: 43.07,
  others: 0.4,
}

describe('limits on energy', () => {
  it('are the policy of the governor', () => {
    assert.deepEqual(policyOf({ energy: none }), { duty: 1, onlyCharging: false, onlyIdle: false, look: 5000 })
    const policy = policyOf({ energy: all, root: '/a b' })
    assert.deepEqual(policy, {
      duty: 0.8,
      batteryFloor: 0.2,
      ceiling: 42,
      zone: 'skin',
      onlyCharging: true,
      onlyIdle: true,
      look: 2500,
      root: '/a b',
    })
    assert.equal(governCommand(policy), 'govern 800 10000 200 20 42000 3000 1 1 250 100 2500 skin /a b\n')
    assert.equal(governCommand({}), 'govern 1000 10000 0 20 0 3000 0 0 250 100 5000 - \n')
    assert.equal(governCommand(undefined), 'govern off\n')
    const wrong: GovernorPolicy[] = [{ zone: '' }, { zone: 'a\nb' }, { root: 'a\nstats' }, { root: '\0' }]
    for (const one of wrong) assert.throws(() => governCommand(one), InternalError)
  })

  it('may be added to where a run is started', () => {
    assert.equal(energySettings(undefined), undefined)
    assert.equal(energySettings(undefined, { root: '/x', watts: 4 }), undefined)
    assert.deepEqual(energySettings(all, { watts: 4 }), { energy: all, watts: 4 })
    assert.deepEqual(energySettings(all, { dutyCycle: 0.5 }), { energy: { ...all, dutyCycle: 0.5 } })
    assert.deepEqual(energySettings(undefined, { dutyCycle: 0.5 }), { energy: { ...none, dutyCycle: 0.5 } })
  })

  it('are refused where nothing can keep them', () => {
    refuseUngoverned({ energy: none }, 'host')
    const refused = (error: unknown): boolean => error instanceof UserError && error.code === 'HD716'
    assert.throws(() => refuseUngoverned({ energy: none }, 'wasm'), refused)
    assert.throws(() => refuseUngoverned({}, 'wasm'), refused)
  })

  it('that are not kept are told as reasons', () => {
    const reasons = (change: Partial<Decision>): string[] => reasonsOf({ ...decision, ...change }, all)
    assert.deepEqual(reasons({ gates: ['battery', 'temperature', 'charging', 'idle'] }), [
      'battery 18.4 % < 20 %, not charging',
      '43.1 °C > 42 °C',
      'no power from outside',
      'others use 40 % of the cores',
    ])
    assert.deepEqual(reasons({ gates: ['battery', 'temperature'], battery: 0.21, temperature: 40, charging: 1 }), [
      'battery 21 %, goes on from 22 %, charging',
      '40 °C, goes on from 39 °C',
    ])
    assert.deepEqual(reasons({ gates: ['battery'], charging: 'unreadable' }), ['battery 18.4 % < 20 %'])
    const unreadable = { battery: 'unreadable', charging: 'unreadable', temperature: 'unreadable' } as const
    assert.deepEqual(
      reasons({ gates: ['battery'], unread: ['battery', 'temperature', 'charging', 'idle'], ...unreadable }),
      [
        "the battery's charge cannot be read",
        "the temperature of a zone 'skin' cannot be read",
        'whether power comes from outside cannot be read',
        'what others use of the cores is not known yet',
      ],
    )
    assert.deepEqual(reasonsOf({ ...decision, unread: ['temperature'] }, { ...all, pauseAbove: celsius(42) }), [
      'the temperature cannot be read',
    ])
  })

  it('that limit nothing here are told', () => {
    const absent = { battery: 'absent', charging: 'absent', temperature: 'absent' } as const
    assert.equal(idleLimits({ ...decision, ...absent }, all).length, 3)
    assert.deepEqual(idleLimits({ ...decision, ...absent }, none), [])
    assert.deepEqual(idleLimits(decision, all), [])
  })
})

describe('decisions of the governor', () => {
  const line = {
    event: 'decision',
    number: 1,
    milliseconds: 5,
    from: 'begun',
    to: 'hold',
    gates: 5,
    unread: 2,
    rest: 0,
  }
  const figures = { battery: 184, charging: 'absent', temperature: 'unreadable', others: 0 }

  it('are read off their lines', () => {
    assert.deepEqual(new DecisionReader().read({ ...line, ...figures }), {
      milliseconds: 5,
      from: 'begun',
      to: 'hold',
      gates: ['battery', 'charging'],
      unread: ['temperature'],
      rest: 0,
      battery: 0.184,
      charging: 'absent',
      temperature: 'unreadable',
      others: 0,
    })
  })

  it('are missed when one is missing', () => {
    const reader = new DecisionReader()
    reader.read({ ...line, ...figures })
    assert.throws(() => reader.read({ ...line, ...figures, number: 3 }), /decision 2 of the governor is lost/)
  })
})

describe('energy of steps', () => {
  const use: EnergyUse = { computing: 1000, resting: 500, held: 100, joules: 7, unmeasured: 20, by: 'battery' }
  const before: EnergyUse = { computing: 0, resting: 0, held: 0, joules: 0, unmeasured: 0, by: 'nothing' }

  it('is measured where all of the time is, and predicted from watts beside it', () => {
    const times = { computing_seconds: 1, resting_seconds: 0.5, held_seconds: 0.1 }
    assert.deepEqual(energyFigures(before, use, undefined), times)
    assert.deepEqual(energyFigures(before, use, 3), { ...times, predicted_joules: 3 })
    assert.deepEqual(energyFigures(before, { ...use, unmeasured: 0 }, 3), {
      ...times,
      measured_joules: 7,
      measured_by: 'battery',
      predicted_joules: 3,
    })
    assert.deepEqual(energyFigures(before, { ...use, unmeasured: 0, by: 'nothing' }, undefined), times)
    const more = { ...use, computing: 3000, joules: 11 }
    assert.equal(energyFigures(use, more, undefined).measured_joules, 4)
    assert.equal(energyFigures(use, more, undefined).computing_seconds, 2)
  })

  it('is asked for once a second, and at the end', async () => {
    let asked = 0
    const session = {
      govern: async (_: GovernorPolicy, tell?: (one: Decision) => void) => {
        tell?.({ ...decision, from: 'begun', to: 'run', battery: 'absent' })
        tell?.({ ...decision, to: 'rest', rest: 1500 })
        tell?.({ ...decision, gates: ['battery'] })
      },
      energy: async () => ({ ...use, computing: 1000 * ++asked, unmeasured: 0 }),
    } as unknown as Session
    const notes: string[] = []
    const decided: DecisionFigures[] = []
    const observer = { note: (text: string) => notes.push(text), decided: (one: DecisionFigures) => decided.push(one) }
    const governed = new GovernedSession(session, { energy: all, watts: 2 }, observer as never, 10)
    await governed.begin()
    assert.deepEqual(notes, ['this machine shows no battery, so pauseBelowBattery limits nothing'])
    assert.deepEqual(
      decided.map(({ step, decision: to, from, reasons, rest_seconds: rest, look_seconds: look }) => [step, to, from, reasons, rest, look]), // prettier-ignore
      [
        [10, 'run', 'begun', [], undefined, undefined],
        [10, 'rest', 'run', [], 1.5, undefined],
        [10, 'hold', 'run', ['battery 18.4 % < 20 %, not charging'], undefined, 2.5],
      ],
    )
    assert.equal(await governed.measured(11, false), undefined)
    assert.equal(await governed.measured(12, false), undefined)
    assert.deepEqual([(await governed.measured(13, true))?.steps, asked], [3, 1])
    assert.equal(await governed.measured(13, true), undefined)
    const last = await governed.measured(14, true)
    assert.deepEqual([last?.step, last?.steps, last?.computing_seconds, last?.predicted_joules], [14, 1, 1, 2])
    await governed.end()
  })

  it('stands in metrics.jsonl, where a run that goes on finds its place', () => {
    const dir = temporaryDirectory()
    const step = { loss: 1, gradient_norm: 1, rate: 1, tokens: 1, seconds: 1, peak_bytes: 1 }
    const held = { ...decision, step: 1, decision: 'hold', reasons: [], time: '', from: 'run' } as const
    const used = { step: 1, steps: 1, computing_seconds: 1, resting_seconds: 0, held_seconds: 0 }
    const file = new MetricsFile(dir)
    file.energy({ ...held, step: 0 })
    file.step({ step: 1, ...step })
    file.energy(used)
    file.energy(held)
    file.step({ step: 2, ...step })
    file.energy({ ...used, step: 2 })
    file.close()
    const linesIn = (): number => fs.readFileSync(path.join(dir, 'metrics.jsonl'), 'utf8').trimEnd().split('\n').length
    assert.equal(linesIn(), 6)
    const again = new MetricsFile(dir, {}, 1)
    assert.deepEqual(again.figures.steps, [{ step: 1, ...step }])
    again.close()
    // What was decided after the step that was saved belongs to it.
    assert.equal(linesIn(), 4)
  })
})
