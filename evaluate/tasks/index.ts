// The benchmarks that can be read.

import { UserError } from '../../compiler/diagnostic.ts'
import type { Task } from '../task.ts'
import { arcChallenge, arcEasy } from './arc.ts'
import { hellaswag } from './hellaswag.ts'
import { mmlu } from './mmlu.ts'
import { piqa } from './piqa.ts'
import { qnli } from './qnli.ts'

export const tasks: readonly Task[] = [mmlu, arcEasy, arcChallenge, hellaswag, piqa, qnli]

/** The benchmark of that name. UserError HD608. */
export function taskNamed(name: string): Task {
  const task = tasks.find((one) => one.name === name)
  if (task) return task
  throw new UserError('HD608', `there is no benchmark '${name}'`, {
    mend: `known are ${tasks.map((one) => one.name).join(', ')}`,
  })
}
