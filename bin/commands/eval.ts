// `heddle eval`: perplexity of texts and accuracy on multiple-choice benchmarks, without and with an adapter; a table for
// people, JSON lines for machines.

import path from 'node:path'
import colors from 'picocolors'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { evaluate as run, titleOf } from '../../evaluate/run.ts'
import type { Item, ItemResult, Subject } from '../../evaluate/run.ts'
import { tasks } from '../../evaluate/tasks/index.ts'
import { downloadProgress } from '../download.ts'
import { exitCodes, outputOf } from '../output.ts'
import { Progress } from '../progress.ts'

export interface EvalCommandOptions {
  readonly task?: readonly string[]
  readonly labels?: string
  readonly examples?: readonly string[]
  readonly text?: readonly string[]
  readonly shots: number
  readonly limit?: number
  readonly length?: number
  readonly stride?: number
  readonly adapter?: string
  readonly weights?: string
  readonly toolchain: ToolChainPreference
  readonly threads?: number
  readonly optimise: 'full' | 'light'
  readonly json?: boolean
}

/** `name=file` as given to `--task` and `--examples`. */
function assignment(option: string, text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)]
  throw new UserError('HD608', `--${option} ${text}: NAME=FILE is wanted`, {
    mend: `names are ${tasks.map(({ name }) => name).join(', ')}`,
  })
}

function itemsOf({ task = [], text = [], labels, examples = [] }: EvalCommandOptions): Item[] {
  const worked = new Map(examples.map((one) => assignment('examples', one)))
  const asked = task.map((one): Item => {
    const [name, file] = assignment('task', one)
    const shown = worked.get(name)
    return {
      kind: 'task',
      task: name,
      file,
      ...(labels !== undefined && name === 'piqa' ? { labels } : {}),
      ...(shown === undefined ? {} : { examples: shown }),
    }
  })
  const items = [...asked, ...text.map((file): Item => ({ kind: 'text', file }))]
  if (items.length > 0) return items
  throw new UserError('HD608', 'there is nothing to evaluate', { mend: 'give --task NAME=FILE or --text FILE' })
}

export async function evaluate(modelOrRecipe: string, options: EvalCommandOptions): Promise<number> {
  const output = outputOf(options)
  const items = itemsOf(options)
  const progress = new Progress(output)
  const { adapter, weights, limit, length, stride, threads } = options
  const results: ItemResult[] = []
  const running = run(modelOrRecipe, {
    items,
    shots: options.shots,
    toolchain: options.toolchain,
    optimise: options.optimise,
    ...(adapter === undefined ? {} : { adapter }),
    ...(weights === undefined ? {} : { weights }),
    ...(limit === undefined ? {} : { limit }),
    ...(length === undefined ? {} : { length }),
    ...(stride === undefined ? {} : { stride }),
    ...(threads === undefined ? {} : { threads }),
    resolving: { onProgress: downloadProgress(output) },
    onCompiling: (toolchain) => {
      output.say(`compiling with ${toolchain} …`)
      output.event('compiling', { toolchain })
    },
    onProgress: ({ item, subject, done, all }) =>
      progress.update(adapter === undefined ? titleOf(item) : `${titleOf(item)}, ${subject}`, done, all),
  })
  try {
    for await (const one of running) {
      results.push(one)
      output.event('result', one)
    }
  } finally {
    progress.end()
  }
  for (const line of tableOf(items, results, adapter)) output.say(line)
  return exitCodes.ok
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`

function tableOf(items: readonly Item[], results: readonly ItemResult[], adapter: string | undefined): string[] {
  const rows = items.flatMap((item): string[][] => {
    const of = (subject: Subject): ItemResult | undefined =>
      results.find((one) => one.item === item && one.subject === subject)
    const base = of('base')
    const columns = (show: (one: ItemResult) => string): string[] =>
      [base, of('adapter')].flatMap((one) => (one ? [show(one)] : []))
    if (base?.kind === 'text') {
      const show = (one: ItemResult): string => (one.kind === 'text' ? one.result.perplexity.toFixed(3) : '')
      return [[titleOf(item), 'perplexity', `${base.result.tokens} tokens`, ...columns(show)]]
    }
    if (base?.kind !== 'task') return []
    const show =
      (key: 'accuracy' | 'normalisedAccuracy') =>
      (one: ItemResult): string =>
        one.kind === 'task' ? percent(one.result[key]) : ''
    const { questions, cut } = base.result
    const count = `${questions} questions${cut > 0 ? `, ${cut} cut` : ''}`
    return [
      [titleOf(item), 'acc', count, ...columns(show('accuracy'))],
      ['', 'acc_norm', '', ...columns(show('normalisedAccuracy'))],
    ]
  })
  const head = ['', '', '', ...(adapter === undefined ? ['model'] : ['model', path.basename(adapter)])]
  const table = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  const lines = table.map((row) =>
    row
      .map((cell, column) => (column < 3 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
  return ['', colors.bold(lines[0] ?? ''), ...lines.slice(1)]
}
