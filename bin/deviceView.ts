// How device profiles show: a table of many, and one with where each of its figures comes from. Fits a hundred columns.
// Measures nothing.

import type { DeviceProfile, ProfileFile } from '../devices/index.ts'
import type { StorageTimes } from '../evaluate/speed/device/storage.ts'
import { scaled, tableLines, WIDTH } from './explainView.ts'
import { mebibytes } from './output.ts'

const unknown = '-'

/** Bytes a second in MB: what makers of storage and memory state. */
function megabytes(rate: number): string {
  return (rate / 1e6).toLocaleString('en', { maximumFractionDigits: rate < 1e7 ? 1 : 0 })
}

/** Bytes of a cache. */
function cacheSize(bytes: number): string {
  return bytes < 2 ** 20
    ? `${(bytes / 1024).toFixed(0)} KiB`
    : `${(bytes / 2 ** 20).toFixed(2).replace(/\.?0+$/, '')} MiB`
}

function microseconds(seconds: number): string {
  return (seconds * 1e6).toLocaleString('en', { maximumFractionDigits: 0 })
}

/** A row for each, and what the columns are. */
export function deviceLines(devices: readonly DeviceProfile[]): string[] {
  const head = ['name', 'cores', 'GiB', 'Gflop/s', 'GB/s', 'storage MB/s', 'title']
  const rows = devices.map(({ name, title, cores, memoryBudget, figures }) => {
    const { compute, bandwidth, storage } = figures
    const count = figures.cores.kinds.reduce((sum, kind) => sum + kind.count, 0)
    return [
      name,
      `${cores}/${count}`,
      (memoryBudget / 2 ** 30).toFixed(1),
      compute ? ((compute.flopsPerCore * cores) / 1e9).toFixed(0) : unknown,
      bandwidth ? (bandwidth.bytesPerSecond / 1e9).toFixed(1) : unknown,
      storage ? `${megabytes(storage.readBytesPerSecond)}/${megabytes(storage.writeBytesPerSecond)}` : unknown,
      title,
    ]
  })
  return [
    ...tableLines([head, ...rows], new Set([0, 6])),
    'cores used of those there are; GiB that a run may have; Gflop/s of all used cores in float32; GB/s of',
    'memory; MB/s read from and written to storage. --json says more, and where each figure comes from',
  ]
}

/** One profile, group by group, with the sources under each and what is absent at the end. */
export function profileLines(profile: ProfileFile): string[] {
  const { cores, caches, memory, compute, bandwidth, storage, gpu, power, battery, absent = {} } = profile
  const kinds = cores.kinds.map(({ kind, count, used }) => `${count} ${kind} (${used} used)`).join(', ')
  const shared = caches.sharedBytes === undefined ? '' : `, ${cacheSize(caches.sharedBytes)} shared`
  const features = (['f16', 'subgroups'] as const)
    .filter((name) => gpu?.[name] !== undefined)
    .map((name) => `, ${gpu?.[name] === true ? '' : 'no '}${name}`)
    .join('')
  const groups: [label: string, text: string, source: string][] = [
    ['cores', `${kinds}, ${cores.isa}`, cores.source],
    ['caches', `${cacheSize(caches.privateBytes)} a core${shared}`, caches.source],
    [
      'memory',
      `${mebibytes(memory.bytes)} MiB, ${mebibytes(memory.budgetBytes)} for a run, ${mebibytes(memory.runtimeBytes)} of them the run-time`,
      memory.source,
    ],
  ]
  if (compute) groups.push(['compute', `${scaled(compute.flopsPerCore)}flop/s a core`, compute.source])
  if (bandwidth) groups.push(['bandwidth', `${megabytes(bandwidth.bytesPerSecond)} MB/s of memory`, bandwidth.source])
  if (storage) {
    const { readBytesPerSecond, writeBytesPerSecond, latencySeconds } = storage
    const text = `${megabytes(readBytesPerSecond)} MB/s read, ${megabytes(writeBytesPerSecond)} written, ${microseconds(latencySeconds)} µs a request`
    groups.push(['storage', text, storage.source])
  }
  if (gpu) groups.push(['gpu', `WebGPU, bindings of ${mebibytes(gpu.bindingBytes)} MiB${features}`, gpu.source])
  if (power) groups.push(['power', `${power.computingWatts} W computing, ${power.idleWatts} W idle`, power.source])
  if (battery) groups.push(['battery', `${battery.wattHours} Wh`, battery.source])
  return [
    ...groups.flatMap(([label, text, source]) => [`${label.padEnd(INDENT)}${text}`, ...folded(source)]),
    ...Object.entries(absent).flatMap(([label, reason]) => {
      const [first = '', ...more] = folded(`absent: ${reason}`)
      // A long name stands on a line of its own.
      return label.length < INDENT ? [label.padEnd(INDENT) + first.trimStart(), ...more] : [label, first, ...more]
    }),
  ]
}

const INDENT = 11

/** Lines of a terminal's width, moved in. */
function folded(text: string): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= WIDTH - INDENT)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines.map((line) => ' '.repeat(INDENT) + line)
}

/** Every size of request that was timed. */
export function storageLines({ requests }: StorageTimes): string[] {
  const head = ['requests of KiB', 'read MB/s', 'read µs', 'write MB/s', 'write µs']
  const sizes = [...new Set(requests.map(({ requestBytes }) => requestBytes))]
  const rows = sizes.map((size) => [
    String(size / 1024),
    ...(['read', 'write'] as const).flatMap((direction) => {
      const found = requests.find((one) => one.requestBytes === size && one.direction === direction)
      return found ? [megabytes(found.bytesPerSecond), microseconds(found.secondsPerRequest)] : [unknown, unknown]
    }),
  ])
  return tableLines([head, ...rows])
}
