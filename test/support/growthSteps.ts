// Every operation of the graph's tables as a step of growth: it takes operands that fit from what has grown so far.
// Values stay tame, so that no result drowns in infinities. Only for tests.

import type { Axis } from '../../compiler/graph/axis.ts'
import { sameAxes, withoutAxes } from '../../compiler/graph/axis.ts'
import type { GraphBuilder } from '../../compiler/graph/builder.ts'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import type { Node, StructuralOp } from '../../compiler/graph/node.ts'
import type { Growing } from './growingGraph.ts'

export const isFloat = (node: Node): boolean => node.dtype === 'f32'

function unionOf(...nodes: readonly Node[]): Axis[] {
  return [...new Set(nodes.flatMap((node) => node.axes))]
}

/** Keeps arguments where the function is defined and its result moderate. */
function tamed(b: GraphBuilder, fn: string, args: Node[]): Node[] {
  const [x, y] = args
  if (!x) return args
  const positive = (node: Node): Node => b.map('add', b.map('abs', node), b.float(0.5))
  switch (fn) {
    case 'log':
    case 'sqrt':
    case 'rsqrt':
      return [positive(x)]
    case 'exp':
      return [b.map('min', x, b.float(2))]
    case 'div':
      return y ? [x, positive(y)] : args
    case 'mul':
    case 'fma':
      return [b.map('tanh', x), ...args.slice(1)]
    default:
      return args
  }
}

/** Adds a node to the graph. */
type Step = (g: Growing) => void

const elementwiseSteps = Object.entries(elementwise).map(([fn, op]): [string, Step] => {
  const step: Step = (g) => {
    const args = op.takes.map((dtype) => g.pickOf(dtype))
    g.keep(() => g.b.map(fn, ...tamed(g.b, fn, args)), unionOf(...args))
  }
  return [fn, step]
})

function reduction(op: 'sum' | 'maximum'): Step {
  return (g) => {
    const x = g.pick((node) => isFloat(node) && node.axes.length > 0)
    const over = x && g.choices.of(x.axes)
    if (x && over) g.keep(() => g.b[op](x, over), withoutAxes(x.axes, [over]))
  }
}

