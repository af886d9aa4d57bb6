// What every device must do with the hand-written program: the same tests for wasm (Node alone) and for native tool
// chains (the full run).

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Abandoned, openSession } from '../../backends/neon/driver/index.ts'
import type { Session, SessionOptions } from '../../backends/neon/driver/index.ts'
import type { ToolChain, ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { InternalError } from '../../compiler/diagnostic.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { parseKernels } from '../../compiler/kernel/parse.ts'
import { refusedWith } from '../support/refused.ts'
import { FakeSystem } from '../support/fakeSystem.ts'
import { bound, lineBatch, lineProgram, lineStep, stepLaunches, tableSize } from './runtimeProgram.ts'
import type { LineBatch } from './runtimeProgram.ts'

const tableValues = Float32Array.from({ length: tableSize }, (_, index) => (index - 7) / 3)

function diedWith(pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof InternalError, `an InternalError, not ${String(error)}`)
    assert.match(error.message, pattern)
    return true
  }
}

async function scalar(session: Session, name: string): Promise<number> {
  return (await session.read(name))[0] ?? NaN
}

/** Defines the tests; those that must not depend on the number of threads run once for each of `threadCounts`. */
export function describeDevice(
  preference: ToolChainPreference | (() => Promise<ToolChain>),
  threadCounts: readonly number[],
): void {
  let toolchain: ToolChainPreference | ToolChain
  let folder = ''
  let weights = ''
  const sessions: Session[] = []
  /** Bytes in front of the tensor in its file: on no page, and on a multiple of four only when asked. */
  const tensorOffset = 4100

  const open = async (options: SessionOptions = {}, program: Program = lineProgram): Promise<Session> => {
    const frozen = [{ path: weights, offset: tensorOffset, bytes: 4 * tableSize }]
    const session = await openSession(program, { toolchain, optimise: 'light', threads: 1, frozen, ...options })
    sessions.push(session)
    return session
  }
  /** With the line's offset written, so that it can be called. */
  const openLine = async (options: SessionOptions = {}): Promise<Session> => {
    const session = await open(options)
    await session.write('offset', Float32Array.of(0.25))
    await session.write('ones', new Float32Array(bound).fill(1))
    return session
  }
  const writeBatch = async (session: Session, batch: LineBatch): Promise<void> => {
    await session.write('x', batch.x, [batch.x.length])
    await session.write('target', batch.target, [batch.target.length])
  }

  before(async () => {
    toolchain = typeof preference === 'string' ? preference : await preference()
    folder = await mkdtemp(join(tmpdir(), 'heddle-driver-'))
    weights = join(folder, 'weights.bin')
    const bytes = new Uint8Array(tensorOffset + 4 * tableSize + 3)
    bytes.set(new Uint8Array(tableValues.buffer), tensorOffset)
    await writeFile(weights, bytes)
    const shifted = new Uint8Array(bytes.length + 3)
    shifted.set(bytes, 3)
    await writeFile(join(folder, 'shifted.bin'), shifted)
  })
  afterEach(async () => {
    await Promise.all(sessions.splice(0).map((session) => session.close()))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('says what it runs', async () => {
    const about = (await open({ threads: 2 })).describe()
    assert.equal(about.program, 'line')
    assert.equal(about.threads, 2)
    assert.ok(about.memoryBytes > lineProgram.arenaBytes + lineProgram.stateBytes + lineProgram.inputBytes)
    assert.deepEqual(about.sizes, [{ name: 'count', bound }])
    assert.deepEqual(
      about.functions.find((fn) => fn.name === 'predict'),
      { name: 'predict', outputs: ['y', 'z'] },
    )
  })

  for (const threads of threadCounts) {
    it(`computes every element at odd sizes on ${threads} threads, frozen tensor included`, async () => {
      const session = await openLine({ threads })
      await session.write('slope', Float32Array.of(-1.5))
      const ids = Int32Array.from({ length: bound }, (_, index) => (index * 5) % tableSize)
      await session.write('ids', ids)
      for (const count of [1, 2, 7, 511, 513, bound]) {
        const { x } = lineBatch(count, count)
        await session.write('x', x, [count])
        await session.call('predict', { count })
        const y = await session.output('predict', 'y')
        const z = await session.output('predict', 'z')
        for (let index = 0; index < count; index++) {
          const expected = float32.fma(-1.5, x[index] ?? NaN, 0.25)
          assert.equal(y[index], expected, `y[${index}] of ${count}`)
          assert.equal(
            z[index],
            Math.fround(expected * (tableValues[ids[index] ?? 0] ?? NaN)),
            `z[${index}] of ${count}`,
          )
        }
      }
    })

    it(`takes the oracle's steps to the bit on ${threads} threads, two micro-batches each`, async () => {
      const session = await openLine({ threads, seed: 5 })
      let line = { slope: await scalar(session, 'slope'), offset: 0.25 }
      assert.notEqual(line.slope, 0)
      for (let step = 0; step < 20; step++) {
        const batches = [lineBatch(step === 3 ? 1 : 997 + step, step), lineBatch(bound, 10 + step)]
        for (const [index, batch] of batches.entries()) {
          await writeBatch(session, batch)
          const outcome = await session.step({ count: batch.x.length }, index === 1 ? 'last' : 'more')
          assert.deepEqual(outcome, { status: 'ok' })
        }
        const expected = lineStep(line, batches)
        assert.equal(await scalar(session, 'report/loss'), expected.loss, `loss of step ${step}`)
        assert.equal(await scalar(session, 'slope'), expected.slope)
        assert.equal(await scalar(session, 'offset'), expected.offset)
        assert.equal(await scalar(session, 'sum/weight'), 0)
        line = expected
      }
    })

    it(`pauses at every kernel boundary on ${threads} threads and ends with the same bits`, async () => {
      const batch = lineBatch(bound, 1)
      const session = await openLine({ threads, seed: 5 })
      const before = { slope: await scalar(session, 'slope'), offset: 0.25 }
      await writeBatch(session, batch)
      session.pause()
      const done = session.step({ count: bound }, 'last')
      let pauses = 0
      while (await session.paused()) {
        pauses++
        session.resume(1)
      }
      assert.deepEqual(await done, { status: 'ok' })
      assert.equal(pauses, stepLaunches - 1)
      const expected = lineStep(before, [batch])
      assert.equal(await scalar(session, 'slope'), expected.slope)
      assert.equal(await scalar(session, 'offset'), expected.offset)
    })
  }

  it('shows what a step accumulated before anything is updated, and leaves all as it was where that is refused', async () => {
    const session = await openLine({ threads: 2, seed: 5 })
    const batches = [lineBatch(700, 1), lineBatch(bound, 2)]
    const step = async (verify: () => void): Promise<void> => {
      for (const [index, batch] of batches.entries()) {
        await writeBatch(session, batch)
        const outcome = await session.step({ count: batch.x.length }, index === 1 ? 'last' : 'more', verify)
        assert.deepEqual(outcome, { status: 'ok' })
      }
    }
    const before = { slope: await scalar(session, 'slope'), offset: 0.25 }
    const refusal = new Error('refused')
    let asked = 0
    const refusing = step(() => {
      asked++
      throw refusal
    })
    await assert.rejects(refusing, refusal)
    assert.deepEqual([await scalar(session, 'slope'), await scalar(session, 'offset')], [before.slope, before.offset])
    assert.notEqual(await scalar(session, 'sum/weight'), 0)
    const sums = session.describe().values.filter(({ name }) => /^(grad|sum)\//.test(name))
    for (const { name, shape } of sums) await session.write(name, new Float32Array(shape.reduce((a, b) => a * b, 1)))
    await step(() => void asked++)
    const expected = lineStep(before, batches)
    assert.deepEqual(
      [await scalar(session, 'slope'), await scalar(session, 'offset')],
      [expected.slope, expected.offset],
    )
    assert.equal(await scalar(session, 'report/loss'), expected.loss)
    assert.equal(asked, 2)
  })

  it('pauses in the middle of a call that runs, lets it wait, and closes it', async () => {
    const session = await openLine({ threads: 2 })
    await writeBatch(session, lineBatch(bound, 1))
    session.pause(3)
    const done = session.step({ count: bound }, 'last')
    assert.equal(await session.paused(), true)
    const failed = assert.rejects(done, InternalError)
    await session.close()
    await failed
    await assert.rejects(session.read('slope'), diedWith(/closed/))
  })

  it('keeps limits of energy to the same bits, and gives up what is held; or says that it cannot', async () => {
    const session = await openLine({ threads: 2, seed: 5 })
    if (session.describe().isa === 'wasmRelaxed') {
      await assert.rejects(session.govern({ duty: 0.5 }), refusedWith('HD716', /cannot be governed/))
      await assert.rejects(session.energy(), diedWith(/measures no energy/))
      await session.govern(undefined)
      return
    }
    const batch = lineBatch(bound, 1)
    const before = { slope: await scalar(session, 'slope'), offset: 0.25 }
    await writeBatch(session, batch)
    const system = new FakeSystem()
    try {
      system.phone(10, 'Discharging')
      const moves: string[] = []
      const policy = { batteryFloor: 0.2, ceiling: 42, onlyCharging: true, duty: 0.5, period: 1, look: 1 }
      await session.govern({ ...policy, root: system.root }, ({ to }) => moves.push(to))
      const done = session.step({ count: bound }, 'last')
      while (moves.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
      system.phone(50, 'Charging')
      assert.deepEqual(await done, { status: 'ok' })
      assert.deepEqual(moves.slice(0, 1), ['hold'])
      assert.ok(moves.includes('run'))
      const expected = lineStep(before, [batch])
      assert.equal(await scalar(session, 'slope'), expected.slope)
      assert.ok((await session.energy()).held > 0)
      system.phone(50, 'Discharging')
      const held = assert.rejects(session.step({ count: bound }, 'last'), Abandoned)
      session.finish()
      await held
      assert.equal(await scalar(session, 'slope'), expected.slope)
    } finally {
      system.close()
    }
  })

  it('stops before the update when a value is not finite, and names the first one', async () => {
    const session = await openLine({ threads: 2 })
    const slope = await scalar(session, 'slope')
    const batch = lineBatch(100, 1)
    batch.target[50] = Infinity
    await writeBatch(session, batch)
    const outcome = await session.step({ count: 100 }, 'last')
    assert.equal(outcome.status, 'notFinite')
    assert.ok(outcome.status === 'notFinite' && outcome.value === 'report/loss')
    assert.equal(await scalar(session, 'slope'), slope)
  })

  it('names the gradient that is not finite when the loss still is', async () => {
    const session = await openLine()
    const batch = lineBatch(64, 1)
    await writeBatch(session, batch)
    // Of the two gradients, only the second one's accumulator is spoiled.
    await session.write('grad/offset', Float32Array.of(NaN))
    const outcome = await session.step({ count: 64 }, 'last')
    assert.ok(outcome.status === 'notFinite' && outcome.value === 'norm2/offset', JSON.stringify(outcome))
    assert.match(outcome.message, /gradient of 'offset'/)
    assert.equal(await scalar(session, 'offset'), 0.25)
  })

  it('refuses sizes, shapes, ids and names that are out of bounds, and goes on', async () => {
    const session = await openLine()
    for (const count of [0, -1, bound + 1, 1.5, NaN]) {
      await assert.rejects(session.call('predict', { count }), refusedWith('HD712', /size 'count' is .* 1 to 5003/))
    }
    await assert.rejects(session.call('predict', {}), refusedWith('HD712', /size 'count' is missing/))
    await assert.rejects(session.call('predict', { count: 1, seq: 1 }), InternalError)
    await assert.rejects(session.write('x', new Float32Array(bound + 1)), refusedWith('HD713', /5003 elements, 5004/))
    await assert.rejects(session.write('x', new Float32Array(8), [9]), refusedWith('HD713', /not the shape/))
    await assert.rejects(session.write('x', new Float32Array(9), [3, 3]), refusedWith('HD713', /does not fit/))
    await assert.rejects(
      session.write('ids', Int32Array.of(0, 3, tableSize), [3]),
      refusedWith('HD714', /id 19 at place 2/),
    )
    await assert.rejects(session.write('ids', Int32Array.of(-1), [1]), refusedWith('HD714', /id -1 at place 0/))
    await assert.rejects(session.write('ids', Float32Array.of(1), [1]), InternalError)
    await assert.rejects(session.write('table', tableValues), InternalError)
    await assert.rejects(session.read('nothing'), InternalError)
    await assert.rejects(session.call('nothing', { count: 1 }), InternalError)
    await assert.rejects(session.output('predict', 'y'), InternalError)
    await session.call('predict', { count: 3 })
    assert.equal((await session.output('predict', 'y'))[2], 0.25)
  })

  it('refuses to compute with a trainable value that was never written', async () => {
    const session = await open()
    await assert.rejects(session.call('predict', { count: 1 }), diedWith(/'offset' was never written/))
  })

  it('gives random first values by name and seed', async () => {
    const slopes = []
    for (const seed of [5, 5, 6]) slopes.push(await scalar(await open({ seed }), 'slope'))
    assert.equal(slopes[0], slopes[1])
    assert.notEqual(slopes[0], slopes[2])
    for (const slope of slopes) assert.ok(Math.abs(slope) < 0.5)
  })

  it('reads a frozen tensor that lies on an odd byte', async () => {
    const frozen = [{ path: join(folder, 'shifted.bin'), offset: tensorOffset + 3, bytes: 4 * tableSize }]
    const session = await openLine({ frozen })
    await session.write('ids', Int32Array.of(18), [1])
    await session.call('predict', { count: 1 })
    assert.equal((await session.output('predict', 'z'))[0], Math.fround(0.25 * (tableValues[18] ?? NaN)))
  })

  it('says which frozen file is missing, too short or no file', async () => {
    const range = { offset: 0, bytes: 4 * tableSize }
    const cases: [string, number, RegExp][] = [
      [join(folder, 'absent.bin'), 0, /absent\.bin.*(not exist|No such file)/],
      [weights, tensorOffset + 4, /weights\.bin.*ends at byte 4180, the file has 4179/],
      [folder, 0, /heddle-driver-.*not a regular file/],
    ]
    for (const [path, offset, pattern] of cases) {
      await assert.rejects(open({ frozen: [{ ...range, path, offset }] }), refusedWith('HD711', pattern))
    }
    await assert.rejects(open({ frozen: [] }), diedWith(/reads 1 frozen tensors, 0 were given/))
    await assert.rejects(open({ frozen: [{ path: weights, offset: 0, bytes: 4 }] }), diedWith(/'table' has 4 bytes/))
  })

  it('survives a program that reads outside all memory: an error, and the next session works', async () => {
    const session = await open({ threads: 2, frozen: [] }, crashProgram)
    await session.write('ids', Int32Array.of(511), [1])
    const call = session.call('crash', {})
    await assert.rejects(call, diedWith(/stopped|ended by SIG|ended with code/))
    await assert.rejects(session.call('crash', {}), InternalError)
    const next = await openLine()
    await next.call('predict', { count: 1 })
  })

  it('ends when its signal aborts, in the middle of a kernel that would run for hours', async () => {
    const controller = new AbortController()
    const session = await open({ threads: 2, frozen: [], signal: controller.signal }, crashProgram)
    const call = session.call('endless', {})
    let isOver = false
    void call.catch(() => (isOver = true))
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(isOver, false)
    controller.abort(new Error('the user gave up'))
    await assert.rejects(call, /the user gave up/)
    await assert.rejects(session.call('endless', {}), /the user gave up/)
    await assert.rejects(open({ signal: controller.signal }), /the user gave up/)
  })

  it('keeps the calling thread alive while a kernel runs', async () => {
    const controller = new AbortController()
    const session = await open({ threads: 2, frozen: [], signal: controller.signal }, crashProgram)
    const call = assert.rejects(session.call('endless', {}), /enough/)
    let turns = 0
    while (turns < 20) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      turns++
    }
    controller.abort(new Error('enough'))
    await call
  })

  it('keeps two sessions apart', async () => {
    const one = await openLine({ threads: 2, seed: 1 })
    const other = await openLine({ threads: 2, seed: 2 })
    await one.write('slope', Float32Array.of(2))
    await Promise.all([one, other].map((session) => session.write('x', Float32Array.of(1, 2, 3), [3])))
    await Promise.all([one, other].map((session) => session.call('predict', { count: 3 })))
    assert.equal((await one.output('predict', 'y'))[2], 6.25)
    assert.notEqual((await other.output('predict', 'y'))[2], 6.25)
  })

  it('counts launches, and times them when asked', async () => {
    for (const profile of [false, true]) {
      const session = await openLine({ profile })
      for (let call = 0; call < 3; call++) await session.call('predict', { count: bound })
      const stats = await session.stats()
      const line = stats.kernels.find((kernel) => kernel.name === 'line')
      assert.equal(line?.launches, 3)
      assert.equal((line?.microseconds ?? 0) > 0, profile)
      assert.equal(stats.kernels.find((kernel) => kernel.name === 'clear')?.launches, 0)
      assert.ok(stats.residentBytes > 0 && stats.peakBytes > 1 << 16)
    }
  })
}

/** A kernel that uses an id as an address far outside of everything, which no check can see, and one that never ends. */
const crashProgram: Program = {
  name: 'crash',
  sizes: [],
  kernels: parseKernels(`
kernel crash {
  read ids: i32[1:1]
  write y: f32[1:1]
  y[0] = toFloat(ids[value(intShiftLeft<21>(ids[0]) below 1)])
}
kernel endless {
  update y: f32[1:1]
  serial i in 2000000000 {
    serial j in 20000 {
      y[0] = add(y[0], toFloat(index(j)))
    }
  }
}`),
  values: [{ name: 'ids', role: 'input', dtype: 'i32', shape: [1], bytes: 4, place: { space: 'inputs', offset: 0 } }],
  functions: [
    {
      name: 'crash',
      launches: [
        {
          kernel: 0,
          arguments: [
            { space: 'inputs', offset: 0 },
            { space: 'arena', offset: 0 },
          ],
          label: 'y',
        },
      ],
      outputs: [],
    },
    { name: 'endless', launches: [{ kernel: 1, arguments: [{ space: 'arena', offset: 0 }], label: 'y' }], outputs: [] },
  ],
  arenaBytes: 64,
  stateBytes: 0,
  inputBytes: 64,
  frozenCount: 0,
  storedCount: 0,
}
