// Tables of constants in the plan: two rotary bases on one axis are two tables, one base used twice is one. Whole programs
// run by the kernel interpreter, against the formula written out.

import assert from 'node:assert/strict'
import { planProgram } from '../../compiler/plan/place.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { separateWrites } from '../../compiler/transform/separateWrites.ts'
import { axis, causalLM, defineModel, embedding, mul, rope, seq, untied } from '../../dsl/index.ts'
import { sampleValues } from '../dsl/tracing.ts'
import { smallProfile } from '../schedule/launch.ts'
import { interpretedSession } from '../support/interpretedSession.ts'

const width = 8
const vocabulary = 11
const length = 9

/** Every row is rotated once by each base; the results are multiplied element by element. */
function program(thetas: readonly [number, number]): Program {
  const model = defineModel('turned', (_config: unknown, p) => {
    const vocab = axis('vocab', vocabulary)
    const embed = axis('embed', width)
    const words = p.param('words.weight', [vocab, embed])
    return causalLM({
      vocabulary: vocab,
      embed: (tokens) => embedding(words, tokens, vocab),
      blocks: (x) => mul(...(thetas.map((theta) => rope(x, { over: embed, at: seq, theta })) as [typeof x, typeof x])),
      norm: (x) => x,
      head: untied(p, 'head', vocab, embed),
    })
  })
  const { graph, provenance } = model.trace({}, { sequences: 1, length })
  const predict = { ...graph, functions: graph.functions.filter(({ name }) => name === 'predict') }
  const passes = runPasses(predict, [separateWrites()], { provenance })
  const functions = passes.graph.functions.map((fn) => scheduleFunction(passes.graph, fn, smallProfile(4)))
  return planProgram('turned', passes.graph, functions, provenance).program
}

/** A row rotated by halves at a position (Su et al. 2021), as transformers' apply_rotary_pos_emb does. */
function turned(row: readonly number[], position: number, theta: number): number[] {
  const half = width / 2
  return row.map((value, place) => {
    const angle = position * theta ** ((-2 * (place % half)) / width)
    const other = place < half ? -(row[place + half] as number) : (row[place - half] as number)
    return value * Math.cos(angle) + other * Math.sin(angle)
  })
}

describe('tables in the plan', () => {
  const words = sampleValues(vocabulary * width, 1)
  const head = sampleValues(vocabulary * width, 2)
  const tables = ({ values }: Program): string[] => values.flatMap(({ name, initial }) => initial?.kind === 'values' ? [name] : []) // prettier-ignore

  for (const thetas of [
    [10_000, 7],
    [7, 10_000],
    [10_000, 10_000],
  ] as const) {
    it(`rotate by bases ${thetas.join(' and ')} on one axis`, async () => {
      const planned = program(thetas)
      assert.equal(tables(planned).length, new Set(thetas).size)
      const frozen = new Map([
        ['words.weight', Float32Array.from(words)],
        ['head.weight', Float32Array.from(head)],
      ])
      const session = await interpretedSession(planned, frozen)
      const tokens = Array.from({ length }, (_, place) => (place * 4 + 1) % vocabulary)
      await session.write('tokens', Int32Array.from(tokens), [1, length])
      for (const position of [0, 1, 5, length - 1]) {
        await session.write('position', Int32Array.of(position))
        await session.call('predict', { seq: length })
        const logits = await session.output('predict', 'logits')
        const token = tokens[position] as number
        const row = words.slice(token * width, (token + 1) * width)
        const [first, second] = thetas.map((theta) => turned(row, position, theta)) as [number[], number[]]
        const product = first.map((value, place) => value * (second[place] as number))
        for (let column = 0; column < vocabulary; column++) {
          const expected = product.reduce((sum, value, place) => sum + value * (head[column * width + place] as number), 0) // prettier-ignore
          const actual = logits[column] ?? NaN
          assert.ok(Math.abs(actual - expected) < 1e-4, `position ${position}, logit ${column}: ${actual} is not ${expected}`) // prettier-ignore
        }
      }
    })
  }
})
