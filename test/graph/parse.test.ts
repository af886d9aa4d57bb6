// Graph text read back: the way there and back, what a hand-written text may say, and one sentence per mistake.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { UserError } from '../../compiler/diagnostic.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { rootsOf, topological } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { attentionGraph } from '../support/attentionGraph.ts'

const header = 'axis seq <= 33 extent seq\naxis embed = 4\ninput x: f32[seq, embed]\ninput ids: i32[seq]\n'
const wrap = (lines: string): string => `${header}function f {\n${lines}\n}\n`

describe('parseGraph', () => {
  it('reads what printGraph writes: text, layers, names', () => {
    const { graph, provenance } = attentionGraph()
    const text = printGraph(graph, provenance)
    const again = parseGraph(text)
    assert.equal(printGraph(again.graph, again.provenance), text)
    const layers = graph.functions.map((fn) => topological(rootsOf(fn)).map((node) => node.layer))
    assert.deepEqual(
      again.graph.functions.map((fn) => topological(rootsOf(fn)).map((node) => node.layer)),
      layers,
    )
    assert.ok(layers.flat().includes(0) && layers.flat().includes(undefined))
  })

  it('shares nodes between functions as the first graph did', () => {
    const { graph } = attentionGraph()
    const again = parseGraph(printGraph(graph)).graph
    const count = (g: typeof graph): number => new Set(g.functions.flatMap((fn) => topological(rootsOf(fn)))).size
    assert.equal(count(again), count(graph))
  })

  it('keeps the order of creation in every function, whichever comes first', () => {
    const b = new GraphBuilder()
    const [early, middle, late] = [b.float(1), b.float(2), b.map('sub', b.float(2), b.float(1))]
    b.define({ name: 'first', outputs: [{ name: 'o', node: late }], writes: [] })
    b.define({
      name: 'second',
      outputs: [early, b.float(3), middle].map((node, i) => ({ name: `${i}`, node })),
      writes: [],
    })
    b.define({ name: 'third', outputs: [b.float(3), early].map((node, i) => ({ name: `${i}`, node })), writes: [] })
    const text = printGraph(b.finish())
    assert.equal(printGraph(parseGraph(text).graph), text)
  })

  it('accepts functions whose orders contradict each other', () => {
    const text = [
      'function f {\n  %0 = constant 1 : f32()\n  %1 = constant 2 : f32()\n  output a = %0\n  output b = %1\n}',
      'function g {\n  %0 = constant 2 : f32()\n  %1 = constant 1 : f32()\n  output a = %0\n  output b = %1\n}',
    ].join('\n')
    const { graph } = parseGraph(text)
    const [f, g] = graph.functions
    assert.equal(f?.outputs[0]?.node, g?.outputs[1]?.node)
    assert.equal(f?.outputs[1]?.node, g?.outputs[0]?.node)
  })

  it('tells zeros of either sign apart and takes other spellings of a number', () => {
    const line = (n: number, text: string): string => `  %${n} = constant ${text} : f32()`
    const lines = ['0', '-0', '0.5', '5e-1', 'NaN', 'Infinity', '-Infinity'].map((text, n) => line(n, text))
    const outputs = lines.map((_, n) => `  output o${n} = %${n}`)
    const { graph } = parseGraph(['function f {', ...lines, ...outputs, '}'].join('\n'))
    const nodes = graph.functions[0]?.outputs.map(({ node }) => node) ?? []
    assert.deepEqual(
      nodes.map((node) => (node.op === 'constant' ? node.attrs.value : node.op)),
      [0, -0, 0.5, 0.5, NaN, Infinity, -Infinity],
    )
    assert.equal(nodes[2], nodes[3])
  })

  it('keeps odd names, numbers and initial values', () => {
    const name = fc.oneof(
      fc.string(),
      fc.constantFrom('axis', 'layer', 'NaN', 'Infinity', 'a "b"', 'x//y', 'output', '%0'),
    )
    const value = fc.float()
    fc.assert(
      fc.property(fc.uniqueArray(name, { minLength: 3, maxLength: 3 }), value, fc.double(), (names, float, start) => {
        const [axisName = '', declared = '', output = ''] = names
        const b = new GraphBuilder()
        const axis = b.axis(axisName, 2, output)
        const initial = Number.isFinite(start) ? ({ kind: 'normal', deviation: start } as const) : undefined
        b.declare({
          name: declared,
          role: 'state',
          dtype: 'f16',
          stored: [[], [axis]],
          ...(initial ? { initial } : {}),
        })
        const node = b.map('mul', b.table(axis, [float, -0]), b.float(float))
        const after = b.barrier(b.map('add', node, b.read(declared)), axisName)
        b.define({ name: output, outputs: [{ name: output, node }], writes: [{ name: declared, node: after }] })
        const text = printGraph(b.finish())
        assert.equal(printGraph(parseGraph(text).graph), text)
      }),
    )
  })

  it('says where each mistake is', () => {
    const scalar = (text: string): string => wrap(`  ${text} : f32()\n  output o = %0`)
    const cases: [string, string][] = [
      ['axis seq < 3', "HD201 t:1:10 '<' cannot stand here"],
      ['axis seq', 'HD201 t the end of the text cannot stand here'],
      ['axis seq = ', 'HD201 t expected a number, found the end of the text'],
      ['function f {\n  %0 = constant 1\n  output o = %0\n}', "HD201 t:3:12 expected ':', found '='"],
      ['axis "\\q" = 3', `HD201 t:1:6 '"\\q"' has an escape that means nothing`],
      ['axis a = 3\naxis a = 3', "HD202 t:2:6 axis 'a' is declared twice"],
      ['axis a = 0', "HD203 t:1:6 axis 'a' cannot have 0 places"],
      ['axis a = 1.5', "HD203 t:1:6 axis 'a' cannot have 1.5 places"],
      ['input x: f32[a]', "HD202 t:1:14 there is no axis 'a'"],
      ['input x: f8[]', "HD202 t:1:10 there is no type 'f8'; write one of f32,f16,bf16,i32,bool"],
      ['input x: f32[]\nstate x: f32[]', "HD202 t:2:7 'x' is declared twice"],
      ['axis a = 2\ninput x: f32[(a a)]', "HD203 t:2:7 'x' is stored with an axis twice"],
      ['state x: f32[] = gamma 1', "HD202 t:1:18 nothing starts as 'gamma'; write constant, uniform or normal"],
      [scalar('%0 = read y'), "HD203 t:6:8 read: 'y' is not declared"],
      [scalar('%0 = sum(%1) over seq'), 'HD202 t:6:12 %1 is used before it is defined'],
      [scalar('%0 = sin(%0)'), 'HD202 t:6:12 %0 is used before it is defined'],
      [scalar('%0 = wave'), "HD203 t:6:8 wave: no elementwise operation is called 'wave'"],
      [scalar('%0 = constant 1 2'), "HD203 t:6:19 'constant' has an attribute too many"],
      [scalar('%0 = iota'), "HD203 t:6:8 'iota' needs 'axis'"],
      [scalar('%0 = iota axes seq'), "HD203 t:6:13 'iota' needs 'axis' here"],
      [scalar('%0 = iota axis 3'), "HD203 t:6:18 expected an axis, found '3'"],
      [scalar('%0 = constant "1"'), "HD203 t:6:17 expected a number, found '1'"],
      [scalar('%0 = iota axis seq'), 'HD204 t:6:24 iota gives i32(seq), the text says f32(scalar)'],
      [
        wrap('  %0 = constant 1 : f32()\n  %0 = constant 2 : f32()\n  output o = %0'),
        'HD202 t:7:3 %0 is defined twice',
      ],
      [wrap('  %0 = constant 1.5 : i32()\n  output o = %0'), 'HD203 t:6:17 1.5 is no i32'],
      [wrap('  %0 = constant 2 : bool()\n  output o = %0'), 'HD203 t:6:17 2 is no bool'],
      [
        wrap('  %0 = constant 1 : f32() layer 1.5\n  output o = %0'),
        "HD203 t:6:33 expected a whole number, found '1.5'",
      ],
      [
        wrap(
          '  %0 = read x : f32(seq, embed)\n  %1 = read ids : i32(seq)\n  %2 = dot(%0, %1) over [seq] : f32(embed)\n  output o = %2',
        ),
        'HD203 t:8:8 dot: the second operand is i32, not f32',
      ],
      [
        wrap(
          '  %0 = read x : f32(seq, embed)\n  %1 = sum(%0) over embed : f32(seq)\n  %2 = sum(%1) over embed : f32(seq)\n  output o = %2',
        ),
        "HD203 t:8:8 sum: axis 'embed' is not on the operand (seq)",
      ],
      [
        wrap('  %0 = read x : f32(seq, embed)\n  %1 = pick(%0) axis embed index 4 : f32(seq)\n  output o = %1'),
        "HD203 t:7:8 pick: 'embed' has no place 4",
      ],
      [scalar('%0 = random(%0) axes [] stream 1'), 'HD202 t:6:15 %0 is used before it is defined'],
      [
        wrap('  %0 = read x : f32(seq, embed)\n  %1 = sum(%0) over seq : f32(seq)\n  output o = %1'),
        'HD204 t:7:27 sum gives f32(embed), the text says f32(seq)',
      ],
      [wrap('  %0 = read x : f32(embed, seq)\n  output o = %0'), 'HD204 t:6:17 read gives f32(seq, embed)'],
      ['function f {\n  %0 = constant 1 : f32()\n  write x = %0\n}', "HD202 t:3:9 'x' is not declared"],
      [wrap(''), "HD205 t function 'f' computes nothing"],
      [wrap('  %0 = constant 1 : f32()\n  write x = %0'), "HD205 t write of 'x' in 'f': it is input"],
      [wrap('  output o = %0'), 'HD202 t:6:14 %0 is used before it is defined'],
      [`${wrap('')}function f { }`, "HD202 t:8:10 function 'f' is defined twice"],
    ]
    for (const [text, sentence] of cases) {
      assert.throws(
        () => parseGraph(text, 't'),
        (error: unknown) => {
          assert.ok(error instanceof UserError, String(error))
          assert.ok(error.sentence.startsWith(sentence), `${error.sentence}\nwanted ${sentence}\n${text}`)
          return true
        },
        text,
      )
    }
  })

  it('survives any damage to a text with a UserError or a verified graph', () => {
    const text = printGraph(attentionGraph().graph)
    const damage = fc.tuple(fc.nat(text.length), fc.nat(12), fc.string({ maxLength: 6 }))
    fc.assert(
      fc.property(damage, ([at, removed, added]) => {
        try {
          parseGraph(text.slice(0, at) + added + text.slice(at + removed))
        } catch (error) {
          if (!(error instanceof UserError)) throw error
        }
      }),
      { numRuns: 300 },
    )
  })
})
