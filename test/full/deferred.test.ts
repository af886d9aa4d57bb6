// Updates that are made beside the next step's pass: what a session shows of them, and the bits of one that makes each at once.
// Needs a host compiler.

import assert from 'node:assert/strict'
import path from 'node:path'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Session } from '../../backends/neon/driver/index.ts'
import { carriedValues } from '../../compiler/plan/carried.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { batches } from '../../data/batches.ts'
import { openCheckpoint } from '../../formats/checkpoint.ts'
import { CheckpointBinding } from '../../train/bindCheckpoint.ts'
import { openTraining } from '../../train/openTraining.ts'
import { Trainer } from '../../train/trainer.ts'
import type { StepFigures } from '../../train/trainer.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { prepareRun } from '../support/preparedRun.ts'
import type { PreparedRun } from '../support/preparedRun.ts'

const MEBIBYTE = 2 ** 20
const STEPS = 4

type Values = ReadonlyMap<string, unknown>

describe('an update beside the next pass', function () {
  this.timeout(900_000)
  let dir = ''
  let chain: ToolChain
  let run: PreparedRun
  let atOnce: PreparedRun
  let opened = 0
  /** Behind each step, made at once. */
  const wanted: Values[] = []
  const figures: StepFigures[] = []

  before(async () => {
    dir = tinyProject(0.1, 112)
    chain = await chooseToolChain('host')
    const batch = `{ sequences: 2, length: 24, accumulate: 2, steps: ${STEPS} }`
    writeRecipe(dir, 'recipe.ts', { adapt: 'fullFineTuning()', batch })
    run = await prepareRun(path.join(dir, 'recipe.ts'), 'host', 3.2 * MEBIBYTE)
    // Without the function there is nothing to make later.
    const functions = run.program.functions.filter(({ name }) => !name.startsWith('advance'))
    atOnce = { ...run, program: { ...run.program, functions } }
    await onSession(atOnce, 1, async (session, trainer) => {
      for (;;) {
        const made = await trainer.next()
        if (!made) return
        assert.equal(await session.owes(), false)
        figures.push(made)
        wanted.push(await valuesOf(session, run.program))
      }
    })
    assert.equal(wanted.length, STEPS)
  })

  async function onSession(
    { checkpoint, program, examples, recipe }: PreparedRun,
    threads: number,
    use: (session: Session, trainer: Trainer) => Promise<void>,
  ): Promise<void> {
    const stored = { path: path.join(dir, `states-${opened++}.bin`) }
    const binding = new CheckpointBinding(openCheckpoint(checkpoint))
    const session = await openTraining(program, binding, {
      toolchain: chain,
      threads,
      seed: recipe.seed,
      optimise: 'light',
      stored,
    })
    const { sequences, length, accumulate, steps = 1 } = recipe.batch
    const made = batches({ examples, sequences, length, accumulate, seed: recipe.seed, until: { steps } })
    try {
      await use(session, new Trainer(session, made, recipe.seed))
    } finally {
      await session.close()
    }
  }

  async function valuesOf(session: Session, program: Program): Promise<Values> {
    const values = new Map<string, unknown>()
    for (const { name } of carriedValues(program)) values.set(name, await session.read(name))
    return values
  }

  const told = ({ step, loss, gradient_norm, rate }: StepFigures): unknown => ({ step, loss, gradient_norm, rate })

  it('gives the same bits, whenever somebody looks, with one thread and with three', async () => {
    assert.ok(run.program.functions.some(({ name, updates }) => name === 'advanceTables' && updates === 'begin'))
    for (const [threads, looks] of [
      [1, [3]],
      [3, [3]],
      [1, [0, 3]],
      [1, [1, 2, 3]],
    ] as const) {
      await onSession(run, threads, async (session, trainer) => {
        for (let step = 0; step < STEPS; step++) {
          const made = await trainer.next()
          assert.deepEqual(made && told(made), told(figures[step] as StepFigures))
          // Figures of a step are there without its update.
          assert.equal(await session.owes(), true)
          if (!(looks as readonly number[]).includes(step)) continue
          assert.deepEqual(await valuesOf(session, run.program), wanted[step])
          assert.equal(await session.owes(), false)
        }
      })
    }
  })

  it('is seen by whatever reads, writes, calls or keeps what it changes, and by nothing else', async () => {
    const table = run.program.values.find(({ role, versions }) => role === 'trainable' && versions)?.name ?? ''
    const after = { read: 1, write: 1, call: 1, keep: 1, report: 0, input: 0, standing: 0, stats: 0 }
    for (const [what, settles] of Object.entries(after)) {
      await onSession(run, 1, async (session, trainer) => {
        await trainer.next()
        await trainer.next()
        const version = (await session.keepStanding()).version
        if (what === 'read') assert.deepEqual(await session.read(table), wanted[1]?.get(table))
        if (what === 'write') await session.write('sum/loss', Float32Array.of(0))
        if (what === 'call') await session.call('measure', { seq: 24 })
        if (what === 'keep') assert.equal((await session.keep()).version, version + 1)
        if (what === 'report') await session.read('report/rate')
        if (what === 'input') await session.write('seed', Int32Array.of(3))
        if (what === 'stats') await session.stats()
        assert.equal(await session.owes(), settles === 0, what)
        if (settles === 0) assert.equal((await session.keepStanding()).version, version)
        assert.deepEqual(await session.read(table), wanted[1]?.get(table), what)
      })
    }
  })

  it('pauses between any two kernels, by itself as well', async () => {
    for (const launches of [1, 7]) {
      await onSession(run, 1, async (session, trainer) => {
        let pauses = 0
        const through = async (work: Promise<unknown>): Promise<void> => {
          let isOver = false
          void work.finally(() => (isOver = true))
          for (session.pause(launches); !isOver; session.resume(launches)) if (await session.paused()) pauses++
          session.resume(0)
          await work
        }
        await through(trainer.next())
        const first = pauses
        await through(trainer.next())
        assert.ok(pauses > 2 * first, `${pauses} pauses, ${first} of them in a step that had no update to make`)
        await through(session.read('optimizer/step'))
        assert.deepEqual(await valuesOf(session, run.program), wanted[1])
      })
    }
  })

  it('is made though the step after it has bad numbers', async () => {
    await onSession(run, 1, async (session, trainer) => {
      await trainer.next()
      const { version } = await session.keepStanding()
      await session.write('weights', new Float32Array(48), [2, 24])
      await session.step({ seq: 24 }, 'more')
      assert.equal((await session.keepStanding()).version, version + 1)
      assert.deepEqual(await valuesOf(session, run.program), wanted[0])
    })
  })
})
