// What a compiled program needs of memory, part by part, and whether it fits: the promise that `heddle plan` prints and
// a run is held to. Arithmetic on the plan; runs nothing.

import { stateFileBytes } from '../backends/neon/driver/index.ts'
import { scratchBytes, tableBytes } from '../backends/neon/emit/index.ts'
import type { Compiled } from '../compiler/pipeline.ts'
import { ADVANCE } from '../compiler/schedule/advance.ts'
import { deferred } from '../compiler/transform/deferUpdates.ts'
import type { DeviceProfile } from '../devices/index.ts'

export interface FunctionMemory {
  readonly name: string
  readonly launches: number
  readonly arenaBytes: number
  /** Largest sum of bytes alive at one launch: no placement needs less. */
  readonly lowerBound: number
}

export interface Certificate {
  readonly device: string
  readonly fits: boolean
  readonly budgetBytes: number
  /** The sum of the parts. */
  readonly peakBytes: number
  readonly parts: {
    /** Frozen tensors in memory, as the checkpoint stores them. */
    readonly weights: number
    /** Trained values, gradients, the optimizer's moments, tables. */
    readonly state: number
    /** Intermediate values, and ranges of tensors that come from storage meanwhile: the largest function's. */
    readonly arena: number
    readonly inputs: number
    /** Packed blocks, one set per thread. */
    readonly scratch: number
    /** The device's run-time, and the program's own tables. */
    readonly runtime: number
  }
  readonly functions: readonly FunctionMemory[]
  readonly kernels: number
  /** Absent where every tensor is in memory. */
  readonly storage?: StorageCertificate
}

/** What is moved between storage and memory by the device's figures, by a micro-batch of training unless stated. */
export interface StorageCertificate extends Movement {
  /** Bytes of the frozen tensors that are not in memory. */
  readonly tensorBytes: number
  /** Bytes of ranges in the arena, at most at once. */
  readonly windowBytes: number
  /** Where what is trained is not in memory either. */
  readonly state?: StateCertificate
}

export interface Movement {
  readonly reads: number
  readonly readBytes: number
  readonly writes: number
  readonly writtenBytes: number
  readonly computeSeconds: number
  /** What computing waits for storage. */
  readonly stallSeconds: number
}

export interface StateCertificate {
  /** Bytes of trained values, sums of gradients and the optimizer's moments that are not in memory. */
  readonly valueBytes: number
  /** Of the file that holds them, in two versions where one must stay whole while the next is written. */
  readonly fileBytes: number
  /** Of disk while a resumed run has that file beside the one that it goes on from. */
  readonly resumingBytes: number
  /** Of disk for the result, beside that file at the end; where records are held out, for the best of what was trained as well. */
  readonly resultBytes: number
  /** What a step moves beyond its micro-batches: by itself, or beside the next step's first one. */
  readonly update: Movement
}

export interface CertificateSettings {
  readonly device: DeviceProfile
  readonly threads: number
  readonly memoryBudget: number
  /** Of files that are copied beside the result. */
  readonly copiedBytes?: number | undefined
}

/** The memory of a program on a device. */
export function certify(
  { program, arenas }: Pick<Compiled, 'program' | 'arenas'>,
  settings: CertificateSettings,
): Certificate {
  const frozen = program.values.filter((value) => value.place.space === 'frozen' && !value.streamed)
  const parts = {
    weights: frozen.reduce((sum, value) => sum + value.bytes, 0),
    state: program.stateBytes,
    arena: program.arenaBytes,
    inputs: program.inputBytes,
    scratch: Math.max(0, ...program.kernels.map(scratchBytes)) * settings.threads,
    runtime: settings.device.runtimeBytes + tableBytes(program),
  }
  const peakBytes = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0)
  return {
    device: settings.device.name,
    fits: peakBytes <= settings.memoryBudget,
    budgetBytes: settings.memoryBudget,
    peakBytes,
    parts,
    functions: program.functions.map((fn) => {
      const arena = arenas.find((one) => one.fn === fn.name)
      return {
        name: fn.name,
        launches: fn.launches.length,
        arenaBytes: arena?.peak ?? 0,
        lowerBound: arena?.lowerBound ?? 0,
      }
    }),
    kernels: program.kernels.length,
    ...storedOf(program, arenas, settings.copiedBytes),
  }
}

