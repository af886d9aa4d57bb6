// The architecture as a test: imports point one way, the compiler's inside is pure, what is packed needs nothing that
// is not, no backend names an operation of the graph, and files stay short and finished.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join } from 'node:path'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import { structural } from '../../compiler/graph/structural.ts'
import { layerOf, layers, mayImport } from './rules.ts'
import { otherFolders, projectSources, root, shippedFolders, targetOf } from './sources.ts'
import type { Import, Source } from './sources.ts'

const LONGEST_FILE = 600
const LONG_FILE = 400

function listed(found: readonly string[], message: string): void {
  assert.deepEqual(found, [], `${message}:\n  ${found.join('\n  ')}\n`)
}

function isInRepository({ target }: Import): boolean {
  return [...shippedFolders, ...otherFolders].some((folder) => target.startsWith(`${folder}/`))
}

/** Groups of files that import each other, each found once; types do not count, they are gone when modules load. */
function cycles(sources: readonly Source[]): string[][] {
  const next = new Map(
    sources.map(({ path, imports }) => [path, imports.filter((one) => !one.isType).map((one) => one.target)]),
  )
  // Tarjan (1972): a component of more than one file, or a file that imports itself.
  const order = new Map<string, number>()
  const open: string[] = []
  const found: string[][] = []
  const visit = (path: string): number => {
    const known = order.get(path)
    if (known !== undefined) return open.includes(path) ? known : Number.POSITIVE_INFINITY
    const place = order.size
    order.set(path, place)
    open.push(path)
    const least = Math.min(place, ...(next.get(path) ?? []).filter((target) => next.has(target)).map(visit))
    if (least === place) {
      const component = open.splice(open.indexOf(path))
      if (component.length > 1 || next.get(path)?.includes(path)) found.push(component.sort())
    }
    return least
  }
  for (const path of next.keys()) if (!order.has(path)) visit(path)
  return found
}

