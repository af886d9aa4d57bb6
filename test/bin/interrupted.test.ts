// Ctrl-C and its kin. During a compilation: the compiler ends with what it started, the folder of its work is gone, and the
// exit code says which signal it was. The second one: it says what was saved. Real processes; the compiler is a script.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startHeddle, temporaryDirectory, tinyProject } from './support.ts'

/** Answers as a compiler does, then starts another process, as g++ does, writes into its folder and never ends. */
const endless = `#!/bin/sh
if [ "$1" = --version ]; then echo 'endless 1.0'; exit 0; fi
echo half > unit.o
echo half > "$TMPDIR/temporary.s"
sleep 600 &
echo "$$ $!" > "$PIDS.new"
mv "$PIDS.new" "$PIDS"
wait
`

describe('a compilation that is interrupted', function () {
  this.timeout(120_000)
  let dir = ''
  let cache = ''
  const changed = ['CXX', 'PIDS', 'XDG_CACHE_HOME'] as const
  const before: Partial<Record<string, string | undefined>> = {}

  beforeEach(() => {
    dir = tinyProject()
    cache = temporaryDirectory()
    const script = path.join(dir, 'endless')
    fs.writeFileSync(script, endless, { mode: 0o755 })
    for (const name of changed) before[name] = process.env[name]
    Object.assign(process.env, { CXX: script, PIDS: path.join(dir, 'pids'), XDG_CACHE_HOME: cache })
  })
  afterEach(() => {
    for (const name of changed) {
      const value = before[name]
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })

  async function until<T>(find: () => T | undefined): Promise<T> {
    for (let tries = 0; tries < 1000; tries++) {
      const found = find()
      if (found !== undefined) return found
      await wait(50)
    }
    return assert.fail('it did not come to that')
  }
  const read = (file: string): string | undefined => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined)
  const compiled = (): string[] => {
    const folder = path.join(cache, 'heddle/compiled')
    return fs.existsSync(folder) ? fs.readdirSync(folder) : []
  }
  /** A zombie whose parent has not looked yet is dead too. */
  const isRunning = (pid: number): boolean => {
    try {
      process.kill(pid, 0)
    } catch {
      return false
    }
    return !/^State:\s+Z/m.test(read(`/proc/${pid}/status`) ?? '')
  }

  for (const [command, signal, code] of [
    ['build', 'SIGINT', 130],
    ['build', 'SIGTERM', 143],
    ['train', 'SIGINT', 130],
  ] as const) {
    it(`heddle ${command}, ${signal}: no compiler runs on, no folder is left`, async () => {
      const { child, ended } = startHeddle(dir, command, 'lora.ts', '--toolchain', 'host')
      const pids = (await until(() => read(path.join(dir, 'pids')))).trim().split(' ').map(Number)
      assert.equal(pids.length, 2)
      assert.ok(pids.every(isRunning))
      assert.equal(compiled().length, 1)
      // To this process alone, as a service manager may; a terminal would tell its children, too.
      child.kill(signal)
      assert.equal((await ended).code, code)
      await until(() => (pids.some(isRunning) ? undefined : true))
      assert.deepEqual(compiled(), [])
    })
  }

  it('clang in WebAssembly: no folder is left', async () => {
    const { child, ended } = startHeddle(dir, 'build', 'lora.ts', '--toolchain', 'wasm')
    await until(() => compiled().find((name) => fs.existsSync(path.join(cache, 'heddle/compiled', name, 'work'))))
    child.kill('SIGINT')
    assert.equal((await ended).code, 130)
    assert.deepEqual(
      compiled().filter((name) => name.startsWith('.')),
      [],
    )
  })
})

describe('the second signal', () => {
  const interruption = fileURLToPath(new URL('../../bin/interruption.ts', import.meta.url))
  /** What is said, and the exit code, when both signals come after `calls` to an Interruption. */
  const stopped = (calls: string): { readonly code: number | null; readonly said: string | undefined } => {
    const script = `import { Interruption } from ${JSON.stringify(interruption)}
      const one = new Interruption()
      ${calls}
      process.on('SIGINT', () => process.kill(process.pid, 'SIGTERM'))
      process.kill(process.pid, 'SIGINT')
      setTimeout(() => {}, 60_000)`
    const operands = ['--import', 'tsx', '--input-type=module', '--eval', script]
    const { status, stderr } = spawnSync(process.execPath, operands, { encoding: 'utf8', timeout: 60_000 })
    return { code: status, said: stderr.trimEnd().split('\n').at(-1) }
  }

  for (const [calls, said] of [
    ['one.stepsBegin()', 'stopped; this run saved nothing'],
    ['one.stepsBegin(); one.saved(7)', 'stopped; --resume goes on after step 7, saved last'],
    ['one.stepsBegin(40)', 'stopped; --resume goes on after step 40, saved last'],
    [
      "one.stepsBegin(40); one.saved(50); one.resultSaved('out/adapter')",
      'stopped; what was trained until step 50 is in out/adapter',
    ],
  ] as const) {
    it(`after ${calls}`, () => assert.deepEqual(stopped(calls), { code: 143, said }))
  }
})
