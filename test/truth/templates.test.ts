// No templates: backends name no graph operation, and an operation that is added to the table while this test runs is
// interpreted, differentiated, compiled and run with equal bits.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openSession } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { structural } from '../../compiler/graph/structural.ts'
import { makeTensor, scalarTensor } from '../../compiler/graph/tensor.ts'
import { isWord } from '../../compiler/kernel/words.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { evaluation } from '../../compiler/transform/evaluation.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { separateWrites } from '../../compiler/transform/separateWrites.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { profileOf } from '../support/trainCase.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Names that also mean something that has nothing to do with graphs: kernel IR, memory, files, arithmetic, logs. */
const homonyms = new Set([
  'read', 'constant', 'table', 'extent', 'random', 'map', 'sum', 'split', 'merge', 'rename', 'stack', 'barrier', 'log', 'maximum',
]) // prettier-ignore

const operations = [...Object.keys(elementwise).filter((fn) => !isWord(fn)), ...Object.keys(structural)]

function sourcesUnder(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(?:ts|mjs|js|h|hpp|cpp|wgsl)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(?<![:'"`\\])\/\/.*$/gm, '')
}

/** Graph operations that a text names: as any word, or, where the word means something else as well, as `op === 'word'`. */
function operationsIn(text: string): string[] {
  const code = withoutComments(text)
  const words = new Set(code.match(/[A-Za-z_]\w*/g))
  const parts = new Set([...words].flatMap((word) => word.split(/_+/)))
  return operations.filter((name) => {
    if (homonyms.has(name))
      return new RegExp(`\\b(?:op|fn)\\s*[=!]==?\\s*['"\`]${name}['"\`]|isOp\\([^)]*['"\`]${name}`).test(code)
    return words.has(name) || parts.has(name)
  })
}

describe('backends and graph operations', () => {
  it('no file in backends/ names one', () => {
    const files = sourcesUnder('backends')
    assert.ok(files.length > 30, `only ${files.length} files were read`)
    for (const file of files) assert.deepEqual(operationsIn(readFileSync(file, 'utf8')), [], file)
  })

  it('no file in backends/ reads the operation tables, the nodes or the transforms of graphs', () => {
    for (const file of sourcesUnder('backends')) {
      const imported = [...readFileSync(file, 'utf8').matchAll(/from '([^']+)'/g)].map((match) => match[1] ?? '')
      const wrong = imported.filter((path) =>
        /compiler\/(?:graph\/(?!axis|scalars|node)|transform|pipeline)/.test(path),
      )
      assert.deepEqual(wrong, [], file)
      if (imported.some((path) => path.endsWith('graph/node.ts'))) {
        const nodes = /import (type )?\{([^}]*)\} from '[^']*graph\/node\.ts'/.exec(readFileSync(file, 'utf8'))
        assert.match(nodes?.[2] ?? '', /^\s*(?:Initial|Role|\s|,)+$/, file)
      }
    }
  })

  it('would be found', () => {
    assert.deepEqual(operationsIn("case 'softmaxDot': return emit_dot(x)"), ['dot', 'softmaxDot'])
    assert.deepEqual(operationsIn("if (node.op === 'sum') rsqrt(x) // tanh"), ['rsqrt', 'sum'])
    assert.ok(operations.length >= 25)
  })
})

const places = 37
const rows = 5

/** Σ weight·softsign(x)·y over rows of an odd length, by what `compiler/` calls a loss. */
function lossGraph(): Graph {
  const b = new GraphBuilder()
  const row = b.axis('row', rows)
  const place = b.axis('place', places)
  b.declare({ name: 'x', role: 'trainable', dtype: 'f32', stored: [[row], [place]] })
  b.declare({ name: 'y', role: 'trainable', dtype: 'f32', stored: [[place]] })
  b.declare({ name: 'weights', role: 'input', dtype: 'f32', stored: [[row]] })
  const soft = b.map('softsign', b.read('x'))
  const product = b.dot(soft, b.read('y'), [place])
  const loss = b.sum(b.map('mul', b.map('softsign', product), b.read('weights')), row)
  const outputs = [
    { name: 'loss', node: loss },
    { name: 'weight', node: b.sum(b.read('weights'), row) },
  ]
  b.define({ name: 'loss', outputs, writes: [] })
  b.define({ name: 'predict', outputs: [{ name: 'soft', node: soft }], writes: [] })
  return b.finish()
}

