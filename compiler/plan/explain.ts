// What every kernel of a program does and moves, function by function: counts from its loops, the traffic model for a
// cache, tile, packing and directives, with the lines that it computes. Prints nothing and measures nothing.

import { dtypeBytes } from '../graph/axis.ts'
import { printDirective } from '../kernel/directives.ts'
import { bufferElements } from '../kernel/ir.ts'
import type { Buffer, Expr, Kernel } from '../kernel/ir.ts'
import { visitStmts } from '../kernel/rewrite.ts'
import { countKernel, kernelTraffic } from '../kernel/traffic.ts'
import type { Bytes } from '../kernel/traffic.ts'
import type { KernelOrigin, LaunchOrigin, TileOrigin } from './origin.ts'
import type { PlannedProgram } from './place.ts'
import type { ProgramFunction } from './program.ts'

export interface ArgumentReport {
  readonly name: string
  /** What it stands for at the first launch. */
  readonly value: string
  readonly dtype: Buffer['dtype']
  readonly access: 'read' | 'write' | 'update'
  readonly compulsory: Bytes
  readonly moved: Bytes
  /** moved / compulsory: 1 when each byte moves once. */
  readonly passes: number
}

/** A copy of operands that the inner loops read instead, in scratch. */
export interface Packing {
  readonly into: string
  readonly bytes: number
  /** What the copied values are worked out from, by what the arguments stand for. */
  readonly from: readonly string[]
  /** Operations of the scalar language done while it is copied; empty for a plain copy. */
  readonly words: readonly string[]
}

/** One kernel; counts and bytes are of one launch at the bounds of run-time extents. */
export interface KernelReport {
  readonly kernel: string
  readonly kind: KernelOrigin['kind']
  /** Of the function, or of the program in `kernelReport`. */
  readonly launches: number
  readonly results: readonly LaunchOrigin[]
  /** Multiply-adds of the contractions that it means. */
  readonly multiplyAdds: number
  /** Multiply-adds that are executed: also beyond edges, for elementwise functions, and what is worked out twice. */
  readonly executed: number
  readonly compulsory: Bytes
  readonly moved: Bytes
  /** moved / compulsory. */
  readonly passes: number
  /** Multiply-adds per compulsory byte. */
  readonly intensity: number
  /** Of one thread. */
  readonly scratchBytes: number
  /** Accumulators held in registers. */
  readonly tile: { readonly rows: number; readonly columns: number } | undefined
  readonly arguments: readonly ArgumentReport[]
  readonly packing: readonly Packing[]
  /** What was chosen for its multiply-add nests, and whether a rule or a search did. */
  readonly choices: readonly TileOrigin[]
  /** As text, in the order in which they were applied. */
  readonly directives: readonly string[]
}

export interface FunctionReport {
  readonly name: string
  readonly launches: number
  /** Over all launches, as are the bytes. */
  readonly multiplyAdds: number
  readonly executed: number
  readonly compulsory: Bytes
  readonly moved: Bytes
  /** In the order of their first launch. */
  readonly kernels: readonly KernelReport[]
}

export const totalBytes = ({ read, written }: Bytes): number => read + written

/** moved / compulsory; 1 where nothing has to move. */
export function passesOf(moved: Bytes, compulsory: Bytes): number {
  const least = totalBytes(compulsory)
  return least === 0 ? 1 : totalBytes(moved) / least
}

/**
 * All kernels of the program's functions. `cacheBytes` is the private cache of the traffic model (`kernelTraffic`);
 * `sizes` are run-time extents, at their bounds unless given.
 */
export function explainProgram(
  { program, origins }: Pick<PlannedProgram, 'program' | 'origins'>,
  cacheBytes: number,
  sizes: Readonly<Record<string, number>> = {},
): FunctionReport[] {
  const explained = new Map<number, KernelReport>()
  const reportOf = (place: number): KernelReport | undefined => {
    const known = explained.get(place)
    const kernel = program.kernels[place]
    const origin = kernel && origins.get(kernel.name)
    if (known || !origin) return known
    const made = kernelReport(kernel, origin, cacheBytes, sizes)
    explained.set(place, made)
    return made
  }
  return program.functions.map((fn) => functionReport(fn, reportOf))
}

