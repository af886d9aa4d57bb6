// `heddle eval` against transformers and PEFT in float64: the perplexity of a text by overlapping windows, and every answer
// to every benchmark, zero- and few-shot, without and with an adapter.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { evaluate } from '../../evaluate/run.ts'
import type { Item, ItemResult } from '../../evaluate/run.ts'
import { writeBenchmarks } from '../support/benchmarkFiles.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const python = path.join(root, '.venv/bin/python')
const model = path.join(root, 'apps/health/model')
const names = ['mmlu', 'arc_easy', 'arc_challenge', 'hellaswag', 'piqa', 'qnli']

interface Reference {
  readonly text: { readonly perplexity: number; readonly tokens: number }
  readonly tasks: Readonly<
    Record<string, { readonly answers: number[]; readonly normalised: number[]; readonly accuracy: number }>
  >
}

const run = (script: string, operands: readonly string[]): string =>
  execFileSync(python, [path.join(root, 'tools/oracle', script), ...operands], { encoding: 'utf8', maxBuffer: 1 << 26 })

describe('heddle eval against transformers', function () {
  this.timeout(600_000)
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'heddle-eval-'))
  after(() => fs.rmSync(dir, { recursive: true }))

  for (const shots of [0, 2]) {
    it(`${shots} worked examples: the same answers and perplexity, without and with an adapter`, async () => {
      const files = writeBenchmarks(dir, 11)
      const text = path.join(dir, 'text.txt')
      const records = fs.readFileSync(path.join(root, 'apps/health/records.jsonl'), 'utf8').split('\n').slice(0, 40)
      fs.writeFileSync(text, `${records.join('\n')} café 心拍数\n`)
      const adapter = path.join(dir, `adapter-${shots}`)
      run('make_adapter.py', [model, adapter, '--targets', 'c_attn', 'c_fc'])
      const length = shots === 0 ? 96 : 64
      const stride = 37
      const asked = names.filter((name) => shots === 0 || files[`${name}Examples`] !== undefined)
      const items: Item[] = [
        { kind: 'text', file: text },
        ...asked.map((task): Item => ({
          kind: 'task',
          task,
          file: files[task] as string,
          ...(task === 'piqa' ? { labels: files['piqaLabels'] as string } : {}),
          ...(shots > 0 ? { examples: files[`${task}Examples`] as string } : {}),
        })),
      ]
      const results: ItemResult[] = []
      const options = { items, adapter, shots, length, stride, toolchain: 'host', optimise: 'full' } as const
      for await (const one of evaluate(model, options)) results.push(one)
      assert.equal(results.length, 2 * items.length)

      for (const subject of ['base', 'adapter'] as const) {
        const reference = JSON.parse(
          run('evaluate.py', [
            model,
            '--length',
            `${length}`,
            '--stride',
            `${stride}`,
            '--text',
            text,
            '--labels',
            files['piqaLabels'] as string,
            ...(subject === 'adapter' ? ['--adapter', adapter] : []),
            ...asked.flatMap((task) => ['--task', `${task}=${files[task] ?? ''}`]),
            ...(shots > 0
              ? [
                  '--shots',
                  `${shots}`,
                  ...asked.flatMap((task) => ['--examples', `${task}=${files[`${task}Examples`] ?? ''}`]),
                ]
              : []),
          ]),
        ) as Reference
        const varied = new Set<number>()
        for (const one of results.filter((result) => result.subject === subject)) {
          if (one.kind === 'text') {
            const { perplexity, tokens } = reference.text
            assert.equal(one.result.tokens, tokens)
            assert.ok(
              Math.abs(one.result.perplexity / perplexity - 1) < 1e-5,
              `${one.result.perplexity}, not ${perplexity}`,
            )
            continue
          }
          const task = one.item.kind === 'task' ? one.item.task : ''
          const wanted = reference.tasks[task]
          assert.deepEqual(one.result.answers, wanted?.answers, `${subject} ${task}`)
          assert.deepEqual(one.result.normalisedAnswers, wanted?.normalised, `${subject} ${task}, normalised`)
          assert.equal(one.result.accuracy, wanted?.accuracy)
          for (const answer of one.result.answers) varied.add(answer)
        }
        assert.ok(varied.size > 2, 'all answers are alike: nothing was compared')
      }
    })
  }
})
