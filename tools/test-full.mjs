// Everything there is to check, in order: tools, types, lint, format, all tests, a sample of mutations, the oracle's
// fixtures.
// A missing tool is a failure, never a skip. Ends with `N passed, N failed`. Must not know what any test tests.

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const python = join(root, '.venv/bin/python')
const fixtures = 'test/fixtures/oracle'

/** Programs that tests call, with an operand to which they answer with 0. */
const programs = [
  ['g++', '--version'],
  ['aarch64-linux-gnu-g++-12', '--version'],
  ['qemu-aarch64', '-version'],
  ['clang++-22', '--version'],
  ['ld.lld-22', '--version'],
  ['llvm-mca-22', '--version'],
  [python, '-c', 'import torch, transformers, peft, safetensors'],
]

const totals = { passed: 0, failed: 0 }
const summary = []
/** What failed phases said, told again at the end: whoever reads only the last lines of a long log finds it there. */
const said = []
const begun = performance.now()

const minutes = (since) => ((performance.now() - since) / 60_000).toFixed(1)

/** All output of the program that ran last. */
let lastOutput = ''

/** Runs a program in the repository's root and hands its output through; resolves with exit code and output. */
function run(command, operands) {
  return new Promise((resolve) => {
    const child = spawn(command, operands, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    for (const [stream, shown] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.setEncoding('utf8')
      stream.on('data', (part) => {
        text += part
        shown.write(part)
      })
    }
    const end = (code, output) => {
      lastOutput = output
      resolve({ code, text: output })
    }
    child.on('error', (error) => end(127, `${text}\n${error.message}`))
    child.on('close', (code) => end(code ?? 1, text))
  })
}

/** From mocha's list of failures on, or the last lines of anything else. */
function complaint(text) {
  const lines = text.trimEnd().split('\n')
  const listed = lines.findLastIndex((line) => /^\s+\d+ failing/.test(line))
  return (listed < 0 ? lines.slice(-30) : lines.slice(listed, listed + 80)).join('\n')
}

/** A phase gives how many checks passed and failed; one that throws counts as one failure. */
async function phase(title, check) {
  const since = performance.now()
  lastOutput = ''
  console.log(`\n----- ${title}`)
  let result
  try {
    result = await check()
  } catch (error) {
    console.log(error)
    lastOutput += String(error)
    result = { passed: 0, failed: 1 }
  }
  if (result.failed > 0) said.push(`----- ${title} said:\n${complaint(lastOutput)}`)
  totals.passed += result.passed
  totals.failed += result.failed
  const line = `${title}: ${result.passed} passed, ${result.failed} failed, ${minutes(since)} minutes`
  summary.push(line)
  console.log(`----- ${line}`)
}

const one = (good) => ({ passed: good ? 1 : 0, failed: good ? 0 : 1 })
const single = async (command, operands) => one((await run(command, operands)).code === 0)
const bin = (name) => join(root, 'node_modules/.bin', name)

/** Mocha's counts. A test that was skipped, a run without tests, and a crash after the last test are failures. */
async function mocha(operands) {
  const { code, text } = await run(bin('mocha'), [
    '--no-config',
    '--node-option',
    'import=./test/support/typescript.mjs',
    ...operands,
  ])
  const count = (word) => Number(new RegExp(`^\\s+(\\d+) ${word}`, 'm').exec(text)?.[1] ?? 0)
  const passed = count('passing')
  const failed = count('failing') + count('pending')
  const isClean = code === 0 && passed > 0
  return { passed, failed: failed > 0 || isClean ? failed : 1 }
}

await phase('tools', () => {
  const missing = programs.filter(([command, ...operands]) => spawnSync(command, operands).status !== 0)
  lastOutput = missing.map(([command]) => `${command} is missing or broken; npm run setup:full installs it`).join('\n')
  if (missing.length > 0) console.log(lastOutput)
  return { passed: programs.length - missing.length, failed: missing.length }
})
await phase('types', () => single('npm', ['run', '--silent', 'check:types']))
await phase('lint', () => single('npm', ['run', '--silent', 'check:lint']))
await phase('format', () => single('npm', ['run', '--silent', 'check:format']))
// What continuous integration has just seen pass in `npm test` need not take a quarter of an hour again.
const seen = process.env.HEDDLE_NPM_TEST === 'passed'
if (seen) console.log('\nonly the tests that `npm test`, which has just passed, leaves out')
const tests = seen ? ['test/full/**/*.test.ts', 'test/package/**/*.test.ts'] : ['test/**/*.test.ts']
// Most wait for one compiler after another: as many files at once as there are cores.
const jobs = ['--parallel', '--jobs', String(Math.min(4, availableParallelism()))]
await phase('tests', () => mocha(['--timeout', '400000', ...jobs, ...tests]))
await phase('mutations, a sample', () =>
  single('npm', ['run', '--silent', 'mutate', '--', '--every', '7', '--minutes', '10']),
)
/** Makes fixtures in a folder of their own, or in one file there, and has them compared with those of the repository. */
async function remade(script, compare, file = '') {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-fixtures-'))
  try {
    const made = await run(python, [script, '--out', join(folder, file)])
    return made.code === 0 ? await compare(join(folder, file)) : one(false)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
await phase('fixtures made again', () =>
  remade('tools/oracle/make_fixtures.py', (folder) =>
    single(python, ['tools/oracle/compare_fixtures.py', fixtures, folder]),
  ),
)
await phase('packed fixtures made again', () =>
  remade('tools/oracle/make_packed.py', (folder) =>
    single(python, ['tools/oracle/compare_fixtures.py', 'test/fixtures/packed', folder]),
  ),
)
await phase('chat fixtures made again', () =>
  remade('tools/oracle/make_chat.py', (folder) => single('diff', ['-r', 'test/fixtures/chat', folder])),
)
await phase('generation fixture made again', () =>
  remade(
    'tools/oracle/make_generation.py',
    (file) => single('diff', ['test/fixtures/generation.json', file]),
    'made.json',
  ),
)
await phase('fixtures questioned', () => single(python, ['tools/oracle/check_oracle.py', fixtures]))
console.log(`\n${[...said, summary.join('\n')].join('\n\n')}`)
console.log(`${minutes(begun)} minutes on ${availableParallelism()} cores`)
console.log(`${totals.passed} passed, ${totals.failed} failed`)
process.exitCode = totals.failed === 0 ? 0 : 1
