// `heddle check`, `plan` and `build` on a small project, and how a run shows on a terminal.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { Interruption } from '../../bin/interruption.ts'
import { outputOf } from '../../bin/output.ts'
import { TrainView } from '../../bin/trainView.ts'
import { shippedDevice } from '../../devices/index.ts'
import type { Certificate } from '../../train/certificate.ts'
import { assertRefused, eventsOf, heddle, temporaryDirectory, tinyProject, writeRecipe } from './support.ts'

describe('heddle plan', () => {
  it('says what takes how much, and that it fits', async () => {
    const { code, stdout } = await heddle(tinyProject(), 'plan', 'lora.ts', '--threads', '1')
    assert.equal(code, 0)
    assert.match(stdout, /lora r3 · 2×24 · .*\nfits: peak [\d.]+ MiB\n/)
    for (const part of ['weights as stored', 'intermediate values', 'scratch of 1 thread ', 'run-time']) {
      assert.match(stdout, new RegExp(`^  ${part} +[\\d.]+ MiB$`, 'm'))
    }
    assert.match(stdout, /^ {2}accumulate +\d+ launches {3}arena [\d.]+ MiB, [\d.]+ % above the lower bound$/m)
  })

  it('states the same for machines, its parts summing to the peak', async () => {
    const { code, stdout } = await heddle(tinyProject(), 'plan', 'full.ts', '--device', 'phone-8gb', '--json')
    const [event = { event: 'none' }, ...more] = eventsOf(stdout)
    assert.deepEqual([code, event.event, more], [0, 'plan', []])
    const { parts, peakBytes, device } = event['certificate'] as Certificate
    assert.equal(device, 'phone-8gb')
    assert.equal(
      Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
      peakBytes,
    )
  })

  it('ends with 1 where a device is too small, and says by how much', async () => {
    const dir = tinyProject()
    writeRecipe(dir, 'wide.ts', { batch: '{ sequences: 65536, length: 40, steps: 1 }' })
    const { code, stdout } = await heddle(dir, 'plan', 'wide.ts', '--device', 'phone-8gb')
    assert.equal(code, 1)
    assert.match(stdout, /does not fit, by [\d,.]+ MiB/)
    assert.match(stdout, /^what would make it fit, each compiled:$/m)
    assert.match(stdout, /^ {2}batch\.sequences: \d+.* \(now 65536\) +peak [\d.,]+ of 2,048\.0 MiB$/m)
  })
})

describe('heddle check', () => {
  it('passes what is well, in words and for machines', async () => {
    const dir = tinyProject()
    for (const recipe of ['lora.ts', 'full.ts']) {
      const { code, stderr } = await heddle(dir, 'check', recipe)
      assert.deepEqual([code, stderr], [0, ''])
    }
    const { code, stdout } = await heddle(dir, 'check', 'lora.ts', '--json')
    assert.equal(code, 0)
    assert.ok(eventsOf(stdout).length > 0)
  })
})

