// `heddle data`: what training would read, token by token, with figures and warnings.

import { batches } from '../../data/batches.ts'
import type { BatchOptions } from '../../data/batches.ts'
import type { Example } from '../../data/examples.ts'
import { packExamples } from '../../data/packing.ts'
import { paddingShare, reportOf } from '../../data/report.ts'
import type { DataReport } from '../../data/report.ts'
import { shownPieces } from '../../data/shownTokens.ts'
import type { Recipe } from '../../dsl/index.ts'
import type { Tokenizer } from '../../formats/tokenizer.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { endOfText, prepareModel, tokenizerOf } from '../../train/prepare.ts'
import { bucketsOf, readExamples } from '../../train/recipeData.ts'
import type { RecipeExamples } from '../../train/recipeData.ts'
import { exampleText, histogramLines, isColoured, namedLines, number, percent } from '../dataView.ts'
import type { ViewOptions } from '../dataView.ts'
import { downloadProgress } from '../download.ts'
import { exitCodes, outputOf, shownPath } from '../output.ts'
import type { Output } from '../output.ts'

export interface DataOptions {
  /** How many examples to show. */
  readonly examples: number
  readonly json?: boolean
}

/** Tokens shown of one example; finding where each one's text begins takes the square of it. */
const SHOWN_TOKENS = 512

export async function data(recipePath: string, options: DataOptions): Promise<number> {
  const output = outputOf(options)
  const loaded = await loadRecipe(recipePath)
  const model = await prepareModel(loaded, { onProgress: downloadProgress(output) })
  const tokenizer = tokenizerOf(model)
  const read = readExamples(loaded, tokenizer, endOfText(tokenizer, model.checkpoint))
  const view = { isColoured: isColoured(), columns: process.stdout.columns ?? 80 }
  showExamples(read, tokenizer, options.examples, output, view)
  const { examples } = read.examples
  if (examples.length > 0)
    showFigures(reportOf(examples), paddingOf(examples, loaded.recipe), read, loaded.recipe, output, view)
  for (const note of read.notes) {
    output.say(note)
    output.event('note', { message: note })
  }
  return warn(read, loaded.recipe, output)
}

function showExamples(
  { examples: { examples }, file }: RecipeExamples,
  tokenizer: Tokenizer,
  most: number,
  output: Output,
  view: ViewOptions,
): void {
  for (const [index, example] of examples.slice(0, most).entries()) {
    const pieces = shownPieces(example, (ids) => tokenizer.decode(ids), SHOWN_TOKENS)
    const place = example.line === undefined ? '' : ` ${shownPath(file)}:${example.line}`
    const learnt = example.weights.reduce((sum, weight) => sum + weight, 0)
    output.say(`example ${index + 1}${place}, ${number(example.tokens.length + 1)} tokens, ${number(learnt)} learnt`)
    output.say(`${exampleText(pieces, Math.max(0, example.tokens.length + 1 - SHOWN_TOKENS), view)}\n`)
    output.event('example', {
      line: example.line ?? null,
      tokens: pieces.map(({ ids, text, isLearnt }) => ({ ids, text, learnt: isLearnt })),
    })
  }
}

/** How much of one pass's batches is padding, by how the recipe might bring its examples together. */
interface Padding {
  readonly plain: number
  /** In the recipe's buckets, in the usual ones unless it has some. */
  readonly bucketed: number
  readonly packed: number
}

function paddingOf(examples: readonly Example[], { batch, data: given, seed }: Recipe): Padding {
  const { sequences, length, accumulate } = batch
  const tokens = examples.reduce((sum, example) => sum + example.tokens.length, 0)
  const share = (rows: readonly Example[], more: Pick<BatchOptions, 'buckets'> = {}): number =>
    paddingShare(
      batches({ examples: rows, sequences, length, accumulate, seed, until: { epochs: 1 }, ...more }),
      tokens,
    )
  return {
    plain: share(examples),
    bucketed: share(examples, bucketsOf({ buckets: given.buckets === false ? true : given.buckets }, examples)),
    packed: share(packExamples(examples, { length, seed })),
  }
}

function showFigures(
  report: DataReport,
  padding: Padding,
  { examples, file }: RecipeExamples,
  { batch, data: given }: Recipe,
  output: Output,
  view: ViewOptions,
): void {
  const { tokens, learnt, shortest, median, longest } = report
  output.say(`${shownPath(file)}: ${number(report.examples)} examples, ${number(tokens)} positions`)
  output.say(`  learnt   ${number(learnt)} (${percent(learnt / tokens)})`)
  output.say(`  length   shortest ${shortest}, median ${median}, longest ${longest}; the batch takes ${batch.length}`)
  const isPlain = !given.pack && given.buckets === false
  const form = (share: number, name: string, isChosen: boolean): string =>
    `${percent(share)} ${name}${isChosen ? ' (so the recipe has it)' : ''}`
  const forms = [
    form(padding.plain, 'of what is computed', isPlain),
    form(padding.bucketed, 'with buckets', given.buckets !== false),
    form(padding.packed, 'packed', given.pack),
  ]
  output.say(`  padding  ${forms.join(', ')}`)
  output.say('  positions of an example, and how many have as many')
  for (const line of histogramLines(report, view)) output.say(`  ${line}`)
  output.event('data', { ...report, padding, lines: examples.lines })
}

/** Says which records lose something or everything; the exit code is that of a mistake where training would refuse. */
function warn({ examples: { lines, examples }, file }: RecipeExamples, { batch }: Recipe, output: Output): number {
  const dropped = new Set(lines.dropped)
  const cases: [readonly number[], string][] = [
    [lines.truncated.filter((line) => !dropped.has(line)), `cut short to ${batch.length} positions`],
    [lines.dropped, `left out, since within ${batch.length} positions there is nothing to learn`],
    [lines.empty, 'with nothing to learn, which training refuses'],
  ]
  for (const [all, what] of cases) {
    // A conversation whose answers are examples of their own may be concerned more than once.
    const concerned = [...new Set(all)]
    if (concerned.length === 0) continue
    const count = `${number(concerned.length)} ${concerned.length === 1 ? 'record' : 'records'}`
    output.say(`warning: ${shownPath(file)}: ${count} ${what}: ${namedLines(concerned)}`)
    output.event('warning', { message: what, lines: concerned })
  }
  const isFit = examples.length > 0 && lines.empty.length === 0
  output.event('end', { examples: examples.length, fit: isFit })
  return isFit ? exitCodes.ok : exitCodes.mistake
}
