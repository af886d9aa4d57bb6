// Device profiles: every shipped one is sound and says where each number comes from, what no device can be is refused in
// one sentence at its key, and kinds of cores are told apart as sysfs states them.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { coreKinds } from '../../devices/cores.ts'
import { findDevice, hostProfile, parseProfile, readProfile, shippedDevice, shippedNames } from '../../devices/index.ts'
import type { ProfileFile } from '../../devices/index.ts'
import { webgpu } from '../../devices/webgpu.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { temporaryDirectory } from '../bin/support.ts'

const shippedFolder = new URL('../../devices/profiles/', import.meta.url)
const phone = (): ProfileFile => readProfile(fileURLToPath(new URL('phone-8gb.json', shippedFolder)))

/** A JSON value that a test may spoil. */
// oxlint-disable-next-line typescript/no-explicit-any
type Loose = any

function sentenceOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof UserError) return error.sentence
    throw error
  }
  return assert.fail('it was accepted')
}

describe('shipped device profiles', () => {
  it('are the files of the folder, under their names', () => {
    const files = fs.readdirSync(shippedFolder).map((file) => file.replace(/\.json$/, ''))
    assert.deepEqual(files.sort(), [...shippedNames].sort())
    for (const name of shippedNames) assert.equal(shippedDevice(name).name, name)
  })

  it('have a source for every number, and a reason for every group that is absent', () => {
    for (const name of shippedNames) {
      const { absent = {}, ...groups } = shippedDevice(name).figures
      for (const [group, figures] of Object.entries(groups)) {
        assert.ok(figures.source.length > 10, `${name}: ${group}`)
      }
      for (const group of ['compute', 'bandwidth', 'storage', 'gpu', 'power', 'battery'] as const) {
        assert.notEqual(groups[group] === undefined, absent[group] === undefined, `${name}: ${group}`)
      }
    }
  })

  it('allow what shaders are made for', () => {
    const { limits } = webgpu
    for (const name of shippedNames) {
      const { gpu } = shippedDevice(name).figures
      if (!gpu) continue
      for (const key of ['workgroupBytes', 'invocations', 'storageBuffers', 'workgroupsPerDimension'] as const) {
        assert.ok(limits[key] <= gpu[key], `${name}: ${key}`)
      }
    }
  })

  it('give the compiler what it had', () => {
    const { isa, cores, privateCache, memoryBudget, runtimeBytes, source } = findDevice('phone-8gb', 'avx2')
    assert.deepEqual(
      [isa, cores, privateCache, memoryBudget, runtimeBytes],
      ['neon', 4, 512 * 1024, 2 ** 31, 4 * 1024 * 1024],
    )
    assert.match(source, /class figures, not measured/)
  })
})

describe('docs/devices.md', () => {
  it('names every key', () => {
    const page = fs.readFileSync(new URL('../../docs/devices.md', import.meta.url), 'utf8')
    const keys = new Set<string>()
    const collect = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return
      for (const [key, inner] of Object.entries(value)) {
        if (!Array.isArray(value)) keys.add(key)
        collect(inner)
      }
    }
    for (const name of shippedNames) collect({ ...shippedDevice(name).figures, f16: true, subgroups: true })
    assert.ok(keys.size > 30)
    for (const key of keys) assert.ok(page.includes(`\`${key}\``), `docs/devices.md says nothing of ${key}`)
  })
})

describe('this machine', () => {
  it('states what the operating system does, in the same schema', () => {
    for (const isa of ['avx2', 'wasmRelaxed'] as const) {
      const profile = hostProfile(isa)
      assert.deepEqual(parseProfile(JSON.parse(JSON.stringify(profile)), 'host.json'), profile)
    }
    assert.equal(findDevice('host', 'avx2').figures.absent?.compute, 'not measured yet: heddle profile does')
  })
})

