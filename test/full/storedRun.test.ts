// Full fine-tuning whose weights, gradients and moments are in a file: the bits of a run that has them in memory, whatever
// stops it, kills it or gives it other memory. Needs a host compiler.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { Random } from '../../data/random.ts'
import { RunStates } from '../../train/runState.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { hashOfResult, metricsOf, prepareRun, trainPrepared } from '../support/preparedRun.ts'
import type { PreparedRun } from '../support/preparedRun.ts'

const MEBIBYTE = 2 ** 20
const KILLS = 40

const batch = '{ sequences: 2, length: 24, accumulate: 2, steps: 6 }'

describe('a run whose trained values are in a file', function () {
  this.timeout(900_000)
  let dir = ''
  let inMemory: PreparedRun
  let stored: PreparedRun
  let straight = ''

  before(async () => {
    dir = tinyProject(0.1, 112)
    writeRecipe(dir, 'recipe.ts', { adapt: 'fullFineTuning()', batch, evaluate: '{ share: 0.3, every: 2 }' })
    const file = path.join(dir, 'recipe.ts')
    inMemory = await prepareRun(file, 'host')
    stored = await prepareRun(file, 'host', 3.2 * MEBIBYTE)
    straight = path.join(dir, 'straight')
    await trainPrepared(inMemory, straight)
  })

  function assertSame(out: string, what: string): void {
    assert.equal(hashOfResult(out), hashOfResult(straight), what)
    assert.deepEqual(metricsOf(out), metricsOf(straight), what)
  }

  const filesOf = (out: string): string[] => fs.readdirSync(out).filter((name) => name.startsWith('trained-'))
  const refusal = (out: string): string => {
    try {
      new RunStates(out).newest()
    } catch (error) {
      assert.ok(error instanceof UserError, String(error))
      return error.sentence.replace(/; begin anew without --resume$/, '')
    }
    return 'none'
  }

  it('has most of it in the file', () => {
    assert.equal(inMemory.program.storedCount, 0)
    const bytes = stored.program.values.reduce(
      (sum, { place, bytes: all }) => sum + (place.space === 'stored' ? all : 0),
      0,
    )
    assert.ok(bytes > 0.9 * inMemory.program.stateBytes, `${bytes} bytes of ${inMemory.program.stateBytes}`)
    assert.ok(stored.program.functions.some(({ firsts }) => firsts))
  })

  it('ends with the same weights, with one thread and with three', async () => {
    for (const threads of [1, 3]) {
      const out = path.join(dir, `stored-${threads}`)
      await trainPrepared(stored, out, { threads })
      assertSame(out, `${threads} threads`)
      assert.equal(filesOf(out).length, 1)
    }
  })

  it('saves a state after every step, and resumes with its own memory or more', async () => {
    const plans = [
      [stored, stored, stored],
      [inMemory, stored, inMemory],
      [stored, inMemory, stored],
    ]
    for (const [turn, plan] of plans.entries()) {
      const out = path.join(dir, `resumed-${turn}`)
      const saved: number[] = []
      for (const [part, run] of plan.entries()) {
        const observer = { stateSaved: (step: number) => void saved.push(step) }
        const stopAfter = [2, 3][part]
        await trainPrepared(run, out, { resume: part > 0, observer, ...(stopAfter === undefined ? {} : { stopAfter }) })
      }
      assertSame(out, `plan ${turn}`)
      if (turn === 0) assert.deepEqual([...new Set(saved)], [1, 2, 3, 4, 5, 6])
    }
  })

  it('puts the file of the run before aside with its states', async () => {
    const out = path.join(dir, 'again')
    await trainPrepared(stored, out, { stopAfter: 2 })
    await trainPrepared(stored, out, { stopAfter: 1 })
    assert.equal(filesOf(out).length, 1)
    assert.equal(filesOf(path.join(out, 'state.previous')).length, 1)
    // Whoever regrets it moves the directory back.
    fs.rmSync(path.join(out, 'state'), { recursive: true })
    fs.renameSync(path.join(out, 'state.previous'), path.join(out, 'state'))
    assert.equal(new RunStates(out).newest().state?.progress.step, 2)
  })

  it('says what is missing or has changed', async () => {
    const out = path.join(dir, 'damaged')
    await trainPrepared(stored, out, { stopAfter: 2 })
    assert.equal(refusal(out), 'none')
    const [name = ''] = filesOf(out)
    const file = path.join(out, name)
    const whole = fs.readFileSync(file)
    const [size, less, more] = [0, -4096, 4096].map((bytes) => whole.length + bytes)
    fs.truncateSync(file, less)
    assert.equal(
      refusal(out),
      `HD832 ${file} no saved state is whole: the file is cut off: it has ${less} bytes, and ${size} by its header`,
    )
    fs.writeFileSync(file, whole)
    fs.truncateSync(file, more)
    assert.equal(
      refusal(out),
      `HD832 ${file} no saved state is whole: something was added to the file: it has ${more} bytes, and ${size} by its header`,
    )
    const other = Buffer.from(whole)
    other.fill(0, 1024, 4096)
    fs.writeFileSync(file, other)
    assert.equal(
      refusal(out),
      `HD832 ${file} no saved state is whole: the header of the file, which has ${size} bytes, is damaged: no record of a version agrees with it`,
    )
    fs.rmSync(file)
    assert.equal(
      refusal(out),
      `HD832 ${file} no saved state is whole: this file, which holds what was trained, is not there`,
    )
    fs.writeFileSync(file, whole)
    await trainPrepared(stored, out, { resume: true })
    assertSame(out, 'put back')
  })

  it('notices a byte that is another, goes on from the state before, and refuses where both have one', async () => {
    const out = path.join(dir, 'flipped')
    await trainPrepared(stored, out, { stopAfter: 2 })
    const { state } = new RunStates(out).newest()
    assert.ok(state && 'kept' in state.values)
    const { kept, path: file } = state.values
    const flip = (place: number): void => {
      const bytes = fs.readFileSync(file)
      bytes.writeUInt8(bytes.readUInt8(place) ^ 16, place)
      fs.writeFileSync(file, bytes)
    }
    for (const { offset } of kept.values) {
      flip(offset + 1)
      const { notes, state: before } = new RunStates(out).newest()
      assert.equal(before?.progress.step, 1)
      assert.deepEqual(notes, [
        `HD412 ${file} what the file holds of version ${kept.version} is damaged: its checksum is not the one that was saved, so the state saved after step 1 is used`,
      ])
      flip(offset + 1)
    }
    const slots = Math.min(...kept.values.map(({ offset }) => offset))
    const slotBytes = Number(fs.readFileSync(file).readBigUInt64LE(16))
    flip(slots + 1)
    flip(slots + 1 + (slots < 4096 + slotBytes ? slotBytes : -slotBytes))
    assert.match(
      refusal(out),
      /^HD832 \S+ no saved state is whole: what the file holds of version \d+ is damaged: its ch/,
    )
    const damage = (version: number): string => {
      return `what the file holds of version ${version} is damaged: its checksum is not the one that was saved`
    }
    const { version } = kept
    const none = `HD832 ${file} no saved state is whole: ${damage(version)}; nor is that after step 1`
    assert.equal(refusal(out), `${none}: ${damage(version - 1)}`)
    // As an update that begins leaves the version before.
    const whole = fs.readFileSync(file)
    const record = slots < 4096 + slotBytes ? 2048 : 1024
    fs.writeFileSync(file, Buffer.from(whole).fill(0, record, record + 16))
    assert.equal(
      refusal(out),
      `${none}: it has been overwritten since: version ${version - 1} is not in the file, which holds version ${version}`,
    )
    fs.writeFileSync(file, whole)
    flip(slots + 1 + (slots < 4096 + slotBytes ? slotBytes : -slotBytes))
    await trainPrepared(stored, out, { resume: true })
    assertSame(out, 'from the state before')
  })

  it('goes on from a state that was saved before there were sums', async () => {
    const out = path.join(dir, 'unsummed')
    await trainPrepared(stored, out, { stopAfter: 2 })
    const file = path.join(out, 'state', 'step-2.json')
    const { content, parts } = JSON.parse(fs.readFileSync(file, 'utf8')) as { content: { kept: object }; parts: [] }
    const { sum, ...kept } = content.kept as { sum: string }
    assert.match(sum, /^[\da-f]{16}$/)
    const body = { content: { ...content, kept }, parts }
    const sha256 = createHash('sha256').update(JSON.stringify(body)).digest('hex')
    fs.writeFileSync(file, JSON.stringify({ ...body, sha256 }))
    assert.deepEqual(new RunStates(out).newest().notes, [])
    await trainPrepared(stored, out, { resume: true })
    assertSame(out, 'without a sum')
  })

  it('leaves nothing behind where no step was made', async () => {
    const out = path.join(dir, 'nothing')
    await assert.rejects(trainPrepared(stored, out, { kill: AbortSignal.abort() }))
    assert.deepEqual(filesOf(out), [])
  })

  it('goes on to the same weights after kills at random moments', async () => {
    const random = new Random(17)
    const begun = performance.now()
    await trainPrepared(stored, path.join(dir, 'timed'), { threads: 1 })
    const duration = performance.now() - begun
    let [kills, lineage] = [0, 0]
    const found = new Set<number>()
    // How far a run comes before it is killed is the machine's affair: on a busy one it takes more of them.
    while (kills < KILLS || (kills < 5 * KILLS && found.size < 4)) {
      const out = path.join(dir, `killed-${lineage++}`)
      for (let time = 0; time < 5; time++) {
        const kill = new AbortController()
        const timer = setTimeout(() => kill.abort(), random.below(Math.ceil(duration)))
        const ended = await trainPrepared(stored, out, { resume: true, threads: 1, kill: kill.signal }).then(
          () => true,
          () => false,
        )
        clearTimeout(timer)
        if (ended) break
        kills++
        const { state, notes } = new RunStates(out).newest()
        assert.deepEqual(notes, [])
        found.add(state?.progress.step ?? 0)
      }
      await trainPrepared(stored, out, { resume: true, threads: 1 })
      assertSame(out, `${out} after ${kills} kills`)
      assert.ok(filesOf(out).length <= 2, filesOf(out).join())
      fs.rmSync(out, { recursive: true })
    }
    assert.ok(found.size >= 4, [...found].join())
  })
})
