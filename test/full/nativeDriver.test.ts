// The native driver and run-time with the host's own compiler.

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSession } from '../../backends/neon/driver/index.ts'
import type { SessionOptions, SessionStats } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { describeDevice } from '../neon/driverSuite.ts'
import { bound, lineBatch, lineProgram, tableSize } from '../neon/runtimeProgram.ts'

describe('native session on the host', function () {
  this.timeout(120_000)
  describeDevice('host', [1, 2, 4, 8])
})

describe('native session that the system gives too little', function () {
  this.timeout(120_000)

  it('says which thread would not start, as nobody here can help that', async () => {
    const chain = await chooseToolChain('host')
    const launcher = ['sh', '-c', 'ulimit -d 40000; exec "$0"', ...chain.launcher]
    const toolchain = { ...chain, launcher, compile: chain.compile.bind(chain), describe: chain.describe.bind(chain) }
    const folder = await mkdtemp(join(tmpdir(), 'heddle-threads-'))
    try {
      await writeFile(join(folder, 'weights.bin'), new Uint8Array(4 * tableSize))
      const frozen = [{ path: join(folder, 'weights.bin'), offset: 0, bytes: 4 * tableSize }]
      // Stacks of 8 MiB count as data that could be written.
      const error: unknown = await openSession(lineProgram, { toolchain, optimise: 'light', frozen, threads: 16 })
        .then((session) => session.close())
        .catch((caught: unknown) => caught)
      assert.ok(error instanceof UserError, String(error))
      assert.equal(error.code, 'HD715')
      assert.match(error.sentence, /the system would not start thread \d+ of 16/)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('native session that counts allocations', function () {
  this.timeout(120_000)
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-count-'))
    await writeFile(join(folder, 'weights.bin'), new Uint8Array(4 * tableSize))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  const allocationsOf = async (options: SessionOptions): Promise<SessionStats['allocations']> => {
    const frozen = [{ path: join(folder, 'weights.bin'), offset: 0, bytes: 4 * tableSize }]
    const session = await openSession(lineProgram, { toolchain: 'host', optimise: 'light', frozen, ...options })
    try {
      await session.write('offset', Float32Array.of(0.25))
      for (let step = 0; step < 5; step++) {
        const batch = lineBatch(bound - step, step)
        await session.write('x', batch.x, [batch.x.length])
        await session.write('target', batch.target, [batch.target.length])
        await session.step({ count: batch.x.length }, 'more')
        session.pause(4)
        const done = session.step({ count: batch.x.length }, 'last')
        while (await session.paused()) session.resume(1)
        assert.deepEqual(await done, { status: 'ok' })
        // The last request was not used up.
        session.resume()
        await session.call('predict', { count: 3 })
      }
      return (await session.stats()).allocations
    } finally {
      await session.close()
    }
  }

  for (const threads of [1, 4]) {
    it(`finds none between entry and return on ${threads} threads`, async () => {
      const allocations = await allocationsOf({ threads, countAllocations: true })
      assert.equal(allocations?.inCalls, 0)
      // Opening allocates, so the counter does count.
      assert.ok(allocations.inAll > threads)
    })
  }

  it('says nothing in a build that does not count', async () => {
    assert.equal(await allocationsOf({ threads: 1 }), undefined)
  })
})
