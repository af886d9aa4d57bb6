import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { open } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { openCheckpoint } from '../../formats/checkpoint.ts'
import { resolveModel } from '../../formats/hub.ts'
import type { Progress, ResolveOptions } from '../../formats/hub.ts'
import { rejects, temporaryDirectory } from './helpers.ts'
import { gitHash, HubServer, sha256 } from './hub-server.ts'
import { fullDisk, itOnFullDisk } from '../support/fullDisk.ts'

const ID = 'weavers/tiny'
const COMMIT = 'a'.repeat(40)

/** A model whose weights are `count` float32 values that differ in every byte position. */
function weights(count: number, seed = 1): Buffer {
  const header = JSON.stringify({ w: { dtype: 'F32', shape: [count], data_offsets: [0, count * 4] } })
  const bytes = Buffer.alloc(8 + header.length + count * 4)
  bytes.writeBigUInt64LE(BigInt(header.length))
  bytes.write(header, 8)
  for (let index = 8 + header.length; index < bytes.byteLength; index++)
    bytes[index] = (index * 131 + (index >> 7)) * seed
  return bytes
}

const WEIGHTS = weights(100_003)
const small = { 'config.json': Buffer.from('{"model_type":"gpt2"}'), 'tokenizer.json': Buffer.from('{"é":1}') }

