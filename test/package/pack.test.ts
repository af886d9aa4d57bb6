// The package as a user gets it: `npm pack`, installed into an empty directory elsewhere, checks and trains a recipe that
// lies there. Needs the package registry, so it belongs to the full run.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { eventsOf, tinyProject } from '../bin/support.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const minute = 60_000
/** Bytes as installed; most of it is to be the demo's small model. */
const LARGEST_PACKAGE = 12 << 20

interface Packed {
  readonly filename: string
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string; readonly size: number }[]
}

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function run(directory: string, command: string, ...operands: string[]): Promise<Ran> {
  // What npm and mocha set for their own children must not reach a program that stands for a user's.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:npm_|NODE_OPTIONS$|HEDDLE_)/i.test(name))
  const options = { cwd: directory, env: Object.fromEntries(inherited), maxBuffer: 1 << 26, timeout: 8 * minute }
  try {
    return { code: 0, ...(await promisify(execFile)(command, operands, options)) }
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string }
    return { code: typeof code === 'number' ? code : -1, stdout, stderr: stderr || String(error) }
  }
}

describe('the package', function () {
  this.timeout(12 * minute)
  let packed: Packed
  let home = ''

  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'heddle-package-'))
    const into = join(home, 'packed')
    mkdirSync(into)
    const packing = await run(root, 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', into)
    assert.equal(packing.code, 0, packing.stderr)
    const [one] = JSON.parse(packing.stdout) as readonly Packed[]
    assert.ok(one)
    packed = one
    const installing = await run(home, 'npm', 'install', '--no-audit', '--no-fund', join(into, packed.filename))
    assert.equal(installing.code, 0, installing.stderr)
    const project = tinyProject()
    cpSync(join(project, 'model'), join(home, 'model'), { recursive: true })
    for (const file of ['lora.ts', 'records.jsonl']) copyFileSync(join(project, file), join(home, file))
  })

  after(() => rmSync(home, { recursive: true, force: true }))

  it('holds the sources and nothing that was built, trained or tested', () => {
    const paths = packed.files.map(({ path }) => path)
    for (const needed of ['package.json', 'README.md', 'dsl/index.ts', 'bin/heddle.mjs', 'train/run.ts']) {
      assert.ok(paths.includes(needed), needed)
    }
    assert.ok(
      paths.includes('backends/neon/runtime/heddle_runtime.h') && paths.includes('evaluate/speed/torch_step.py'),
    )
    // What `heddle bench` runs beside itself, where PyTorch is installed.
    const peer = 'evaluate/speed/torch_step.py'
    const unwanted = /^(?:test|tools|bench|runs|out|node_modules|\.)|fixtures|goldens|adapter_|\.test\.ts$|\.py$/
    const built = /\.(?:wasm|o|so|a|dylib|node|exe|cpp|cc|wgsl|tgz|map)$/
    assert.deepEqual(
      paths.filter((path) => path !== peer && (unwanted.test(path) || built.test(path))),
      [],
    )
    const mebibytes = (bytes: number): string => (bytes / (1 << 20)).toFixed(2)
    console.log(
      `      ${paths.length} files, ${mebibytes(packed.size)} MiB packed, ${mebibytes(packed.unpackedSize)} MiB installed`,
    )
    assert.ok(packed.unpackedSize < LARGEST_PACKAGE, `${packed.unpackedSize} bytes`)
  })

  it('checks a recipe that lies elsewhere', async () => {
    const { code, stdout, stderr } = await run(home, 'npx', 'heddle', 'check', 'lora.ts')
    assert.equal(code, 0, stderr)
    assert.match(stdout, /lora\.ts: no problems/)
  })

  it('says what is wrong with one, at its line', async () => {
    const text = readFileSync(join(home, 'lora.ts'), 'utf8').replace('rank: 3', "rank: 'three'")
    writeFileSync(join(home, 'wrong.ts'), text)
    const { code, stderr } = await run(home, 'npx', 'heddle', 'check', 'wrong.ts')
    assert.equal(code, 1)
    const line = text.split('\n').findIndex((part) => part.includes('rank:')) + 1
    assert.match(stderr, new RegExp(`HD111 .*wrong\\.ts:${line}:\\d+ 'rank' is of type string, not number`))
    assert.doesNotMatch(stderr, /^\s+at /m)
  })

  it('trains it with the tool chain that comes with it, and saves the adapter', async () => {
    const operands = ['heddle', 'train', 'lora.ts', '--steps', '2', '--toolchain', 'wasm', '--out', 'result', '--json']
    const { code, stdout, stderr } = await run(home, 'npx', ...operands)
    assert.equal(code, 0, stderr)
    const losses = eventsOf(stdout)
      .filter(({ event }) => event === 'step')
      .map(({ loss }) => loss as number)
    assert.equal(losses.length, 2)
    assert.ok(losses.every((loss) => Number.isFinite(loss) && loss > 0))
    const find = (name: string): boolean => existsSync(join(home, 'result', name))
    assert.ok(find('adapter_config.json') || find('adapter/adapter_config.json'))
    assert.ok(find('adapter_model.safetensors') || find('adapter/adapter_model.safetensors'))
    assert.ok(find('metrics.jsonl'))
  })

  it('type-checks for an editor without options of ours', async () => {
    mkdirSync(join(home, 'editor'), { recursive: true })
    for (const file of ['lora.ts', 'wrong.ts']) copyFileSync(join(home, file), join(home, 'editor', file))
    const compilerOptions = {
      target: 'es2023',
      module: 'nodenext',
      strict: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
      moduleDetection: 'force',
      types: [],
    }
    writeFileSync(join(home, 'editor/tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    const { stdout } = await run(home, 'npx', 'tsc6', '-p', 'editor')
    // Problems inside the installed package would not be the user's.
    const problems = stdout.split('\n').filter((line) => line.startsWith('editor/'))
    assert.equal(problems.length, 1, stdout)
    assert.match(problems[0] ?? '', /^editor\/wrong\.ts\(\d+,\d+\): error TS2322/)
  })
})
