// Benchmarks in their published layouts: what is asked, what is right, and which line is refused.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { scoredOf, withExamples } from '../../evaluate/choices.ts'
import type { Encoder } from '../../evaluate/choices.ts'
import { taskNamed, tasks } from '../../evaluate/tasks/index.ts'
import { writeBenchmarks } from '../support/benchmarkFiles.ts'

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'heddle-tasks-'))
after(() => fs.rmSync(dir, { recursive: true }))
const files = writeBenchmarks(dir, 9)
const filesOf = (name: string) => ({
  questions: files[name] as string,
  ...(name === 'piqa' ? { labels: files['piqaLabels'] as string } : {}),
})

function refused(name: string, text: string, expected: RegExp, labels?: string): void {
  const file = path.join(dir, `bad-${name}`)
  fs.writeFileSync(file, text)
  const given = { questions: file, ...(labels === undefined ? {} : { labels }) }
  assert.throws(
    () => taskNamed(name).read(given),
    (error) => error instanceof UserError && expected.test(error.sentence) && !error.sentence.includes('\n'),
  )
}

describe('benchmarks', () => {
  it('are asked as published evaluations ask them', () => {
    const first = (name: string, index = 0) => taskNamed(name).read(filesOf(name))[index]
    assert.deepEqual(first('mmlu'), {
      context: 'Is a blood oxygen of 90,5\nlow for me?\nA. low\nB. normal\nC. high\nD. not, "as ever"\nAnswer:',
      continuations: [' A', ' B', ' C', ' D'],
      lengths: [1, 1, 1, 1],
      answer: 0,
    })
    assert.equal(
      taskNamed('mmlu').description(files['mmlu'] as string),
      'The following are multiple choice questions (with answers) about skin temperature.\n\n',
    )
    assert.deepEqual(first('arc_easy', 1), {
      context: 'Question: What is a resting pulse of 61?\nAnswer:',
      continuations: [' normal', ' high', ' so it is normal', ' above the usual range'],
      lengths: [6, 4, 15, 21],
      answer: 1,
    })
    assert.deepEqual(first('hellaswag', 1), {
      context: 'Measuring : A person takes the resting pulse of the day. twice. The device shows',
      continuations: [' normal and 91.', ' high and 92.', ' so it is normal and 93.', ' above the usual range and 94.'],
      lengths: [14, 12, 23, 29],
      answer: 1,
    })
    assert.deepEqual(first('piqa', 1), {
      context: 'Question: Lower your resting pulse\nAnswer:',
      continuations: [' rest normal', ' run é high'],
      lengths: [11, 10],
      answer: 1,
    })
    assert.deepEqual(first('qnli'), {
      context:
        'What is my blood oxygen?\nYour usual range is 90 "to" 99.\nQuestion: Does this response answer the question?\nAnswer:',
      continuations: [' yes', ' no'],
      lengths: [3, 2],
      answer: 1,
    })
    for (const { name } of tasks) assert.equal(taskNamed(name).read(filesOf(name)).length, 9, name)
  })

  it('name the line that is wrong', () => {
    const arc = fs.readFileSync(files['arc_easy'] as string, 'utf8')
    refused('arc_easy', '', /^HD601 .*bad-arc_easy the file holds no question/)
    refused('arc_easy', `${arc.slice(0, -20)}`, /^HD602 .*bad-arc_easy:9 the line is not JSON/)
    refused(
      'arc_easy',
      arc.replace('"answerKey":"1"', '"answerKey":"9"'),
      /:4 no choice has the label "9"|:2 no choice/,
    )
    refused('arc_easy', arc.replace('"stem"', '"stam"'), /^HD602 .*:1 'question\.stem' is not as/)
    refused('mmlu', 'q,a,b,c,d,E\n', /^HD602 .*:1 an answer is A, B, C, D/)
    refused('mmlu', 'q,a,b,c,d,A\nq,a,b,c,A\n', /^HD602 .*:2 the line has 5 columns instead of 6/)
    refused('mmlu', 'q,"a,b,c,d,A\n', /^HD602 .*:1 the row that begins here is not CSV/)
    refused(
      'hellaswag',
      '{"activity_label":"","ctx_a":"","ctx_b":"","endings":["a","b"],"label":"2"}\n',
      /:1 the label 2 is beyond/,
    )
    refused('piqa', fs.readFileSync(files['piqa'] as string, 'utf8'), /^HD603 .*second file; name it with --labels/)
    const labels = path.join(dir, 'labels')
    fs.writeFileSync(labels, '0\n2\n')
    const two = fs
      .readFileSync(files['piqa'] as string, 'utf8')
      .split('\n')
      .slice(0, 2)
      .join('\n')
    refused('piqa', two, /^HD602 .*labels:2 an answer is 0 or 1/, labels)
    refused('piqa', '{"goal":"g","sol1":"a","sol2":"b"}', /^HD603 .*2 answers for 1 questions/, labels)
    refused('qnli', 'a\tb\n', /:1 the first line is not the columns/)
    refused('qnli', 'index\tquestion\tsentence\tlabel\n0\tq\ts\tmaybe\n', /:2 a label is entailment or not_entailment/)
    refused('qnli', 'index\tquestion\tsentence\tlabel\n0\tq\ts\n', /:2 the line has 3 columns/)
    assert.throws(() => taskNamed('glue'), /there is no benchmark 'glue'/)
  })

  it('have worked examples in front, never the question itself', () => {
    const questions = taskNamed('arc_easy').read(filesOf('arc_easy'))
    const [first] = withExamples(questions, questions, 2, 'Said once.\n\n')
    const [own, second, third] = questions
    assert.equal(
      first?.context,
      `Said once.\n\n${second?.context}${second?.continuations[second.answer]}\n\n${third?.context}${third?.continuations[third.answer]}\n\n${own?.context}`,
    )
    assert.throws(() => withExamples(questions, questions, 9, ''), /HD607|fewer than the 9 wanted/)
  })

  it('are encoded with what stands before them, and cut at their beginning', () => {
    // A token a character; 1 begins a text.
    const encode = (text: string): number[] => Array.from(text, (character) => character.codePointAt(0) as number)
    const plain: Encoder = { encode, prefix: [], fallback: 1 }
    assert.deepEqual(scoredOf('ab ', 'c', plain, 9), { tokens: encode('ab c'), from: 2, cut: false })
    assert.deepEqual(scoredOf('', 'c', plain, 9), { tokens: [1, 99], from: 1, cut: false })
    assert.deepEqual(scoredOf('ab', ' c', { ...plain, prefix: [1] }, 9), {
      tokens: [1, ...encode('ab c')],
      from: 3,
      cut: false,
    })
    assert.deepEqual(scoredOf('abcd', ' e', plain, 3), { tokens: encode('cd e'), from: 2, cut: true })
    assert.throws(() => scoredOf('a', ' bcde', plain, 3), /HD812|more than fit/)
    assert.throws(() => scoredOf('', 'c', { ...plain, fallback: undefined }, 9), /no context/)
  })
})