describe('an operation added to the table', function () {
  this.timeout(120_000)

  before(() => {
    assert.equal(elementwise['softsign'], undefined)
    elementwise['softsign'] = {
      takes: ['f32'],
      gives: 'f32',
      flops: 6,
      meaning: (s, [x]) => s.div(x as never, s.add(s.float(1), s.abs(x as never))),
      // d/dx x / (1 + |x|) = 1 / (1 + |x|)²
      derivative: (b, g, [x]) => {
        const width = b.map('add', b.float(1), b.map('abs', x as never))
        return [b.map('div', g, b.map('mul', width, width))]
      },
    }
  })
  after(() => {
    delete elementwise['softsign']
  })

  it('runs in the interpreter and in emitted code with equal bits, forward and backward', async () => {
    const provenance = new Provenance()
    const { graph } = runPasses(
      lossGraph(),
      [simplify(), evaluation(), differentiate(), simplify(), separateWrites()],
      { provenance },
    )
    const chain = await chooseToolChain('wasm')
    const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, profileOf(chain)))
    const { program } = planProgram('added', graph, functions, provenance)
    const given: Record<string, Float32Array> = {
      x: Float32Array.from({ length: rows * places }, (_, i) => Math.sin(i * 1.7) * 3),
      y: Float32Array.from({ length: places }, (_, i) => Math.cos(i * 0.9)),
      weights: Float32Array.from({ length: rows }, (_, i) => 1 / (i + 1)),
    }
    const session = await openSession(program, { toolchain: chain, threads: 2, optimise: 'light' })
    try {
      for (const [name, data] of Object.entries(given)) await session.write(name, data)
      await session.call('predict', {})
      const soft = await session.output('predict', 'soft')
      await session.call('accumulate', {})

      const axis = (name: string) => graph.axes.find((one) => one.name === name) as (typeof graph.axes)[number]
      const zeros = (name: string) => new Float64Array(given[name]?.length ?? 1)
      const matrix = (data: ArrayLike<number>) =>
        makeTensor([axis('row'), axis('place')], [rows, places], Float64Array.from(data))
      const along = (name: string, data: ArrayLike<number>) =>
        makeTensor([axis(name)], [data.length], Float64Array.from(data))
      const values = new Map([
        ['x', matrix(given['x'] ?? [])],
        ['y', along('place', given['y'] ?? [])],
        ['weights', along('row', given['weights'] ?? [])],
        ['grad/x', matrix(zeros('x'))],
        ['grad/y', along('place', zeros('y'))],
        ['sum/loss', scalarTensor(0, 'f32')],
        ['sum/weight', scalarTensor(0, 'f32')],
      ])
      const options = { values, extents: {}, arithmetic: float32 }
      const forward = interpret(graph, 'predict', options).outputs.get('soft')
      assert.deepEqual([...soft], [...(forward?.data ?? [])])
      assert.equal(soft[7], Math.fround((given['x']?.[7] ?? 0) / Math.fround(1 + Math.abs(given['x']?.[7] ?? 0))))
      const { writes } = interpret(graph, 'accumulate', options)
      assert.deepEqual([...writes.keys()].sort(), ['grad/x', 'grad/y', 'sum/loss', 'sum/weight'])
      for (const [name, expected] of writes) {
        assert.deepEqual([...(await session.read(name))], [...expected.data], name)
        assert.ok(expected.data.some((value) => value !== 0))
      }
    } finally {
      await session.close()
    }
  })
})
