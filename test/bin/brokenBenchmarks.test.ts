// Benchmarks and texts for `heddle eval` that are broken, in each published layout: one sentence with the line.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { writeBenchmarks } from '../support/benchmarkFiles.ts'
import { bytes, GIBIBYTE, nested, refuses, utf16, write } from './broken.ts'
import type { Case } from './broken.ts'
import { tinyProject } from './support.ts'

const choices = '"choices":[{"text":"a","label":"A"},{"text":"b","label":"B"}]'
const head = 'index\tquestion\tsentence\tlabel\n'
const ending = (label: string): string =>
  `{"activity_label":"a","ctx_a":"b","ctx_b":"","endings":["x","y"],"label":${label}}\n`

/** What each benchmark's own layout can have wrong, beside what any file can. */
const benchmarks: readonly [task: string, file: string, cases: readonly Case[]][] = [
  ['mmlu', 'x_test.csv', [
    ['a column too few', 'a,b,c,d,e,A\na,b,c,d,B\n', /^HD602 x_test\.csv:2 the line has 5 columns instead of 6$/m],
    ['an answer beyond D', 'a,b,c,d,e,A\na,b,c,d,e,E\n', /^HD602 x_test\.csv:2 an answer is A, B, C, D$/m],
    ['a quote that is open', 'a,b,c,d,e,A\n"q,b,c,d,e,B\nx,b,c,d,e,C\n', /^HD602 x_test\.csv:2 the row that begins here is not CSV$/m], // prettier-ignore
    ['a web page', '<!DOCTYPE html>\n', /^HD602 x_test\.csv:1 the line has 1 column instead of 6$/m],
  ]],
  ['arc_easy', 'arc.jsonl', [
    ['a key that is no choice', `{"question":{"stem":"s",${choices}},"answerKey":"C"}\n`, /^HD602 arc\.jsonl:1 no choice has the label "C"$/m], // prettier-ignore
    ['a web page', '<!DOCTYPE html>\n', /^HD602 arc\.jsonl:1 the line is not JSON$/m],
  ]],
  ['arc_challenge', 'arc.jsonl', [
    ['no key', `{"question":{"stem":"s",${choices}}}\n`, /^HD602 arc\.jsonl:1 'answerKey' is not as the benchmark has it$/m], // prettier-ignore
    ['another layout', '{"question":"s","answerKey":"A"}\n', /^HD602 arc\.jsonl:1 'question' is not as/m],
  ]],
  ['hellaswag', 'h.jsonl', [
    ['no label, as in the test split', ending('""'), /^HD602 h\.jsonl:1 'label' is not as the benchmark has it$/m],
    ['a label beyond the endings', ending('0') + ending('5'), /^HD602 h\.jsonl:2 the label 5 is beyond the 2 endings$/m],
    ['a line that is cut', ending('0') + ending('1').slice(0, -9), /^HD602 h\.jsonl:2 the line is not JSON$/m],
  ]],
  ['piqa', 'p.jsonl', [
    ['no second solution', '{"goal":"a","sol1":"b"}\n', /^HD602 p\.jsonl:1 'sol2' is not as the benchmark has it$/m],
    ['more questions than answers', '{"goal":"a","sol1":"b","sol2":"c"}\n'.repeat(4), /^HD603 valid-labels\.lst 3 answers for 4 questions$/m], // prettier-ignore
  ]],
  ['qnli', 'q.tsv', [
    ['no labels, as in the test split', 'index\tquestion\tsentence\n0\ta\tb\n', /^HD602 q\.tsv:1 the first line is not the columns index, /m], // prettier-ignore
    ['nothing but the head', head, /^HD601 q\.tsv the file holds no question$/m],
    ['a line that is cut', `${head}0\ta\tb\tentailment\n1\ta\n`, /^HD602 q\.tsv:3 the line has 2 columns instead of 4$/m],
    ['another label', `${head}0\ta\tb\tmaybe\n`, /^HD602 q\.tsv:2 a label is entailment or not_entailment$/m],
  ]],
] // prettier-ignore