describe('words of the command line that are wrong', () => {
  it('are told to machines as any other mistake', async () => {
    const dir = tinyProject()
    for (const [operands, message] of [
      [['train', 'lora.ts', '--stepz', '3', '--json'], "unknown option '--stepz' (Did you mean --steps?)"],
      [
        ['train', '--json', 'lora.ts', '--threads', '65'],
        /^option '--threads <n>' argument '65' is invalid\. It is a whole number from 1 to 64\./,
      ],
      [['check', '--json'], "missing required argument 'recipe'"],
      [['generate', 'model', '--json'], "required option '--prompt <text>' not specified"],
      [['trian', 'lora.ts', '--json'], "unknown command 'trian' (Did you mean train?)"],
    ] as const) {
      const { code, stdout, stderr } = await heddle(dir, ...operands)
      assert.deepEqual([code, stdout], [1, ''])
      const [event, ...more] = eventsOf(stderr)
      assert.deepEqual(more, [])
      const { message: said, ...rest } = event as { readonly event: string; readonly message: string }
      assert.deepEqual(rest, { event: 'error', code: 'HD809', place: null, mend: null })
      if (typeof message === 'string') assert.equal(said, message)
      else assert.match(said, message)
    }
  })

  it('are told to people in words, and help is no mistake', async () => {
    const dir = tinyProject()
    const wrong = await heddle(dir, 'train', 'lora.ts', '--stepz', '3')
    assert.deepEqual(wrong, { code: 1, stdout: '', stderr: "unknown option '--stepz'\n(Did you mean --steps?)\n" })
    const { code, stdout, stderr } = await heddle(dir, 'check', '--help', '--json')
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /^Usage: heddle check/)
  })

  it('have examples in the help, whose options there are', async () => {
    const dir = tinyProject()
    for (const command of [[], ['check'], ['plan'], ['build'], ['train']]) {
      const { stdout } = await heddle(dir, ...command, '--help')
      const [, examples = ''] = stdout.split('\nExamples:\n')
      const lines = examples.split('\n').filter((line) => line.startsWith('  $ heddle '))
      assert.ok(lines.length >= 2, command.join(' '))
      for (const line of lines) {
        const [, name = ''] = /^ {2}\$ heddle (\w+) /.exec(line) ?? []
        assert.ok(command.length === 0 || command.includes(name), line)
        const { stdout: help } = await heddle(dir, name, '--help')
        for (const [option] of line.matchAll(/--[a-z-]+/g)) assert.ok(help.includes(`${option} `), `${line}: ${option}`)
      }
    }
  })
})

