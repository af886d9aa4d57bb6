// Everything there is to check: tools, then all tests, with types, lint, format and the oracle's fixtures one after another
// beside them, then a sample of mutations, which takes all cores.
// A missing tool is a failure, never a skip. Ends with `N passed, N failed`. Must not know what any test tests.

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
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
/** By the order in which phases are declared, which is not that in which they end. */
const summary = []
/** What failed phases said, told again at the end: whoever reads only the last lines of a long log finds it there. */
const said = []
const begun = performance.now()

const minutes = (since) => ((performance.now() - since) / 60_000).toFixed(1)

/** What a phase prints: at once, or held until the phase on the screen has ended, so that no two mix. */
class Output {
  #isHeld
  #text = ''
  /** All that the program said which ran last. */
  last = ''

  constructor(isHeld) {
    this.#isHeld = isHeld
  }

  write(text, stream = process.stdout) {
    if (this.#isHeld) this.#text += text
    else stream.write(text)
  }

  release() {
    this.#isHeld = false
    process.stdout.write(this.#text)
    this.#text = ''
  }
}

/** Runs a program in the repository's root and hands its output through; resolves with exit code and output. */
function run(output, command, operands) {
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
        output.write(part, shown)
      })
    }
    const end = (code, all) => {
      output.last = all
      resolve({ code, text: all })
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
async function phase(title, check, isHeld = false) {
  const since = performance.now()
  const place = summary.push('') - 1
  const output = new Output(isHeld)
  output.write(`\n----- ${title}\n`)
  let result
  try {
    result = await check(output)
  } catch (error) {
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error)
    output.write(`${words}\n`)
    output.last += words
    result = { passed: 0, failed: 1 }
  }
  if (result.failed > 0) said[place] = `----- ${title} said:\n${complaint(output.last)}`
  totals.passed += result.passed
  totals.failed += result.failed
  const line = `${title}: ${result.passed} passed, ${result.failed} failed, ${minutes(since)} minutes`
  summary[place] = line
  output.write(`----- ${line}\n`)
  return output
}

const one = (good) => ({ passed: good ? 1 : 0, failed: good ? 0 : 1 })
const single = async (output, command, operands) => one((await run(output, command, operands)).code === 0)
const script = (name) => (output) => single(output, 'npm', ['run', '--silent', name])
const bin = (name) => join(root, 'node_modules/.bin', name)

/** Mocha's counts. A test that was skipped, a run without tests, and a crash after the last test are failures. */
async function mocha(output, operands) {
  const { code, text } = await run(output, bin('mocha'), [
    '--no-config',
    '--node-option',
    'import=./test/support/typescript.mjs',
    // Compilations make much that dies at once: with more room for it a fifth of their time goes.
    '--node-option',
    'max-semi-space-size=64',
    ...operands,
  ])
  const count = (word) => Number(new RegExp(`^\\s+(\\d+) ${word}`, 'm').exec(text)?.[1] ?? 0)
  const passed = count('passing')
  const failed = count('failing') + count('pending')
  const isClean = code === 0 && passed > 0
  return { passed, failed: failed > 0 || isClean ? failed : 1 }
}

/** Makes fixtures in a folder of their own, or in one file there, and has them compared with those of the repository. */
const remade =
  (maker, compare, file = '') =>
  async (output) => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-fixtures-'))
    try {
      const made = await run(output, python, [maker, '--out', join(folder, file)])
      return made.code === 0 ? await single(output, ...compare(join(folder, file))) : one(false)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

/** Each takes one core at most. */
const besideTests = [
  ['types', script('check:types')],
  ['lint', script('check:lint')],
  ['format', script('check:format')],
  [
    'fixtures made again',
    remade('tools/oracle/make_fixtures.py', (folder) => [
      python,
      ['tools/oracle/compare_fixtures.py', fixtures, folder],
    ]),
  ],
  [
    'packed fixtures made again',
    remade('tools/oracle/make_packed.py', (folder) => [
      python,
      ['tools/oracle/compare_fixtures.py', 'test/fixtures/packed', folder],
    ]),
  ],
  [
    'chat fixtures made again',
    remade('tools/oracle/make_chat.py', (folder) => ['diff', ['-r', 'test/fixtures/chat', folder]]),
  ],
  [
    'generation fixture made again',
    remade('tools/oracle/make_generation.py', (file) => ['diff', ['test/fixtures/generation.json', file]], 'made.json'),
  ],
  ['fixtures questioned', (output) => single(output, python, ['tools/oracle/check_oracle.py', fixtures])],
]

/**
 * Those that take minutes begin first, so that none is left to run alone at the end; what `oracle-host` has compiled need
 * not be compiled again for `peft`.
 */
const longest = [
  'test/full/oracle-host.test.ts',
  'test/full/sameBits.test.ts',
  'test/full/kill.test.ts',
  'test/full/neon-native.test.ts',
  'test/full/arena.test.ts',
  'test/full/storage.test.ts',
  'test/full/tokenizers.test.ts',
  'test/full/randomGraphs.test.ts',
  'test/full/peft.test.ts',
  'test/full/evaluate.test.ts',
  'test/full/governed.test.ts',
  'test/full/sanitizers.test.ts',
  'test/full/tableBytes.test.ts',
  'test/full/generate.test.ts',
  'test/full/arm64Counts.test.ts',
  'test/package/pack.test.ts',
]

function testFiles(...folders) {
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
  )
  const rank = (file) => {
    const place = longest.indexOf(file)
    return place < 0 ? longest.length : place
  }
  return files.filter((name) => name.endsWith('.test.ts')).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}

await phase('tools', (output) => {
  const missing = programs.filter(([command, ...operands]) => spawnSync(command, operands).status !== 0)
  output.last = missing.map(([command]) => `${command} is missing or broken; npm run setup:full installs it`).join('\n')
  if (missing.length > 0) output.write(`${output.last}\n`)
  return { passed: programs.length - missing.length, failed: missing.length }
})
const held = []
const beside = (async () => {
  for (const [title, check] of besideTests) held.push(await phase(title, check, true))
})()
// What continuous integration has just seen pass in `npm test` need not take a quarter of an hour again.
const seen = process.env.HEDDLE_NPM_TEST === 'passed'
if (seen) console.log('\nonly the tests that `npm test`, which has just passed, leaves out')
const tests = seen ? testFiles('test/full', 'test/package') : testFiles('test')
// Most wait for one compiler after another: as many files at once as there are cores.
const jobs = ['--parallel', '--jobs', String(Math.min(4, availableParallelism()))]
await phase('tests', (output) => mocha(output, ['--timeout', '400000', ...jobs, ...tests]))
await beside
for (const output of held) output.release()
await phase('mutations, a sample', (output) =>
  single(output, 'npm', ['run', '--silent', 'mutate', '--', '--every', '13', '--minutes', '4']),
)
console.log(`\n${[...said.filter((words) => words !== undefined), summary.join('\n')].join('\n\n')}`)
console.log(`${minutes(begun)} minutes on ${availableParallelism()} cores`)
console.log(`${totals.passed} passed, ${totals.failed} failed`)
process.exitCode = totals.failed === 0 ? 0 : 1
