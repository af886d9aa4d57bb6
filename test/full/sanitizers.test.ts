// The emitted C++ and its run-time under the address, undefined-behaviour and thread sanitizers: nothing is reported, and
// the bits are those of a plain build. Broken programs show that a report would be seen. (Tokenizers with damaged tables
// are in tokenizers.test.ts.) Needs clang++-22 and its sanitizers' libraries.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSession } from '../../backends/neon/driver/index.ts'
import { CompileCache } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { runProgram } from '../../backends/neon/toolchain/native.ts'
import { parseKernels } from '../../compiler/kernel/parse.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { continuationsOf, continueText, openText } from '../generate/fixture.ts'
import { describeDevice } from '../neon/driverSuite.ts'
import { expected, firstDifference } from '../schedule/launch.ts'
import { apartChain } from '../support/apartChain.ts'
import { countedGraphs } from '../support/countedGraphs.ts'
import { batchOf, runBatch } from '../support/graphBatch.ts'
import { hostChain } from '../support/nativeChains.ts'
import { oracleCase } from '../support/oracle.ts'
import { twoAtATime } from '../support/pairwise.ts'
import { assertStressed, runStress, stressSources } from '../support/poolStress.ts'
import { Reports, sanitizedChain } from '../support/sanitizedRun.ts'
import type { Sanitizer } from '../support/sanitizedRun.ts'
import { StoredFiles, StoredRun } from '../support/storedRun.ts'
import { storedProbe } from '../support/storedProbe.ts'
import { smallStorage } from '../support/smallStorage.ts'
import { compileCase, hashState, openTrainCase, profileOf, withFunctions } from '../support/trainCase.ts'

const cache = new CompileCache()
const sanitizers: readonly Sanitizer[] = ['address', 'thread']
const functions = ['accumulate', 'measure', 'apply']

function sayMinutes(begun: number): void {
  console.log(`      ${((performance.now() - begun) / 60_000).toFixed(1)} minutes`)
}

