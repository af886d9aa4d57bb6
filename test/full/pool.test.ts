// The thread pool of the run-time: every point of very many small launches runs exactly once, on any number of threads,
// and threads that have nothing to do use no processor time: a phone's battery pays for what spins.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSession } from '../../backends/neon/driver/index.ts'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import { bound, lineBatch, lineProgram, tableSize } from '../neon/runtimeProgram.ts'
import { emulatedChain, hostChain } from '../support/nativeChains.ts'
import { assertStressed, runStress } from '../support/poolStress.ts'

const cache = new CompileCache()
const threadCounts = [1, 2, 8]
/** Of Linux's clock ticks, in which /proc counts. */
const MILLISECONDS_PER_TICK = 10

/** User and system time of a process and all its threads. */
function processorMilliseconds(pid: string): number {
  // Behind the name, which may hold anything, the line's third field comes next; fields 14 and 15 are counted here.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * MILLISECONDS_PER_TICK
}

describe('the thread pool', function () {
  this.timeout(120_000)
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-pool-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  for (const threads of threadCounts) {
    it(`runs every point of many short launches once on ${threads} threads`, async () => {
      for (const command of ['g++', 'clang++-22'] as const) {
        const launches = 30_000
        assertStressed(await runStress(await hostChain(cache, { command, isa: 'avx2' }), threads, launches), launches)
      }
      const launches = 3000
      const emulated = await emulatedChain(cache, 'aarch64-linux-gnu-g++-12', 'max')
      assertStressed(await runStress(emulated, threads, launches), launches)
    })

    it(`rests on ${threads} threads when there is nothing to do`, async () => {
      const pidFile = join(folder, `pid-${threads}`)
      const weights = join(folder, 'weights.bin')
      writeFileSync(weights, new Uint8Array(4 * tableSize))
      const launcher = ['sh', '-c', 'echo $$ >"$0"; exec "$@"', pidFile]
      const session = await openSession(lineProgram, {
        toolchain: await hostChain(cache, { command: 'g++', isa: 'avx2', launcher }),
        optimise: 'light',
        frozen: [{ path: weights, offset: 0, bytes: 4 * tableSize }],
        threads,
      })
      try {
        await session.write('offset', Float32Array.of(0.25))
        await session.write('x', lineBatch(bound, 1).x)
        const pid = readFileSync(pidFile, 'utf8').trim()
        // Until there is something to count: a clock that stands still would prove nothing.
        while (processorMilliseconds(pid) < 50) await session.call('predict', { count: bound })
        const before = processorMilliseconds(pid)
        await new Promise((resolve) => setTimeout(resolve, 1000))
        const idle = processorMilliseconds(pid) - before
        console.log(`      ${idle} ms of processor time in an idle second`)
        assert.ok(idle < 100, `${idle} ms`)
        assert.equal(/^Threads:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1], String(threads))
      } finally {
        await session.close()
      }
    })
  }
})
