// What the scheduler makes of five regions every model has, as text: the nest, its directives, and the kernel that is
// printed for a device. And that the order of a reduction is part of its result.

import assert from 'node:assert/strict'
import { float32 } from '../../compiler/graph/float32.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { printDirective } from '../../compiler/kernel/directives.ts'
import { constantOf, subtractIndex, variable } from '../../compiler/kernel/index.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { isLoop, mapBlocks, mapStmt, substitution } from '../../compiler/kernel/rewrite.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { golden } from '../support/golden.ts'

/** Small enough to be read. */
const profile: ScheduleProfile = {
  name: 'golden',
  lanes: 4,
  tile: { rows: 2, vectors: 1 },
  privateCache: 1 << 12,
  threads: 1,
}

function regionsOf(b: GraphBuilder, outputs: readonly Node[]): readonly LoweredRegion[] {
  b.define({ name: 'run', outputs: outputs.map((node, index) => ({ name: `${index}`, node })), writes: [] })
  return scheduled(b)
}

function scheduled(b: GraphBuilder, by = profile): readonly LoweredRegion[] {
  const graph = b.finish()
  return scheduleFunction(graph, graph.functions[0] as (typeof graph.functions)[0], by).regions
}

function read(b: GraphBuilder, name: string, ...axes: Node['axes']): Node {
  b.declare({ name, role: 'input', dtype: 'f32', stored: axes.map((axis) => [axis]) })
  return b.read(name)
}

/** Causal scores of q and k, over values that are read when they are wanted. */
function causal() {
  const b = new GraphBuilder()
  const head = b.axis('head', 2)
  const [seq, key] = [b.axis('seq', 70, 'seq'), b.axis('key', 70, 'seq')]
  const dim = b.axis('dim', 8)
  const [q, k] = [read(b, 'q', head, seq, dim), read(b, 'k', head, key, dim)]
  const scores = b.dot(q, k, [dim])
  const masked = b.map('select', b.map('intLessEqual', b.iota(key), b.iota(seq)), scores, b.float(-3.0e38))
  return { b, head, seq, key, dim, q, k, masked, v: () => read(b, 'v', head, key, dim) }
}

const regions: Record<string, () => readonly LoweredRegion[]> = {
  'contraction with an epilogue': () => {
    const b = new GraphBuilder()
    const [seq, embed, mlp] = [b.axis('seq', 10, 'seq'), b.axis('embed', 6), b.axis('mlp', 9)]
    const product = b.dot(read(b, 'x', seq, embed), read(b, 'w', mlp, embed), [embed])
    const biased = b.map('add', product, read(b, 'bias', mlp))
    return regionsOf(b, [b.map('add', b.map('max', biased, b.float(0)), read(b, 'residual', seq, mlp))])
  },
  'gradient by rows': () => {
    const b = new GraphBuilder()
    const [seq, rows, columns] = [b.axis('seq', 6, 'seq'), b.axis('rows', 9), b.axis('columns', 10)]
    b.declare({ name: 'grad', role: 'state', dtype: 'f32', stored: [[rows], [columns]] })
    const product = b.dot(read(b, 'x', seq, rows), read(b, 'dy', seq, columns), [seq])
    b.define({ name: 'run', outputs: [], writes: [{ name: 'grad', node: b.map('add', b.read('grad'), product) }] })
    // Five rows of forty bytes: two tiles.
    return scheduled(b, { ...profile, shardBytes: 200, shardsState: true })
  },
  'layer norm': () => {
    const b = new GraphBuilder()
    const [seq, embed] = [b.axis('seq', 10, 'seq'), b.axis('embed', 21)]
    const x = read(b, 'x', seq, embed)
    const centred = b.map('sub', x, b.map('mul', b.sum(x, embed), b.float(1 / 21)))
    const variance = b.map('mul', b.sum(b.map('mul', centred, centred), embed), b.float(1 / 21))
    const scaled = b.map('div', centred, b.map('sqrt', b.map('add', variance, b.float(1e-5))))
    return regionsOf(b, [b.map('fma', scaled, read(b, 'weight', embed), read(b, 'bias', embed))])
  },
  attention: () => {
    const { b, key, masked, v } = causal()
    return regionsOf(b, [b.softmaxDot(masked, v(), key, 64)])
  },
  'attention gradients': () => {
    const { b, head, seq, key, dim, q, k, masked, v } = causal()
    const dy = read(b, 'dy', head, seq, dim)
    const p = b.map('exp', b.map('sub', masked, b.logSumExp(masked, key, 64)))
    const ds = b.map('mul', p, b.dot(dy, v(), [dim]))
    const made = regionsOf(b, [b.product(p, dy, [seq]), b.product(ds, k, [key]), b.product(ds, q, [seq])])
    return made.filter(({ region }) => region.kind === 'stream')
  },
  loss: () => {
    const b = new GraphBuilder()
    const [seq, embed, vocab] = [b.axis('seq', 10, 'seq'), b.axis('embed', 6), b.axis('vocab', 300)]
    return regionsOf(b, [b.logSumExp(b.dot(read(b, 'x', seq, embed), read(b, 'w', vocab, embed), [embed]), vocab, 256)])
  },
}