describe('hub', () => {
  const server = new HubServer()
  let home = ''
  let environment: Record<string, string> = {}
  const progress: Progress[] = []
  const resolve = (options: ResolveOptions = {}, id = ID) =>
    resolveModel(id, { environment, pauses: [1, 1], onProgress: (step) => progress.push(step), ...options })
  const blobs = (): string => path.join(home, 'hub', 'models--weavers--tiny', 'blobs')
  const partials = (): string[] => fs.readdirSync(blobs()).filter((name) => name.endsWith('.incomplete'))
  const ranges = (): (string | undefined)[] =>
    server.log.filter(({ host }) => host === 'store').map(({ range }) => range)

  before(() => server.start())
  after(() => server.stop())
  beforeEach(() => {
    home = temporaryDirectory()
    environment = { HF_HOME: home, HF_ENDPOINT: `${server.endpoint}/`, HF_TOKEN: 'hf_secret' }
    server.repositories[ID] = { commit: COMMIT, files: { ...small, 'model.safetensors': WEIGHTS } }
    server.misbehaviour.length = 0
    server.headers = {}
    server.refuse = undefined
    server.redirectTo = undefined
    server.swallow = undefined
    server.log.length = 0
    progress.length = 0
  })

  const checkWhole = (dir: string): void => {
    assert.deepEqual(fs.readFileSync(path.join(dir, 'model.safetensors')), WEIGHTS)
    assert.deepEqual(partials(), [])
    assert.equal(openCheckpoint(dir).tensors.get('w')?.shape[0], 100_003)
  }

  it('lays the cache out as huggingface_hub does', async () => {
    const { dir, source, commit, note } = await resolve()
    const root = path.join(home, 'hub', 'models--weavers--tiny')
    assert.deepEqual(
      { dir, source, commit, note },
      { dir: path.join(root, 'snapshots', COMMIT), source: 'hub', commit: COMMIT, note: undefined },
    )
    assert.equal(fs.readFileSync(path.join(root, 'refs', 'main'), 'utf8'), COMMIT)
    const hashes = {
      'config.json': gitHash(small['config.json']),
      'tokenizer.json': gitHash(small['tokenizer.json']),
      'model.safetensors': sha256(WEIGHTS),
    }
    assert.deepEqual(fs.readdirSync(dir).sort(), Object.keys(hashes).sort())
    assert.deepEqual(fs.readdirSync(blobs()).sort(), Object.values(hashes).sort())
    for (const [name, hash] of Object.entries(hashes)) {
      assert.equal(fs.readlinkSync(path.join(dir, name)), path.join('..', '..', 'blobs', hash))
    }
    assert.ok(fs.existsSync(path.join(root, '.no_exist', COMMIT, 'generation_config.json')))
    checkWhole(dir)
  })

  it('gives the token to the hub and to nobody else', async () => {
    await resolve()
    assert.ok(server.log.length > 5)
    for (const { host, authorization } of server.log) {
      assert.equal(authorization, host === 'hub' ? 'Bearer hf_secret' : undefined)
    }
    assert.ok(server.log.some(({ host }) => host === 'store'))
  })

  it('reads the token that a login left, and ignores one that would break the header', async () => {
    delete environment.HF_TOKEN
    fs.writeFileSync(path.join(home, 'token'), 'hf_file\n')
    await resolve()
    assert.equal(server.log[0]?.authorization, 'Bearer hf_file')
    server.log.length = 0
    environment.HF_TOKEN = 'a\r\nx-evil: 1'
    await resolve()
    assert.deepEqual(
      server.log.map(({ authorization }) => authorization),
      [undefined],
    )
  })

  it('reports progress that grows to the total', async () => {
    await resolve()
    const steps = progress.filter(({ file }) => file === 'model.safetensors')
    assert.deepEqual(steps[0], { file: 'model.safetensors', received: 0, total: WEIGHTS.byteLength })
    assert.deepEqual(steps.at(-1), {
      file: 'model.safetensors',
      received: WEIGHTS.byteLength,
      total: WEIGHTS.byteLength,
    })
    assert.ok(steps.every(({ received }, index) => index === 0 || received > steps[index - 1]!.received))
  })

  it('asks once for a cached branch, never for a cached commit or offline', async () => {
    await resolve()
    server.log.length = 0
    assert.equal((await resolve()).source, 'hub')
    assert.deepEqual(
      server.log.map(({ method, url }) => `${method} ${url}`),
      [`HEAD /${ID}/resolve/main/config.json`],
    )
    server.log.length = 0
    assert.equal((await resolve({ revision: COMMIT })).source, 'cache')
    assert.equal((await resolve({ offline: true })).source, 'cache')
    environment.HF_HUB_OFFLINE = '1'
    checkWhole((await resolve()).dir)
    assert.deepEqual(server.log, [])
    await rejects(resolve({}, 'weavers/other'), 'HD424', /not in the cache.*network is off/)
  })

  it('fetches again what was removed from the cache', async () => {
    const { dir } = await resolve()
    fs.rmSync(path.join(blobs(), sha256(WEIGHTS)))
    const offline = { offline: true }
    await rejects(resolve(offline), 'HD424', /not in the cache/)
    await resolve({ revision: COMMIT })
    fs.rmSync(path.join(dir, 'tokenizer.json'))
    await rejects(resolve(offline), 'HD424', /not in the cache/)
    await resolve({ revision: COMMIT })
    checkWhole(dir)
  })

  describe('interrupted', () => {
    it('continues where the connection was cut', async () => {
      server.misbehaviour.push({}, {}, { cutAfter: 100_000 }, { cutAfter: 50_000 })
      checkWhole((await resolve()).dir)
      assert.deepEqual(ranges(), [undefined, 'bytes=100000-', 'bytes=150000-'])
    })

    it('keeps what it has when it gives up, and continues the next time', async () => {
      const cut = { cutAfter: 0 }
      server.misbehaviour.push({}, {}, { cutAfter: 120_001 }, cut, cut, cut, cut)
      await rejects(resolve(), 'HD422', /model\.safetensors \(byte 120001 of \d+\) the download broke off/)
      assert.deepEqual(partials(), [`${sha256(WEIGHTS)}.heddle.incomplete`])
      server.misbehaviour.length = server.log.length = progress.length = 0
      checkWhole((await resolve()).dir)
      assert.deepEqual(ranges(), ['bytes=120001-'])
      assert.equal(progress[0]?.received, 120_001)
    })

    it('keeps what it has when it is aborted, and rejects with the reason', async () => {
      server.misbehaviour.push({}, {}, { stallAfter: 65_536 })
      const abort = new AbortController()
      const reason = new Error('Ctrl-C')
      const running = resolve({
        signal: abort.signal,
        onProgress: ({ received }) => {
          if (received === 65_536) abort.abort(reason)
        },
      })
      await assert.rejects(running, (error) => error === reason)
      assert.deepEqual(partials(), [`${sha256(WEIGHTS)}.heddle.incomplete`])
      await assert.rejects(resolve({ signal: abort.signal }), (error) => error === reason)
      server.log.length = 0
      checkWhole((await resolve()).dir)
      assert.deepEqual(ranges(), ['bytes=65536-'])
    })

    it('rejects with the reason also while it waits for the first answer', async () => {
      const reason = new Error('Ctrl-C')
      await resolve()
      const abort = new AbortController()
      server.swallow = () => abort.abort(reason)
      await assert.rejects(resolve({ signal: abort.signal }), (error) => error === reason)
    })

    it('does not take a short answer for the whole file, nor ask for ever', async () => {
      server.misbehaviour.push({}, {}, { endAfter: 80_000 }, { endAfter: 7 })
      checkWhole((await resolve()).dir)
      assert.deepEqual(ranges(), [undefined, 'bytes=80000-', 'bytes=80007-'])
      fs.rmSync(home, { recursive: true })
      for (let index = 0; index < 9; index++) server.misbehaviour.push({ endAfter: 0 })
      await rejects(resolve(), 'HD422', /config\.json \(byte 0 of \d+\).*connection ended before the file did/)
    })

    it('has patience with a slow connection that lives', async () => {
      server.misbehaviour.push({}, {}, { pieces: 20 })
      checkWhole((await resolve({ stallTimeout: 1000 })).dir)
      assert.deepEqual(ranges(), [undefined])
    })

    it('gives up a silent connection and continues on a new one', async () => {
      server.misbehaviour.push({}, {}, { stallAfter: 70_000 })
      checkWhole((await resolve({ stallTimeout: 150 })).dir)
      assert.deepEqual(ranges(), [undefined, 'bytes=70000-'])
    })

    for (const [name, misbehaviour] of [
      ['ignores the range', [{ ignoreRange: true }]],
      ['answers another range', [{ contentRange: 'bytes 0-400011/400012' }]],
      ['answers another size', [{ contentRange: `bytes 99999-${WEIGHTS.byteLength}/${WEIGHTS.byteLength + 1}` }]],
      ['refuses the range', [{ status: 416 }]],
    ] as const) {
      it(`starts over when the server ${name}`, async () => {
        server.misbehaviour.push({}, {}, { cutAfter: 99_999 }, ...misbehaviour)
        checkWhole((await resolve()).dir)
        assert.equal(ranges()[1], 'bytes=99999-')
      })
    }

    it('tries again when the servers are unable for a moment', async () => {
      server.misbehaviour.push({}, {}, { status: 503 }, { status: 403 })
      checkWhole((await resolve()).dir)
    })

    it('does not mix two versions of a file', async () => {
      server.misbehaviour.push({}, {}, { cutAfter: 90_000 }, { cutAfter: 0 }, { cutAfter: 0 }, { cutAfter: 0 })
      await rejects(resolve(), 'HD422', /broke off/)
      const next = weights(100_003, 3)
      server.repositories[ID] = { commit: 'b'.repeat(40), files: { ...small, 'model.safetensors': next } }
      server.misbehaviour.length = server.log.length = 0
      const { dir, commit } = await resolve()
      assert.equal(commit, 'b'.repeat(40))
      assert.deepEqual(fs.readFileSync(path.join(dir, 'model.safetensors')), next)
      assert.deepEqual(ranges(), [undefined])
    })

    it('takes over what a dead process left, and leaves alone what a living one writes', async () => {
      fs.mkdirSync(blobs(), { recursive: true })
      const machine = createHash('sha256').update(os.hostname()).digest('hex').slice(0, 8)
      const dead = spawnSync(process.execPath, ['-e', '']).pid
      const hash = sha256(WEIGHTS)
      const living = `${hash}.heddle-${machine}-${process.ppid}-0badcafe.incomplete`
      fs.writeFileSync(path.join(blobs(), living), WEIGHTS.subarray(0, 5))
      fs.writeFileSync(
        path.join(blobs(), `${hash}.heddle-${machine}-${dead}-0badcafe.incomplete`),
        WEIGHTS.subarray(0, 7000),
      )
      const { dir } = await resolve()
      assert.deepEqual(ranges(), ['bytes=7000-'])
      assert.deepEqual(fs.readFileSync(path.join(dir, 'model.safetensors')), WEIGHTS)
      assert.deepEqual(partials(), [living])
    })

    it('lets two downloads of one file run side by side', async () => {
      const [first, second] = await Promise.all([resolve(), resolve()])
      assert.equal(first.dir, second.dir)
      checkWhole(first.dir)
    })
  })

  describe('refusals', () => {
    for (const [name, at] of [
      ['tokenizer.json', 1],
      ['model.safetensors', 2],
    ] as const) {
      it(`deletes a ${name} with another hash`, async () => {
        for (let index = 0; index < at; index++) server.misbehaviour.push({})
        server.misbehaviour.push({ corrupt: true })
        await rejects(resolve(), 'HD423', new RegExp(`weavers/tiny/${name}.*does not have the hash`))
        assert.deepEqual(partials(), [])
        assert.equal(fs.readdirSync(blobs()).length, at)
        checkWhole((await resolve()).dir)
      })
    }

    it('deletes what became wrong by continuing a wrong beginning', async () => {
      server.misbehaviour.push({}, {}, { cutAfter: 300_000, corrupt: true })
      await rejects(resolve(), 'HD423', /does not have the hash/)
      assert.deepEqual(partials(), [])
    })

    it('says in one sentence what the hub does not have or give', async () => {
      await rejects(resolve({}, 'weavers/none'), 'HD421', /there is no model "weavers\/none" at .*access token/)
      delete environment.HF_TOKEN
      await rejects(resolve({}, 'weavers/none'), 'HD421', /set HF_TOKEN/)
      await rejects(resolve({ revision: 'v9' }), 'HD425', /has no revision "v9"/)
      server.refuse = { status: 403, code: 'GatedRepo', times: 1 }
      await rejects(resolve(), 'HD421', /access to the model "weavers\/tiny" is not granted.*ask for access at/)
      server.refuse = { status: 418, times: 1 }
      await rejects(resolve(), 'HD422', /answered 418/)
      for (const name of ['config.json', 'tokenizer.json'] as const) {
        const { [name]: _left, ...files } = server.repositories[ID]!.files
        server.repositories['weavers/partly'] = { commit: COMMIT, files }
        await rejects(resolve({}, 'weavers/partly'), 'HD421', new RegExp(`has no file "${name}"`))
      }
      server.repositories['weavers/pickled'] = { commit: COMMIT, files: small }
      await rejects(resolve({}, 'weavers/pickled'), 'HD421', /no safetensors weights/)
    })

    it('uses the cache, and says so, when the hub cannot be asked', async () => {
      const { dir } = await resolve()
      server.refuse = { status: 503, times: 1 }
      const down = await resolve()
      assert.equal(down.dir, dir)
      assert.match(down.note ?? '', /could not be asked \(the server answered 503\), so the cached/)
      environment.HF_ENDPOINT = 'http://127.0.0.1:1'
      assert.equal((await resolve()).source, 'cache')
      await rejects(resolve({}, 'weavers/other'), 'HD422', /could not be reached.*(ECONNREFUSED|bad port|refused)/)
      environment.HF_ENDPOINT = 'file:///etc'
      await rejects(resolve(), 'HD420', /not a web address/)
    })

    it('fetches shards, and refuses an index that leads elsewhere', async () => {
      const index = (shard: string): Buffer => Buffer.from(JSON.stringify({ weight_map: { w: shard } }))
      const files = { ...small, 'model-1-of-1.safetensors': WEIGHTS }
      server.repositories[ID] = {
        commit: COMMIT,
        files: { ...files, 'model.safetensors.index.json': index('model-1-of-1.safetensors') },
      }
      const { dir } = await resolve()
      assert.equal(openCheckpoint(dir).tensors.get('w')?.bytes, 400_012)
      server.repositories[ID] = {
        commit: 'c'.repeat(40),
        files: { ...files, 'model.safetensors.index.json': index('../../x.safetensors') },
      }
      await rejects(resolve(), 'HD407', /is not that of a shard/)
      server.repositories[ID] = {
        commit: 'd'.repeat(40),
        files: { ...files, 'model.safetensors.index.json': index('gone.safetensors') },
      }
      await rejects(resolve(), 'HD421', /has no file "gone\.safetensors"/)
    })

    it('refuses headers that would lead out of the cache or leave the download unchecked', async () => {
      for (const [headers, text] of [
        [{ etag: '"../../../../evil"' }, /gives no hash/],
        [{ etag: undefined }, /gives no hash/],
        [{ 'x-linked-etag': `"${'0'.repeat(39)}g"` }, /gives no hash/],
        [{ 'x-repo-commit': '../../up' }, /does not answer as a Hugging Face hub/],
        [{ 'x-repo-commit': undefined }, /does not answer as a Hugging Face hub/],
        [{ 'x-linked-size': '-5' }, /gives no size/],
        [{ 'x-linked-size': '1e3' }, /gives no size/],
      ] as const) {
        server.headers = headers
        await rejects(resolve(), 'HD422', text)
      }
      assert.ok(!fs.existsSync(path.join(home, 'hub')))
      server.headers = {}
      for (const [target, text] of [
        ['file:///etc/passwd', /insecure address/],
        ['http://[', /no address/],
        [`${server.endpoint}/again`, /redirects more than 5 times/],
      ] as const) {
        server.redirectTo = target
        await rejects(resolve(), 'HD422', text)
      }
    })

    it('refuses a file of another commit', async () => {
      const onProgress = ({ file }: Progress): void => {
        if (file === 'config.json') server.headers = { 'x-repo-commit': 'f'.repeat(40) }
      }
      await rejects(resolve({ onProgress }), 'HD422', /answers for another commit/)
    })

    it('stops a server that sends more than it announced', async () => {
      server.misbehaviour.push({}, {}, { surplus: 10_000_000 })
      await rejects(resolve(), 'HD422', /sends more than the \d+ bytes/)
    })

    itOnFullDisk('says that the disk is full', async () => {
      const full = resolve({ openPartial: () => open(fullDisk, 'r+') })
      await rejects(full, 'HD405', /the disk is full, what was received is kept/)
      fs.rmSync(path.join(home, 'hub'), { recursive: true })
      fs.writeFileSync(path.join(home, 'hub'), 'a file')
      await rejects(resolve(), 'HD405', /file, not a directory|a file stands where/)
    })

    it('passes on an error of the progress callback, keeping the bytes', async () => {
      const broken = new Error('progress bar')
      const onProgress = ({ received }: Progress): void => {
        if (received > 30_000) throw broken
      }
      await assert.rejects(resolve({ onProgress }), (error) => error === broken)
      assert.equal(partials().length, 1)
      checkWhole((await resolve()).dir)
    })
  })

  it('takes a directory as it is, and refuses what is neither directory nor id', async () => {
    const dir = temporaryDirectory()
    assert.deepEqual(await resolve({}, dir), { dir, source: 'directory', commit: undefined, note: undefined })
    for (const id of ['./none', '/none/here', '../none', '~/none-such', 'C:\\none']) {
      await rejects(resolve({}, id), 'HD420', /directory .* does not exist/)
    }
    for (const id of [
      '',
      'a/b/c',
      'a//b',
      'a/..',
      '...',
      'a/b?x',
      'a/b#x',
      'a b',
      'a--b/c',
      'a/b.git',
      '-a/b',
      'a/b\n',
      'a/b\0',
      'é/b',
      'a'.repeat(97),
    ]) {
      await rejects(resolve({}, id), 'HD420', /neither a directory nor a Hugging Face id/)
    }
    for (const revision of ['../x', 'a/../b', '', '/a', 'a\\b', 'a b', 'x?y', 'a..b']) {
      await rejects(resolve({ revision }), 'HD420', /not the name of a revision/)
    }
    assert.deepEqual(server.log, [])
  })
})