describe('a device profile that cannot be', () => {
  const cases: readonly (readonly [string, (profile: Loose) => void, RegExp])[] = [
    [
      'zero cores',
      (p) => (p.cores.kinds[0].count = 0),
      /key "cores\.kinds\.0\.count"\) this cannot be 0; it is a whole/,
    ],
    [
      'fewer than zero',
      (p) => (p.cores.kinds[0].used = -2),
      /kinds\.0\.used"\) this cannot be -2; it is a whole number/,
    ],
    ['half a core', (p) => (p.cores.kinds[1].count = 2.5), /kinds\.1\.count"\) this cannot be 2\.5; /],
    [
      'more cores used than there are',
      (p) => (p.cores.kinds[1].used = 3),
      /kinds\.1\.used"\) a run uses 3 cores of 2; /,
    ],
    [
      'no core used',
      (p) => (p.cores.kinds = [{ kind: 'big', count: 2, used: 0 }]),
      /"cores\.kinds"\) a run uses 0 cores/,
    ],
    ['no kind', (p) => (p.cores.kinds = []), /"cores\.kinds"\) this cannot be "\[\]"; it is a list of one to three/],
    ['a kind twice', (p) => (p.cores.kinds[1].kind = 'big'), /"cores\.kinds"\) a kind of cores stands twice; add up/],
    [
      'an unknown kind',
      (p) => (p.cores.kinds[1].kind = 'huge'),
      /kinds\.1\.kind"\) this cannot be "huge"; it is 'big', /,
    ],
    [
      'an unknown isa',
      (p) => (p.cores.isa = 'sse'),
      /"cores\.isa"\) this cannot be "sse"; it is one of neon, avx2, avx512/,
    ],
    [
      'a cache above memory',
      (p) => (p.caches.privateBytes = 1e13),
      /privateBytes"\) the cache of 1\d+ bytes is larger than/,
    ],
    [
      'a shared one',
      (p) => (p.caches.sharedBytes = 1e13),
      /"caches\.sharedBytes"\) the cache of 1\d+ bytes is larger than/,
    ],
    [
      'a budget above memory',
      (p) => (p.memory.budgetBytes = 1e13),
      /"memory\.budgetBytes"\) the budget of 1\d+ bytes is above/,
    ],
    [
      'a run-time above it',
      (p) => (p.memory.runtimeBytes = 2 ** 31),
      /"memory\.runtimeBytes"\) .* leave nothing of the/,
    ],
    [
      'no memory',
      (p) => (p.memory.bytes = 0),
      /"memory\.bytes"\) this cannot be 0; it is a whole number of bytes from 1 to 1,125,899,906,842,624$/,
    ],
    [
      'no bandwidth',
      (p) => (p.bandwidth.bytesPerSecond = 0),
      /"bandwidth\.bytesPerSecond"\) this cannot be 0; it is bytes a/,
    ],
    ['no reading', (p) => (p.storage.readBytesPerSecond = 0), /"storage\.readBytesPerSecond"\) this cannot be 0; /],
    ['no writing', (p) => (p.storage.writeBytesPerSecond = -1), /"storage\.writeBytesPerSecond"\) this cannot be -1; /],
    [
      'an answer before the question',
      (p) => (p.storage.latencySeconds = -1e-3),
      /latencySeconds"\) this cannot be -0\.001; it/,
    ],
    [
      'more memory than any',
      (p) => (p.memory.bytes = 2 ** 51),
      /"memory\.bytes"\) this cannot be 2251799813685248; it is a whole number of bytes from 1 to 1,125,899,906,842,624$/,
    ],
    [
      'a bandwidth in bits, and more',
      (p) => (p.bandwidth.bytesPerSecond = 1e16),
      /this cannot be 10000000000000000; it is bytes a second from 1,000 to 1,000,000,000,000,000$/,
    ],
    [
      'more cores than any',
      (p) => (p.cores.kinds[0].count = 1025),
      /"cores\.kinds\.0\.count"\) this cannot be 1025; it is a whole number of cores from 1 to 1,024$/,
    ],
    [
      'milliseconds for seconds',
      (p) => (p.storage.latencySeconds = 80),
      /latencySeconds"\) this cannot be 80; it is seconds from 0 to 60$/,
    ],
    [
      'joules for watt-hours',
      (p) => (p.battery.wattHours = 2e6),
      /wattHours"\) this cannot be 2000000; it is watt-hours above 0, at most 1,000,000$/,
    ],
    [
      'flops of a cluster',
      (p) => (p.compute.flopsPerCore = 1e16),
      /it is float32 operations a second from 1,000,000 to 1,000,000,000,000,000$/,
    ],
    [
      'a limit of a GPU that is too high',
      (p) => (p.gpu.invocations = 2 ** 33),
      /"gpu\.invocations"\) this cannot be 8589934592; it is a whole number from 1 to 4,294,967,296$/,
    ],
    ['no number', (p) => (p.compute.flopsPerCore = NaN), /"compute\.flopsPerCore"\) this cannot be NaN; it is float32/],
    [
      'an endless one',
      (p) => (p.compute.flopsPerCore = Infinity),
      /"compute\.flopsPerCore"\) this cannot be Infinity; /,
    ],
    [
      'a text for a number',
      (p) => (p.power.idleWatts = '1'),
      /"power\.idleWatts"\) this cannot be "1"; it is watts above 0, at most 100,000$/,
    ],
    ['more watts while idle', (p) => (p.power.idleWatts = 9), /"power\.idleWatts"\) 9 W while idle are more than 4 W/],
    ['an empty battery', (p) => (p.battery.wattHours = 0), /"battery\.wattHours"\) this cannot be 0; /],
    [
      'a binding above a buffer',
      (p) => (p.gpu.bindingBytes = 1e9),
      /"gpu\.bindingBytes"\) a binding of 1000000000 bytes is/,
    ],
    ['a feature that is a number', (p) => (p.gpu.f16 = 1), /"gpu\.f16"\) this cannot be 1; it is true or false/],
    [
      'a number without a source',
      (p) => delete p.power.source,
      /"power\.source"\) the key is missing; it is a sentence/,
    ],
    ['an empty source', (p) => (p.power.source = ''), /"power\.source"\) this cannot be ""; it is a sentence/],
    ['a group that must be there', (p) => delete p.memory, /"memory"\) the key is missing; it is an object of figures/],
    [
      'one without a reason',
      (p) => delete p.storage,
      /"storage"\) the key is missing; state it, or why .* under "absent"$/,
    ],
    [
      'a reason for what is there',
      (p) => (p.absent = { gpu: 'why' }),
      /"absent\.gpu"\) the figure is there; leave one/,
    ],
    ['a reason for nothing', (p) => (p.absent = { x: 'why' }), /"absent\.x"\) a profile has no such key; leave it out/],
    [
      'another key',
      (p) => (p.memory['a\u001b[31m'] = 1),
      /"memory\.a \[31m"\) a profile has no such key; leave it out$/,
    ],
    ['a title that steers a terminal', (p) => (p.title = '\u001b[31m'), /"title"\) this cannot be ".*"; it is a title/],
    [
      'a name that is a path',
      (p) => (p.name = '../x'),
      /"name"\) this cannot be "\.\.\/x"; it is at most 64 small letters/,
    ],
    ['another version', (p) => (p.device = 2), /"device"\) this cannot be 2; it is 1, the version of the layout$/],
  ]
  for (const [name, spoil, expected] of cases) {
    it(name, () => {
      const profile = structuredClone(phone()) as Loose
      spoil(profile)
      const sentence = sentenceOf(() => parseProfile(profile, 'p.json'))
      assert.match(sentence, /^HD821 p\.json \(key "/)
      assert.match(sentence, expected)
      // oxlint-disable-next-line no-control-regex
      assert.doesNotMatch(sentence, /[\u0000-\u001f]/)
    })
  }

  it('a file that is none', () => {
    const file = path.join(temporaryDirectory(), 'p.json')
    for (const [content, expected] of [
      [undefined, /^HD401 .*p\.json the file does not exist$/],
      ['', /^HD402 .*p\.json the text is not JSON/],
      ['[]', /^HD402 .*p\.json a JSON object was expected$/],
      ['{"device": NaN}', /^HD402 .*p\.json the text is not JSON/],
      ['{"device": 1, "device": 1}', /^HD402 .*stands twice/],
      ['\ufeff{}', /^HD402 .*p\.json the text begins with a byte order mark; save it as UTF-8 without one$/],
      ['{}', /^HD821 .*p\.json \(key "device"\) the key is missing/],
      [
        JSON.stringify(phone()).replace('25000000000', '1e999'),
        /^HD821 .*"bandwidth\.bytesPerSecond"\) this cannot be Infin/,
      ],
      [JSON.stringify(phone()).slice(0, -9), /^HD402 /],
      [' '.repeat(70_000), /^HD401 .* bytes, more than/],
    ] as const) {
      if (content !== undefined) fs.writeFileSync(file, content)
      assert.match(
        sentenceOf(() => findDevice('p.json', 'neon', path.dirname(file))),
        expected,
      )
    }
  })
})

