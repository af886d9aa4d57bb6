// A language model small enough to be worked out by hand in double precision, with and without adapters, and recipes for
// it. Only for tests.

import type { Declaration } from '../../compiler/graph/node.ts'
import { adamW, add, axis, causalLM, completions, constant, defineModel, embedding, linear, lora } from '../../dsl/index.ts' // prettier-ignore
import { recipe, untied } from '../../dsl/index.ts'
import type { LoraOptions, Recipe, RecipeOptions, TracedModel } from '../../dsl/index.ts'
import { sampleValues } from '../dsl/tracing.ts'

export const vocabulary = 7
const width = 5
const middle = 6
export const sequences = 2
export const length = 4

type Target = 'up' | 'down'

/** logits = head · (x + down · up · x), x a row of `words`: nothing mixes positions. */
export const bigram = defineModel(
  'bigram',
  (_config: unknown, p) => {
    const vocab = axis('vocab', vocabulary)
    const embed = axis('embed', width)
    const wide = axis('wide', middle)
    const words = p.param('words.weight', [vocab, embed])
    return causalLM({
      vocabulary: vocab,
      embed: (tokens) => embedding(words, tokens, vocab),
      blocks: (x) => add(x, linear(linear(x, p, 'up', [wide, embed]), p, 'down', [embed, wide])),
      norm: (x) => x,
      head: untied(p, 'head', vocab, embed),
    })
  },
  { targets: ['up', 'down'] },
)

export function traceBigram(): TracedModel {
  return bigram.trace({}, { sequences, length })
}

export function bigramRecipe(parts: Partial<RecipeOptions<Target, Target>> = {}): Recipe {
  return recipe<Target, Target>({
    model: bigram.from('./model'),
    adapt: bigramLora(),
    data: completions('records.jsonl', { loss: 'completion' }),
    optimizer: adamW({ rate: constant(0.01) }),
    batch: { sequences, length, steps: 4 },
    ...parts,
  })
}

/** Neither alpha nor rank nor its root are each other's multiples. */
export function bigramLora(options: Partial<LoraOptions<Target>> = {}) {
  return lora<Target>({ rank: 3, alpha: 5, targets: ['up', 'down'], ...options })
}

/** Arbitrary numbers for declared values, in stored order, rounded to float32. */
export function bigramValues(declarations: Iterable<Declaration>): Map<string, Float32Array> {
  const values = new Map<string, Float32Array>()
  for (const { name, role, stored } of declarations) {
    if (role === 'input' || role === 'state') continue
    const count = stored.flat().reduce((product, { size }) => product * size, 1)
    values.set(name, Float32Array.from(sampleValues(count, values.size + 1)))
  }
  return values
}

/** matrix · vector, the matrix [rows, vector's length] row by row. */
function times(matrix: ArrayLike<number>, vector: readonly number[]): number[] {
  return Array.from({ length: matrix.length / vector.length }, (_, row) =>
    vector.reduce((sum, value, column) => sum + (matrix[row * vector.length + column] as number) * value, 0),
  )
}

/** Logits after a token, with adapters of a scale where `values` has them. */
export function bigramLogits(values: ReadonlyMap<string, ArrayLike<number>>, token: number, scale: number): number[] {
  const value = (name: string): ArrayLike<number> => values.get(name) ?? []
  const adapted = (name: string, x: number[]): number[] => {
    const own = times(value(`${name}.weight`), x)
    if (!values.has(`${name}.lora_A.weight`)) return own
    const more = times(value(`${name}.lora_B.weight`), times(value(`${name}.lora_A.weight`), x))
    return own.map((number, row) => number + scale * (more[row] as number))
  }
  const x = Array.from({ length: width }, (_, column) => value('words.weight')[token * width + column] as number)
  const back = adapted('down', adapted('up', x))
  return times(
    value('head.weight'),
    x.map((number, column) => number + (back[column] as number)),
  )
}
