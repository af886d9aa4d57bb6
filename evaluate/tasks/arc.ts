// ARC-Easy and ARC-Challenge (Clark et al. 2018): a JSONL file of science questions with three to five answers.

import { z } from 'zod'
import { readJsonLines, wrongLine } from '../lines.ts'
import { question } from '../task.ts'
import type { Task } from '../task.ts'

const schema = z.looseObject({
  question: z.looseObject({
    stem: z.string(),
    choices: z.array(z.looseObject({ text: z.string(), label: z.string() })).min(2),
  }),
  answerKey: z.string(),
})

const arc = (name: string, file: string): Task => ({
  name,
  layout: `${file}: JSONL with "question" {"stem", "choices"} and "answerKey"`,
  description: () => '',
  read: ({ questions: path }) =>
    readJsonLines(path, schema).map(({ value: { question: asked, answerKey }, line }) => {
      const answer = asked.choices.findIndex(({ label }) => label === answerKey)
      if (answer < 0) throw wrongLine(path, line, `no choice has the label ${JSON.stringify(answerKey.slice(0, 20))}`)
      return question(
        `Question: ${asked.stem}\nAnswer:`,
        asked.choices.map(({ text }) => text),
        answer,
      )
    }),
})

export const arcEasy = arc('arc_easy', 'ARC-Easy-Test.jsonl')
export const arcChallenge = arc('arc_challenge', 'ARC-Challenge-Test.jsonl')
