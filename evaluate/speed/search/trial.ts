// Several schedules of the same kernels as one program, over memory that no cache holds where a step's would not: what a
// search measures. Knows nothing of which is better.

import { openSession } from '../../../backends/neon/driver/index.ts'
import type { Session, SessionOptions, TensorData } from '../../../backends/neon/driver/index.ts'
import { dtypeBytes } from '../../../compiler/graph/axis.ts'
import type { DType } from '../../../compiler/graph/axis.ts'
import { bufferElements } from '../../../compiler/kernel/ir.ts'
import type { Buffer, Kernel } from '../../../compiler/kernel/ir.ts'
import { printKernel } from '../../../compiler/kernel/print.ts'
import type { Place, Program, ProgramFunction, ProgramValue } from '../../../compiler/plan/program.ts'
import type { ScheduleProfile, TileChoice } from '../../../compiler/schedule/profile.ts'
import { smallNumbers } from '../runner.ts'
import type { SearchSite, SiteKernel } from './sites.ts'

/** Weights are read from memory in a step: so many bytes of them are used in turns. */
const BEYOND_CACHES = 96 << 20
const MOST_COPIES = 16

export interface TrialKernels {
  /** By candidate, a kernel for each of the site's. Candidates that come out the same are there once. */
  readonly candidates: readonly { readonly choice: TileChoice | undefined; readonly kernels: readonly Kernel[] }[]
  readonly measured: readonly SiteKernel[]
}

/** The kernels of a site with each choice. `undefined` is the rule's. */
export function trialKernels(
  site: SearchSite,
  choices: readonly (TileChoice | undefined)[],
  profile: ScheduleProfile,
): TrialKernels {
  const measured = site.kernels
  const { [site.name]: _, ...others } = profile.choices ?? {}
  const seen = new Set<string>()
  const candidates = choices.flatMap((choice) => {
    const by = { ...profile, choices: { ...others, ...(choice ? { [site.name]: choice } : {}) } }
    const kernels = measured.map(({ scheduled, lowered }) => scheduled.lowerAgain(lowered.region, by).kernel)
    const text = kernels.map(printKernel).join('\n')
    if (seen.has(text)) return []
    seen.add(text)
    return [{ choice, kernels }]
  })
  return { candidates, measured }
}

/** Candidates under the clock. */
export class Trial {
  readonly #session: Session
  readonly #launches: readonly number[]
  readonly #copies: number
  readonly #sizes: Readonly<Record<string, number>>
  #copy = 0
  #before = new Map<string, number>()

  private constructor(session: Session, { measured }: TrialKernels, built: TrialProgram) {
    this.#session = session
    this.#launches = measured.map(({ launches }) => launches)
    this.#copies = built.copies
    this.#sizes = Object.fromEntries(built.program.sizes.map(({ name, bound }) => [name, bound]))
  }

  static async open(kernels: TrialKernels, options: Omit<SessionOptions, 'profile' | 'frozen'>): Promise<Trial> {
    const built = trialProgram(kernels)
    const session = await openSession(built.program, { ...options, profile: true })
    const noise = new Noise()
    for (const value of built.program.values) {
      await session.write(value.name, noise.of(built.stored.get(value.name) ?? 'i32', value.bytes))
    }
    return new Trial(session, kernels, built)
  }

