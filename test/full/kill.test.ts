// The kill test: a short run is killed with SIGKILL two hundred times, at every single file operation of saving and at
// random moments. Every killed run leaves whole states, resumes, and ends with the weights of one that was not killed.
// Needs a host compiler.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { serialize } from 'node:v8'
import { Random } from '../../data/random.ts'
import { SnapshotDirectory } from '../../formats/snapshots.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { writePlainJavaScript } from '../support/plainJavaScript.ts'
import { hashOfResult, metricsOf, prepareRun, trainPrepared } from '../support/preparedRun.ts'
import type { PreparedRun } from '../support/preparedRun.ts'
import { tracedFiles } from '../support/tracedFiles.ts'

/** At once; there are two cores. */
const PROCESSES = 2
const RANDOM_KILLS = 100

const adapt = "lora({ rank: 2, alpha: 4, dropout: 0.1, targets: ['c_fc'] })"
const batch = '{ sequences: 2, length: 24, accumulate: 2, steps: 3 }'

describe('a run that is killed', function () {
  this.timeout(1_500_000)
  let dir = ''
  let script = ''
  let run: PreparedRun
  let straight = ''
  const prepared = (): string => path.join(dir, 'prepared.bin')

  before(async () => {
    dir = tinyProject()
    writeRecipe(dir, 'recipe.ts', { adapt, batch, save: '{ every: 1 }', evaluate: '{ share: 0.3, every: 2 }' })
    run = await prepareRun(path.join(dir, 'recipe.ts'), 'host')
    fs.writeFileSync(prepared(), serialize(run))
    script = writePlainJavaScript(path.join(dir, 'plain'), 'test/support/killedRun.ts', ['backends/neon/runtime'])
    straight = path.join(dir, 'straight')
    await trainPrepared(run, straight)
  })

  /**
   * Starts a run in `out` that ends before operation `at`, or `delay` milliseconds after it has said so many lines: that
   * it begins, then each state that it saved.
   */
  function killed(out: string, end: { at: number } | { lines: number; delay: number }): Promise<NodeJS.Signals | null> {
    const at = 'at' in end ? [String(end.at)] : []
    // It lives for a second: optimising its JavaScript would take a fifth of that.
    const operands = ['--no-opt', script, prepared(), out, ...at]
    const child = spawn(process.execPath, operands, { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = 0
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const before = said
      said += text.split('\n').length - 1
      if ('delay' in end && before < end.lines && said >= end.lines) {
        setTimeout(() => child.kill('SIGKILL'), end.delay)
      }
    })
    return new Promise((resolve) => child.on('close', (_code, signal) => resolve(signal)))
  }

  /** Nothing that a killed process left is damaged, and resuming it ends as `straight` did. */
  async function assertResumes(out: string, what: string): Promise<void> {
    assert.deepEqual(new SnapshotDirectory(path.join(out, 'state')).newest().damaged, [], what)
    const { outcome } = await trainPrepared(run, out, { resume: true, threads: 1 })
    assert.equal(outcome, 'finished', what)
    assert.equal(hashOfResult(out), hashOfResult(straight), what)
    assert.deepEqual(metricsOf(out), metricsOf(straight), what)
    const left = fs.readdirSync(out, { recursive: true }).filter((name) => String(name).endsWith('.tmp'))
    assert.deepEqual(left, [], what)
  }

  /** Gives every item to `use`, a few at a time. */
  async function each<T>(items: readonly T[], use: (item: T) => Promise<void>): Promise<void> {
    const waiting = [...items]
    const work = async (): Promise<void> => {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await use(item)
    }
    await Promise.all(Array.from({ length: PROCESSES }, work))
  }

  it('at each write, sync and rename of saving', async () => {
    const { operations, trace } = tracedFiles()
    await trainPrepared(run, path.join(dir, 'traced'), { files: operations, threads: 1 })
    assert.ok(trace.length >= 100, `${trace.length} operations`)
    for (const word of ['write', 'sync', 'rename', 'remove', 'syncDirectory']) {
      assert.ok(
        trace.some((line) => line.startsWith(`${word} `)),
        word,
      )
    }
    await each([...trace.keys()], async (at) => {
      const out = path.join(dir, `at-${at}`)
      assert.equal(await killed(out, { at }), 'SIGKILL', trace[at])
      await assertResumes(out, `killed before ${trace[at]}`)
      fs.rmSync(out, { recursive: true })
    })
  })

  it('at random moments, again and again', async () => {
    const random = new Random(11)
    const begun = performance.now()
    await trainPrepared(run, path.join(dir, 'timed'))
    const duration = performance.now() - begun
    let kills = 0
    /** Steps of the states that were found: kills came early and late. */
    const found = new Set<number>()
    for (let lineage = 0; kills < RANDOM_KILLS; lineage++) {
      const outs = Array.from({ length: PROCESSES }, (_, place) => path.join(dir, `random-${lineage}-${place}`))
      await each(outs, async (out) => {
        for (let time = 0; time < 4; time++) {
          // While it begins, or shortly after it saved a state, when the next step and the next state are under way.
          const lines = 1 + random.below(2)
          const delay = random.below(lines === 1 ? Math.ceil(duration) : 40)
          // One that reached its end leaves nothing to kill.
          if ((await killed(out, { lines, delay })) !== 'SIGKILL') break
          kills++
          found.add(new SnapshotDirectory(path.join(out, 'state')).newest().snapshot?.number ?? 0)
        }
        await assertResumes(out, `${out} after ${kills} kills`)
      })
    }
    assert.ok(found.has(0) && found.size >= 3, [...found].join(', '))
  })
})
