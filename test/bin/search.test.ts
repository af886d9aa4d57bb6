// `heddle bench --search` on a small project, in WebAssembly: what it says and keeps, that later compilations use it, and
// that they give the same bits. How fast anything is, is no test's business.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { assertRefused, eventsOf, heddle, temporaryDirectory, tinyProject } from './support.ts'

interface ExplainedKernel {
  readonly kernel: string
  readonly choices: readonly {
    readonly name: string
    readonly from: 'rule' | 'search'
    readonly packs: boolean
    readonly rows: number
    readonly vectors: number
    readonly panels: number
    readonly steps: number
    readonly pieces: number
  }[]
}

describe('heddle bench --search', function () {
  this.timeout(240_000)
  const dir = tinyProject()
  const file = path.join('schedules', 'wasmRelaxed.json')
  let cache = ''
  let given: string | undefined

  before(async () => {
    const { cacheFolder } = await import('../../backends/neon/toolchain/index.ts')
    const compiled = path.join(cacheFolder(), 'compiled')
    const own = temporaryDirectory()
    cache = path.join(own, 'heddle')
    fs.mkdirSync(compiled, { recursive: true })
    fs.mkdirSync(cache)
    // What has been compiled before need not be again; schedules are this test's own.
    fs.symlinkSync(compiled, path.join(cache, 'compiled'))
    given = process.env['XDG_CACHE_HOME']
    process.env['XDG_CACHE_HOME'] = own
  })
  after(() => {
    if (given === undefined) delete process.env['XDG_CACHE_HOME']
    else process.env['XDG_CACHE_HOME'] = given
  })

  async function explained(): Promise<ExplainedKernel[]> {
    const { stdout, stderr, code } = await heddle(dir, 'explain', 'lora.ts', '--device', 'wasm', '--json')
    assert.equal(code, 0, stderr)
    const functions = eventsOf(stdout)[0]?.['functions'] as { readonly kernels: readonly ExplainedKernel[] }[]
    return functions.flatMap(({ kernels }) => kernels)
  }

  /** The hash of the adapter that a run leaves. */
  async function trained(): Promise<string> {
    const out = temporaryDirectory()
    const quick = ['--toolchain', 'wasm', '--optimise', 'light', '--threads', '2', '--steps', '2']
    const { code, stderr } = await heddle(dir, 'train', 'lora.ts', ...quick, '--out', out)
    assert.equal(code, 0, stderr)
    return createHash('sha256')
      .update(fs.readFileSync(path.join(out, 'adapter', 'adapter_model.safetensors')))
      .digest('hex')
  }

  it('measures schedules of the largest nests, and keeps what is faster', async () => {
    const quick = ['--toolchain', 'wasm', '--optimise', 'light', '--seconds', '1', '--candidates', '2']
    const ran = await heddle(dir, 'bench', 'lora.ts', '--search', ...quick, '--json')
    assert.equal(ran.code, 0, ran.stderr)
    const events = eventsOf(ran.stdout).filter(({ event }) => event !== 'progress')
    assert.deepEqual(
      events.slice(0, 3).map(({ event }) => event),
      ['began', 'compiling', 'nest'],
    )
    const nest = events[2]
    assert.equal(nest?.['nest'], events[1]?.['nest'])
    assert.ok(Number(nest?.['tried']) >= 2 && Number(nest?.['share']) > 0.01 && Number(nest?.['seconds']) > 0)
    const end = events.at(-1)
    assert.deepEqual([end?.event, end?.['file']], ['end', path.join(cache, file)])
    const stored = JSON.parse(fs.readFileSync(path.join(cache, file), 'utf8')) as { entries: { choices: object }[] }
    assert.equal(Object.keys(stored.entries[0]?.choices ?? {}).length, end?.['nests'])
  })

  it('changes what is compiled next, and not a bit of what it computes', async () => {
    fs.rmSync(path.join(cache, file))
    const [ruled, hash] = [await explained(), await trained()]
    const rules = ruled.flatMap(({ choices }) => choices)
    assert.ok(rules.every(({ from }) => from === 'rule'))

    const { chooseToolChain } = await import('../../backends/neon/toolchain/index.ts')
    const { storeFound } = await import('../../devices/index.ts')
    const { deviceOf, machineKey, schedulesFile } = await import('../../train/hostDevice.ts')
    const chain = await chooseToolChain('wasm')
    const others = rules
      .filter(({ packs }) => packs)
      .map(({ name, rows, vectors, steps }) => {
        const tile = { rows: rows > 1 ? rows - 1 : 1, vectors, panels: 1, steps: Math.max(1, Math.floor(steps / 2)), pieces: 1 }
        return [name, { ...tile, timesAsFast: 1.1 }] as const
      }) // prettier-ignore
    for (const threads of new Set([2, deviceOf(chain).cores])) {
      storeFound(schedulesFile(chain), machineKey(chain), threads, Object.fromEntries(others))
    }
    const searched = (await explained()).filter(({ choices }) => choices.some(({ from }) => from === 'search'))
    assert.ok(searched.length > 10)
    const { stdout } = await heddle(
      dir,
      'explain',
      'lora.ts',
      '--device',
      'wasm',
      '--kernel',
      searched[0]?.kernel ?? '',
    )
    assert.match(stdout, /^\d+x\d+x\d+ [a-z0-9 ]+: \d+ rows? × \d+ vectors?, .*, found by a search$/m)
    assert.equal(await trained(), hash)

    fs.writeFileSync(path.join(cache, file), '{"schedules": 1, ')
    assert.deepEqual(await explained(), ruled)
  })

  it('refuses what has no meaning with it', async () => {
    const search = (...operands: string[]) => heddle(dir, 'bench', 'lora.ts', '--search', ...operands)
    assertRefused(await search('--out', 'x.json'), /^HD816 --search looks for schedules/)
    assertRefused(await search('--against', 'x.json'), /^HD816 /)
    assert.match((await search('--seconds', '0')).stderr, /'--seconds <n>' argument/)
  })
})
