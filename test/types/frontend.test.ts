// The frontend on files that lie anywhere: what it resolves, what it refuses, and that the names it reads from source meet
// the places the engine reports.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { UserError } from '../../compiler/diagnostic.ts'
import { checkFile, firstProblem } from '../../compiler/frontend/check.ts'
import { nameValues, valueNamer } from '../../compiler/frontend/names.ts'
import { packageRoot } from '../../compiler/frontend/program.ts'

describe('frontend', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-frontend-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  const write = (name: string, text: string): string => {
    const file = join(folder, name)
    writeFileSync(file, text)
    return file
  }

  it('checks a file in a folder of its own, and what it imports', () => {
    write('mine.ts', "import { axis } from 'heddle'\nexport const make = () => axis('embed', '6')\n")
    const file = write(
      'recipe.ts',
      "import { qwen2 } from 'heddle/models'\nimport { make } from './mine.ts'\nexport default [qwen2.from('x'), make()]\n",
    )
    const problems = checkFile(file)
    assert.deepEqual(
      problems.map(({ place, sentence, code }) => [place.file, place.line, place.column, sentence, code]),
      [
        [
          join(folder, 'mine.ts'),
          2,
          41,
          "Argument of type 'string' is not assignable to parameter of type 'number'",
          'TS2345',
        ],
      ],
    )
    assert.equal(
      firstProblem(problems)?.sentence,
      `HD111 ${join(folder, 'mine.ts')}:2:41 Argument of type 'string' is not assignable to parameter of type 'number'`,
    )
  })

  it('finds nothing in a right recipe, and takes JavaScript as it is', () => {
    const text = "import { axis } from 'heddle'\nexport const make = () => axis('embed', 6)\n"
    assert.deepEqual(checkFile(write('right.ts', text)), [])
    assert.equal(firstProblem([]), undefined)
    assert.deepEqual(checkFile(write('loose.mjs', text.replace('6', "'6'"))), [])
  })

  it('says where the syntax is broken', () => {
    const [problem] = checkFile(write('broken.ts', 'export default recipe({\n'))
    assert.equal(problem?.place.line, 2)
    assert.match(problem.sentence, /^'}' expected/)
  })

  it('refuses what is no source file', () => {
    const refused = (path: string) => {
      try {
        checkFile(path)
      } catch (error) {
        assert.ok(error instanceof UserError)
        return error.sentence
      }
      return assert.fail('nothing was refused')
    }
    assert.equal(refused(join(folder, 'none.ts')), `HD110 ${join(folder, 'none.ts')} the file does not exist`)
    assert.equal(refused(folder), `HD110 ${folder} this is not a file`)
    assert.match(refused(write('recipe.json', '{}')), /a model or a recipe is a file with/)
    assert.match(refused(write('vast.ts', ' '.repeat((4 << 20) + 1))), /more than 4 MiB/)
  })

  it('names calls by the variables they initialise', () => {
    const file = write(
      'named.ts',
      'const a = f(\n  g(1),\n)\nconst b = (x.y.h(2)) as never\nlet c = 3\nconst { d } = f(4)\n',
    )
    assert.deepEqual(
      [...nameValues(file)],
      [
        ['1:11', 'a'],
        ['4:16', 'b'],
      ],
    )
    assert.equal(valueNamer()({ file, line: 4, column: 16 }), 'b')
    assert.equal(valueNamer()({ file: join(folder, 'none.ts'), line: 1, column: 1 }), undefined)
  })

  it('meets the places that the engine reports, through the loader', async () => {
    const place = JSON.stringify(pathToFileURL(join(packageRoot, 'dsl/place.ts')).href)
    const file = write(
      'places.mts',
      `import { callPlace, plainPlace } from ${place}\nconst at = (): { x: unknown } => ({ x: plainPlace(callPlace()) })\n` +
        `interface Erased { readonly text: string }\nexport const first = at() as unknown as Erased\n`,
    )
    const module = (await import(pathToFileURL(file).href)) as { first: { x: { file: string; line: number } } }
    // The place is that of `callPlace` itself here: the nearest frame that is not the language's.
    assert.deepEqual({ ...module.first.x }, { file, line: 2, column: 51 })
  })
})
