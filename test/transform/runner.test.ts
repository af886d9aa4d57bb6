// The runner of passes: verifies, times, shows what changed.

import assert from 'node:assert/strict'
import { InternalError } from '../../compiler/diagnostic.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { trainable } from '../../compiler/transform/adapt.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import type { Pass } from '../../compiler/transform/pass.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { simplify } from '../../compiler/transform/simplify.ts'

const text = `
axis few = 3

frozen a: f32[few]

function loss {
  %0 = read a : f32(few)
  %1 = neg(%0) : f32(few)  // minus a
  %2 = neg(%1) : f32(few)
  %3 = sum(%2) over few : f32()  // total
  output loss = %3
  output weight = %3
}

function predict {
  %0 = read a : f32(few)
  output logits = %0
}
`

describe('runPasses', () => {
  it('runs in order, verifies and reports', () => {
    const { graph, provenance } = parseGraph(text)
    const run = runPasses(graph, [trainable('all'), differentiate()], { provenance })
    assert.deepEqual(
      run.reports.map(({ name }) => name),
      ['trainable', 'differentiate'],
    )
    assert.ok(run.reports.every(({ milliseconds }) => milliseconds >= 0))
    assert.deepEqual(
      run.graph.functions.map(({ name }) => name),
      ['accumulate', 'predict'],
    )
  })

  it('names the pass whose graph the verifier refuses', () => {
    const breaks: Pass = {
      name: 'breaks',
      summary: 'defines a function twice',
      run: (graph): Graph => ({ ...graph, functions: [...graph.functions, ...graph.functions] }),
    }
    const { graph } = parseGraph(text)
    assert.throws(
      () => runPasses(graph, [breaks]),
      (error) => error instanceof InternalError && error.message.startsWith("after pass 'breaks': function"),
    )
    assert.equal(runPasses(graph, [breaks], { verify: false }).graph.functions.length, 4)
  })

  it('dumps the sections that changed, with names, and only those', () => {
    const { graph, provenance } = parseGraph(text)
    const dumped: string[] = []
    runPasses(graph, [simplify(), simplify()], {
      provenance,
      dump: (stage) => dumped.push(stage.replace(/\d+\.\d ms/, 'n ms')),
    })
    assert.deepEqual(dumped, [
      '// simplify: algebra that makes intermediates smaller or disappear (n ms)\n\n' +
        'function loss {\n  %0 = read a : f32(few)\n  %1 = sum(%0) over few : f32()  // total\n  output loss = %1\n  output weight = %1\n}\n',
      '// simplify: algebra that makes intermediates smaller or disappear (n ms), nothing changed\n',
    ])
  })

  it('carries names and places through all passes', () => {
    const { graph, provenance } = parseGraph(text, 'here')
    const { graph: last } = runPasses(graph, [simplify(), trainable('all')], { provenance })
    const total = last.functions[0]!.outputs[0]!.node
    assert.equal(provenance.name(total), 'total')
    assert.equal(provenance.place(total)?.file, 'here')
    assert.equal(new Provenance().name(total), undefined)
  })
})
