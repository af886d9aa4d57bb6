// Small files in the layouts in which benchmarks are published, with questions about the bundled health model's world.

import fs from 'node:fs'
import path from 'node:path'

/** Writes all of them into a directory; `count` questions each. Text is varied by arithmetic only. */
export function writeBenchmarks(dir: string, count: number): Record<string, string> {
  const signs = ['blood oxygen', 'resting pulse', 'skin temperature', 'sleep', 'step count']
  const words = ['low', 'normal', 'high', 'so it is normal', 'above the usual range', 'not, "as ever"']
  const sign = (i: number): string => signs[i % signs.length] as string
  const word = (i: number): string => words[i % words.length] as string
  const rows = Array.from({ length: count }, (_, i) => i)
  const write = (name: string, lines: readonly string[], end = '\n'): string => {
    const file = path.join(dir, name)
    fs.writeFileSync(file, lines.map((line) => line + end).join(''))
    return file
  }
  const csv = (cell: string): string => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)
  const mmlu = (shift: number) =>
    rows.map((i) => {
      const asked = `Is a ${sign(i + shift)} of ${90 + i},5\nlow for me?`
      return [asked, word(i), word(i + 1), word(i + 2), word(i + 5), 'ABCD'[(i * 3 + shift) % 4] as string]
        .map(csv)
        .join(',')
    })
  const arc = (shift: number) =>
    rows.map((i) =>
      JSON.stringify({
        id: `q${i}`,
        question: {
          stem: `What is a ${sign(i + shift)} of ${60 + i}?`,
          choices: Array.from({ length: 3 + (i % 3) }, (_, choice) => ({
            text: word(i + choice),
            label: i % 2 === 0 ? 'ABCDE'[choice] : `${choice + 1}`,
          })),
        },
        answerKey: i % 2 === 0 ? 'ABC'[i % 3] : `${(i % 3) + 1}`,
      }),
    )
  return {
    mmlu: write('skin_temperature_test.csv', mmlu(0)),
    mmluExamples: write('skin_temperature_dev.csv', mmlu(1), '\r\n'),
    arc_easy: write('ARC-Easy-Test.jsonl', arc(0)),
    arc_easyExamples: write('ARC-Easy-Train.jsonl', arc(2)),
    arc_challenge: write('ARC-Challenge-Test.jsonl', arc(4)),
    hellaswag: write(
      'hellaswag_val.jsonl',
      rows.map((i) =>
        JSON.stringify({
          ind: i,
          activity_label: 'Measuring [header]',
          ctx_a: `A person takes the ${sign(i)}  of the day [title] twice.`,
          ctx_b: i % 3 === 0 ? '' : 'the Device [substeps] shows',
          endings: [0, 1, 2, 3].map((choice) => `${word(i + choice)} [step] and  ${90 + i + choice}.`),
          label: i % 2 === 0 ? i % 4 : `${i % 4}`,
        }),
      ),
    ),
    piqa: write(
      'valid.jsonl',
      rows.map((i) =>
        JSON.stringify({ goal: `Lower your ${sign(i)}`, sol1: `rest ${word(i)}`, sol2: `run é ${word(i + 1)}` }),
      ),
    ),
    piqaLabels: write(
      'valid-labels.lst',
      rows.map((i) => `${(i * i) % 2}`),
    ),
    qnli: write('dev.tsv', [
      'index\tquestion\tsentence\tlabel',
      ...rows.map(
        (i) =>
          `${i}\tWhat is my ${sign(i)}?\tYour usual range is ${90 + i} "to" 99.\t${i % 3 === 0 ? 'not_' : ''}entailment`,
      ),
    ]),
  }
}
