// What a plan holds beside its certificate: buffers by what they are for, what each layer keeps and computes again, the
// largest single need. Arithmetic on a compiled recipe; runs nothing and prints nothing.

import type { Place } from '../compiler/diagnostic.ts'
import type { ArenaBuffer, ArenaUse } from '../compiler/plan/place.ts'
import type { Timetable } from '../compiler/plan/timetable.ts'
import type { CompiledRecipe } from './compileRecipe.ts'

/**
 * `kept`: lives from the forward to the backward pass; `again`: computed a second time; `streamed`: a range of a weight, read
 * from storage; the rest passes by in either pass.
 */
export const bufferKinds = ['kept', 'forward', 'again', 'backward', 'streamed'] as const
export type BufferKind = (typeof bufferKinds)[number]

export interface PlacedBuffer extends ArenaBuffer {
  readonly kind: BufferKind
}

export interface FunctionDetails {
  readonly name: string
  /** What each moment computes: a launch, or a part of one. */
  readonly launches: readonly string[]
  readonly peak: number
  readonly lowerBound: number
  readonly buffers: readonly PlacedBuffer[]
  /** The first launch of the backward pass, in the function that has one. */
  readonly backward: number | undefined
}

export interface LayerDetails {
  readonly layer: number
  /** Bytes that wait for the layer's backward pass. */
  readonly kept: number
  /** Bytes that are computed a second time. */
  readonly again: number
}

/** A tensor or buffer that is there as a whole. */
export interface SingleNeed {
  readonly name: string
  readonly bytes: number
  readonly part: 'weights' | 'state' | 'arena' | 'inputs'
  /** The researcher's line, where it is known. */
  readonly place?: Place | undefined
}

export function functionDetails({ program, arenas }: Pick<CompiledRecipe, 'program' | 'arenas'>): FunctionDetails[] {
  return program.functions.flatMap((fn): FunctionDetails[] => {
    const use = arenas.find((arena) => arena.fn === fn.name)
    if (!use) return []
    const backward = backwardOf(use)
    return [
      {
        name: fn.name,
        launches: use.launchOf.map((launch) => fn.launches[launch]?.label ?? ''),
        peak: use.peak,
        lowerBound: use.lowerBound,
        buffers: [
          ...use.buffers.map((buffer) => ({ ...buffer, kind: kindOf(buffer, backward) })),
          ...(use.storage?.ranges ?? []).map(({ label, bytes, start, end, offset }): PlacedBuffer => {
            const range = { label, bytes, first: start, last: end, offset }
            return { ...range, layer: undefined, place: undefined, isAgain: false, kind: 'streamed' }
          }),
        ],
        backward,
      },
    ]
  })
}

/** Where the first gradient that has a name is made, or the first value that waited to be computed again. */
function backwardOf({ buffers }: ArenaUse): number | undefined {
  const launches = buffers.filter(({ label, isAgain }) => isAgain || label.startsWith('d ')).map(({ first }) => first)
  return launches.length === 0 ? undefined : launches.reduce((least, first) => Math.min(least, first))
}

function kindOf({ first, last, isAgain }: ArenaBuffer, backward: number | undefined): BufferKind {
  if (backward === undefined || last < backward) return 'forward'
  if (first < backward) return 'kept'
  return isAgain ? 'again' : 'backward'
}

/** Layer by layer, what checkpoints decided. Empty where nothing is trained by layers. */
export function layerDetails(functions: readonly FunctionDetails[]): LayerDetails[] {
  const buffers = functions.flatMap((fn) => fn.buffers)
  const layers = new Map<number, { kept: number; again: number }>()
  for (const { layer, kind, bytes } of buffers) {
    if (layer === undefined || (kind !== 'kept' && kind !== 'again')) continue
    const sums = layers.get(layer) ?? { kept: 0, again: 0 }
    sums[kind] += bytes
    layers.set(layer, sums)
  }
  return [...layers].sort(([a], [b]) => a - b).map(([layer, sums]) => ({ layer, ...sums }))
}

/** What is largest of all that the program holds as a whole. */
export function largestNeed({ program, arenas }: Pick<CompiledRecipe, 'program' | 'arenas'>): SingleNeed | undefined {
  const values = program.values.flatMap(({ name, bytes, place, streamed }): SingleNeed[] => {
    // Its ranges are in the arena.
    if (streamed || place.space === 'stored') return []
    return [{ name, bytes, part: place.space === 'frozen' ? 'weights' : place.space }]
  })
  const buffers = arenas.flatMap((arena) =>
    arena.buffers.map(({ label, bytes, layer, place }): SingleNeed => {
      const where = layer === undefined ? '' : ` of layer ${layer}`
      return { name: `${label}${where} in ${arena.fn}`, bytes, part: 'arena', place }
    }),
  )
  return [...values, ...buffers].reduce<SingleNeed | undefined>(
    (largest, one) => (largest && largest.bytes >= one.bytes ? largest : one),
    undefined,
  )
}

/** What one launch of each kernel is predicted to take, in seconds, by its name. */
export function kernelSeconds(
  { program, arenas }: Pick<CompiledRecipe, 'program' | 'arenas'>,
  tables: ReadonlyMap<string, Timetable>,
): ReadonlyMap<string, number> {
  const seconds = new Map<string, number>()
  for (const { name, launches } of program.functions) {
    const launchOf = arenas.find((arena) => arena.fn === name)?.launchOf ?? []
    const taken = new Float64Array(launches.length)
    tables.get(name)?.seconds.forEach((length, moment) => {
      const launch = launchOf[moment] as number
      taken[launch] = (taken[launch] as number) + length
    })
    launches.forEach(({ kernel }, launch) => seconds.set(program.kernels[kernel]?.name ?? '', taken[launch] as number))
  }
  return seconds
}