describe('emitted C++ under sanitizers', function () {
  this.timeout(1_500_000)
  let begun = 0
  let folder = ''
  const reports = new Reports()
  const sanitized = (sanitizer: Sanitizer): Promise<ToolChain> => sanitizedChain(cache, sanitizer, reports)
  before(() => {
    begun = performance.now()
    folder = mkdtempSync(join(tmpdir(), 'heddle-sanitizers-'))
  })
  after(() => {
    rmSync(folder, { recursive: true, force: true })
    reports.remove()
    sayMinutes(begun)
  })

  async function stepHash(name: string, chain: ToolChain, threads: number, shards = 0): Promise<string> {
    const storage = shards > 0 ? { storage: smallStorage(shards) } : {}
    const options = { toolchain: chain, threads, functions, optimise: 'light', ...storage } as const
    const open = await openTrainCase(oracleCase(name), options)
    try {
      await open.step()
      return await hashState(open)
    } finally {
      await open.session.close()
    }
  }

  async function sanitizedHash(name: string, sanitizer: Sanitizer): Promise<string> {
    const chain = await sanitized(sanitizer)
    if (sanitizer === 'thread') return stepHash(name, chain, 8)
    // Compiled twice, to the same program: the tool chain must know its kernels.
    const { compiled } = compileCase(oracleCase(name), { profile: profileOf(chain) })
    const { kernels } = withFunctions(compiled.program, functions)
    return stepHash(name, apartChain(chain, kernels), 1)
  }

  it('steps of small models have the bits of a plain build', async () => {
    const cases = [
      ['gpt2-small/lora', 'address'],
      ['gpt2-small/full', 'thread'],
      ['qwen2-small/full', 'address'],
      ['gemma3-small/lora', 'thread'],
      ['gemma3-small/lora', 'address'],
    ] as const
    const plain = await hostChain(cache, { command: 'clang++-22', isa: 'avx2' })
    await twoAtATime(cases, async ([name, sanitizer]) => {
      const hash = await sanitizedHash(name, sanitizer)
      assert.equal(hash, await stepHash(name, plain, 2), `${name} ${sanitizer}`)
    })
    reports.assertNone()
  })

  it('steps whose weights are read meanwhile have them too', async () => {
    const plain = await hostChain(cache, { command: 'clang++-22', isa: 'avx2' })
    const name = 'qwen2-small/lora'
    const expected = await stepHash(name, plain, 2)
    await twoAtATime(sanitizers, async (sanitizer) => {
      assert.equal(await stepHash(name, await sanitized(sanitizer), 2, 4096), expected, sanitizer)
    })
    reports.assertNone()
  })

  it('values in storage come and go, fail and are left, as in a plain build', async () => {
    const files = new StoredFiles()
    try {
      const plain = await storedProbe(await hostChain(cache, { command: 'clang++-22', isa: 'avx2' }))
      const asked = [['log'], ['steps', '2', 'slow'], ['fail', '97'], ['abandon'], ['close'], ['refusals'], ['faults']]
      await twoAtATime(sanitizers, async (sanitizer) => {
        const chain = await sanitized(sanitizer)
        const probe = await storedProbe(chain)
        for (const words of asked) assert.deepEqual(await probe(...words), await plain(...words), sanitizer)
        const run = await StoredRun.open(files, chain, { threads: 2 })
        try {
          await run.trainAndKeep()
        } finally {
          await run.session.close()
        }
      })
      reports.assertNone()
    } finally {
      files.remove()
    }
  })

  it('24 random graphs have the bits of the interpreter', async () => {
    const { graphs } = countedGraphs(24, 77)
    await twoAtATime(sanitizers, async (sanitizer) => {
      const chain = await sanitized(sanitizer)
      const batch = batchOf(graphs, chain)
      await runBatch(batch, {
        chain: sanitizer === 'address' ? apartChain(chain, batch.program.kernels) : chain,
        threads: sanitizer === 'address' ? 1 : 8,
        frozenPath: join(folder, `${sanitizer}.bin`),
        check: ({ graph, values, extents }, { fn }, results) => {
          assert.equal(firstDifference(results, expected(graph, fn, values, extents)), undefined)
        },
      })
    })
    reports.assertNone()
  })

  it('a text goes on token by token as in a plain build', async () => {
    const { prompt, greedy } = continuationsOf('gemma3-small')
    await twoAtATime(sanitizers, async (sanitizer) => {
      const session = await openText('gemma3-small', { toolchain: await sanitized(sanitizer), length: 8, kept: 80 })
      try {
        assert.deepEqual(await continueText(session, { prompt, count: 64, chunk: 8 }), greedy)
      } finally {
        await session.close()
      }
    })
    reports.assertNone()
  })

  for (const sanitizer of sanitizers) {
    for (const threads of [1, 2, 8]) {
      it(`very many short launches on ${threads} threads (${sanitizer})`, async () => {
        assertStressed(await runStress(await sanitized(sanitizer), threads, 5000), 5000)
        reports.assertNone()
      })
    }
  }

  describe('report what is broken:', () => {
    const reported = (pattern: RegExp): void => assert.match(reports.take(), pattern)

    it('a kernel that reads behind its argument, inside of the arena', async () => {
      const program = pastTheEnd()
      const plain = await openSession(program, { toolchain: await sanitized('address'), threads: 1, optimise: 'light' })
      await plain.call('copy', {})
      await plain.close()
      // The argument lies in the session's memory, so only a copy of its own has an end.
      reports.assertNone()
      const chain = apartChain(await sanitized('address'), program.kernels)
      const session = await openSession(program, { toolchain: chain, threads: 1, optimise: 'light' })
      await assert.rejects(session.call('copy', {}))
      await session.close()
      reported(/heap-buffer-overflow/)
    })

    it('a number that overflows', async () => {
      const chain = await sanitized('address')
      const text = 'int main(int argc, char**) { return (0x7fffffff - 1 + argc) + argc == 0 ? 0 : 1; }\n'
      const path = await chain.compile([{ name: 'overflow.cpp', text }], { output: 'executable', optimise: 'light' })
      const ran = await runProgram(chain.launcher[0] ?? path, [...chain.launcher.slice(1), path])
      assert.notEqual(ran.code, 0)
      reported(/signed integer overflow/)
    })

    it('a pool that counts finished chunks without order', async () => {
      const ordered = '__atomic_add_fetch(&pool.finished, 1, __ATOMIC_SEQ_CST)'
      const broken = stressSources((header, text) => {
        assert.ok(header !== 'heddle_pool.h' || text.includes(ordered))
        return text.replace(ordered, ordered.replace('SEQ_CST', 'RELAXED'))
      })
      const ran = await runStress(await sanitized('thread'), 8, 5000, broken)
      assert.notEqual(ran.code, 0)
      reported(/data race/)
    })
  })
})

/** A kernel that reads nine elements of an argument that has eight. */
function pastTheEnd(): Program {
  const kernels = parseKernels(`
kernel copy {
  read x: f32[8:1]
  write y: f32[9:1]
  grid i in 9 {
    y[i] = x[i]
  }
}`)
  const places = [
    { space: 'arena', offset: 0 },
    { space: 'arena', offset: 64 },
  ] as const
  return {
    name: 'past the end',
    sizes: [],
    kernels,
    values: [],
    functions: [{ name: 'copy', launches: [{ kernel: 0, arguments: places, label: 'y' }], outputs: [] }],
    arenaBytes: 128,
    stateBytes: 0,
    inputBytes: 0,
    frozenCount: 0,
    storedCount: 0,
  }
}

for (const sanitizer of sanitizers) {
  describe(`native session (${sanitizer})`, function () {
    this.timeout(300_000)
    // Whoever reports something ends, and so fails the test; one test has a program crash, which is a report too.
    const reports = new Reports()
    let begun = 0
    before(() => {
      begun = performance.now()
    })
    after(() => {
      reports.remove()
      sayMinutes(begun)
    })
    describeDevice(() => sanitizedChain(cache, sanitizer, reports), [1, 2, 8])
  })
}