describe('kinds of cores', () => {
  function system(files: Readonly<Record<string, string>>, allowed: string): { folder: string; status: string } {
    const folder = temporaryDirectory()
    for (const [name, text] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
      fs.writeFileSync(path.join(folder, name), `${text}\n`)
    }
    const status = path.join(folder, 'status')
    fs.writeFileSync(status, `Name:\tx\nCpus_allowed_list:\t${allowed}\n`)
    return { folder, status }
  }
  const of = (file: string, values: readonly number[]): Record<string, string> =>
    Object.fromEntries(values.map((value, core) => [`cpu${core}/${file}`, String(value)]))

  for (const [name, file, values, allowed, expected] of [
    ['as capacities tell', 'cpu_capacity', [250, 250, 870, 870, 1024], '0-4', 'big 1/1, middle 2/2, little 2/2'],
    ['of those a process may use', 'cpu_capacity', [250, 250, 870, 870, 1024], '0,2-3', 'big 2/2, little 1/1'],
    ['as clocks tell', 'cpufreq/cpuinfo_max_freq', [5e6, 4.8e6, 3.8e6, 3.8e6], '0-3', 'big 2/2, little 2/2'],
    ['of four speeds', 'cpu_capacity', [1024, 800, 600, 200], '0-3', 'big 1/1, middle 2/2, little 1/1'],
    ['one, where not all are told', 'cpu_capacity', [1024, 200], '0-2', 'big 3/3'],
    ['one, where numbers are none', 'cpu_capacity', [0, -1], '0-1', 'big 2/2'],
    ['one, where nothing is told', 'other', [1], '', 'big 3/3'],
    ['used up to 64', 'cpu_capacity', Array<number>(70).fill(9), '0-69', 'big 70/64'],
  ] as const) {
    it(name, () => {
      const { folder, status } = system(of(file, values), allowed)
      const available = expected.startsWith('big 3') ? 3 : expected.split(', ').reduce((sum, one) => sum + Number(/ (\d+)/.exec(one)?.[1]), 0) // prettier-ignore
      const { kinds } = coreKinds(available, folder, status)
      assert.equal(kinds.map(({ kind, count, used }) => `${kind} ${count}/${used}`).join(', '), expected)
    })
  }
})
