// Reading and writing of storage against the clock: a temporary file, requests of several sizes past the page cache, and
// medians over runs. Says what it found; decides nothing about a profile but its three figures.

import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { InternalError, UserError } from '../../../compiler/diagnostic.ts'
import { systemCode, writeFailure } from '../../../formats/files.ts'
import type { ToolChain } from '../../../backends/neon/toolchain/index.ts'
import { quartiles } from '../statistics.ts'
import { requestSizes, storageSource } from './storageProgram.ts'

const MEBIBYTE = 1 << 20

/** How much is written and read; `quick` is for a look, and for tests. */
export interface StorageEffort {
  /** A multiple of the largest request. */
  readonly fileBytes: number
  readonly runBytes: number
  readonly runSeconds: number
  readonly runs: number
}

export const efforts = {
  quick: { fileBytes: 32 * MEBIBYTE, runBytes: 8 * MEBIBYTE, runSeconds: 0.1, runs: 3 },
  full: { fileBytes: 512 * MEBIBYTE, runBytes: 64 * MEBIBYTE, runSeconds: 0.5, runs: 7 },
} as const satisfies Record<string, StorageEffort>

/** How the page cache was kept out: requests that pass it by, or pages dropped before each run. */
export type CacheMode = 'direct' | 'nocache' | 'dropped'

/** One size of request in one direction: medians over runs. */
export interface RequestTimes {
  readonly direction: 'read' | 'write'
  readonly requestBytes: number
  readonly bytesPerSecond: number
  readonly secondsPerRequest: number
  readonly runs: number
}

export interface StorageTimes {
  readonly mode: CacheMode
  readonly requests: readonly RequestTimes[]
  /** At 1 MiB. */
  readonly readBytesPerSecond: number
  readonly writeBytesPerSecond: number
  /** Of a read of 4 KiB. */
  readonly latencySeconds: number
}

/** A file system that is in memory: what it gives is no storage. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6])

/**
 * Times requests in a folder; a sentence where what is there is no storage. `signal` ends the program.
 *
 * @throws UserError HD822 where the folder has too little room, HD405 where it cannot be written
 */
export async function measureStorage(
  chain: ToolChain,
  folder: string,
  effort: StorageEffort,
  onProgress: (done: number, all: number) => void,
  signal?: AbortSignal,
): Promise<StorageTimes | string> {
  const status = roomIn(folder, effort)
  if (IN_MEMORY.has(status.type)) return 'the folder is in memory, not in storage; --folder names another one'
  const program = await chain.compile([storageSource], { output: 'executable', optimise: 'light' })
  // The program removes the name as soon as the file is open; this is for the moment between.
  const file = path.join(folder, `.heddle-${randomUUID()}`)
  try {
    return await timesOf([...chain.launcher, program], file, folder, effort, onProgress, signal)
  } finally {
    fs.rmSync(file, { force: true })
  }
}

function roomIn(folder: string, { fileBytes }: StorageEffort): fs.StatsFs {
  try {
    const status = fs.statfsSync(folder)
    fs.accessSync(folder, fs.constants.W_OK)
    const free = status.bavail * status.bsize
    // A full disk would be slow, and others write too.
    if (free >= 2 * fileBytes) return status
    throw new UserError(
      'HD822',
      `there are ${Math.floor(free / MEBIBYTE)} MiB free, and measuring storage wants ${(2 * fileBytes) / MEBIBYTE}`,
      { place: { file: folder }, mend: '--folder names another place, and --quick wants less' },
    )
  } catch (error) {
    if (error instanceof UserError || systemCode(error) === undefined) throw error
    throw writeFailure(folder, error, 'storage was not measured')
  }
}

interface Sample {
  readonly direction: 'read' | 'write'
  readonly request: number
  readonly requests: number
  readonly seconds: number
}

async function timesOf(
  [command = '', ...before]: readonly string[],
  file: string,
  folder: string,
  { fileBytes, runBytes, runSeconds, runs }: StorageEffort,
  onProgress: (done: number, all: number) => void,
  signal?: AbortSignal,
): Promise<StorageTimes | string> {
  const operands = [...before, file, ...[fileBytes, runBytes, runSeconds, runs].map(String)]
  const child = spawn(command, operands, {
    stdio: ['ignore', 'pipe', 'ignore'],
    ...(signal ? { signal, killSignal: 'SIGKILL' as const } : {}),
  })
  const ended = new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, killedBy) => resolve(code ?? killedBy ?? 'killed'))
  })
  const samples: Sample[] = []
  const expected = runs * requestSizes.length * 2
  let mode: string | undefined
  let failed: string | undefined
  for await (const line of createInterface({ input: child.stdout })) {
    const [word = '', ...fields] = line.split(' ')
    const [first = 0, second = 0, third = 0] = fields.map(Number)
    if (word === 'mode') mode = fields[0]
    if (word === 'failed') failed = fields.join(' ')
    if (word === 'read' || word === 'write') samples.push({ direction: word, request: first, requests: second, seconds: third }) // prettier-ignore
    // Laying the file out is as much as the runs.
    const laid = word === 'laid' ? first / fileBytes : 1
    onProgress(Math.floor(expected * laid) + samples.length, 2 * expected)
  }
  const code = await ended
  signal?.throwIfAborted()
  if (failed !== undefined) {
    const [what, , ...words] = failed.split(' ')
    throw new UserError('HD822', `storage cannot be measured here (${what}: ${words.join(' ')})`, {
      place: { file: folder },
      mend: '--folder names another place',
    })
  }
  if (code !== 0 || samples.length !== expected) throw new InternalError(`the storage program ended with ${code}`)
  if (mode !== 'direct' && mode !== 'nocache' && mode !== 'dropped') {
    return 'this system has no way to read past the page cache'
  }
  return summed(samples, mode)
}

function summed(samples: readonly Sample[], mode: CacheMode): StorageTimes {
  const requests = requestSizes.flatMap((requestBytes) =>
    (['read', 'write'] as const).map((direction): RequestTimes => {
      const own = samples.filter((sample) => sample.direction === direction && sample.request === requestBytes)
      const secondsPerRequest = quartiles(own.map(({ seconds, requests }) => seconds / requests)).median
      return {
        direction,
        requestBytes,
        bytesPerSecond: requestBytes / secondsPerRequest,
        secondsPerRequest,
        runs: own.length,
      }
    }),
  )
  const find = (direction: 'read' | 'write', size: number): RequestTimes => {
    const found = requests.find((one) => one.direction === direction && one.requestBytes === size)
    if (!found) throw new InternalError(`requests of ${size} bytes were not timed`)
    return found
  }
  return {
    mode,
    requests,
    readBytesPerSecond: find('read', MEBIBYTE).bytesPerSecond,
    writeBytesPerSecond: find('write', MEBIBYTE).bytesPerSecond,
    latencySeconds: find('read', 4096).secondsPerRequest,
  }
}