  /** Seconds that the measured kernels take in a step with a candidate, by `times` runs of each. */
  async seconds(candidate: number, times: number): Promise<number> {
    for (let run = 0; run < times; run++) {
      this.#copy = (this.#copy + 1) % this.#copies
      await this.#session.call(functionName(candidate, this.#copy), this.#sizes)
    }
    const { kernels } = await this.#session.stats()
    const now = new Map(kernels.map(({ name, microseconds }) => [name, microseconds]))
    const microseconds = this.#launches.reduce((sum, launches, place) => {
      const name = kernelName(candidate, place)
      return sum + (launches * ((now.get(name) ?? 0) - (this.#before.get(name) ?? 0))) / times
    }, 0)
    this.#before = now
    return microseconds / 1e6
  }

  close(): Promise<void> {
    return this.#session.close()
  }
}

const functionName = (candidate: number, copy: number): string => `c${candidate}_${copy}`
const kernelName = (candidate: number, place: number): string => `k${candidate}_${place}`

export interface TrialProgram {
  readonly program: Program
  readonly copies: number
  /** How what a value holds is stored; values are declared as integers, of which all bits are right. */
  readonly stored: ReadonlyMap<string, DType>
}

/** A function for each candidate and copy of what is declared: each launches the measured kernels once. */
export function trialProgram({ candidates, measured }: TrialKernels): TrialProgram {
  const memory = new Memory()
  const declared = measured.reduce((sum, kernel) => sum + declaredBytes(kernel), 0)
  const copies = Math.max(1, Math.min(MOST_COPIES, Math.ceil(BEYOND_CACHES / Math.max(1, declared))))
  const places = measured.map(({ lowered }, kernel): (readonly Place[])[] => {
    const shared = lowered.kernel.arguments.map((buffer, place) =>
      lowered.references[place]?.kind === 'declared' ? undefined : memory.place(buffer, `v${kernel}_${place}`),
    )
    return Array.from({ length: copies }, (_, copy) =>
      lowered.kernel.arguments.map(
        (buffer, place) => shared[place] ?? memory.place(buffer, `v${kernel}_${place}_${copy}`),
      ),
    )
  })
  const kernels = candidates.flatMap((candidate, which) =>
    candidate.kernels.map((kernel, place) => ({ ...kernel, name: kernelName(which, place) })),
  )
  const functions = candidates.flatMap((_, candidate) =>
    Array.from({ length: copies }, (__, copy): ProgramFunction => {
      const launches = measured.map((___, place) => ({
        kernel: candidate * measured.length + place,
        arguments: places[place]?.[copy] ?? [],
        label: kernelName(candidate, place),
      }))
      return { name: functionName(candidate, copy), launches, outputs: [] }
    }),
  )
  const sizes = new Map(kernels.flatMap((kernel) => kernel.sizes.map((size) => [size.name, size] as const)))
  const program: Program = {
    name: 'search',
    sizes: [...sizes.values()],
    kernels,
    values: memory.values,
    functions,
    arenaBytes: memory.arenaBytes,
    stateBytes: memory.stateBytes,
    inputBytes: 0,
    frozenCount: 0,
    storedCount: 0,
  }
  return { program, copies, stored: memory.stored }
}

function bytesOf(buffer: Buffer): number {
  return bufferElements(buffer) * dtypeBytes[buffer.dtype]
}

function declaredBytes({ lowered }: SiteKernel): number {
  return lowered.kernel.arguments.reduce(
    (sum, buffer, place) => sum + (lowered.references[place]?.kind === 'declared' ? bytesOf(buffer) : 0),
    0,
  )
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64

/** Places for arguments: what is only written needs no first value. */
class Memory {
  readonly values: ProgramValue[] = []
  readonly stored = new Map<string, DType>()
  arenaBytes = 0
  stateBytes = 0

  place(buffer: Buffer, name: string): Place {
    const bytes = align(bytesOf(buffer))
    if (buffer.access === 'write') {
      const place: Place = { space: 'arena', offset: this.arenaBytes }
      this.arenaBytes += bytes
      return place
    }
    const place: Place = { space: 'state', offset: this.stateBytes }
    this.stateBytes += bytes
    this.values.push({ name, role: 'state', dtype: 'i32', shape: [bytes / 4], bytes, place })
    this.stored.set(name, buffer.dtype)
    return place
  }
}

const noiseElements = 1 << 16

/** Numbers of magnitude below 0.2 in each type, so that nothing overflows and nothing is subnormal; ids are 0. */
class Noise {
  readonly #pieces = new Map<DType, Int32Array>()

  of(dtype: DType, bytes: number): TensorData {
    const data = new Int32Array(bytes / 4)
    if (dtype === 'i32' || dtype === 'bool') return data
    const piece = this.#pieces.get(dtype) ?? noisePiece(dtype)
    this.#pieces.set(dtype, piece)
    for (let at = 0; at < data.length; at += piece.length) {
      data.set(piece.subarray(0, Math.min(piece.length, data.length - at)), at)
    }
    return data
  }
}

function noisePiece(dtype: 'f32' | 'f16' | 'bf16'): Int32Array {
  const numbers = smallNumbers(noiseElements)
  if (dtype === 'f32') return new Int32Array(numbers.buffer)
  // Sign and fraction vary, the exponent little.
  const base = dtype === 'f16' ? 0x2400 : 0x3d00
  const halves = Uint16Array.from(
    numbers,
    (number) => base | (Math.abs(number * 1e4) & 0xff) | (number < 0 ? 0x8000 : 0),
  )
  return new Int32Array(halves.buffer)
}
