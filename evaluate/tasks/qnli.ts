// QNLI (Wang et al. 2018, from SQuAD): tab-separated questions and sentences, and whether the sentence answers.

import { nothingIn, readLines, wrongColumns, wrongLine } from '../lines.ts'
import { question } from '../task.ts'
import type { Task } from '../task.ts'

const columns = ['index', 'question', 'sentence', 'label']
const labels = ['entailment', 'not_entailment']

export const qnli: Task = {
  name: 'qnli',
  layout: 'dev.tsv: tab-separated, with the columns index, question, sentence and label',
  description: () => '',
  read: ({ questions: path }) => {
    const [head, ...rows] = readLines(path)
    if (head?.text.split('\t').join() !== columns.join()) {
      throw wrongLine(path, head?.number ?? 1, `the first line is not the columns ${columns.join(', ')}`)
    }
    if (rows.length === 0) throw nothingIn(path)
    return rows.map(({ text, number }) => {
      const [, asked, sentence, label, ...more] = text.split('\t')
      if (asked === undefined || sentence === undefined || label === undefined || more.length > 0) {
        throw wrongColumns(path, number, text.split('\t').length, 4)
      }
      const answer = labels.indexOf(label)
      if (answer < 0) throw wrongLine(path, number, `a label is ${labels.join(' or ')}`)
      const context = `${asked}\n${sentence}\nQuestion: Does this response answer the question?\nAnswer:`
      return question(context, ['yes', 'no'], answer)
    })
  },
}