describe('schedules as text', () => {
  for (const [name, build] of Object.entries(regions)) {
    it(name, () => {
      const made = build()
      assert.equal(made.length, 1, 'everything is one kernel')
      const text = made.map(({ nest, directives, kernel }) => {
        return [
          `// nest`,
          printKernel(nest),
          `// directives`,
          directives.map(printDirective).join('\n'),
          `\n// kernel`,
          printKernel(kernel),
        ].join('\n')
      })
      golden(`schedule/${name.replaceAll(' ', '-')}.txt`, `${text.join('\n').trimEnd()}\n`)
    })
  }
})

describe('the order of a reduction', () => {
  const size = 160

  /** The same elements, with one loop counting down. */
  function reversed(kernel: Kernel, prefix: string): Kernel {
    let turned = 0
    const body = mapBlocks(kernel.body, (stmt) => {
      const extent = isLoop(stmt) ? constantOf(stmt.extent) : undefined
      if (!isLoop(stmt) || !stmt.variable.startsWith(prefix) || extent === undefined) return [stmt]
      turned++
      const down = substitution(new Map([[stmt.variable, subtractIndex(extent - 1, variable(stmt.variable))]]))
      return [{ ...stmt, body: stmt.body.map((inner) => mapStmt(inner, down)) }]
    })
    assert.equal(turned, 1)
    return { ...kernel, body }
  }

  function resultOf(kernel: Kernel): number[] {
    const buffers = kernel.arguments.map((buffer) => {
      const data = Float32Array.from({ length: bufferElements(buffer) }, (_, i) =>
        Math.fround(Math.sin(i * 1.7) * 1000 + i),
      )
      return [buffer.name, data] as const
    })
    runKernel(kernel, { buffers: new Map(buffers), sizes: {}, arithmetic: float32 })
    return buffers.filter((_, place) => kernel.arguments[place]?.access === 'write').flatMap(([, data]) => [...data])
  }

  const cases: Record<string, readonly [string, (b: GraphBuilder) => Node]> = {
    'of a row': ['o', (b) => b.sum(read(b, 'x', b.axis('row', 3), b.axis('long', size)), b.axis('long', size))],
    'of a column': ['o', (b) => b.sum(read(b, 'x', b.axis('long', size), b.axis('column', 3)), b.axis('long', size))],
    'of a chain': [
      'k',
      (b) =>
        b.dot(
          read(b, 'x', b.axis('row', 3), b.axis('long', size)),
          read(b, 'y', b.axis('column', 3), b.axis('long', size)),
          [b.axis('long', size)],
        ),
    ],
  }
  for (const [name, [prefix, build]] of Object.entries(cases)) {
    it(`${name} shows in the bits`, () => {
      const b = new GraphBuilder()
      const [region] = regionsOf(b, [build(b)])
      const { nest } = region as LoweredRegion
      assert.notDeepEqual(resultOf(reversed(nest, prefix)), resultOf(nest))
    })
  }
})