function functionReport(fn: ProgramFunction, reportOf: (kernel: number) => KernelReport | undefined): FunctionReport {
  const launches = new Map<number, number>()
  for (const { kernel } of fn.launches) launches.set(kernel, (launches.get(kernel) ?? 0) + 1)
  const kernels = [...launches].flatMap(([place, count]): KernelReport[] => {
    const report = reportOf(place)
    if (!report) return []
    return [{ ...report, launches: count, results: report.results.filter((result) => result.fn === fn.name) }]
  })
  const total = (of: (kernel: KernelReport) => number): number =>
    kernels.reduce((sum, kernel) => sum + kernel.launches * of(kernel), 0)
  return {
    name: fn.name,
    launches: fn.launches.length,
    multiplyAdds: total((kernel) => kernel.multiplyAdds),
    executed: total((kernel) => kernel.executed),
    compulsory: {
      read: total((kernel) => kernel.compulsory.read),
      written: total((kernel) => kernel.compulsory.written),
    },
    moved: { read: total((kernel) => kernel.moved.read), written: total((kernel) => kernel.moved.written) },
    kernels,
  }
}

/** One kernel, with all its launches. */
export function kernelReport(
  kernel: Kernel,
  origin: KernelOrigin,
  cacheBytes: number,
  sizes: Readonly<Record<string, number>> = {},
): KernelReport {
  const traffic = kernelTraffic(kernel, cacheBytes, sizes)
  const multiplyAdds = countKernel(origin.nest, sizes).chained
  const scratch = kernel.locals.filter(({ space }) => space === 'scratch')
  const stands = new Map(kernel.arguments.map(({ name }, place) => [name, origin.arguments[place] ?? name]))
  return {
    kernel: kernel.name,
    kind: origin.kind,
    launches: origin.results.length,
    results: origin.results,
    multiplyAdds,
    executed: countKernel(kernel, sizes).multiplyAdds,
    compulsory: traffic.compulsory,
    moved: traffic.moved,
    passes: passesOf(traffic.moved, traffic.compulsory),
    intensity: multiplyAdds / Math.max(1, totalBytes(traffic.compulsory)),
    scratchBytes: scratch.reduce((sum, buffer) => sum + bytesOf(buffer), 0),
    tile: tileOf(kernel, origin),
    arguments: traffic.arguments.map(({ name, compulsory, moved }, place): ArgumentReport => {
      const { dtype = 'f32', access = 'read' } = kernel.arguments[place] ?? {}
      const value = stands.get(name) ?? name
      return { name, value, dtype, access, compulsory, moved, passes: passesOf(moved, compulsory) }
    }),
    packing: packingOf(kernel, origin, stands),
    choices: origin.tiles,
    directives: origin.directives.map(printDirective),
  }
}

function bytesOf(buffer: Buffer): number {
  return bufferElements(buffer) * dtypeBytes[buffer.dtype]
}

type Stage = Extract<KernelOrigin['directives'][number], { do: 'stage' }>

function stagesOf({ directives }: KernelOrigin): Stage[] {
  return directives.filter((directive) => directive.do === 'stage')
}

/** The largest block of accumulators. */
function tileOf(kernel: Kernel, origin: KernelOrigin): KernelReport['tile'] {
  const accumulators = new Set(stagesOf(origin).map(({ accumulator }) => accumulator))
  const blocks = kernel.locals
    .filter(({ name, dims }) => accumulators.has(name) && dims.length === 2)
    .map(({ dims }) => ({ rows: dims[0]?.size ?? 1, columns: dims[1]?.size ?? 1 }))
  return blocks.toSorted((a, b) => b.rows * b.columns - a.rows * a.columns)[0]
}

/** What goes into the copies. */
function packingOf(kernel: Kernel, origin: KernelOrigin, stands: ReadonlyMap<string, string>): Packing[] {
  const copies = new Set(stagesOf(origin).map(({ into }) => into))
  const scratch = kernel.locals.filter(({ name }) => copies.has(name))
  return scratch.map((buffer) => {
    const from = new Set<string>()
    const words = new Set<string>()
    const lets = new Map<string, Expr>()
    const note = (expr: Expr): void => {
      if (expr.kind === 'load') {
        const value = stands.get(expr.buffer)
        if (value !== undefined) from.add(value)
      } else if (expr.kind === 'apply') {
        words.add(expr.word)
        expr.args.forEach(note)
      } else if (expr.kind === 'pack') expr.args.forEach(note)
      else if (expr.kind === 'splat') note(expr.value)
      else if (expr.kind === 'local') {
        const value = lets.get(expr.name)
        if (value) note(value)
      }
    }
    visitStmts(kernel.body, (stmt) => {
      if (stmt.kind === 'let') lets.set(stmt.name, stmt.value)
      if (stmt.kind === 'store' && stmt.buffer === buffer.name) note(stmt.value)
    })
    return { into: buffer.name, bytes: bytesOf(buffer), from: [...from], words: [...words] }
  })
}
