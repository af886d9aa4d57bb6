// PIQA (Bisk et al. 2020): a JSONL file of goals with two solutions each, and the answers, a digit a line, in a second one.

import { z } from 'zod'
import { UserError } from '../../compiler/diagnostic.ts'
import { readJsonLines, readLines, wrongLine } from '../lines.ts'
import type { Line } from '../lines.ts'
import { question } from '../task.ts'
import type { Task } from '../task.ts'

const schema = z.looseObject({ goal: z.string(), sol1: z.string(), sol2: z.string() })

export const piqa: Task = {
  name: 'piqa',
  layout: 'valid.jsonl: JSONL with "goal", "sol1" and "sol2"; valid-labels.lst: 0 or 1 a line',
  description: () => '',
  read: ({ questions: path, labels: labelPath }) => {
    if (labelPath === undefined) {
      throw new UserError('HD603', 'PIQA has its answers in a second file', { mend: 'name it with --labels' })
    }
    const rows = readJsonLines(path, schema)
    const labels = readLines(labelPath, 'answer')
    if (labels.length !== rows.length) {
      throw new UserError('HD603', `${labels.length} answers for ${rows.length} questions`, {
        place: { file: labelPath },
      })
    }
    return rows.map(({ value }, index) => {
      const { text, number } = labels[index] as Line
      if (!/^[01]$/.test(text.trim())) throw wrongLine(labelPath, number, 'an answer is 0 or 1')
      return question(`Question: ${value.goal}\nAnswer:`, [value.sol1, value.sol2], Number(text))
    })
  },
}
