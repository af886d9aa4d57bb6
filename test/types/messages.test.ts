// What the editor says: every wrong line of the cases is refused, every other line passes, and the sentences are goldens.
// The cost of the types is bounded, wrong code included.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { problemsOf } from '../../compiler/frontend/check.ts'
import { packageRoot, programOf } from '../../compiler/frontend/program.ts'
import { golden } from '../support/golden.ts'

const folder = fileURLToPath(new URL('cases', import.meta.url))
const cases = readdirSync(folder).filter((name) => name.endsWith('.ts'))
const modelFiles = ['gpt2.ts', 'qwen2.ts', 'index.ts'].map((name) => join(packageRoot, 'models', name))

/** Type instantiations of checking the models; the budget leaves a quarter of room. */
const modelBudget = 15_000
/** The same with every case on top. */
const caseBudget = 20_000

describe('type messages', () => {
  const program = programOf(cases.map((name) => join(folder, name)))
  const problems = problemsOf(program)

  for (const name of cases) {
    describe(name, () => {
      const own = problems.filter(({ place }) => basename(place.file) === name)

      it('refuses the wrong lines and no other', () => {
        const lines = readFileSync(join(folder, name), 'utf8').split('\n')
        const wrong = lines.flatMap((line, index) => (line.endsWith('// wrong') ? [index + 1] : []))
        assert.ok(wrong.length > 5)
        assert.deepEqual([...new Set(own.map(({ place }) => place.line))], wrong)
      })

      it('says why in one sentence', () => {
        const text = own.map(({ place, sentence }) => `${place.line}:${place.column} ${sentence}\n`)
        for (const line of text) assert.equal(line.split('\n').length, 2)
        golden(`types/${name.replace(/\.ts$/, '.txt')}`, text.join(''))
      })
    })
  }

  it('costs little with wrong code', () => {
    const count = program.getInstantiationCount()
    assert.ok(count > 0 && count < caseBudget, `${count} instantiations, more than ${caseBudget}`)
  })
})

describe('types of the models', () => {
  const program = programOf(modelFiles)

  it('are right and cost little', () => {
    assert.deepEqual(
      problemsOf(program, (file) => modelFiles.includes(file)),
      [],
    )
    const count = program.getInstantiationCount()
    assert.ok(count > 0 && count < modelBudget, `${count} instantiations, more than ${modelBudget}`)
  })

  it('read well when hovered', () => {
    const file = program.getSourceFile(join(packageRoot, 'models/qwen2.ts'))
    assert.ok(file)
    const checker = program.getTypeChecker()
    const shown: string[] = []
    const visit = (node: ts.Node): void => {
      if ((ts.isVariableDeclaration(node) || ts.isBindingElement(node)) && ts.isIdentifier(node.name)) {
        const name = node.name.text
        const wanted = ['q', 'k', 'attended', 'gate', 'blocks', 'words', 'group'].includes(name)
        if (wanted) shown.push(`${name}: ${checker.typeToString(checker.getTypeAtLocation(node.name))}\n`)
      }
      ts.forEachChild(node, visit)
    }
    visit(file)
    golden('types/hover.txt', shown.join(''))
  })
})
