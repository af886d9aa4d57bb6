// MMLU (Hendrycks et al. 2021): a CSV file per subject without a head; question, four choices, the letter of the answer.

import { basename } from 'node:path'
import { parse } from 'csv-parse/sync'
import { UserError } from '../../compiler/diagnostic.ts'
import { nothingIn, readText, wrongColumns, wrongLine } from '../lines.ts'
import { question } from '../task.ts'
import type { Question, Task } from '../task.ts'

const letters = ['A', 'B', 'C', 'D']

interface Row {
  readonly record: readonly string[]
  readonly info: { readonly lines: number }
}

/** `abstract_algebra_test.csv` is about abstract algebra. */
function subjectOf(file: string): string {
  return basename(file, '.csv')
    .replace(/_(?:test|dev|val)$/, '')
    .replaceAll('_', ' ')
}

function rowsOf(file: string): Row[] {
  const text = readText(file)
  let read = 0
  try {
    return parse(text, {
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      max_record_size: 1 << 20,
      on_record: (record, { lines }) => {
        read = lines
        return record
      },
    }) as unknown as Row[]
  } catch (cause) {
    // An open quote is noticed at the end of the file: the row that has it is the one behind the last good one.
    throw new UserError('HD602', 'the row that begins here is not CSV', { place: { file, line: read + 1 }, cause })
  }
}

function readQuestion(file: string, { record, info }: Row): Question {
  if (record.length !== 6) throw wrongColumns(file, info.lines, record.length, 6)
  const [asked = '', ...rest] = record
  const answer = letters.indexOf((rest.pop() ?? '').trim())
  if (answer < 0) throw wrongLine(file, info.lines, `an answer is ${letters.join(', ')}`)
  const choices = rest.map((text, place) => `${letters[place] ?? ''}. ${text}`)
  return question([asked.trim(), ...choices, 'Answer:'].join('\n'), letters, answer)
}

export const mmlu: Task = {
  name: 'mmlu',
  layout: 'SUBJECT_test.csv: question, four choices, the letter of the answer; no head',
  description: (file) => `The following are multiple choice questions (with answers) about ${subjectOf(file)}.\n\n`,
  read: ({ questions: file }) => {
    const questions = rowsOf(file).map((row) => readQuestion(file, row))
    if (questions.length === 0) throw nothingIn(file)
    return questions
  },
}
