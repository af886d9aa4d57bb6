// `heddle bench` on a small project, in WebAssembly: the shape of what it says, and refusals. How fast anything is, is no
// test's business.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { ThreadResult } from '../../evaluate/speed/result.ts'
import { readResult } from '../../evaluate/speed/resultFile.ts'
import { assertRefused, eventsOf, heddle, startHeddle, tinyProject, writeRecipe } from './support.ts'

const quick = ['--toolchain', 'wasm', '--optimise', 'light', '--no-torch']

describe('heddle bench', function () {
  this.timeout(240_000)
  const dir = tinyProject()

  it('gives machines times, shares and counts of the step and of every kernel, and writes them', async () => {
    const ran = await heddle(dir, 'bench', 'lora.ts', ...quick, '--steps', '2', '--out', 'then.json', '--json')
    assert.equal(ran.code, 0, ran.stderr)
    const events = eventsOf(ran.stdout)
    assert.deepEqual(
      events.map(({ event }) => event).filter((event) => event !== 'progress'),
      ['compiling', 'result', 'end'],
    )
    const end = events.at(-1)
    assert.deepEqual(end?.['subject'], {
      model: 'gpt2', adapt: 'lora', sequences: 2, length: 24, accumulate: 2, checkpoints: 'none',
    }) // prettier-ignore
    const { event: _, ...result } = events.find(({ event }) => event === 'result') ?? { event: 'none' }
    const written = readResult(path.join(dir, 'then.json'))
    assert.deepEqual(written.results, [result])
    const { rounds, threads, step, kernels, shareOfPeak, torch } = result as unknown as ThreadResult
    assert.deepEqual([rounds, threads, torch], [2, 1, null])
    assert.ok(step.low <= step.median && step.median <= step.high && shareOfPeak > 0)
    assert.ok(kernels.length > 30)
    assert.equal(new Set(kernels.map(({ key }) => key)).size, kernels.length)
    const total = kernels.reduce((sum, { share }) => sum + share, 0)
    assert.ok(Math.abs(total - 1) < 1e-9)
    // Every kernel of `accumulate` runs once for each of the two micro-batches.
    const listed = await heddle(dir, 'explain', 'lora.ts', '--device', 'wasm', '--json')
    const functions = eventsOf(listed.stdout)[0]?.['functions'] as { name: string; multiplyAdds: number }[]
    const meant = functions.reduce((sum, fn) => sum + fn.multiplyAdds * (fn.name === 'accumulate' ? 2 : 1), 0)
    assert.equal(
      kernels.reduce((sum, kernel) => sum + kernel.multiplyAdds, 0),
      meant,
    )
  })

  it('compares with what it wrote, in words', async () => {
    const ran = await heddle(dir, 'bench', 'lora.ts', ...quick, '--steps', '1', '--against', 'then.json')
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout, /^1 thread: a step takes [\d.]+ ms \([\d.]+ to [\d.]+\) over 1 round, .* tokens\/s$/m)
    assert.match(ran.stdout, /^ {2}[\d.]+ % of the measured peak of [\d.]+ [MGT] multiply-adds a second; memory/m)
    assert.match(ran.stdout, /^1 thread, now beside then:$/m)
    assert.match(ran.stdout, /^step {2,}[\d.]+ {2,}[\d.]+$/m)
    for (const line of ran.stdout.split('\n')) {
      if (!line.startsWith('compiling')) assert.ok(line.length <= 100, line)
    }
  })

  it('measures packed rows as well', async () => {
    writeRecipe(dir, 'packed.ts', { data: "completions('records.jsonl', { loss: 'completion', pack: true })" })
    const ran = await heddle(dir, 'bench', 'packed.ts', ...quick, '--steps', '1', '--json')
    assert.equal(ran.code, 0, ran.stderr)
  })

  it('refuses files, threads and recipes that are wrong, before it measures', async () => {
    fs.writeFileSync(path.join(dir, 'wrong.json'), '{"benchmark": 1}')
    const bench = (...operands: string[]) => heddle(dir, 'bench', ...operands)
    assertRefused(await bench('lora.ts', '--against', 'missing.json'), /^HD401 missing\.json the file does not exist/)
    assertRefused(await bench('lora.ts', '--against', 'wrong.json'), /^HD610 wrong\.json \(key "subject"\)/)
    assertRefused(await bench('full.ts', '--against', 'then.json'), /^HD611 then\.json it is of adapt lora, /)
    assertRefused(await bench('lora.ts', '--threads', '2', '--against', 'then.json'), /^HD611 .*; give --threads 1\n$/)
    assertRefused(await bench('missing.ts', '--steps', '1'), /^HD110 /)
    for (const threads of ['0', '1,1', '1,,2', '65', 'all']) {
      const { code, stderr } = await bench('lora.ts', '--threads', threads)
      assert.equal(code, 1)
      assert.match(stderr, /'--threads <list>' argument/)
    }
  })

  it('ends at the first Ctrl-C while there is nothing to report', async () => {
    const { child, ended } = startHeddle(dir, 'bench', 'lora.ts', ...quick, '--steps', '1000', '--json')
    child.stdout.once('data', () => child.kill('SIGINT'))
    const { code, stderr } = await ended
    assert.equal(code, 130)
    assert.match(stderr, /stopped/)
  })

  it('reports what it has after a later one', async () => {
    const { child, ended } = startHeddle(dir, 'bench', 'lora.ts', ...quick, '--steps', '100000')
    child.stdout.on('data', (text: string) => {
      if (text.startsWith('rounds with')) child.kill('SIGINT')
    })
    const { code, stdout, stderr } = await ended
    assert.equal(code, 130)
    assert.match(stderr, /reporting after this round/)
    assert.match(stdout, /^1 thread: a step takes .* over \d+ rounds/m)
  })
})