/** Of a MiB: the precision in which memory is proposed. */
const HUNDREDTH = 2 ** 20 / 100

/** The least amount in hundredths of a MiB that is enough for so many bytes when it is typed. */
export function enoughFor(bytes: number): number {
  const enough = Math.ceil(bytes / HUNDREDTH) / 100
  // What is typed may come out a byte below.
  return Math.floor(enough * 2 ** 20) < bytes ? Math.round(enough * 100 + 1) / 100 : enough
}

/** What runs once a step: the update beside the next pass where a program can do that, which is a micro-batch as well. */
const updating: ReadonlySet<string> = new Set(['measure', 'apply', ADVANCE, deferred.tables])

/** Of a tensor in the header of its file, and of a model's configuration, more than either has. */
const ENTRY_BYTES = 256
const CONFIGURATION_BYTES = 16384
/** Two saved states may each have weights that were the best; while the result is written, all three are there. */
const MOST_BEST = 2

function resultBytesOf({ values, functions }: Compiled['program'], copiedBytes: number): number {
  const trained = values.filter(({ role }) => role === 'trainable')
  const bytes = trained.reduce((sum, value) => sum + value.bytes + ENTRY_BYTES, 0)
  const best = functions.some(({ name }) => name === 'evaluate') ? MOST_BEST * bytes : 0
  return bytes + CONFIGURATION_BYTES + copiedBytes + best
}

function storedOf(
  program: Compiled['program'],
  arenas: Compiled['arenas'],
  copiedBytes = 0,
): { readonly storage?: StorageCertificate } {
  const uses = arenas.flatMap(({ fn, storage }) => (storage ? [{ fn, ...storage }] : []))
  const advances = program.functions.some(({ name }) => name === ADVANCE)
  const once = uses.filter(({ fn }) => updating.has(fn) && fn !== (advances ? 'apply' : ADVANCE))
  // A program that does not train has its largest function instead of a micro-batch.
  const [often] = uses.filter(({ fn }) => !updating.has(fn)).sort((a, b) => b.readBytes - a.readBytes)
  if (!often && once.length === 0) return {}
  const bytesOf = (space: 'frozen' | 'stored'): number =>
    program.values.reduce((sum, { place, streamed, bytes }) => sum + (streamed && place.space === space ? bytes : 0), 0)
  const fileBytes = stateFileBytes(program)
  const update = movementOf(once, advances && often ? [often] : [])
  const resultBytes = resultBytesOf(program, copiedBytes)
  const state = { valueBytes: bytesOf('stored'), fileBytes, resumingBytes: 2 * fileBytes, resultBytes, update }
  return {
    storage: {
      tensorBytes: bytesOf('frozen'),
      windowBytes: uses.reduce((most, { windowBytes }) => Math.max(most, windowBytes), 0),
      ...movementOf(often ? [often] : []),
      ...(program.storedCount > 0 ? { state } : {}),
    },
  }
}

/** Of all uses together, without what `others` move in any case. */
function movementOf(uses: readonly Movement[], others: readonly Movement[] = []): Movement {
  const sum = (of: readonly Movement[], key: keyof Movement): number => of.reduce((total, use) => total + use[key], 0)
  const total = (key: keyof Movement): number => sum(uses, key) - sum(others, key)
  return {
    reads: total('reads'),
    readBytes: total('readBytes'),
    writes: total('writes'),
    writtenBytes: total('writtenBytes'),
    computeSeconds: total('computeSeconds'),
    stallSeconds: total('stallSeconds'),
  }
}