const structuralSteps: Readonly<Record<Exclude<StructuralOp, 'read' | 'map'>, Step>> = {
  constant: (g) => {
    const value = [0.1, -0, 1e-30, -3.0e38, 7][g.choices.below(5)] ?? 1
    g.keep(() => g.b.float(value), [])
  },
  table: (g) => {
    const axis = g.choices.of(g.tables) ?? g.few
    g.keep(
      () =>
        g.b.table(
          axis,
          Array.from({ length: axis.size }, (_, i) => Math.sin(i * 1.7)),
        ),
      [axis],
    )
  },
  iota: (g) => {
    const axis = g.choices.of([g.batch, g.seq, g.key, g.few]) ?? g.seq
    g.keep(() => g.b.iota(axis), [axis])
  },
  extent: (g) => g.keep(() => g.b.extent(g.choices.of([g.batch, g.seq]) ?? g.seq), []),
  random: (g) => {
    const axes = [g.batch, g.seq, ...g.tables].filter(() => g.choices.below(3) === 0)
    const stream = g.choices.below(4)
    g.keep(() => g.b.random(g.seed, axes, stream), axes)
  },
  sum: reduction('sum'),
  maximum: reduction('maximum'),
  dot: (g) => {
    const x = g.pickFloat()
    const y = g.pick((node) => isFloat(node) && node.axes.some((axis) => x.axes.includes(axis)))
    if (!y) return
    const shared = x.axes.filter((axis) => y.axes.includes(axis))
    const kept = shared.filter(() => g.choices.below(4) !== 0)
    const over = kept.length === 0 ? shared.slice(0, 1) : kept
    if (g.choices.below(2) === 0) over.reverse()
    const scaled = g.b.map('mul', x, g.b.float(0.125))
    g.keep(() => g.b.dot(scaled, y, over), withoutAxes(unionOf(x, y), over))
  },
  logSumExp: (g) => {
    const x = g.pick((node) => isFloat(node) && node.axes.length > 0)
    const over = x && g.choices.of(x.axes)
    const block = g.choices.of([1, 8, 64]) ?? 8
    if (x && over) g.keep(() => g.b.logSumExp(x, over, block), withoutAxes(x.axes, [over]))
  },
  softmaxDot: (g) => {
    const x = g.pick((node) => isFloat(node) && node.axes.length > 0)
    const over = x && g.choices.of(x.axes)
    const y = g.pick((node) => isFloat(node) && over !== undefined && node.axes.includes(over))
    const block = g.choices.of([1, 8, 64]) ?? 8
    if (x && y && over) g.keep(() => g.b.softmaxDot(x, y, over, block), withoutAxes(unionOf(x, y), [over]))
  },
  gather: (g) => {
    const axis = g.choices.of(g.tables) ?? g.few
    const table = g.pick((node) => node.axes.includes(axis))
    const index = g.b.read(`index.${axis.name}`)
    const axes = table ? withoutAxes(unionOf(table, index), [axis]) : []
    if (table) g.keep(() => g.b.gather(table, index, axis), axes)
  },
  scatterAdd: (g) => {
    const axis = g.choices.of(g.tables) ?? g.few
    const index = g.b.read(`index.${axis.name}`)
    const base = g.pick((node) => isFloat(node) && node.axes.includes(axis))
    if (!base) return
    const axes = unionOf(index).concat(withoutAxes(withoutAxes(base.axes, [axis]), index.axes))
    if (g.isTooLarge(axes)) return
    const updates = g.pick((node) => isFloat(node) && node.axes.every((one) => axes.includes(one)))
    if (updates) g.keep(() => g.b.scatterAdd(base, index, g.b.broadcast(updates, axes), axis), base.axes)
  },
  rename: (g) => {
    const [from, to] = g.choices.below(2) === 0 ? [g.seq, g.key] : [g.key, g.seq]
    const x = g.pick((node) => node.axes.includes(from) && !node.axes.includes(to))
    if (x) g.keep(() => g.b.rename(x, from, to), x.axes)
  },
  split: (g) => {
    const x = g.pick((n) => n.axes.includes(g.wide) && !n.axes.includes(g.few) && !n.axes.includes(g.part))
    const into = g.choices.below(2) === 0 ? [g.few, g.part] : [g.part, g.few]
    if (x) g.keep(() => g.b.split(x, g.wide, into), x.axes)
  },
  merge: (g) => {
    const x = g.pick((n) => n.axes.includes(g.few) && n.axes.includes(g.part) && !n.axes.includes(g.wide))
    const axes = g.choices.below(2) === 0 ? [g.few, g.part] : [g.part, g.few]
    if (x) g.keep(() => g.b.merge(x, axes, g.wide), x.axes)
  },
  pick: (g) => {
    const x = g.pick((node) => node.axes.some((axis) => g.tables.includes(axis)))
    const axis = x && g.choices.of(x.axes.filter((one) => g.tables.includes(one)))
    if (x && axis) g.keep(() => g.b.pick(x, axis, g.choices.below(axis.size)), x.axes)
  },
  stack: (g) => {
    const x = g.pick((node) => !node.axes.includes(g.few))
    const alike = (node: Node): boolean => x !== undefined && node.dtype === x.dtype && sameAxes(node.axes, x.axes)
    if (!x) return
    const parts = Array.from({ length: g.few.size }, () => g.pick(alike) ?? x)
    g.keep(() => g.b.stack(parts, g.few), [...x.axes, g.few])
  },
  broadcast: (g) => {
    const x = g.pickFloat()
    const wider = g.choices.of([g.batch, g.seq, ...g.tables])
    const axes = wider && !x.axes.includes(wider) ? [...x.axes, wider] : x.axes
    g.keep(() => g.b.broadcast(x, axes), axes)
  },
  barrier: (g) => {
    const x = g.pickFloat()
    const after = g.choices.below(2) === 0 ? g.pickFloat() : undefined
    g.keep(() => g.b.barrier(x, `layer "${g.choices.below(3)}"`, after), x.axes)
  },
}

/** By the name of the operation that it makes, if anything fits. */
export const steps: ReadonlyMap<string, Step> = new Map([...elementwiseSteps, ...Object.entries(structuralSteps)])
