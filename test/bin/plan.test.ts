// `heddle plan` beyond its certificate: what would make a recipe fit, devices beside each other, the page. Text is a golden
// on a device whose figures are written here.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { checkpointLines, jointText } from '../../bin/checkpointView.ts'
import { CompilingProgress } from '../../bin/compilingProgress.ts'
import { liveRows, secondsText } from '../../bin/planPage/charts.ts'
import { planPage } from '../../bin/planPage/page.ts'
import type { PlanPage } from '../../bin/planPage/page.ts'
import {
  certificateLines,
  changeLines,
  deviceLines,
  needText,
  recordsText,
  storageLines,
  timesText,
  usualFiguresText,
} from '../../bin/planView.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import { findDevice, shippedDevice, shippedDevices } from '../../devices/index.ts'
import type { Certificate } from '../../train/certificate.ts'
import type { FittingChange } from '../../train/fitting.ts'
import { functionDetails, kernelSeconds, layerDetails } from '../../train/planDetails.ts'
import { explainProgram } from '../../compiler/plan/explain.ts'
import { timetables } from '../../compiler/plan/timetable.ts'
import type { TimedMove } from '../../compiler/plan/timetable.ts'
import { predictionRates } from '../../train/storage.ts'
import { wideProfile } from '../memory/gpt2Sizes.ts'
import { compileArchitecture, smallArchitectures } from '../support/architectures.ts'
import { golden } from '../support/golden.ts'
import { assertRefused, eventsOf, heddle, startHeddle, tinyProject, writeRecipe } from './support.ts'

const MEBIBYTE = 1024 * 1024
const phone = findDevice('phone-8gb', 'neon')

const certificate: Certificate = {
  device: 'phone-8gb',
  fits: false,
  budgetBytes: 2048 * MEBIBYTE,
  peakBytes: 2500 * MEBIBYTE,
  parts: { weights: 500 * MEBIBYTE, state: 12 * MEBIBYTE, arena: 1960 * MEBIBYTE, inputs: 1 * MEBIBYTE, scratch: 23 * MEBIBYTE, runtime: 4 * MEBIBYTE },
  functions: [
    { name: 'accumulate', launches: 438, arenaBytes: 1960 * MEBIBYTE, lowerBound: 1950 * MEBIBYTE },
    { name: 'apply', launches: 150, arenaBytes: 192, lowerBound: 192 },
  ],
  kernels: 68,
} // prettier-ignore

const changes: readonly FittingChange[] = [
  { key: 'checkpoints', from: 'none', value: 'every layer', peakBytes: 914 * MEBIBYTE, budgetBytes: 2048 * MEBIBYTE },
  {
    key: 'batch.length',
    from: 1024,
    value: 912,
    peakBytes: 2039 * MEBIBYTE,
    budgetBytes: 2048 * MEBIBYTE,
    isLargest: true,
    step: 8,
    records: { cut: 1, leftOut: 1491, examples: 13 },
  },
  { key: 'rank', from: 64, value: 8, peakBytes: 2040 * MEBIBYTE, budgetBytes: 2048 * MEBIBYTE, isLargest: false },
  { key: 'device', from: 'phone-8gb', value: 'phone-12gb', peakBytes: 2510 * MEBIBYTE, budgetBytes: 3072 * MEBIBYTE },
]

describe('a plan as text', () => {
  it('says what takes how much, what is largest, and what would make it fit', () => {
    const [, length, , device] = changes as [FittingChange, FittingChange, FittingChange, FittingChange]
    const fit = { device: phone, threads: phone.cores, certificate, checkpoints: 'none' as const }
    const lines = [
      ...certificateLines(certificate, 4, 1),
      needText({ name: 'wte.weight', bytes: 147 * MEBIBYTE, part: 'weights' }),
      ...changeLines(changes),
      ...changeLines([]),
      ...changeLines([
        { ...device, isOwnBudget: true },
        { ...length, step: 1, records: { cut: 0, leftOut: 0, examples: 9 } },
      ]),
      ...deviceLines([fit, { ...fit, checkpoints: 'every', certificate: { ...certificate, fits: true } }]),
    ]
    for (const line of lines) assert.ok(line.length <= 100, line)
    golden('bin/plan.txt', `${lines.join('\n')}\n`)
  })
})

