// Governed steps and runs on the host: rests and holds in the middle of a step change no bit, a hold is answered to, what
// was made before it is saved, and every decision and joule is written down. On folders that play the operating system.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Abandoned } from '../../backends/neon/driver/index.ts'
import type { Decision, GovernorPolicy, SessionOptions } from '../../backends/neon/driver/index.ts'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { Energy } from '../../dsl/index.ts'
import type { LoopObserver } from '../../train/loop.ts'
import { eventsOf, startHeddle, tinyProject, writeRecipe } from '../bin/support.ts'
import { FakeSystem } from '../support/fakeSystem.ts'
import { hostChain } from '../support/nativeChains.ts'
import { oracleCase } from '../support/oracle.ts'
import { hashOfResult, prepareRun, trainPrepared } from '../support/preparedRun.ts'
import type { PreparedRun } from '../support/preparedRun.ts'
import { hashState, openTrainCase } from '../support/trainCase.ts'
import type { TrainCase } from '../support/trainCase.ts'

const cache = new CompileCache()
const steps = 6
/** Longer than anything here takes when it is not held. */
const patience = 400

/** Stopped for a while, so that it is not just slow. */
async function isStill(work: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([work.then(() => 'done'), wait(patience, 'still')])) === 'still'
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 20_000; tries++) {
    if (condition()) return
    await wait(5)
  }
  assert.fail(`it did not come to that: ${what}`)
}

describe('a governed step', function () {
  this.timeout(300_000)
  let system: FakeSystem
  let expected = ''
  const told: Decision[] = []
  const tell = (decision: Decision): void => void told.push(decision)
  const moves = (): string => told.map(({ to }) => to).join(' ')

  const open = async (options: Partial<SessionOptions> = {}): Promise<TrainCase> =>
    openTrainCase(oracleCase('qwen2-small/full'), {
      toolchain: await hostChain(cache, { command: 'g++', isa: 'avx2' }),
      threads: 2,
      optimise: 'light',
      functions: ['accumulate', 'measure', 'apply'],
      ...options,
    })
  const governed = async (
    policy: GovernorPolicy,
    work: (one: TrainCase) => Promise<void>,
    options: Partial<SessionOptions> = {},
  ): Promise<string> => {
    const one = await open(options)
    try {
      await one.session.govern({ root: system.root, look: 1, ...policy }, tell)
      await work(one)
      return await hashState(one)
    } finally {
      await one.session.close()
    }
  }
  const makeSteps = async (one: TrainCase): Promise<void> => {
    for (let step = 0; step < steps; step++) await one.step()
  }

  before(async () => {
    const one = await open()
    await makeSteps(one)
    expected = await hashState(one)
    await one.session.close()
  })
  beforeEach(() => {
    system = new FakeSystem()
    told.length = 0
  })
  afterEach(() => system.close())

  for (const duty of [0.25, 0.6]) {
    it(`has the same bits with a duty cycle of ${duty}, which it keeps`, async () => {
      await governed({ duty, period: 4 }, async (one) => {
        await makeSteps(one)
        assert.equal(await hashState(one), expected)
        // As long as it takes for a rest more or less to be no matter, however fast steps are.
        let figures = await one.session.energy()
        while (figures.computing < 0.1) {
          await one.step()
          figures = await one.session.energy()
        }
        const { computing, resting, held } = figures
        assert.equal(held, 0)
        // Generous: the last rest may be ahead, and machines are shared.
        const share = computing / (computing + resting)
        assert.ok(share > duty * 0.7 && share < duty * 1.5, `${share}`)
      })
      assert.match(moves(), /^run rest run/)
    })
  }

  it('is held in the middle when the battery falls below the floor, and goes on to the same bits', async () => {
    system.phone(50, 'Discharging')
    const hash = await governed({ batteryFloor: 0.2 }, async (one) => {
      await one.step()
      for (let step = 1; step < steps; step++) {
        // Stopped between two kernels in the middle of the step, so that the battery falls there and nowhere else.
        one.session.pause(7 * step)
        const made = one.step()
        assert.equal(await one.session.paused(), true)
        const before = told.length
        system.phone(19, 'Discharging')
        await wait(5)
        one.session.resume()
        await until(() => told.length > before, 'held')
        assert.equal(await isStill(made), true)
        assert.deepEqual(
          told.slice(before).map(({ from, to, gates, battery, charging }) => ({ from, to, gates, battery, charging })),
          [{ from: 'run', to: 'hold', gates: ['battery'], battery: 0.19, charging: 0 }],
        )
        system.phone(50, 'Charging')
        await made
      }
      const { held } = await one.session.energy()
      assert.ok(held >= (steps - 1) * patience)
    })
    assert.equal(hash, expected)
    assert.equal(moves(), `run${' hold run'.repeat(steps - 1)}`)
  })

  it('has the same bits whenever it is held, with a duty cycle besides', async () => {
    system.phone(50, 'Discharging')
    const policy = { batteryFloor: 0.2, onlyCharging: false, ceiling: 40, duty: 0.5, period: 10 }
    const hash = await governed(policy, async (one) => {
      let isMade = false
      const made = makeSteps(one).then(() => (isMade = true))
      for (let turn = 0; !isMade; turn++) {
        system.phone(turn % 2 === 0 ? 19 : 50, 'Discharging', turn % 3 === 0 ? 41 : 30)
        await wait(turn % 5)
      }
      await made
    })
    assert.equal(hash, expected)
    assert.ok(told.filter(({ to }) => to === 'hold').length > 3, moves())
  })

  it('pauses while it is held, and can be closed then', async () => {
    system.phone(10, 'Discharging')
    await governed({ batteryFloor: 0.2, look: 3_600_000 }, async (one) => {
      const made = one.step()
      await until(() => moves() === 'hold', 'held')
      one.session.pause(1)
      assert.equal(await one.session.paused(), true)
      one.session.resume()
      assert.equal(await isStill(made), true)
      await Promise.all([one.session.close(), assert.rejects(made, Abandoned)])
    }).catch((error: Error) => assert.match(error.message, /closed/))
  })

  it('is given up at once when the end is asked for, with what is trained as it was', async () => {
    system.phone(50, 'Discharging')
    await governed({ batteryFloor: 0.2 }, async (one) => {
      await one.step()
      const trained = one.compiled.program.values.filter(({ role }) => role === 'trainable').map(({ name }) => name)
      const read = () => Promise.all(trained.map((name) => one.session.read(name)))
      const before = await read()
      one.session.pause(9)
      const made = one.step()
      await one.session.paused()
      system.phone(10, 'Discharging')
      await wait(5)
      one.session.resume()
      await until(() => moves().endsWith('hold'), 'held')
      // The battery stays where it is: nothing but the end that is asked for can end the hold, and none looks once more.
      const looks = moves()
      one.session.finish()
      await assert.rejects(made, Abandoned)
      assert.equal(moves(), looks)
      assert.deepEqual(await read(), before)
    })
  })

  it('finishes without rests when the end is asked for and nothing holds', async () => {
    await governed({ duty: 0.01, period: 10 }, async (one) => {
      const made = makeSteps(one)
      await until(() => moves().includes('rest'), 'resting')
      one.session.finish()
      await made
    })
  })

  it('allocates nothing, however often it looks', async () => {
    system.phone(50, 'Discharging')
    system.package(0, 5)
    system.cores(5, 5)
    const policy = { batteryFloor: 0.2, ceiling: 42, onlyIdle: false, duty: 0.5, period: 5 }
    await governed(
      policy,
      async (one) => {
        while (told.length <= 4) await makeSteps(one)
        assert.equal((await one.session.stats()).allocations?.inCalls, 0)
      },
      { countAllocations: true },
    )
  })

  it('is refused a policy that is none', async () => {
    const one = await open()
    await assert.rejects(one.session.govern({ duty: 7 }), /the duty cycle is/)
    await assert.rejects(one.session.govern({ zone: 'a b' }), /no name/)
    await one.session.govern(undefined)
    await one.step()
    await one.session.close()
  })
})

