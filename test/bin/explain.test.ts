// `heddle explain` on a small project: what it prints fits a terminal, what it gives machines is whole, and what it is
// asked for and does not have is refused.

import assert from 'node:assert/strict'
import { subjectOf, tableLines } from '../../bin/explainView.ts'
import type { FunctionReport, KernelReport } from '../../compiler/plan/explain.ts'
import { assertRefused, eventsOf, heddle, tinyProject } from './support.ts'

describe('heddle explain', () => {
  it('lists every kernel of every function, within a hundred columns', async () => {
    const { code, stdout } = await heddle(tinyProject(), 'explain', 'lora.ts', '--device', 'phone-8gb')
    assert.equal(code, 0)
    assert.match(stdout, /^gpt2 for a phone with 8 GB of memory \(neon\), seq 24$/m)
    for (const fn of ['accumulate', 'measure', 'apply']) {
      assert.match(stdout, new RegExp(`^${fn}: \\d+ launches of \\d+ kernels, [\\d.]+( [kMGT])? multiply-adds$`, 'm'))
    }
    assert.match(stdout, /^ {2}[\d.]+ MiB must move, [\d.]+ MiB move by the model: [\d.]+ passes over memory$/m)
    assert.match(stdout, /^contraction_\d+ .* \d+×\d+ {2}.*gpt2\.ts:\d+$/m)
    for (const line of stdout.split('\n')) assert.ok(line.length <= 100, line)
  })

  it('gives machines the same with arguments, packing, directives and lines', async () => {
    const { code, stdout } = await heddle(tinyProject(), 'explain', 'full.ts', '--device', 'phone-8gb', '--json')
    const [event = { event: 'none' }, ...more] = eventsOf(stdout)
    assert.deepEqual([code, event.event, event['isa'], more], [0, 'explain', 'neon', []])
    const functions = event['functions'] as FunctionReport[]
    assert.deepEqual(
      functions.map(({ name }) => name),
      ['accumulate', 'measure', 'apply'],
    )
    const kernels = functions.flatMap((fn) => fn.kernels)
    assert.ok(kernels.some(({ packing }) => packing.some(({ from }) => from.length > 0)))
    assert.ok(kernels.some(({ directives }) => directives.some((line) => line.startsWith('split '))))
    const places = kernels.flatMap(({ results }) => results.flatMap((result) => result.places))
    assert.ok(places.some(({ file, line }) => file.endsWith('gpt2.ts') && typeof line === 'number'))
    for (const { arguments: given } of kernels) assert.ok(given.length > 0)
  })

  it('shows one kernel in full, with its source on request', async () => {
    const dir = tinyProject()
    const listed = await heddle(dir, 'explain', 'lora.ts', '--device', 'phone-8gb')
    const name = /^contraction_\d+/m.exec(listed.stdout)?.[0] ?? 'none'
    const short = await heddle(dir, 'explain', 'lora.ts', '--device', 'phone-8gb', '--kernel', name)
    assert.match(short.stdout, new RegExp(`^${name}: contraction, \\d+ launch(es)?; what follows is of one$`, 'm'))
    assert.match(short.stdout, /^register tile: \d+ rows of \d+; scratch of a thread: [\d.]+ KiB$/m)
    assert.match(short.stdout, /^packed into acc\d+_b, [\d.]+ KiB: .*, copied as it is$/m)
    assert.match(short.stdout, /^ {2}stage acc/m)
    assert.doesNotMatch(short.stdout, /static void/)
    for (const line of short.stdout.split('\n')) assert.ok(line.length <= 100, line)
    const long = await heddle(
      dir,
      'explain',
      'lora.ts',
      '--device',
      'phone-8gb',
      '--kernel',
      name,
      '--source',
      '--json',
    )
    const [event = { event: 'none' }] = eventsOf(long.stdout)
    assert.equal(event['kernel'], name)
    assert.match(String(event['nest']), /^kernel contraction/)
    assert.match(String(event['source']), new RegExp(`^kernel ${name} `))
    assert.match(String(event['cpp']), /static void kernel_contraction/)
  })

  it('refuses kernels that are not there, source without a kernel, and devices nobody knows', async () => {
    const dir = tinyProject()
    assertRefused(
      await heddle(dir, 'explain', 'lora.ts', '--device', 'phone-8gb', '--kernel', 'none'),
      /^HD815 .*'none'/,
    )
    assertRefused(await heddle(dir, 'explain', 'lora.ts', '--source'), /^HD814 --source shows one kernel; name it/)
    assertRefused(await heddle(dir, 'explain', 'lora.ts', '--device', 'toaster'), /^HD820 /)
  })

  it('keeps the end of a long name and the line it comes from', () => {
    const report = (names: string[], line?: number): KernelReport =>
      ({
        kind: 'rows',
        arguments: [],
        results: [{ fn: 'f', layer: 0, names, places: line === undefined ? [] : [{ file: '/a/b/net.ts', line }] }],
      }) as unknown as KernelReport
    assert.equal(subjectOf(report(['model.layers.0.q'], 12), 40), 'model.layers.0.q net.ts:12')
    assert.equal(subjectOf(report(['model.layers.0.q', 'k', 'v'], 12), 22), '…yers.0.q +2 net.ts:12')
    assert.equal(subjectOf(report([]), 22), 'rows')
    assert.deepEqual(
      tableLines([
        ['a', 'b'],
        ['long', '12'],
      ]),
      ['a      b', 'long  12'],
    )
  })
})