describe('checkpoints as text', () => {
  it('say how far from an optimum they are only where they fit', () => {
    const plan = { budget: 1000, layers: [], peak: 1000, seconds: 2, lowerBound: 1.9, gap: 0.05, milliseconds: 1 }
    const report = { ...plan, recomputed: 0.2, rounds: [{ room: 1000, predicted: 1000, real: 1000 }], leastPeak: 1000 }
    const lines = (fits: boolean): string[] =>
      checkpointLines(
        { checkpoints: 'chosen', checkpointing: report, arenas: [], certificate: { ...certificate, fits } },
        new Provenance(),
      )
    assert.match(lines(true)[1] ?? '', /^recomputation: \+20\.0 % multiply-adds \(optimal at least \+19\.0 %\); /)
    assert.match(lines(false)[1] ?? '', /^recomputation: \+20\.0 % multiply-adds, for the least memory; /)
  })
})

describe('recomputation and weights that stay as text', () => {
  const joint = { shardBytes: 2.5 * MEBIBYTE, seconds: 0.0736, computeSeconds: 0.0577, storageSeconds: 0.0592, lowerBound: 0.0729, gap: 0.0095, shards: [], milliseconds: 1, isTaken: true, predictedSeconds: 0.0695, sequentialSeconds: 2520 } // prettier-ignore

  it('name what is predicted apart from what the bound is of', () => {
    assert.equal(
      jointText(joint),
      'recomputation and weights that stay: a micro-batch of 69.5 ms, planned together in ranges of 2.5 MiB, 2,520.0 s one after the other; the model that chooses, which knows no order of reads, counts 73.6 ms for it, at most 0.95 % from its optimum, 72.9 ms at least',
    )
    assert.match(jointText({ ...joint, isTaken: false }), /one after the other, which together is no better; the model that chooses, which knows no order of reads, counts 73\.6 ms for those together, /) // prettier-ignore
  })

  it('say nothing of the least recomputation where that was not looked for', () => {
    const report = { budget: 1000, layers: [], peak: 1000, seconds: 2, milliseconds: 1, recomputed: 0.2, rounds: [{ room: 1000, predicted: 1000, real: 1000 }], leastPeak: 1000 } // prettier-ignore
    const fitting = { ...certificate, fits: true }
    const lines = checkpointLines({ checkpoints: 'chosen', checkpointing: report, joint, arenas: [], certificate: fitting }, new Provenance()) // prettier-ignore
    assert.match(lines[1] ?? '', /^recomputation: \+20\.0 % multiply-adds, so that more weights stay; /)
    assert.equal(lines[2], jointText(joint))
  })
})

/** The same with what is trained in a file. */
const update = {
  reads: 3,
  readBytes: 40 * MEBIBYTE,
  writes: 3,
  writtenBytes: 30 * MEBIBYTE,
  computeSeconds: 0.034,
  stallSeconds: 0.0449,
}
const stored: Certificate = {
  ...certificate,
  storage: {
    ...update,
    tensorBytes: 0,
    windowBytes: 4 * MEBIBYTE,
    state: {
      valueBytes: 60 * MEBIBYTE,
      fileBytes: 100 * MEBIBYTE,
      resumingBytes: 200 * MEBIBYTE,
      resultBytes: 30 * MEBIBYTE,
      update,
    },
  },
}
const resumingText =
  '--resume copies the values into a second such file, so that both need 200.0 MiB of disk until the resumed run has saved two states'