describe('a governed run', function () {
  this.timeout(300_000)
  let dir = ''
  let run: PreparedRun
  let system: FakeSystem
  const limits: Energy = { dutyCycle: 1, whenCharging: false, whenIdle: false, lookEvery: 0.001 }
  const linesOf = (out: string): Record<string, unknown>[] =>
    fs
      .readFileSync(path.join(out, 'metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)

  before(async () => {
    dir = tinyProject()
    const batch = '{ sequences: 2, length: 24, accumulate: 2, steps: 6 }'
    const adapt = "lora({ rank: 3, alpha: 6, dropout: 0.2, targets: ['c_attn', 'c_proj', 'c_fc'] })"
    writeRecipe(dir, 'recipe.ts', { batch, adapt, save: '{ every: 100 }', evaluate: '{ share: 0.3, every: 2 }' })
    run = await prepareRun(path.join(dir, 'recipe.ts'), 'host')
    await trainPrepared(run, path.join(dir, 'straight'))
  })
  beforeEach(() => {
    system = new FakeSystem()
  })
  afterEach(() => system.close())
  const straight = (): string => hashOfResult(path.join(dir, 'straight'))

  it('ends with the same weights, and writes down decisions and joules', async () => {
    const out = path.join(dir, 'rested')
    system.package(0, 1_000_000)
    const energy = { energy: { ...limits, dutyCycle: 0.02 }, watts: 5, root: system.root }
    await trainPrepared(run, out, { energy })
    assert.equal(hashOfResult(out), straight())
    const lines = linesOf(out)
    const used = lines.filter((line) => 'computing_seconds' in line)
    assert.equal(
      used.reduce((sum, line) => sum + Number(line['steps']), 0),
      6,
    )
    assert.equal(used.at(-1)?.['step'], 6)
    for (const line of used) {
      assert.ok(Math.abs(Number(line['predicted_joules']) - 5 * Number(line['computing_seconds'])) < 1e-9)
      assert.equal(line['measured_joules'], 0)
      assert.equal(line['measured_by'], 'powercap')
    }
    const [first] = lines
    assert.deepEqual([first?.['decision'], first?.['from'], first?.['step']], ['run', 'begun', 0])
    assert.deepEqual([first?.['battery'], first?.['temperature']], ['absent', 'absent'])
  })

  it('that is stopped while it is held ends at once, loses no step, and goes on to the same weights', async () => {
    for (const heldAfter of [1, 2, 3, 5]) {
      const out = path.join(dir, `held-${heldAfter}`)
      system.phone(50, 'Discharging')
      const energy = { energy: { ...limits, pauseBelowBattery: 0.2 }, root: system.root }
      const stop = new AbortController()
      let isHeld = false
      const observer: LoopObserver = {
        step: ({ step }) => {
          if (step === heldAfter) system.phone(10, 'Discharging')
        },
        decided: ({ decision, reasons }) => {
          if (decision !== 'hold') return
          assert.deepEqual(reasons, ['battery 10 % < 20 %, not charging'])
          isHeld = true
          stop.abort()
        },
      }
      const first = await trainPrepared(run, out, { energy, observer, stop: stop.signal })
      // The battery is still low: a hold that the end does not end would last for ever.
      assert.ok(isHeld)
      assert.ok(first.outcome === 'stopped' && first.steps >= heldAfter && first.steps < 6)
      assert.equal(
        linesOf(out).at(-1)?.['decision'] ?? linesOf(out).at(-1)?.['step'],
        linesOf(out).at(-1)?.['decision'] ? 'hold' : first.steps,
      )
      system.phone(50, 'Charging')
      const second = await trainPrepared(run, out, { resume: true, energy })
      assert.deepEqual([second.outcome, second.steps], ['finished', 6])
      assert.equal(hashOfResult(out), straight())
      assert.ok(linesOf(out).some((line) => line['decision'] === 'hold'))
    }
  })

  it('that is held before its first step leaves nothing when it is stopped', async () => {
    const out = path.join(dir, 'never')
    system.phone(10, 'Discharging')
    const stop = new AbortController()
    const energy = { energy: { ...limits, pauseBelowBattery: 0.2 }, root: system.root }
    const result = await trainPrepared(run, out, {
      energy,
      stop: stop.signal,
      observer: { decided: () => stop.abort() },
    })
    assert.deepEqual([result.outcome, result.steps, result.saved], ['stopped', 0, undefined])
    assert.ok(!fs.existsSync(path.join(out, 'metrics.jsonl')))
  })

  it('says why it is held, and ends at Ctrl-C', async () => {
    writeRecipe(dir, 'held.ts', { energy: '{ pauseBelowBattery: 0.2, whenCharging: true }' })
    for (const json of [[], ['--json']]) {
      system.phone(18, 'Discharging')
      const started = startHeddle(
        dir,
        'train',
        'held.ts',
        '--toolchain',
        'host',
        '--optimise',
        'light',
        '--out',
        'held',
        '--system-root',
        system.root,
        ...json,
      )
      let said = ''
      started.child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
      await until(() => /held: battery|"decision":"hold"/.test(said), 'held')
      started.child.kill('SIGINT')
      const ended = await started.ended
      assert.equal(ended.code, 130)
      assert.match(ended.stderr, /giving up the step that is held/)
      assert.match(ended.stderr, /stopped before the first step; nothing was saved/)
      if (json.length === 0) {
        assert.match(said, /held: battery 18 % < 20 %, not charging; no power from outside; looks again every 5 s/)
      } else {
        const event = eventsOf(said).find((one) => one.event === 'energy')
        assert.deepEqual([event?.['decision'], event?.['battery']], ['hold', 0.18])
      }
    }
  })

  it('does not outlive whoever started it, even while it is held', async () => {
    system.phone(18, 'Discharging')
    const operands = ['--toolchain', 'host', '--optimise', 'light', '--out', 'killed', '--system-root', system.root]
    const { child, ended } = startHeddle(dir, 'train', 'held.ts', ...operands)
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    await until(() => said.includes('held: battery'), 'held')
    const children = fs
      .readdirSync(`/proc/${child.pid}/task`)
      .flatMap((task) => fs.readFileSync(`/proc/${child.pid}/task/${task}/children`, 'utf8').trim().split(' '))
      .filter((pid) => pid !== '')
    assert.ok(children.length > 0)
    child.kill('SIGKILL')
    await ended
    // A zombie whose new parent has not looked yet is dead too.
    const isDead = (pid: string): boolean => {
      const status = `/proc/${pid}/status`
      return !fs.existsSync(status) || /^State:\s+Z/m.test(fs.readFileSync(status, 'utf8'))
    }
    await until(() => children.every(isDead), 'ended')
  })

  it('is refused in WebAssembly, where the recipe asks for it', async () => {
    writeRecipe(dir, 'wasm.ts', { energy: '{ dutyCycle: 0.5 }' })
    const { ended } = startHeddle(dir, 'train', 'wasm.ts', '--toolchain', 'wasm', '--out', 'wasm')
    const { code, stderr } = await ended
    assert.equal(code, 1)
    assert.match(stderr, /HD716 \S*wasm\.ts:\d+.* energy is not governed in WebAssembly/)
  })
})
