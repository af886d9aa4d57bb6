// However examples come together in batches, a step over all of them is the same step: its loss, its gradient, and with
// them the next one's.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { heddle, tinyProject, writeRecipe } from './support.ts'

interface Step {
  readonly loss: number
  readonly gradient_norm: number
  readonly tokens: number
}

async function train(dir: string, name: string, data: string, batch: string): Promise<Step[]> {
  writeRecipe(dir, `${name}.ts`, {
    data: `completions('records.jsonl', { loss: 'completion', ${data} })`,
    batch: `{ length: 40, steps: 3, ${batch} }`,
    adapt: 'fullFineTuning()',
  })
  const { code, stderr } = await heddle(dir, 'train', `${name}.ts`, '--optimise', 'light', '--out', name)
  assert.equal(code, 0, stderr)
  const lines = fs
    .readFileSync(path.join(dir, name, 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
  return lines.map((line) => JSON.parse(line) as Step)
}

describe('batches', () => {
  it('give the same steps apart, in buckets and packed', async () => {
    const dir = tinyProject()
    // One letter is one token, and the end is learnt too: an example has as many positions as its record has letters.
    const records = [33, 7, 30, 10, 25, 15, 22, 18].map((letters, index) => ({
      prompt: 'z'.repeat(index + 2),
      completion: (index % 2 === 0 ? 'q' : 'x').repeat(letters - index - 2),
    }))
    fs.writeFileSync(path.join(dir, 'records.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''))
    const whole = await train(dir, 'whole', '', 'sequences: 8, accumulate: 1')
    // Eight examples make four rows of forty, which are one step of two micro-batches.
    const packed = await train(dir, 'packed', 'pack: true', 'sequences: 2, accumulate: 2')
    const bucketed = await train(dir, 'bucketed', 'buckets: [10, 18, 25]', 'sequences: 2, accumulate: 4')
    for (const [others, computed] of [
      [packed, 4 * 40],
      [bucketed, 2 * (10 + 18 + 25 + 33)],
    ] as const) {
      assert.equal(others.length, 3)
      for (const [index, step] of whole.entries()) {
        const other = others[index] as Step
        assert.ok(Math.abs(other.loss / step.loss - 1) < 1e-5, `${other.loss} against ${step.loss}`)
        assert.ok(Math.abs(other.gradient_norm / step.gradient_norm - 1) < 1e-4)
        assert.deepEqual([other.tokens, step.tokens], [computed, 8 * 33])
      }
    }
  })
})
