// Programs whose trained values are in storage, on the host: the oracle's steps to the bit, versions that stand or do not, and
// what is left of a program that is killed. Needs a host compiler.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { initialData, openSession } from '../../backends/neon/driver/index.ts'
import type { KeptState, KeptValue, SessionOptions } from '../../backends/neon/driver/index.ts'
import { keptValues } from '../../backends/neon/driver/stateFile.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Source, ToolChain } from '../../backends/neon/toolchain/index.ts'
import { runProgram } from '../../backends/neon/toolchain/native.ts'
import { InternalError } from '../../compiler/diagnostic.ts'
import type { Program, ProgramValue } from '../../compiler/plan/program.ts'
import { keptIdentity, readKept } from '../../formats/keptStates.ts'
import { stepLaunches, storedBatch, storedProgram } from '../neon/storedProgram.ts'
import { lineProgram } from '../neon/runtimeProgram.ts'
import { refusedWith } from '../support/refused.ts'
import { assertKept, StoredFiles, StoredRun } from '../support/storedRun.ts'

describe('values in storage', function () {
  this.timeout(300_000)
  let host: ToolChain
  let files: StoredFiles
  const runs: StoredRun[] = []
  before(async () => {
    host = await chooseToolChain('host')
    files = new StoredFiles()
  })
  afterEach(() => Promise.all(runs.splice(0).map(({ session }) => session.close())))
  after(() => files.remove())

  const open = async (options: SessionOptions = {}, chain = host): Promise<StoredRun> => {
    const run = await StoredRun.open(files, chain, options)
    runs.push(run)
    return run
  }
  /** The host's programs, started by a line of the shell. */
  const startedBy = (line: string): ToolChain => ({
    ...host,
    launcher: ['sh', '-c', `${line}; exec "$0"`, ...host.launcher],
    compile: host.compile.bind(host),
    describe: host.describe.bind(host),
  })

  for (const threads of [1, 2]) {
    it(`train as in memory on ${threads} threads, range by range and row by row`, async () => {
      const run = await open({ threads })
      for (let step = 0; step < 5; step++) {
        await run.step()
        await run.assertHolds()
      }
      assert.ok((await run.session.read('grad/embedding')).every((sum) => sum === 0))
      assert.equal((await run.session.read('report/loss'))[0], 2)
    })
  }

  it('do so on slow storage, and as slowly as they are told', async () => {
    const run = await open({ pace: { bytesPerSecond: 1e6, latencySeconds: 5e-4, writeBytesPerSecond: 2e5 } })
    const start = performance.now()
    await run.step()
    const milliseconds = performance.now() - start
    await run.assertHolds()
    let least = 0
    for (const { name, transfers = [] } of storedProgram.functions) {
      const turns = name === 'accumulate' ? 2 : 1
      for (const transfer of transfers) {
        const { kind, bytes } = transfer
        if (kind === 'keep' || !transfer.rows) least += turns * (0.5 + (1000 * bytes) / (kind === 'read' ? 1e6 : 2e5))
      }
    }
    assert.ok(milliseconds >= least, `${milliseconds} ms for ${least}`)
  })

  it('pause between any two launches and end with the same bits, with no version half made', async () => {
    const run = await open({ threads: 2 })
    await run.session.keep()
    run.session.pause()
    let pauses = 0
    const done = run.step()
    for (let isOver = false; !isOver;) {
      const watch = run.session.paused().then(async (isPaused) => {
        if (!isPaused) return
        pauses++
        run.session.resume(1)
      })
      isOver = await Promise.race([done.then(() => true), watch.then(() => false)])
    }
    const ofMicroBatch = storedProgram.functions[0]?.launches.length ?? 0
    assert.equal(pauses, ofMicroBatch - 1 + stepLaunches - 1)
    run.session.resume()
    await run.assertHolds()
  })

  it('allocate nothing while they move', async () => {
    const run = await open({ threads: 2, countAllocations: true })
    for (let step = 0; step < 3; step++) await run.step()
    assert.equal((await run.session.stats()).allocations?.inCalls, 0)
  })

  it('are refused in WebAssembly, without a state file, and a file is refused without them', async () => {
    const stored = { path: files.next() }
    const wasm = await chooseToolChain('wasm')
    const { frozen } = files
    await assert.rejects(openSession(storedProgram, { toolchain: wasm, frozen, stored }), /has values in storage while/)
    await assert.rejects(openSession(storedProgram, { toolchain: host, frozen }), /5 values in storage, no state file/)
    const bytes = { frozen: [{ path: frozen[0]?.path ?? '', offset: 0, bytes: 76 }] }
    await assert.rejects(
      openSession(lineProgram, { toolchain: host, ...bytes, stored }),
      /0 values in storage, a state/,
    )
    const line = await openSession(lineProgram, { toolchain: host, optimise: 'light', ...bytes })
    await assert.rejects(line.keep(), InternalError)
    await line.close()
  })

  it('take no ids without a row', async () => {
    const { session } = await open()
    await assert.rejects(session.write('ids', storedBatch(0).ids.with(4, 19)), refusedWith('HD714', /id 19 at place 4/))
  })

  describe('a file of versions', () => {
    const recordsOf = (path: string): number[] => {
      const head = readFileSync(path).subarray(0, 4096)
      return [1024, 2048].map((offset) => Number(head.readBigUInt64LE(offset)))
    }

    it('is made for its owner only, and not over another', async () => {
      const run = await open()
      assert.equal(statSync(run.path).mode & 0o777, 0o600)
      await assert.rejects(open({ stored: { path: run.path } }), refusedWith('HD711', /states-\d+ File exists/))
      await run.step()
      const absent = join(files.folder, 'absent', 'states')
      await assert.rejects(open({ stored: { path: absent } }), refusedWith('HD711', /No such file/))
      await assert.rejects(open({ stored: { path: `${run.path}\n` } }), refusedWith('HD711', /line break/))
    })

    it('is refused where the disk has no room for all of it, and does not stay', async () => {
      const path = files.next()
      const opening = openSession(oneValue(2 ** 43), { toolchain: host, optimise: 'light', stored: { path } })
      await assert.rejects(opening, refusedWith('HD711', /states-\d+ the states need \d+ bytes of disk; \d+ are/))
      assert.throws(() => statSync(path), /ENOENT/)
    })

    it('holds what is kept where the driver says', async () => {
      const run = await open()
      const kept = await run.session.keep()
      assert.equal(kept.version, 1)
      assertKept(kept, run.state)
      const names = kept.values.map(({ name }) => name)
      assert.deepEqual(names, ['sum/weight', 'report/loss', 'step', 'weight', 'moment/weight', 'embedding'])
      // Nothing new since.
      assert.deepEqual(await run.session.keep(), kept)
      const { state } = run
      await run.step()
      const next = await run.session.keep()
      assert.equal(next.version, 2)
      assertKept(next, run.state)
      assertKept(kept, state)
    })

    it('loses a version with the second update after it', async () => {
      const run = await open()
      const first = await run.session.keep()
      await run.step()
      const second = { file: run.path, version: 2, values: keptValues(storedProgram, 1) }
      assertKept(second, run.state)
      await run.step()
      assertKept({ file: run.path, version: 3, values: keptValues(storedProgram, 0) }, run.state)
      assert.throws(
        () => assertKept(first, run.state),
        refusedWith('HD412', /version 1 is not in the file, which holds versions 2 and 3$/),
      )
    })

    it('is not written over by values that are brought, but goes on in a copy', async () => {
      const run = await open()
      await run.step()
      const kept = await run.session.keep()
      const [before, weight] = [run.state, run.state.weight.map((value) => value + 1)]
      await run.write({ ...run.state, weight })
      assertKept(kept, before)
      assert.deepEqual(recordsOf(run.path), [0, kept.version])
      await run.assertHolds()
      await run.step()
      await run.assertHolds()
      // What was brought became a version before the update overwrote the one it came from.
      assert.equal((await run.session.keep()).version, kept.version + 2)
      assertKept(await run.session.keep(), run.state)
    })

    it('holds a state in memory that was written after the values', async () => {
      const run = await open()
      const kept = await run.session.keep()
      await run.session.write('step', Float32Array.of(7))
      const next = await run.session.keep()
      assert.equal(next.version, kept.version + 1)
      assertKept(next, { ...run.state, step: 7 })
      assertKept(kept, run.state)
      // An input is no state.
      await run.session.write('ids', storedBatch(1).ids)
      assert.equal((await run.session.keep()).version, next.version)
    })

    it('holds values that are larger than what is brought at once', async () => {
      const count = 200_003
      const path = files.next()
      const program = oneValue(count, { kind: 'uniform', bound: 0.5 })
      const session = await openSession(program, { toolchain: host, optimise: 'light', stored: { path } })
      try {
        const first = await session.read('value')
        assert.deepEqual(first, initialData(program.values[0] as ProgramValue, 0))
        const kept = await session.keep()
        const next = Float32Array.from({ length: count }, (_, index) => index)
        await session.write('value', next)
        assert.deepEqual(await session.read('value'), next)
        const read = ({ file, version, values }: KeptState): unknown =>
          readKept(file, { version, identity: keptIdentity(file) }, values[0] as KeptValue)
        assert.deepEqual(read(kept), first)
        assert.deepEqual(read(await session.keep()), next)
        // Only its last bytes are gone: that is noticed before the first ones are announced, which could not be taken back.
        const { size } = statSync(path)
        truncateSync(path, size - 4096)
        for (let turn = 0; turn < 2; turn++) {
          await assert.rejects(
            session.read('value'),
            refusedWith('HD717', /bytes \d+ to \d+ of the state file cannot be read: the file has become shorter/),
          )
        }
      } finally {
        await session.close()
      }
    })

    it('goes with what was read of it when it is cut off', async () => {
      const run = await open()
      await run.step()
      const kept = await run.session.keep()
      truncateSync(run.path, 9000)
      await assert.rejects(
        run.step(),
        refusedWith(
          'HD717',
          /^HD717 \S+states-\d+ bytes \d+ to \d+ of the state file cannot be read: the file has become shorter; nothing was updated; make room on its disk, or see what ails it, and give --resume, which goes on from/,
        ),
      )
      assert.throws(
        () => assertKept(kept, run.state),
        refusedWith('HD412', /the file is cut off: it has 9000 bytes, and \d+ by its header$/),
      )
    })
  })

  describe('a file that takes no more', () => {
    /** A run after two steps, whose program may write no file beyond a byte from `limit` on. */
    const limited = async (): Promise<{ run: StoredRun; limit: (bytes: number) => void }> => {
      const pidFile = join(files.folder, 'pid')
      const run = await open({}, startedBy(`echo $$ >'${pidFile}'`))
      await run.step()
      await run.step()
      const pid = readFileSync(pidFile, 'utf8').trim()
      return { run, limit: (bytes) => execFileSync('prlimit', ['--pid', pid, `--fsize=${bytes}`]) }
    }
    const [slot0, slot1] = slotEnds()
    const unwritable =
      /^HD717 \S+states-\d+ bytes \d+ to \d+ of the state file cannot be written: File too large; nothing was updated; make room/

    it('is none to begin with', async () => {
      await assert.rejects(open({}, startedBy('ulimit -f 16')), refusedWith('HD711', /states-\d+ File too large/))
    })

    // Version 2 is in slot 0, so version 3 goes to slot 1: its record or one of its values cannot be written.
    for (const bytes of [1024, slot0, slot0 + 4200, slot1 - 4096]) {
      it(`ends an update at byte ${bytes}: the version before stands, and nothing is computed any more`, async () => {
        const { run, limit } = await limited()
        // Between `measure` and `apply`: three times in each micro-batch, and behind two functions.
        run.session.pause(8)
        const step = run.step()
        while (!(await run.session.paused())) await new Promise((resolve) => setImmediate(resolve))
        limit(bytes)
        run.session.resume()
        await assert.rejects(step, refusedWith('HD717', unwritable))
        await assert.rejects(run.session.call('measure', {}), /an update was begun and never finished/)
        await assert.rejects(run.step(), /an update was begun and never finished/)
        await assert.rejects(run.session.keep(), refusedWith('HD717', /an update was begun and never finished/))
        await assert.rejects(run.write(run.state), refusedWith('HD717', /an update was begun and never finished/))
        assert.deepEqual(await run.session.read('weight'), run.state.weight)
        assertKept({ file: run.path, version: 2, values: keptValues(storedProgram, 0) }, run.state)
      })
    }

    it('ends a micro-batch: the version that stands does, and a brought value is told of too', async () => {
      const { run, limit } = await limited()
      limit(slot1 + 4096)
      await assert.rejects(run.step(), refusedWith('HD717', unwritable))
      await run.assertHolds()
      assertKept(await run.session.keep(), run.state)
      const grad = new Float32Array(storedProgram.values.find(({ name }) => name === 'grad/embedding')?.shape.reduce((a, b) => a * b) ?? 0) // prettier-ignore
      await assert.rejects(run.session.write('grad/embedding', grad), refusedWith('HD717', unwritable))
      await run.assertHolds()
    })
  })

  it('leave the version that stood behind when the power fails, whatever of the rest came to the disk', async () => {
    const names = ['heddle.h', 'heddle_program.h', 'heddle_platform.h', 'heddle_text.h', 'heddle_files.h', 'heddle_stored.h'] // prettier-ignore
    const sources = names.map((name): Source => {
      return { name, text: readFileSync(new URL(`../../backends/neon/runtime/${name}`, import.meta.url), 'utf8') }
    })
    const crash = { name: 'crash.cpp', text: readFileSync(new URL('../neon/stateCrash.cpp', import.meta.url), 'utf8') }
    const path = await host.compile([...sources, crash], { output: 'executable', optimise: 'light' })
    const { code, output } = await runProgram(path, [files.next()])
    assert.equal(code, 0, output)
    assert.match(output, /^\d{4,} files, version 11\n$/)
  })

  it('leave a whole version behind when the program is killed, at whatever moment', async () => {
    const found = new Set<number>()
    // Some are killed in the middle of an update, and some between two: how long that takes is the machine's affair.
    const isVaried = (): boolean => found.has(0) && found.size > 2
    for (let turn = 0; turn < 40 || (turn < 400 && !isVaried()); turn++) {
      const path = files.next()
      const controller = new AbortController()
      const pace = { bytesPerSecond: 1e9, latencySeconds: 1e-5 * (turn % 3) }
      const run = await StoredRun.open(files, host, { stored: { path }, pace, signal: controller.signal })
      // What each version holds: known before it can be there.
      const versions = new Map([[1, run.state]])
      await run.session.keep()
      let acknowledged = 1
      const work = async (): Promise<never> => {
        for (let version = 2; ; version++) {
          // What was brought becomes a version before the update that follows.
          if (turn % 2 === 1 && version % 3 === 0) {
            await run.write({ ...run.state, weight: run.state.weight.map((value) => value + version) })
            versions.set(version++, run.state)
          }
          versions.set(version, run.nextState())
          await run.step()
          acknowledged = version
        }
      }
      const working = assert.rejects(work(), /enough/)
      await new Promise((resolve) => setTimeout(resolve, (turn * 7.3) % (41 + turn)))
      controller.abort(new Error('enough'))
      await working
      await run.session.close()
      const head = readFileSync(path).subarray(0, 4096)
      const left = [1024, 2048].map((offset) => Number(head.readBigUInt64LE(offset)))
      left.forEach((version, slot) => {
        if (version === 0) return
        const state = versions.get(version)
        assert.ok(state, `version ${version}`)
        assertKept({ file: path, version, values: keptValues(storedProgram, slot === 0 ? 0 : 1) }, state)
      })
      assert.ok(Math.max(...left) >= acknowledged, `turn ${turn}: ${left.join()} after ${acknowledged}`)
      found.add(Math.min(...left))
      rmSync(path)
    }
    assert.ok(isVaried(), [...found].join())
  })
})

/** Where slots end, by the offsets that the driver tells; sums of gradients lie behind both. */
function slotEnds(): [number, number] {
  const [begin0 = 0, begin1 = 0] = ([0, 1] as const).map((slot) => keptValues(storedProgram, slot)[0]?.offset)
  return [begin1, 2 * begin1 - begin0]
}

/** A program that computes nothing and has one value in storage. */
function oneValue(elements: number, initial: ProgramValue['initial'] = { kind: 'constant', value: 0 }): Program {
  const place = { space: 'stored', index: 0 } as const
  const value = {
    name: 'value',
    role: 'state',
    dtype: 'f32',
    shape: [elements],
    bytes: 4 * elements,
    place,
    initial,
  } as const
  const empty = { sizes: [], kernels: [], functions: [], arenaBytes: 0, stateBytes: 0, inputBytes: 0 }
  return {
    name: 'one',
    ...empty,
    values: [{ ...value, streamed: true, versions: true }],
    frozenCount: 0,
    storedCount: 1,
  }
}
