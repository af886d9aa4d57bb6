// What a multiple-choice benchmark is: questions read from its published files, each a context and continuations of which
// one is right. Knows no model and no tokenizer.

/** One question. A model's answer is the continuation it finds likeliest after the context. */
export interface Question {
  /** What comes before the answer; for few-shot runs the worked examples stand before it. */
  readonly context: string
  /** The continuations as they are scored, each beginning with the space that separates it from the context. */
  readonly continuations: readonly string[]
  /** Length by which the log-likelihood of each continuation is divided for `acc_norm`: characters of the answer. */
  readonly lengths: readonly number[]
  /** Index of the right continuation. */
  readonly answer: number
}

export interface TaskFiles {
  /** The questions' file in the layout in which the benchmark is published. */
  readonly questions: string
  /** PIQA publishes its answers in a file of their own. */
  readonly labels?: string
}

export interface Task {
  readonly name: string
  /** What the files are called where they are published. */
  readonly layout: string
  /** Said once, in front of everything; MMLU names its subject there. */
  readonly description: (file: string) => string
  /** UserError HD60x with the line for whatever is wrong in a file. */
  readonly read: (files: TaskFiles) => Question[]
}

/** A question whose answers are scored as ` answer`. */
export function question(context: string, answers: readonly string[], answer: number): Question {
  return {
    context,
    continuations: answers.map((text) => ` ${text}`),
    // Code points, as Python counts a string.
    lengths: answers.map((text) => Array.from(text).length),
    answer,
  }
}