describe('architecture', function () {
  this.timeout(60_000)
  let sources: readonly Source[] = []
  let shipped: readonly Source[] = []
  before(() => {
    sources = projectSources()
    shipped = sources.filter(({ path }) => shippedFolders.some((folder) => path.startsWith(`${folder}/`)))
  })

  it('reads the whole project', () => {
    assert.ok(sources.length > 200, `${sources.length} files`)
    for (const layer of layers) {
      const folder = layer.path.split('/')[0]
      assert.ok(sources.some(({ path }) => path.startsWith(layer.path)) || folder === 'bench', `${layer.path} is empty`)
    }
    const imports = sources.find(({ path }) => path === 'compiler/pipeline.ts')?.imports ?? []
    assert.ok(imports.some((one) => one.target === 'compiler/plan/place.ts' && !one.isType))
    assert.ok(imports.some((one) => one.target === 'compiler/graph/node.ts' && one.isType))
    assert.equal(targetOf('bin/commands/x.ts', '@huggingface/tokenizers/dist'), '@huggingface/tokenizers')
  })

  it('states rules that refuse', () => {
    assert.equal(mayImport('compiler/graph/x.ts', 'compiler/kernel/ir.ts'), false)
    assert.equal(mayImport('compiler/kernel/x.ts', 'compiler/transform/pass.ts'), false)
    assert.equal(mayImport('backends/neon/emit/x.ts', 'compiler/graph/elementwise.ts'), false)
    assert.equal(mayImport('backends/neon/emit/x.ts', 'backends/wgsl/emit/index.ts'), false)
    assert.equal(mayImport('compiler/pipeline.ts', 'dsl/index.ts'), false)
    assert.equal(mayImport('compiler/pipeline.ts', 'compiler/plan/place.ts'), true)
    assert.equal(layerOf('compiler/other.ts'), undefined)
  })

  it('has every file in a layer', () => {
    listed(
      sources.filter(({ path }) => !layerOf(path)).map(({ path }) => path),
      'no rule says what these may import',
    )
  })

  it('imports one way', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter((one) => isInRepository(one) && !mayImport(path, one.target))
        .map((one) => `${path}:${one.line} imports ${one.target}`),
    )
    listed(wrong, 'against test/architecture/rules.ts')
  })

  it('has no cycles of files', () => {
    listed(
      cycles(sources).map((files) => files.join(' ↔ ')),
      'these files need each other to load',
    )
  })

  it('finds a cycle where there is one', () => {
    const file = (path: string, ...targets: string[]): Source => ({
      path,
      text: '',
      lines: 0,
      strings: [],
      imports: targets.map((target) => ({ target, line: 1, isType: false })),
    })
    assert.deepEqual(cycles([file('a', 'b'), file('b', 'c'), file('c', 'b', 'd'), file('d')]), [['b', 'c']])
    assert.deepEqual(cycles([file('a', 'b', 'c'), file('b', 'c'), file('c')]), [])
  })

  it('keeps Node out of the pure parts', () => {
    const builtin = new Set(builtinModules)
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => target.startsWith('node:') || builtin.has(target))
        .filter(({ target }) => !target.startsWith('node:') || layerOf(path)?.usesNode !== true)
        .map(({ target, line }) => `${path}:${line} imports ${target}`),
    )
    listed(wrong, 'modules of Node are imported as node:… and only where rules.ts says so')
  })

  it('packs what it needs', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      readonly dependencies: Record<string, string>
      readonly files: readonly string[]
    }
    const wrong = shipped.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => !target.startsWith('node:'))
        .filter((one) => !(isInRepository(one) ? shippedFolders : []).some((name) => one.target.startsWith(`${name}/`)))
        .filter(({ target }) => !(target in manifest.dependencies))
        .map(({ target, line }) => `${path}:${line} imports ${target}`),
    )
    listed(wrong, 'not in the package, and no dependency of it')
    listed(
      shippedFolders.filter((folder) => !manifest.files.includes(folder)),
      'missing among the files of package.json',
    )
    const used = new Set(shipped.flatMap(({ imports }) => imports.map(({ target }) => target)))
    listed(
      Object.keys(manifest.dependencies).filter((name) => !used.has(name)),
      'dependencies that nothing in the package imports',
    )
  })

  it('names no operation of the graph in a backend', () => {
    // Words that mean something else there: memory is read, loops stand in front of barriers, numbers are constants.
    const shared = new Set(['read', 'constant', 'barrier', 'extent', 'table', 'map', 'broadcast', 'split', 'sum'])
    const kernelWords = new Set(['add', 'sub', 'mul', 'div', 'min', 'max', 'fma', 'neg', 'abs', 'sqrt', 'select'])
    const operations = [...Object.keys(structural), ...Object.keys(elementwise)]
    const names = new Set(operations.filter((name) => !shared.has(name) && !kernelWords.has(name)))
    for (const name of ['dot', 'softmaxDot', 'gather', 'scatterAdd', 'erf']) assert.ok(names.has(name), name)
    const wrong = sources
      .filter(({ path }) => path.startsWith('backends/'))
      .flatMap(({ path, strings }) =>
        strings.filter(({ text }) => names.has(text)).map(({ text, line }) => `${path}:${line} names '${text}'`),
      )
    listed(wrong, 'a backend prints kernels; it knows no operation')
  })

  it('has short files', () => {
    listed(
      sources.filter(({ lines }) => lines > LONGEST_FILE).map(({ path, lines }) => `${path}: ${lines} lines`),
      `longer than ${LONGEST_FILE} lines`,
    )
    const long = sources.filter(({ lines }) => lines > LONG_FILE).map(({ path, lines }) => `${path} (${lines})`)
    if (long.length > 0) console.log(`      over ${LONG_FILE} lines: ${long.join(', ')}`)
  })

  it('has no drawers for odds and ends', () => {
    listed(
      sources.filter(({ path }) => /(?:^|\/)(?:utils?|misc|common)\.\w+$/.test(path)).map(({ path }) => path),
      'a file is named for what it is about',
    )
  })

  it('is finished', () => {
    // Put together here, so that this file does not find itself.
    const unfinished = new RegExp(`\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'].join('|')})\\b`)
    // A skip that depends on the system is a condition in the test; the full run counts it as a failure.
    const partial = new RegExp(`\\b(?:describe|it|context)\\.(?:${'on' + 'ly'}|${'sk' + 'ip'})\\b`)
    const wrong = sources.flatMap(({ path, text }) =>
      text
        .split('\n')
        .map((line, index) => ({ line, at: `${path}:${index + 1}` }))
        .filter(({ line }) => unfinished.test(line) || (path.startsWith('test/') && partial.test(line)))
        .map(({ line, at }) => `${at} ${line.trim().slice(0, 80)}`),
    )
    listed(wrong, 'unfinished, or a test that runs alone or not at all')
  })

  it('says in each file what it is for', () => {
    const wrong = shipped.filter(({ text }) => !/^(?:#!.*\n)?\/\/ /.test(text)).map(({ path }) => path)
    listed(wrong, 'the first line is a comment that says so')
  })
})