describe('times that a plan predicts', () => {
  it('are told to be by usual figures where something is moved and the profile states none', () => {
    const { storage: _, ...figures } = phone.figures
    const silent = { ...phone, figures: { ...figures, absent: { storage: 'none' } } }
    const said = 'predicted by usual figures, since the profile states none of storage (none)'
    assert.equal(usualFiguresText(stored, silent, 4), said)
    assert.equal(usualFiguresText(certificate, silent, 4), undefined)
    assert.equal(usualFiguresText(stored, phone, 4), undefined)
    const { compute: __, ...slow } = silent.figures
    assert.equal(usualFiguresText(stored, { ...silent, figures: slow }, 4), `${said} and computing`)
  })
})

describe('a plan with what is trained in a file', () => {
  it('says what a run takes of disk, and what going on with it does', () => {
    const lines = storageLines(stored, 1)
    assert.match(lines[0] ?? '', /; with the result beside it in the end it takes 130\.0 MiB of disk$/)
    assert.equal(lines[1], resumingText)
    assert.ok(page({ certificate: stored }).html.includes(`<p>${resumingText}.</p>`))
    assert.ok(!page().html.includes('--resume'))
  }).timeout(120_000)

  it('shows times whose parts add up to their sum', () => {
    assert.match(storageLines(stored, 1)[2] ?? '', /; predicted 78\.9 ms: 34\.0 computing, 44\.9 waiting for storage$/)
    assert.deepEqual(timesText(0, 0), ['0.00 µs', '0.00', '0.00'])
    assert.deepEqual(timesText(4e-7, 0), ['0.40 µs', '0.40', '0.00'])
    assert.deepEqual(timesText(0.00344, 0.00344), ['6.88 ms', '3.44', '3.44'])
    assert.deepEqual(timesText(1.3, 0.044), ['1.34 s', '1.30', '0.04'])
    assert.deepEqual(timesText(12.34, 23.43), ['35.7 s', '12.3', '23.4'])
    for (let turn = 0; turn < 2000; turn++) {
      const [one, other] = [1e-7 * 1.013 ** turn, 1e-6 * 1.011 ** turn]
      const [sum, ...parts] = timesText(one, other).map((text) => Number(text.replace(/,| .*/g, '')))
      const [first = NaN, second = NaN] = parts
      assert.ok(Math.abs(first + second - (sum ?? NaN)) < 1e-9 * (sum ?? 0), `${one} and ${other}`)
    }
  })
})

