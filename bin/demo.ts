// `heddle demo`, which is `npm start`: fine-tunes the bundled health model on the bundled records and shows what it
// answers before and after. Everything about health is in `apps/health`.

import fs from 'node:fs'
import { UserError } from '../compiler/diagnostic.ts'
import { scoreAnswers, verdictOf } from '../apps/health/accuracy.ts'
import type { Accuracy } from '../apps/health/accuracy.ts'
import { loadRecipe } from '../train/loadRecipe.ts'
import { completePrompts } from '../train/predict.ts'
import { runTraining } from '../train/run.ts'
import type { InspectedModel } from '../train/run.ts'
import type { Session } from '../backends/neon/driver/index.ts'
import type { ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { Interruption } from './interruption.ts'
import { outputOf } from './output.ts'
import { tellResult, TrainView } from './trainView.ts'

const app = new URL('../apps/health/', import.meta.url)

interface Question {
  readonly prompt: string
  readonly answer: string
}

export interface DemoOptions {
  readonly toolchain: ToolChainPreference
  readonly threads?: number
  readonly out?: string
  readonly optimise: 'full' | 'light'
  readonly json?: boolean
}

interface Answers extends Accuracy {
  readonly completions: readonly string[]
}

export async function demo(options: DemoOptions): Promise<number> {
  const output = outputOf(options)
  const questions = readQuestions(new URL('heldout.jsonl', app))
  const loaded = await loadRecipe(new URL('recipe.ts', app).pathname)
  const answers = new Map<'before' | 'after', Answers>()
  const interruption = new Interruption()
  const view = new TrainView(output, interruption)
  try {
    const result = await runTraining(
      loaded,
      {
        toolchain: options.toolchain,
        ...(options.threads === undefined ? {} : { threads: options.threads }),
        out: options.out ?? 'runs/demo',
        optimise: options.optimise,
        stop: interruption.stop,
        kill: interruption.kill,
        inspect: async (moment, session, model) => {
          view.end()
          const given = await answer(questions, session, model)
          answers.set(moment, given)
          const { right, asked } = given
          output.say(`${moment} fine-tuning: ${right} of ${asked} held-out questions answered rightly`)
          output.event('accuracy', { moment, right, asked })
        },
      },
      view,
    ).finally(() => view.end())
    const example = exampleOf(questions, answers)
    if (example) {
      output.say(
        `\n${example.question.prompt}\n  before: ${example.before}\n  after:  ${example.after}\n  wanted: ${example.question.answer}`,
      )
      output.event('example', example)
    }
    return tellResult(result, output, interruption.exitCode)
  } finally {
    interruption.end()
  }
}

function readQuestions(file: URL): Question[] {
  const lines = fs.readFileSync(file, 'utf8').split('\n')
  const questions = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Question)
  if (questions.length > 0) return questions
  throw new UserError('HD507', 'the file holds no question', { place: { file: file.pathname } })
}

/** Tokens of an answer: the records' are one short sentence. */
const ANSWER_TOKENS = 24

async function answer(questions: readonly Question[], session: Session, model: InspectedModel): Promise<Answers> {
  const { tokenizer, size, end } = model
  const prompts = questions.map(({ prompt }) => tokenizer.encode(prompt))
  const tokens = await completePrompts(session, prompts, size, { tokens: ANSWER_TOKENS, end })
  const completions = tokens.map((ids) => tokenizer.decode(ids).split('\n')[0]?.trim() ?? '')
  return {
    ...scoreAnswers(
      questions.map((question) => question.answer),
      completions,
    ),
    completions,
  }
}

/** A question that was answered wrongly before and rightly after. */
function exampleOf(
  questions: readonly Question[],
  answers: ReadonlyMap<'before' | 'after', Answers>,
): { question: Question; before: string; after: string } | undefined {
  const before = answers.get('before')?.completions
  const after = answers.get('after')?.completions
  if (!before || !after) return undefined
  const changed = questions.findIndex(
    ({ answer: wanted }, index) =>
      verdictOf(before[index] ?? '') !== wanted && verdictOf(after[index] ?? '') === wanted,
  )
  const chosen = Math.max(0, changed)
  const question = questions[chosen]
  return question && { question, before: before[chosen] ?? '', after: after[chosen] ?? '' }
}
