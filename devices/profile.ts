// A device profile as a file: its schema, which the shipped ones are held to as well, and reading one that somebody wrote.
// A file may be anything; what no device can be is refused in one sentence. Knows no schedule and no plan.

import { z } from 'zod'
import { UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import { instructionSets } from '../backends/neon/isa/index.ts'
import type { InstructionSetName } from '../backends/neon/isa/index.ts'
import { quoteValue } from '../formats/files.ts'
import { readJsonObject } from '../formats/json.ts'

const LARGEST_FILE = 1 << 16
/** Threads that a run can have. */
export const MOST_CORES = 64
const MOST_BYTES = 2 ** 50

const isaNames = Object.keys(instructionSets) as InstructionSetName[]

/** Each message says what a value is; `problemOf` makes a sentence of it. */
function number(unit: string, least: number, most: number) {
  const what = `${unit} from ${grouped(least)} to ${grouped(most)}`
  return z.number({ error: what }).min(least, what).max(most, what)
}
function positive(unit: string, most: number) {
  const what = `${unit} above 0, at most ${grouped(most)}`
  return z.number({ error: what }).positive(what).max(most, what)
}
function whole(unit: string, least: number, most: number) {
  const what = `a whole number${unit} from ${grouped(least)} to ${grouped(most)}`
  return z.int({ error: what }).min(least, what).max(most, what)
}
function grouped(bound: number): string {
  return bound.toLocaleString('en')
}
const bytes = () => whole(' of bytes', 1, MOST_BYTES)
/** Slower than any memory or medium is a unit mistaken, and so is faster. */
const rate = () => number('bytes a second', 1000, 1e15)
const watts = () => positive('watts', 1e5)
const limit = () => whole('', 1, 2 ** 32)
const flag = () => z.boolean({ error: 'true or false' }).optional()
const words = (what: string, most: number) =>
  z
    .string({ error: what })
    .min(1, what)
    .max(most, what)
    .regex(/^[^\p{Cc}\p{Bidi_Control}\u2028\u2029]+$/u, what)
/** Where the figures of a group come from. */
const source = words('a sentence that says where the figures come from, at most 500 characters', 500)
const group = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject({ ...shape, source }, { error: 'an object of figures with their source' })

const coreKind = z.strictObject(
  {
    /** By speed: where there is one kind only, it is `big`. */
    kind: z.enum(['big', 'middle', 'little'], { error: "'big', 'middle' or 'little'" }),
    count: whole(' of cores', 1, 1024),
    /** Cores of the kind that a run has a thread on. */
    used: whole(' of cores', 0, MOST_CORES),
  },
  { error: 'an object with kind, count and used' },
)
const kinds = 'a list of one to three kinds of cores'

/** What may be left out, if `absent` says why. */
const optional = ['caches.sharedBytes', 'compute', 'bandwidth', 'storage', 'gpu', 'power', 'battery'] as const
export type OptionalFigure = (typeof optional)[number]

const shape = z.strictObject({
  /** The version of this layout. */
  device: z.literal(1, { error: '1, the version of the layout' }),
  name: z.string({ error: 'a name' }).regex(/^[a-z\d][a-z\d-]{0,63}$/, 'at most 64 small letters, digits and hyphens'),
  /** For people. */
  title: words('a title of at most 100 characters', 100),
  cores: group({
    isa: z.enum(isaNames, { error: `one of ${isaNames.join(', ')}` }),
    kinds: z.array(coreKind, { error: kinds }).min(1, kinds).max(3, kinds),
  }),
  caches: group({
    /** Bytes of the second-level cache that one core has to itself. */
    privateBytes: bytes(),
    /** Bytes of the last cache, which cores share. */
    sharedBytes: bytes().optional(),
  }),
  memory: group({
    /** Bytes that the device has. */
    bytes: bytes(),
    /** Bytes that one app may hold. */
    budgetBytes: bytes(),
    /** Bytes of the run-time itself: its code, its threads' stacks, what drives it. */
    runtimeBytes: bytes(),
  }),
  compute: group({
    /**
     * float32 operations a second (a multiply-add is two) that one used core does for minutes while all used cores
     * compute, in multiply-adds whose operands are in registers: no kernel is faster.
     */
    flopsPerCore: number('float32 operations a second', 1e6, 1e15),
  }).optional(),
  bandwidth: group({
    /** Bytes a second, read and written together, between memory and all used cores. */
    bytesPerSecond: rate(),
  }).optional(),
  storage: group({
    /** With requests of 1 MiB, one after the other, past the page cache. */
    readBytesPerSecond: rate(),
    /** The same, until they are on the medium. */
    writeBytesPerSecond: rate(),
    /** Seconds until 4 KiB from anywhere are read. */
    latencySeconds: number('seconds', 0, 60),
  }).optional(),
  /** WebGPU's limits of a device, by what they bound. */
  gpu: group({
    /** maxComputeWorkgroupStorageSize */
    workgroupBytes: limit(),
    /** maxComputeInvocationsPerWorkgroup */
    invocations: limit(),
    /** maxStorageBuffersPerShaderStage */
    storageBuffers: limit(),
    /** maxComputeWorkgroupsPerDimension */
    workgroupsPerDimension: limit(),
    /** maxStorageBufferBindingSize */
    bindingBytes: bytes(),
    /** maxBufferSize */
    bufferBytes: bytes(),
    /** The feature `shader-f16`; absent where that is not known. */
    f16: flag(),
    /** The feature `subgroups`; absent where that is not known. */
    subgroups: flag(),
  }).optional(),
  power: group({
    /** Watts while the used cores compute for minutes. */
    computingWatts: watts(),
    /** Watts while nothing is done. */
    idleWatts: watts(),
  }).optional(),
  battery: group({
    wattHours: positive('watt-hours', 1e6),
  }).optional(),
  /** Why a figure is not there, for each that is not. */
  absent: z
    .partialRecord(
      z.enum(optional),
      words('a sentence that says why the figure is absent, at most 500 characters', 500),
      {
        error: 'an object of reasons',
      },
    )
    .optional(),
})

/** What a profile's file holds. Units are in the names; `compute`, `bandwidth` and their like are absent where unknown. */
export type ProfileFile = z.infer<typeof shape>
export type CoreKind = ProfileFile['cores']['kinds'][number]
export type StorageFigures = NonNullable<ProfileFile['storage']>
export type GpuFigures = NonNullable<ProfileFile['gpu']>

/** What each figure allows by itself, and still no device can be: key, sentence and mend of the first such thing. */
function contradiction(profile: ProfileFile): readonly [key: string, message: string, mend: string] | undefined {
  const { cores, caches, memory, gpu, power, absent = {} } = profile
  const few = cores.kinds.findIndex(({ count, used }) => used > count)
  if (few >= 0) {
    const { count, used } = cores.kinds[few] as CoreKind
    return [`cores.kinds.${few}.used`, `a run uses ${used} cores of ${count}`, 'it is at most count']
  }
  if (new Set(cores.kinds.map(({ kind }) => kind)).size < cores.kinds.length) {
    return ['cores.kinds', 'a kind of cores stands twice', 'add up their counts']
  }
  const used = usedCores(cores.kinds)
  if (used < 1 || used > MOST_CORES) {
    return ['cores.kinds', `a run uses ${used} cores`, `it is 1 to ${MOST_CORES} in all`]
  }
  for (const key of ['privateBytes', 'sharedBytes'] as const) {
    const size = caches[key]
    if (size !== undefined && size > memory.bytes) {
      return [
        `caches.${key}`,
        `the cache of ${size} bytes is larger than the memory of ${memory.bytes}`,
        'it is smaller',
      ]
    }
  }
  if (memory.budgetBytes > memory.bytes) {
    const sentence = `the budget of ${memory.budgetBytes} bytes is above the memory of ${memory.bytes}`
    return ['memory.budgetBytes', sentence, 'an app may hold at most what there is']
  }
  if (memory.runtimeBytes >= memory.budgetBytes) {
    const sentence = `the run-time's ${memory.runtimeBytes} bytes leave nothing of the budget of ${memory.budgetBytes}`
    return ['memory.runtimeBytes', sentence, 'it is smaller than budgetBytes']
  }
  if (gpu && gpu.bindingBytes > gpu.bufferBytes) {
    const sentence = `a binding of ${gpu.bindingBytes} bytes is larger than a buffer of ${gpu.bufferBytes}`
    return ['gpu.bindingBytes', sentence, 'it is at most bufferBytes']
  }
  if (power && power.idleWatts > power.computingWatts) {
    const sentence = `${power.idleWatts} W while idle are more than ${power.computingWatts} W while computing`
    return ['power.idleWatts', sentence, 'it is at most computingWatts']
  }
  for (const key of optional) {
    const isThere = key === 'caches.sharedBytes' ? caches.sharedBytes !== undefined : profile[key] !== undefined
    const isExcused = absent[key] !== undefined
    if (!isThere && !isExcused) return [key, 'the key is missing', `state it, or why it is not known under "absent"`]
    if (isThere && isExcused) return [`absent.${key}`, 'the figure is there', 'leave one of them out']
  }
  return undefined
}

/** Cores that a run has threads on. */
export function usedCores(kinds: readonly CoreKind[]): number {
  return kinds.reduce((sum, { used }) => sum + used, 0)
}

/** The value at a path, and undefined where there is none. */
function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null && Object.hasOwn(inner, key)
        ? (inner as Record<PropertyKey, unknown>)[key]
        : undefined,
    value,
  )
}