describe('heddle build', () => {
  it('compiles, and dumps every stage: graphs, kernels, C++', async () => {
    const dir = tinyProject()
    const operands = ['--toolchain', 'wasm', '--optimise', 'light', '--dump', 'stages']
    const { code, stdout } = await heddle(dir, 'build', 'lora.ts', ...operands)
    assert.equal(code, 0)
    const built = stdout.trimEnd().split('\n').at(-1) ?? ''
    assert.ok(fs.statSync(path.resolve(dir, built)).size > 1000, built)
    const read = (name: string): string => fs.readFileSync(path.join(dir, 'stages', name), 'utf8')
    const passes = [...read('graph.txt').matchAll(/^\/\/ ([\w-]+): /gm)].map((match) => match[1])
    for (const pass of ['lora', 'differentiate', 'simplify', 'adamw']) {
      assert.ok(
        passes.some((name) => name?.toLowerCase().includes(pass)),
        `${pass} is not among ${passes.join(', ')}`,
      )
    }
    assert.match(read('graph.txt'), /^function accumulate \{$/m)
    assert.match(read('kernels.txt'), /^kernel /m)
    const sources = fs.readdirSync(path.join(dir, 'stages')).filter((name) => name.endsWith('.cpp'))
    assert.ok(sources.length > 0)
    assert.match(read(sources[0] as string), /^\/\/|^#include/m)
    const table = /^tokenizer: (.+)$/m.exec(stdout)?.[1] ?? ''
    assert.equal(fs.readFileSync(path.resolve(dir, table)).toString('latin1', 0, 4), 'HDTK')
  })

  it('is planned for as many threads as are asked for', async () => {
    const dir = tinyProject()
    const partsOf = async (event: string, ...operands: string[]): Promise<Certificate['parts']> => {
      const { stdout } = await heddle(dir, ...operands, '--json')
      const found = eventsOf(stdout).find((one) => one.event === event)
      assert.ok(found, event)
      return (found['certificate'] as Certificate).parts
    }
    const quick = ['--toolchain', 'wasm', '--optimise', 'light']
    const [one, three] = [
      await partsOf('planned', 'build', 'lora.ts', ...quick, '--threads', '1'),
      await partsOf('planned', 'build', 'lora.ts', ...quick, '--threads', '3'),
    ]
    assert.ok(three.scratch > 2 * one.scratch, `${one.scratch} bytes, ${three.scratch} with three threads`)
    assert.deepEqual(three, await partsOf('plan', 'plan', 'lora.ts', '--device', 'wasm', '--threads', '3'))
  })

  it('is planned for a device and within a memory as training is, and refused as it is', async () => {
    const dir = tinyProject()
    const profile = { device: 1, name: 'tiny', title: 'tiny', ...structuredClone(shippedDevice('phone-8gb').figures) }
    const memory = { ...profile.memory, budgetBytes: 5 * 2 ** 20 }
    fs.writeFileSync(path.join(dir, 'tiny.json'), JSON.stringify({ ...profile, memory }))
    const quick = ['--toolchain', 'wasm', '--optimise', 'light'] as const
    const refusals: readonly (readonly [operands: readonly string[], expected: RegExp])[] = [
      [
        ['--memory', '1MiB'],
        /^HD811 the run needs at least [\d.]+ MiB, and may have 1 MiB on wasm; .*; heddle plan says/m,
      ],
      [
        ['--device', 'tiny.json'],
        /^HD811 the run needs at least [\d.]+ MiB, and may have 5 MiB on wasm; .*; heddle plan says/m,
      ],
      [['--device', 'none.json'], /^HD401 none\.json the file does not exist$/m],
      [['--device', 'toaster'], /^HD820 there is no device profile 'toaster'; there are host, /m],
    ]
    for (const [operands, expected] of refusals) {
      assertRefused(await heddle(dir, 'build', 'lora.ts', ...quick, '--dump', 'stages', ...operands), expected)
      assert.ok(!fs.existsSync(path.join(dir, 'stages')))
      assertRefused(await heddle(dir, 'train', 'lora.ts', ...quick, '--out', 'out', ...operands), expected)
    }
    const wide = ['--device', 'tiny.json', '--memory', '999MiB', '--json']
    const built = await heddle(dir, 'build', 'lora.ts', ...quick, ...wide)
    assert.equal(built.code, 0, built.stderr)
    const trained = await heddle(
      dir,
      'train',
      'lora.ts',
      ...quick,
      '--threads',
      '1',
      '--steps',
      '1',
      '--out',
      'out',
      ...wide,
    )
    assert.equal(trained.code, 0, trained.stderr)
    const plans = [built, trained].map(({ stdout }) => {
      const event = eventsOf(stdout).find((one) => one.event === 'planned')
      return event?.['certificate'] as { fits: boolean; budgetBytes: number; parts: object }
    })
    for (const plan of plans) assert.deepEqual([plan.fits, plan.budgetBytes], [true, 999 * 2 ** 20])
    const said = await heddle(dir, 'build', 'lora.ts', ...quick, ...wide.slice(0, -1))
    assert.match(said.stdout, /^memory: [\d.]+ MiB \(weights [\d.]+, state [\d.]+, arena [\d.]+\)$/m)
  }).timeout(240_000)

  it('compiles all the same where a device could not follow the tokenizer, and says why', async () => {
    const dir = tinyProject()
    const file = path.join(dir, 'model', 'tokenizer.json')
    const definition = JSON.parse(fs.readFileSync(file, 'utf8')) as { added_tokens: object[] }
    definition.added_tokens = definition.added_tokens.map((token) => ({ ...token, rstrip: true }))
    fs.writeFileSync(file, JSON.stringify(definition))
    const operands = ['--toolchain', 'wasm', '--optimise', 'light']
    const { code, stdout } = await heddle(dir, 'build', 'lora.ts', ...operands)
    assert.equal(code, 0)
    assert.match(stdout, /^no tokenizer for a device: HD432 .* asks for rstrip$/m)
    const machine = await heddle(dir, 'build', 'lora.ts', ...operands, '--json')
    assert.equal(eventsOf(machine.stdout).at(-1)?.['tokenizer'], null)
  })
})

describe('a run on a terminal', () => {
  it('shows one bar with loss, speed, memory and time left, and gives the terminal back', () => {
    const terminal = new PassThrough()
    const drawn: string[] = []
    terminal.on('data', (text: Buffer) => drawn.push(text.toString('utf8')))
    const tty = Object.assign(terminal, { isTTY: true, columns: 100, rows: 30, cursorTo: () => true })
    const view = new TrainView(outputOf({}), new Interruption(), tty as unknown as NodeJS.WriteStream)
    const figures = { loss: 1.25, gradient_norm: 1, rate: 0.1, tokens: 500, seconds: 0.5, peak_bytes: 3 << 20 }
    for (const step of [1, 2, 3, 4]) view.step({ step, ...figures }, 4)
    view.evaluated({ step: 4, heldout_loss: 2.5, best: true, seconds: 1 })
    view.end()
    const text = drawn.join('')
    assert.match(
      text,
      /4\/4 {2}loss 1\.2500 {2}held out 2\.5000 \(best\) {2}1,000 tokens\/s {2}peak 3\.0 MiB {2}0:00 left/,
    )
    assert.doesNotMatch(text, /step 1\/4/)
  })

  it('shows why nothing is computed: beside the bar, and once in lines where there is none', () => {
    const terminal = new PassThrough()
    let drawn = ''
    terminal.on('data', (text: Buffer) => (drawn += text.toString('utf8')))
    const tty = Object.assign(terminal, { isTTY: true, columns: 200, rows: 30, cursorTo: () => true })
    const said: string[] = []
    const output = { ...outputOf({}), say: (line: string) => void said.push(line) }
    const view = new TrainView(output, new Interruption(), tty as unknown as NodeJS.WriteStream)
    const read = { battery: 0.18, charging: 0, temperature: 'absent', others: 'unreadable' } as const
    const decided = { step: 1, time: '', milliseconds: 5, ...read }
    const held = {
      ...decided,
      decision: 'hold',
      from: 'run',
      reasons: ['battery 18 % < 20 %'],
      look_seconds: 5,
    } as const
    const run = { ...decided, decision: 'run', from: 'hold', reasons: [] } as const
    const rest = { ...decided, decision: 'rest', from: 'run', reasons: [], rest_seconds: 2 } as const
    for (const figures of [held, run, rest, { ...run, from: 'rest' } as const, rest]) view.decided(figures)
    assert.deepEqual(said, [
      'held: battery 18 % < 20 %; looks again every 5 s',
      'goes on after 0:00',
      'resting 2.0 s, and again and again: the duty cycle',
    ])
    view.step({ step: 1, loss: 1, gradient_norm: 1, rate: 0.1, tokens: 5, seconds: 0.5, peak_bytes: 1 }, 4)
    view.decided(held)
    view.end()
    assert.match(drawn, /left {2}resting 2\.0 s/)
    assert.match(drawn, /left {2}held: battery 18 % < 20 %/)
    assert.equal(said.length, 3)
  })

  it('shows plain lines where no terminal is', async () => {
    const dir = temporaryDirectory()
    fs.rmSync(dir, { recursive: true })
    const project = tinyProject()
    writeRecipe(project, 'watched.ts', { evaluate: '{ share: 0.3, every: 2 }' })
    const { code, stdout } = await heddle(project, 'train', 'watched.ts', '--optimise', 'light', '--out', dir)
    assert.equal(code, 0)
    assert.match(stdout, /: 5 examples, 2 held out, 3 steps$/m)
    assert.match(stdout, /^step 2 {2}held-out loss \d\.\d{4}, the best so far$/m)
    assert.match(stdout, /^what was saved is from after step [23], where the held-out loss was lowest: \d\.\d{4}$/m)
    assert.match(
      stdout,
      /^step 3\/3 {2}loss [\d.]+ {2}held out [\d.]+ \(best\) {2}[\d,]+ tokens\/s {2}peak [\d.]+ MiB {2}0:00 left$/m,
    )
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(stdout, /\r|\u001b\[\?25l/)
  })
})
