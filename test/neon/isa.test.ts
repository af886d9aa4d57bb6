// What holds for every instruction-set table without compiling anything: no hole, no forgotten operand.

import assert from 'node:assert/strict'
import { instructionSets } from '../../backends/neon/isa/index.ts'
import { scalarPrelude } from '../../backends/neon/isa/scalar.ts'
import { fill } from '../../backends/neon/isa/table.ts'
import type { Spelling } from '../../backends/neon/isa/table.ts'
import { operandTypes, words } from './emit-words.ts'

function holes(template: string): string[] {
  return [...new Set(template.match(/\$(\d|bits|args)/g))].sort()
}

/** Functions that only a prelude can define: everything that is no intrinsic and no builtin. */
function ownFunctions(templates: readonly string[]): Set<string> {
  const called = templates.join(' ').match(/\b[a-z]\w*(?=\()/g) ?? []
  return new Set(called.filter((name) => !/^(v[a-z]+\d*q?(_lane|_n)?_[fsu]\d+(_[fsu]\d+)?|wasm_\w+)$/.test(name)))
}

describe('instruction-set tables', () => {
  for (const isa of Object.values(instructionSets)) {
    describe(isa.name, () => {
      const spellings: readonly (readonly [string, Spelling])[] = [
        ['scalar', isa.scalar],
        ['vector', isa.vector],
      ]
      for (const [width, spelling] of spellings) {
        it(`gives every word all its operands (${width})`, () => {
          for (const word of words) {
            const wanted = operandTypes[word].map((_, k) => `$${k + 1}`)
            if (word.startsWith('intShift')) wanted.push('$bits')
            assert.deepEqual(holes(spelling.words[word]), wanted.sort(), `${width} ${word}`)
          }
        })

        it(`gives memory access a place, and partial access a count (${width})`, () => {
          Object.values(spelling.load).forEach((template) => assert.deepEqual(holes(template), ['$1']))
          Object.values(spelling.loadPartial).forEach((template) => assert.deepEqual(holes(template), ['$1', '$2']))
          Object.values(spelling.store).forEach((template) => assert.deepEqual(holes(template), ['$1', '$2']))
          Object.values(spelling.storePartial).forEach((template) =>
            assert.deepEqual(holes(template), ['$1', '$2', '$3']),
          )
        })
      }

      it('defines the functions that its templates name', () => {
        const { words: wordTemplates, load, loadPartial, store, storePartial, splat, pack, ramp, tree } = isa.vector
        const tables = [wordTemplates, load, loadPartial, store, storePartial, splat, pack, tree, isa.scalar.words]
        const text = `${scalarPrelude}\n${isa.prelude}`
        for (const name of ownFunctions([...tables.flatMap((table) => Object.values(table)), ramp])) {
          assert.match(text, new RegExp(`\\b${name}\\([^;]*\\) \\{`), name)
        }
      })

      it('takes a lane of the second factor where it takes lanes', () => {
        const { byLane } = isa.vector
        assert.equal(byLane !== undefined, isa.tiles.laneRegisters !== undefined)
        if (!byLane) return
        assert.deepEqual(holes(byLane.lane), ['$1', '$bits'])
        assert.deepEqual(Object.keys(byLane.words), ['fma'])
        assert.deepEqual(holes(byLane.words.fma ?? ''), ['$1', '$2', '$3', '$bits'])
      })

      it('divides the 16 partial results of a tree', () => {
        assert.equal(16 % isa.lanes, 0)
      })
    })
  }

  it('fills operands into templates', () => {
    assert.equal(fill('f($2, $1, $bits)', ['a', 'b'], 3), 'f(b, a, 3)')
    assert.equal(fill('f($args)', ['a', 'b', 'c']), 'f(a, b, c)')
    assert.equal(fill('f($1)', ['$2'], 3), 'f($2)')
  })
})