function problemOf(issue: z.core.$ZodIssue, value: unknown): readonly [key: string, message: string, mend: string] {
  const key = issue.path.join('.')
  if (issue.code === 'unrecognized_keys' || issue.code === 'invalid_key') {
    const name = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''].join('.') : key
    const known = issue.code === 'invalid_key' ? `; there are ${optional.join(', ')}` : ''
    return [name, 'a profile has no such key', `leave it out${known}`]
  }
  const found = valueAt(value, issue.path)
  // JSON has no spelling for these, but a number such as 1e999 becomes one.
  const shown = typeof found === 'number' ? String(found) : quoteValue(found)
  return [key, found === undefined ? 'the key is missing' : `this cannot be ${shown}`, `it is ${issue.message}`]
}

/**
 * Holds a value to the schema. `file` is named where something is wrong.
 *
 * @throws UserError HD821 with the key of the first figure that no device can have, or that is missing
 */
export function parseProfile(value: unknown, file: string): ProfileFile {
  const parsed = shape.safeParse(value)
  const issue = parsed.error?.issues[0]
  const problem = issue ? problemOf(issue, value) : parsed.data && contradiction(parsed.data)
  if (problem === undefined && parsed.data) return parsed.data
  const [key = '', message = '', mend = ''] = problem ?? []
  const shownKey = key.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 100)
  const place: Place = shownKey === '' ? { file } : { file, at: `key "${shownKey}"` }
  throw new UserError('HD821', message, { place, mend })
}

/**
 * The profile in a file.
 *
 * @throws UserError HD401 for a file that cannot be read or is too large, HD402 for one that is no JSON, HD821 as
 * `parseProfile`
 */
export function readProfile(file: string): ProfileFile {
  return parseProfile(readJsonObject(file, LARGEST_FILE), file)
}
