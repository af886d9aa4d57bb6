// GPU directives of a contraction: a square of invocations, each with a square of elements in registers; blocks of the
// chain staged in workgroup memory. And the fallback of every other nest, one invocation per point of its outer loops.

import type { GpuDirective } from '../kernel/gpuDirectives.ts'
import { constantOf, exprMentions, indexMentions, upperBound } from '../kernel/index.ts'
import type { Range } from '../kernel/index.ts'
import type { Expr, Kernel, Loop, Stmt } from '../kernel/ir.ts'
import type { GpuProfile } from './gpuProfile.ts'

/** Loops around `body` that are perfectly nested, outermost first, and what is inside them. */
export function perfectChain(body: readonly Stmt[]): { loops: Loop[]; inner: readonly Stmt[] } {
  const loops: Loop[] = []
  let inner = body
  for (let only = inner[0]; inner.length === 1 && only?.kind === 'for'; only = inner[0]) {
    loops.push(only)
    inner = only.body
  }
  return { loops, inner }
}

/** The largest number of iterations of a loop whose extent depends on sizes alone. */
export function mostIterations(kernel: Kernel, loop: Loop): number | undefined {
  return upperBound(
    loop.extent,
    new Map(kernel.sizes.map((size): [string, Range] => [size.name, { low: 1, high: size.bound }])),
  )
}

/** Directives for `grid… { n { m… { clear; chain; store } } }`; undefined for a nest of another shape. */
export function contractionDirectives(kernel: Kernel, profile: GpuProfile): GpuDirective[] | undefined {
  const { loops, inner } = perfectChain(kernel.body)
  const parallel = loops.filter((loop) => loop.binding !== 'grid')
  const [n, m] = [parallel[0], parallel.at(-1)]
  const [clear, chain, ...after] = inner
  if (!n || !m || n === m || clear?.kind !== 'store' || chain?.kind !== 'for' || after.length !== 1) return undefined
  const steps = perfectChain([chain])
  const update = steps.inner[0]
  if (
    steps.inner.length !== 1 ||
    update?.kind !== 'store' ||
    update.value.kind !== 'apply' ||
    update.value.word !== 'fma'
  )
    return undefined
  const [left, right] = update.value.args as [Expr, Expr]
  const along = (expr: Expr, name: string): boolean => exprMentions(expr, name)
  const columnOperand = along(right, n.variable) && !along(right, m.variable) ? 1 : 0
  const [columns, rows] = columnOperand === 1 ? [right, left] : [left, right]
  if (along(columns, m.variable) || along(rows, n.variable)) return undefined
  if (!along(columns, n.variable) || !along(rows, m.variable)) return undefined
  const [width, height] = [mostIterations(kernel, n), mostIterations(kernel, m)]
  const last = steps.loops.at(-1)
  if (width === undefined || height === undefined || !last) return undefined

  const { invocations, registers, depth } = profile.contraction
  const held = (extent: number): number => Math.max(1, Math.min(registers, Math.ceil(extent / invocations)))
  const between = parallel.slice(1, -1).map((loop) => loop.variable)
  const names = (loop: Loop) => ({
    block: `${loop.variable}b`,
    inside: `${loop.variable}i`,
    held: `${loop.variable}r`,
    local: `${loop.variable}t`,
  })
  const [N, M] = [names(n), names(m)]
  const cut = (loop: Loop, name: typeof N, extent: number): GpuDirective[] => [
    { do: 'split', loop: loop.variable, factor: invocations * held(extent), outer: name.block, inner: name.inside },
    { do: 'split', loop: name.inside, factor: invocations, outer: name.held, inner: name.local },
  ]
  const [blocks, step] = [`${last.variable}b`, `${last.variable}s`]
  const chainLoops = [...steps.loops.slice(0, -1).map((loop) => loop.variable), blocks, step]
  const accumulator = update.buffer
  const share = (operand: 0 | 1): GpuDirective => {
    const [mine, other] = operand === columnOperand ? [N, M] : [M, N]
    const fast = operand === columnOperand ? 'own' : 'chain'
    return { do: 'share', into: `${accumulator}_${operand === 0 ? 'a' : 'b'}`, accumulator, operand, at: blocks, own: { outer: mine.held, local: mine.local }, chain: step, other: other.local, fast } // prettier-ignore
  }
  return [
    ...cut(n, N, width),
    ...cut(m, M, height),
    { do: 'reorder', loops: [N.block, ...between, M.block, M.local, N.local, M.held, N.held] },
    ...[N.block, ...between, M.block].map((loop): GpuDirective => ({ do: 'bind', loop, binding: 'grid' })),
    ...[M.local, N.local].map((loop): GpuDirective => ({ do: 'bind', loop, binding: 'local' })),
    { do: 'distribute', loop: N.held },
    { do: 'distribute', loop: M.held },
    { do: 'block', loop: last.variable, factor: Math.min(depth, invocations), outer: blocks, inner: step },
    {
      do: 'reorder',
      loops: [M.held, N.held, ...chainLoops].toSorted((a, b) => rank(a, chainLoops) - rank(b, chainLoops)),
    },
    share(0),
    share(1),
    { do: 'unguard', buffers: [accumulator] },
    ...[M.held, N.held].map((loop): GpuDirective => ({ do: 'bind', loop, binding: 'unroll' })),
  ]
}

/** The chain's loops come first. */
function rank(name: string, chain: readonly string[]): number {
  return chain.includes(name) ? 0 : 1
}

/** Invocations of a workgroup whose points have nothing to do with each other. */
const pointInvocations = 64

/** One invocation for each point of the loops around everything. Only for nests whose outer loops are independent. */
export function pointDirectives(kernel: Kernel): GpuDirective[] {
  const { loops } = perfectChain(kernel.body)
  const free: Loop[] = []
  for (const loop of loops) {
    if (free.some((outer) => indexMentions(loop.extent, outer.variable))) break
    free.push(loop)
  }
  const last = free.at(-1)
  if (!last) return []
  const factor = Math.min(pointInvocations, constantOf(last.extent) ?? pointInvocations)
  return [
    ...free.slice(0, -1).map((loop): GpuDirective => ({ do: 'bind', loop: loop.variable, binding: 'grid' })),
    {
      do: 'spread',
      loop: last.variable,
      factor,
      outer: `${last.variable}b`,
      inner: `${last.variable}t`,
      binding: 'grid',
    },
  ]
}
