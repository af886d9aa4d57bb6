// `heddle profile` and `heddle devices`: what is measured is a profile that `--device` takes, refusals come before the
// measuring, and nothing stays behind. How fast anything is, is no test's business.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { deviceLines, profileLines } from '../../bin/deviceView.ts'
import { hostProfile, readProfile, shippedDevice, shippedNames } from '../../devices/index.ts'
import { golden } from '../support/golden.ts'
import {
  assertRefused,
  eventsOf,
  heddle,
  startHeddle,
  temporaryDirectory,
  tinyProject,
  writeRecipe,
} from './support.ts'

describe('heddle profile', function () {
  this.timeout(240_000)
  const dir = tinyProject()

  it('writes a profile that heddle plan and a recipe take', async () => {
    const ran = await heddle(dir, 'profile', '--quick', '--out', 'My machine.json', '--folder', dir)
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(
      ran.stdout,
      /^compute {4}[\d.]+ [MGT]flop\/s a core\n {11}measured: multiply-adds with operands in registers, the median of/m,
    )
    assert.match(
      ran.stdout,
      /^written to My machine\.json \(--quick: good for a look\); --device My machine\.json takes it$/m,
    )
    for (const line of ran.stdout.split('\n')) if (!line.startsWith('measuring')) assert.ok(line.length <= 100, line)
    const { name, storage, bandwidth, absent = {} } = readProfile(path.join(dir, 'My machine.json'))
    assert.equal(name, 'my-machine')
    assert.ok((bandwidth?.bytesPerSecond ?? 0) > 0)
    assert.match(storage?.source ?? absent.storage ?? '', /^measured: requests of 1 MiB|C\+\+ compiler|in memory/)
    assert.deepEqual(
      fs.readdirSync(dir).filter((file) => file.startsWith('.')),
      [],
    )

    const planned = await heddle(dir, 'plan', 'lora.ts', '--device', 'My machine.json', '--json')
    assert.equal(planned.code, 0, planned.stderr)
    assert.equal(deviceOf(planned.stdout), 'my-machine')
    writeRecipe(dir, 'there.ts', { device: "'./My machine.json'" })
    // From another folder: a recipe's file is meant from the recipe's.
    const elsewhere = await heddle(temporaryDirectory(), 'plan', path.join(dir, 'there.ts'), '--json')
    assert.equal(deviceOf(elsewhere.stdout), 'my-machine')

    const listed = await heddle(dir, 'devices', 'My machine.json')
    assert.equal(listed.code, 0, listed.stderr)
    assert.match(listed.stdout, /^host .*\nwasm .*\nphone-4gb [^]*^my-machine +\d+\/\d+ /m)
  })

  it('in WebAssembly leaves storage out, with the reason, and gives machines all of it', async () => {
    const ran = await heddle(dir, 'profile', '--quick', '--toolchain', 'wasm', '--out', 'not/yet/wasm.json', '--json')
    assert.equal(ran.code, 0, ran.stderr)
    const events = eventsOf(ran.stdout).filter(({ event }) => event !== 'progress')
    assert.deepEqual(
      events.map(({ event }) => event),
      ['measuring', 'profile'],
    )
    const { profile, requests } = events[1] as unknown as { profile: object; requests: unknown }
    const written = readProfile(path.join(dir, 'not/yet/wasm.json'))
    assert.deepEqual(profile, written)
    assert.equal(requests, null)
    assert.equal(written.cores.isa, 'wasmRelaxed')
    assert.equal(written.absent?.storage, 'without a C++ compiler nothing can be read past the page cache')
  })

  it('refuses before it measures', async () => {
    const { code, stderr } = await heddle(dir, 'profile', '--out', 'x.txt')
    assert.equal(code, 1)
    assert.match(stderr, /It ends in \.json, so that --device takes it\./)
    assertRefused(
      await heddle(dir, 'plan', 'lora.ts', '--device', 'none.json'),
      /^HD401 none\.json the file does not exist$/m,
    )
    fs.writeFileSync(path.join(dir, 'bad.json'), JSON.stringify({ ...hostProfile('avx2'), cores: 0 }))
    assertRefused(
      await heddle(dir, 'devices', 'bad.json'),
      /^HD821 bad\.json \(key "cores"\) this cannot be 0; it is an object of figures with their source$/m,
    )
  })

  it('ends at a signal and leaves no file and no process', async () => {
    const folder = temporaryDirectory()
    const { child, ended } = startHeddle(dir, 'profile', '--out', 'never.json', '--folder', folder, '--json')
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text: string) => {
        // Not where there is no compiler, which ends by itself, or storage in memory.
        if (text.includes('"progress"')) resolve()
      })
      void ended.then(() => resolve())
    })
    child.kill('SIGINT')
    const { code } = await ended
    assert.ok(code === 130 || code === 0, `exit code ${code}`)
    assert.deepEqual(fs.readdirSync(folder), [])
    if (code === 130) assert.ok(!fs.existsSync(path.join(dir, 'never.json')))
    if (fs.existsSync('/proc/self/cmdline')) assert.deepEqual(runningIn(folder), [])
  })
})

/** The device of the certificate that was printed. */
function deviceOf(stdout: string): string | undefined {
  const [event] = eventsOf(stdout)
  return (event?.['certificate'] as { device: string } | undefined)?.device
}

/** Processes that were told of the folder. */
function runningIn(folder: string): string[] {
  return fs.readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && fs.readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder)
    } catch {
      return false
    }
  })
}

describe('how devices show', () => {
  it('in a table', () => {
    golden('bin/devices.txt', `${deviceLines(shippedNames.map(shippedDevice)).join('\n')}\n`)
  })

  it('one with its sources and what is absent', () => {
    const pages = shippedNames.map((name) => {
      const { title, figures } = shippedDevice(name)
      return [`${name}: ${title}`, ...profileLines({ device: 1, name, title, ...figures }), ''].join('\n')
    })
    for (const line of pages.join('\n').split('\n')) assert.ok(line.length <= 100, line)
    golden('bin/deviceSources.txt', pages.join('\n'))
  })

  it('with names, groups and sources for machines', async () => {
    const { code, stdout } = await heddle(temporaryDirectory(), 'devices', '--json')
    assert.equal(code, 0)
    const events = eventsOf(stdout)
    assert.deepEqual(
      events.map(({ name }) => name),
      ['host', 'wasm', ...shippedNames],
    )
    const phone = events.find(({ name }) => name === 'phone-8gb')
    assert.equal(phone?.['usedCores'], 4)
    assert.deepEqual(phone?.['figures'], shippedDevice('phone-8gb').figures)
  })
})