describe('heddle plan', function () {
  this.timeout(120_000)

  it('tells machines what a run whose trained values are in a file takes of disk, resumed as well', async () => {
    const dir = tinyProject(0.1, 112)
    const { stdout } = await heddle(dir, 'plan', 'full.ts', '--device', 'phone-8gb', '--memory', '6.5MiB', '--json')
    const event = eventsOf(stdout).find((one) => one.event === 'plan')
    const { state } = (event?.['certificate'] as Certificate | undefined)?.storage ?? {}
    assert.ok(state && state.fileBytes > state.valueBytes)
    assert.equal(state.resumingBytes, 2 * state.fileBytes)
    // Weights, of which the file holds two versions with two moments each, and their gradients.
    assert.ok(state.resultBytes > state.fileBytes / 8 && state.resultBytes < state.fileBytes, JSON.stringify(state))
  })

  it('holds every device to the memory and threads that were asked for', async () => {
    const operands = [
      'plan',
      'lora.ts',
      '--device',
      'phone-8gb',
      '--all',
      '--memory',
      '4.5MiB',
      '--threads',
      '3',
      '--json',
    ]
    const { stdout } = await heddle(tinyProject(), ...operands)
    const event = eventsOf(stdout).find((one) => one.event === 'plan')
    const devices = event?.['devices'] as { threads: number; certificate: Certificate }[]
    for (const { threads, certificate } of devices) {
      assert.deepEqual([threads, certificate.budgetBytes], [3, 4.5 * MEBIBYTE], certificate.device)
    }
    // What is told of the device itself is what its row says.
    const row = devices.find((one) => one.certificate.device === 'phone-8gb')
    assert.deepEqual(row?.certificate, event?.['certificate'])
  })

  it('refuses a budget that the device does not have', async () => {
    const dir = tinyProject()
    const refused = await heddle(dir, 'plan', 'lora.ts', '--device', 'phone-4gb', '--memory', '900GiB')
    assertRefused(refused, /^HD823 a budget of 921,600 MiB is above the memory of phone-4gb, 4,096 MiB; a run may have at most what there is; without --memory it has 1,024 MiB$/m) // prettier-ignore
    const { caches, memory, ...figures } = structuredClone(shippedDevice('phone-8gb').figures)
    const bits = { caches: { ...caches, privateBytes: 1 }, memory: { ...memory, bytes: 2, budgetBytes: 2, runtimeBytes: 1 } } // prettier-ignore
    const { sharedBytes: _, ...small } = bits.caches
    const absent = { ...figures.absent, 'caches.sharedBytes': 'too small' }
    const profile = { device: 1, name: 'bits', title: 'bits', ...figures, ...bits, caches: small, absent }
    fs.writeFileSync(path.join(dir, 'bits.json'), JSON.stringify(profile))
    for (const command of ['plan', 'build', 'train']) {
      const quick = command === 'plan' ? [] : ['--toolchain', 'wasm', '--optimise', 'light']
      const ran = await heddle(dir, command, 'lora.ts', '--device', 'bits.json', '--memory', '1MiB', ...quick)
      assertRefused(ran, /^HD823 a budget of 1 MiB is above the memory of bits, 2 bytes; /m)
    }
    assert.ok(!fs.existsSync(path.join(dir, 'runs', 'lora', 'state')))
  })

  it('says what a shorter batch leaves of the records, and proposes none that leaves nothing', async () => {
    const dir = tinyProject()
    writeRecipe(dir, 'wide.ts', { batch: '{ sequences: 40000, length: 24, steps: 3 }', checkpoints: "'none'" })
    const within = async (memory: string): Promise<FittingChange[]> => {
      const { stdout } = await heddle(dir, 'plan', 'wide.ts', '--device', 'phone-8gb', '--memory', memory, '--json')
      return eventsOf(stdout).find((one) => one.event === 'plan')?.['changes'] as FittingChange[]
    }
    const shorter = (await within('800MiB')).find(({ key }) => key === 'batch.length')
    assert.ok(shorter && Number(shorter.value) > 7 && Number(shorter.value) < 13, String(shorter?.value))
    assert.deepEqual(shorter.records, { cut: 7, leftOut: 0, examples: 7 })
    assert.equal(recordsText(shorter), 'cuts 7 records short; 7 examples are left')
    const keys = (await within('300MiB')).map(({ key }) => key)
    assert.deepEqual(keys, ['--memory', 'batch.sequences', 'device'])
  })

  it('compiles what would make a recipe fit', async () => {
    const dir = tinyProject()
    writeRecipe(dir, 'wide.ts', { batch: '{ sequences: 200000, length: 24, steps: 3 }', checkpoints: "'none'" })
    const { code, stdout } = await heddle(dir, 'plan', 'wide.ts', '--device', 'phone-8gb', '--json')
    assert.equal(code, 1)
    const event = eventsOf(stdout).find((one) => one.event === 'plan')
    const found = event?.['changes'] as FittingChange[]
    const fewer = found.find(({ key }) => key === 'batch.sequences')
    assert.ok(fewer && Number(fewer.value) < 200_000 && fewer.peakBytes <= fewer.budgetBytes)
    for (const change of found) assert.ok(change.peakBytes <= change.budgetBytes, change.key)
    // What it says is what a plan of that recipe says.
    writeRecipe(dir, 'fewer.ts', {
      batch: `{ sequences: ${fewer.value}, length: 24, steps: 3 }`,
      checkpoints: "'none'",
    })
    const again = await heddle(dir, 'plan', 'fewer.ts', '--device', 'phone-8gb', '--json')
    assert.equal(again.code, 0)
    const [planned = { event: 'none' }] = eventsOf(again.stdout)
    assert.equal((planned['certificate'] as Certificate).peakBytes, fewer.peakBytes)
    const need = event?.['largestNeed'] as { part: string; bytes: number }
    assert.ok(need.part === 'arena' && need.bytes > 0)
  })

  it('says what it compiles where that takes long, and ends at Ctrl-C with what was found so far', async () => {
    const dir = tinyProject()
    writeRecipe(dir, 'wide.ts', { batch: '{ sequences: 200000, length: 24, steps: 3 }' })
    const { child, ended } = startHeddle(dir, 'plan', 'wide.ts', '--device', 'phone-8gb', '--all')
    let isStopped = false
    child.stderr.on('data', (text: string) => {
      // Once is enough: a second signal would end it at once.
      if (!isStopped && text.includes('compiling for')) isStopped = child.kill('SIGINT')
    })
    const { code, stdout: said, stderr: told } = await ended
    assert.equal(code, 130, told)
    assert.match(told, /^compiling for (device '.+'|batch\.length: \d+), \d+ tried before it$/m)
    assert.match(told, /^ending with what was found so far; once more to stop at once$/m)
    assert.match(said, /^stopped before everything was tried$/m)
    assert.match(said, /does not fit/)
  })

  it('writes over one line of a terminal and gives it back', () => {
    const written: string[] = []
    const write = (text: string): unknown => written.push(text)
    const terminal = { isTTY: true, write } as unknown as NodeJS.WriteStream
    const output = { isJson: false, say: () => undefined, event: () => undefined }
    const progress = new CompilingProgress(output, performance.now(), terminal)
    progress.tell('rank: 3', 0)
    progress.end()
    assert.equal(written.length, 0)
    // What is planned without a pause stands there at once, but only where it can be taken back.
    progress.planning({ checkpoints: 'auto', storage: 'frozen' })
    progress.end()
    const pipe = { isTTY: false, write } as unknown as NodeJS.WriteStream
    new CompilingProgress(output, performance.now(), pipe).planning({ checkpoints: 'auto', storage: 'none' })
    const late = new CompilingProgress(output, performance.now() - 2001, terminal)
    late.tell('rank: 3', 0)
    // Another program of the same change.
    late.tell('rank: 3', 0)
    late.tell('rank: 2', 1)
    late.end()
    assert.deepEqual(
      written.map((text: string) => text.replaceAll('\u001B[K', '')),
      [
        '\rplanning with frozen weights in their files …',
        '\r',
        '\rcompiling for rank: 3, 0 tried before it',
        '\rcompiling for rank: 2, 1 tried before it',
        '\r',
      ],
    )
  })

  it('puts every device beside the others, as text, for machines and on the page', async () => {
    const dir = tinyProject()
    const { code, stdout } = await heddle(dir, 'plan', 'lora.ts', '--device', 'phone-8gb', '--all', '--html', 'out/plan.html') // prettier-ignore
    assert.equal(code, 0)
    const page = fs.readFileSync(path.join(dir, 'out/plan.html'), 'utf8')
    for (const name of ['host', 'wasm', ...shippedDevices.map((device) => device.name)]) {
      assert.match(stdout, new RegExp(`^${name} +fits +[\\d.,]+ +[\\d.,]+ +\\d+ {2}every value is kept$`, 'm'))
      assert.ok(page.includes(`${name}: `), name)
    }
    assert.match(stdout, /^the plan as a page: out\/plan\.html$/m)
    const json = await heddle(dir, 'plan', 'lora.ts', '--device', 'phone-8gb', '--all', '--json')
    const [event] = eventsOf(json.stdout).filter((one) => one.event === 'plan')
    const devices = event?.['devices'] as { certificate: Certificate }[]
    assert.equal(devices.length, shippedDevices.length + 2)
    assert.ok(devices.every((one) => one.certificate.peakBytes > 0))
  })
})

