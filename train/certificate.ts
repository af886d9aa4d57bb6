// What a compiled program needs of memory, part by part, and whether it fits: the promise that `heddle plan` prints and
// a run is held to. Arithmetic on the plan; runs nothing.

import { scratchBytes } from '../backends/neon/emit/index.ts'
import type { Compiled } from '../compiler/pipeline.ts'
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
    /** Intermediate values, and ranges of frozen tensors that are read meanwhile: the largest function's. */
    readonly arena: number
    readonly inputs: number
    /** Packed blocks, one set per thread. */
    readonly scratch: number
    readonly runtime: number
  }
  readonly functions: readonly FunctionMemory[]
  readonly kernels: number
  /** Absent where all frozen tensors are in memory. */
  readonly storage?: StorageCertificate
}

/** What a micro-batch of training reads of frozen tensors, by the device's figures. */
export interface StorageCertificate {
  /** Bytes of the tensors that are not in memory. */
  readonly tensorBytes: number
  /** Bytes of ranges of them in the arena, at most at once. */
  readonly windowBytes: number
  readonly reads: number
  readonly readBytes: number
  readonly computeSeconds: number
  /** What computing waits for reading. */
  readonly stallSeconds: number
}

export interface CertificateSettings {
  readonly device: DeviceProfile
  readonly threads: number
  readonly memoryBudget: number
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
    runtime: settings.device.runtimeBytes,
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
    ...storageOf(program, arenas),
  }
}

/** Of the function that reads most: a training step's micro-batch. */
function storageOf(
  { values }: Compiled['program'],
  arenas: Compiled['arenas'],
): { readonly storage?: StorageCertificate } {
  const [most] = arenas.flatMap(({ storage }) => storage ?? []).sort((a, b) => b.bytes - a.bytes)
  if (!most) return {}
  const { windowBytes, computeSeconds, stallSeconds } = most
  const tensorBytes = values.reduce((sum, { streamed, bytes }) => sum + (streamed ? bytes : 0), 0)
  const { bytes: readBytes } = most
  return { storage: { tensorBytes, windowBytes, reads: most.reads.length, readBytes, computeSeconds, stallSeconds } }
}
