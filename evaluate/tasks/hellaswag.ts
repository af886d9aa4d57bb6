// HellaSwag (Zellers et al. 2019): a JSONL file of beginnings with four endings each.

import { z } from 'zod'
import { readJsonLines, wrongLine } from '../lines.ts'
import { question } from '../task.ts'
import type { Task } from '../task.ts'

const schema = z.looseObject({
  activity_label: z.string(),
  ctx_a: z.string(),
  ctx_b: z.string(),
  endings: z.array(z.string()).min(2),
  label: z.union([z.int(), z.string().regex(/^\d+$/)]),
})

/** Takes out what WikiHow's pages left in the texts, as evaluations of HellaSwag do: headings and bracketed notes. */
function cleaned(text: string): string {
  return text
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ')
}

/** As Python's `capitalize`: the first letter large, all others small. */
function capitalised(text: string): string {
  const [first = '', ...rest] = text
  return first.toUpperCase() + rest.join('').toLowerCase()
}

export const hellaswag: Task = {
  name: 'hellaswag',
  layout: 'hellaswag_val.jsonl: JSONL with "activity_label", "ctx_a", "ctx_b", "endings" and "label"',
  description: () => '',
  read: ({ questions: path }) =>
    readJsonLines(path, schema).map(({ value, line }) => {
      const answer = Number(value.label)
      if (answer >= value.endings.length) {
        throw wrongLine(path, line, `the label ${answer} is beyond the ${value.endings.length} endings`)
      }
      const context = cleaned(`${value.activity_label}: ${value.ctx_a} ${capitalised(value.ctx_b)}`)
      return question(context, value.endings.map(cleaned), answer)
    }),
}