/** A small model with layers computed again, compiled once. */
let small: Pick<PlanPage, 'functions' | 'layers' | 'kernels' | 'timetables' | 'kernelSeconds'> | undefined

function page(parts: Partial<PlanPage> = {}): { html: string; functions: PlanPage['functions'] } {
  small ??= smallPlan()
  const { functions } = small
  const html = planPage({
    subject: 'gpt2',
    microBatches: 1,
    device: phone,
    threads: 4,
    certificate,
    checkpoints: 'every',
    need: undefined,
    changes,
    devices: [],
    predictedBy: 'figures of this test',
    ...small,
    ...parts,
  })
  return { html, functions }
}

function smallPlan(): NonNullable<typeof small> {
  const [gpt2] = smallArchitectures
  assert.ok(gpt2)
  const how = {
    adapt: 'lora',
    checkpoints: 'every',
    sequences: 1,
    length: 37,
    profile: wideProfile,
    named: true,
  } as const
  const compiled = compileArchitecture(gpt2, how)
  const functions = functionDetails(compiled)
  const tables = timetables(compiled, predictionRates(phone, 4))
  const times = { timetables: tables, kernelSeconds: kernelSeconds(compiled, tables) }
  return { functions, layers: layerDetails(functions), kernels: explainProgram(compiled, MEBIBYTE), ...times }
}