/** What any of these files can be. */
function brokenAnyhow(file: string, sound: string): readonly Case[] {
  const name = file.replace('.', '\\.')
  const lines = sound.split('\n').length
  return [
    ['empty', '', new RegExp(`^HD601 ${name} the file holds no question$`, 'm')],
    ['bytes that are no UTF-8', bytes(sound, 0xff, 0x0a), new RegExp(`^HD601 ${name}:${lines} the line is not valid UTF-8; save the file as UTF-8$`, 'm')], // prettier-ignore
    ['UTF-16', utf16(sound), new RegExp(`^HD601 ${name}:1 the line holds a zero byte, `, 'm')],
    ['a tail of zero bytes', `${sound}\0\0`, new RegExp(`^HD601 ${name}:${lines} the line holds a zero byte, `, 'm')],
    ['lists in lists', `${nested(200_000)}\n`, new RegExp(`^HD602 ${name}:1 `, 'm')],
    ['a line of three mebibytes', `${'x'.repeat(3 << 20)}\n`, new RegExp(`^HD602 ${name}:1 `, 'm')],
    ['three gibibytes of zeros', { zeros: 3 * GIBIBYTE }, new RegExp(`^HD401 ${name} the file has 3221225472 bytes, more than`, 'm')], // prettier-ignore
  ]
}

describe('benchmarks that heddle eval refuses', () => {
  for (const [task, file, cases] of benchmarks) {
    it(`${task}: what its layout can have wrong, and what any file can`, async () => {
      const dir = tinyProject()
      const published = writeBenchmarks(dir, 3)
      const sound = fs.readFileSync(published[task] ?? '', 'utf8')
      const labels = task === 'piqa' ? ['--labels', 'valid-labels.lst'] : []
      for (const [name, content, expected] of [...cases, ...brokenAnyhow(file, sound)]) {
        write(path.join(dir, file), content)
        await refuses(dir, expected, 'eval', 'model', '--task', `${task}=${file}`, ...labels).catch(
          (error: unknown) => {
            assert.fail(`${task}, ${name}: ${String(error)}`)
          },
        )
      }
      const missing = /^HD401 nowhere\.csv the file does not exist$/m
      await refuses(dir, missing, 'eval', 'model', '--task', `${task}=nowhere.csv`, ...labels)
    })
  }

  it('piqa: answers that are missing, empty or none', async () => {
    const dir = tinyProject()
    write(path.join(dir, 'p.jsonl'), '{"goal":"a","sol1":"b","sol2":"c"}\n')
    const piqa = ['eval', 'model', '--task', 'piqa=p.jsonl']
    await refuses(dir, /^HD603 PIQA has its answers in a second file; name it with --labels$/m, ...piqa)
    write(path.join(dir, 'labels.lst'), '')
    await refuses(dir, /^HD601 labels\.lst the file holds no answer$/m, ...piqa, '--labels', 'labels.lst')
    write(path.join(dir, 'labels.lst'), '2\n')
    await refuses(dir, /^HD602 labels\.lst:1 an answer is 0 or 1$/m, ...piqa, '--labels', 'labels.lst')
  })

  it('a text without anything to predict, or that is none', async () => {
    const dir = tinyProject()
    const cases: readonly Case[] = [
      ['empty', '', /^HD604 some\.txt the text has no token, so nothing can be predicted$/m],
      ['no UTF-8', bytes('one\n', 0xff), /^HD601 some\.txt:2 the line is not valid UTF-8; /m],
      ['a zero byte', 'one\ntwo\0\n', /^HD601 some\.txt:2 the line holds a zero byte, /m],
      ['three gibibytes of zeros', { zeros: 3 * GIBIBYTE }, /^HD401 some\.txt the file has 3221225472 bytes, /m],
    ]
    for (const [, content, expected] of cases) {
      write(path.join(dir, 'some.txt'), content)
      await refuses(dir, expected, 'eval', 'model', '--text', 'some.txt')
    }
  })
})