/** Tags nest and end, attributes are quoted, and no `<` is left that begins no tag. */
function assertWellFormed(html: string): void {
  const open: string[] = []
  const text = html.replace(/<style>[^]*?<\/style>/, '<style></style>')
  for (const [, slash, name = '', attributes = '', closed] of text.matchAll(/<(\/?)([a-z][\da-z]*)((?:\s+[\w:-]+(?:="[^"<]*")?)*)\s*(\/?)>/gi)) {
    assert.ok(!/&(?!(amp|lt|gt|quot|#\d+);)/.test(attributes), attributes)
    if (closed === '/' || name === 'meta') continue
    if (slash === '') open.push(name)
    else assert.equal(open.pop(), name)
  } // prettier-ignore
  assert.deepEqual(open, [])
  const rest = text.replace(/<!doctype html>|<\/?[a-z][\da-z]*(?:\s+[\w:-]+(?:="[^"<]*")?)*\s*\/?>/gi, '')
  assert.ok(!rest.includes('<'), /.{0,40}<.{0,40}/.exec(rest)?.[0])
}

describe('the page of a plan', function () {
  this.timeout(120_000)

  it('is one well-formed file that asks for nothing', () => {
    const { html } = page()
    assertWellFormed(html)
    assert.doesNotMatch(html, /https?:|<script|<link|<img|@import|url\(|src=/i)
    assert.match(html, /Content-Security-Policy/)
    assert.match(html, /prefers-color-scheme:dark/)
  })

  it('shows every buffer with what it is, and every layer', () => {
    const { html, functions } = page()
    const buffers = functions.flatMap((fn) => fn.buffers)
    assert.equal(html.match(/class="buffer /g)?.length, buffers.length)
    for (const kind of ['kept', 'forward', 'again', 'backward']) {
      assert.ok(html.includes(`class="buffer ${kind}"`), kind)
    }
    assert.match(html, /launches \d+ to \d+: /)
    assert.match(html, /gpt2\.ts:\d+/)
    assert.equal(html.match(/<td>recomputed<\/td>/g)?.length, 5)
    // Kinds together are what is alive, and the most that is alive is the lower bound.
    for (const fn of functions) {
      const sums = liveRows(fn).map(({ kept, forward, again, backward }) => kept + forward + again + backward)
      const most = Math.max(...sums)
      assert.ok(most <= fn.lowerBound && most > fn.lowerBound - 64 * fn.buffers.length, fn.name)
    }
  })

  it('shows names as they are, whatever they are', () => {
    const hostile = '"><script>alert(1)</script><b title=\'&amp;'
    const { functions } = page()
    const [fn] = functions
    assert.ok(fn)
    const { timetables } = moving(fn.name, [{ kind: 'read', tensor: hostile, bytes: 1, begin: 0, end: 1, moment: 2 }])
    const named = { ...fn, launches: fn.launches.map(() => hostile), buffers: fn.buffers.map((buffer) => ({ ...buffer, label: hostile, place: { file: `/x/${hostile}.ts`, line: 1 } })) } // prettier-ignore
    const need = { name: hostile, bytes: 1, part: 'weights' } as const
    const { html } = page({ subject: hostile, functions: [named], need, device: { ...phone, title: hostile, source: hostile }, timetables, predictedBy: hostile }) // prettier-ignore
    assertWellFormed(html)
    assert.doesNotMatch(html, /<script/)
    assert.ok(html.includes('&lt;script'))
  })

  it('has a lane of reads and one of writes where there are some, at their times', () => {
    const { functions } = page()
    const [fn] = functions
    assert.ok(fn)
    const end = small?.timetables.get(fn.name)?.end ?? NaN
    const read = { kind: 'read', tensor: 'wte.weight', bytes: 1 * MEBIBYTE, begin: 0, end: end / 4, moment: 5 } as const
    const later = { ...read, begin: end / 2, end }
    const write = { ...read, kind: 'write', begin: end / 4, end: end / 2, moment: 9 } as const
    const { html } = page(moving(fn.name, [read, write, later]))
    const bars = [...html.matchAll(/class="(read|write)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g)]
    const [first, second, third] = bars.map(([, kind, x, width]) => ({ kind, x: Number(x), width: Number(width) }))
    assert.ok(first && second && third && bars.length === 3)
    assert.deepEqual([first.kind, second.kind, third.kind], ['read', 'read', 'write'])
    assert.ok(Math.abs(third.x - (first.x + first.width)) < 0.1 && Math.abs(second.x - (third.x + third.width)) < 0.1)
    assert.ok(Math.abs(second.width - 2 * first.width) < 0.1)
    assert.match(html, /2 reads from storage, 2\.0 MiB; 1 writes to storage, 1\.0 MiB/)
    assert.match(html, /reading wte\.weight, 1\.0 MiB\nfrom 0 to /)
    assert.doesNotMatch(page(moving(fn.name, [read])).html, /to storage/)
    assert.doesNotMatch(page().html, /(from|to) storage/)
  })

  it('draws together what is too narrow to be told apart, and says how much that is', () => {
    const { functions } = page()
    const [fn] = functions
    assert.ok(fn)
    const end = small?.timetables.get(fn.name)?.end ?? NaN
    const moves = Array.from({ length: 5000 }, (_, place): TimedMove => {
      const [begin, until] = [(place * end) / 5000, ((place + 1) * end) / 5000]
      return { kind: 'read', tensor: `part ${place}`, bytes: 1024, begin, end: until, moment: 0 }
    })
    const { html } = page(moving(fn.name, moves))
    const counts = [...html.matchAll(/reading part \d+( … and (\d+) more)?, /g)].map(([, , more]) => 1 + Number(more ?? 0)) // prettier-ignore
    assert.ok(counts.length < 1500, String(counts.length))
    assert.equal(counts.reduce((sum, count) => sum + count, 0), 5000) // prettier-ignore
  })

  it('says seconds in the unit that suits them', () => {
    assert.deepEqual([0, 2e-6, 0.0123, 1, 12.345].map(secondsText), ['0', '2 µs', '12.3 ms', '1 s', '12.3 s'])
  })
})

/** The small plan with moves in one of its functions. */
function moving(fn: string, moves: readonly TimedMove[]): Pick<PlanPage, 'timetables'> {
  const tables = new Map(small?.timetables)
  const table = tables.get(fn)
  assert.ok(table)
  return { timetables: tables.set(fn, { ...table, moves }) }
}
