// npm run bench:arm64: instructions of a program for arm64, counted under emulation, and modelled cycles on Arm's
// processors. `npm run bench:arm64 -- --help`.

import { Command, Option } from 'commander'
import { neon } from '../../backends/neon/isa/neon.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { attentionCase, contractionCase, stepCase, weightGradientCase } from './cases.ts'
import type { Case } from './cases.ts'
import { countCase } from './count.ts'
import type { CrossCompiler } from './emulator.ts'
import { modelCase } from './model.ts'
import { processors } from './processors.ts'
import { asJson, asText, listing } from './report.ts'

interface CommonOptions {
  readonly compiler: CrossCompiler
  readonly tune?: string
  readonly flag?: readonly string[]
  readonly processors: string
  readonly top: string
  readonly listing?: true
  readonly json?: true
}

/** The schedule that a phone would get, on one core. */
const profile: ScheduleProfile = {
  name: 'arm64',
  lanes: neon.lanes,
  tile: neon.tiles,
  privateCache: 512 << 10,
  threads: 1,
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 1) return value
  console.error(`'${text}' is no whole number above zero`)
  process.exit(1)
}

const say = (text: string): void => {
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`)
}

async function report(what: Case, options: CommonOptions): Promise<void> {
  const names = options.processors.split(',')
  const chosen = processors.filter(({ name }) => names.includes(name))
  if (chosen.length !== names.length) {
    console.error(`processors are ${processors.map(({ name }) => name).join(', ')}`)
    process.exit(1)
  }
  const results: object[] = []
  for (const tune of new Set(chosen.map((each) => options.tune ?? each.tune))) {
    say(`${what.name}: compiling with ${options.compiler} for ${tune}, running under emulation`)
    const counted = await countCase(what, { compiler: options.compiler, tune, flags: options.flag ?? [] })
    const modelled = []
    for (const { name } of chosen.filter((each) => (options.tune ?? each.tune) === tune)) {
      say(`modelling ${name}`)
      modelled.push(await modelCase(counted, name))
    }
    if (options.json) {
      results.push(asJson(what.name, counted, modelled))
      continue
    }
    console.log(`${asText(what.name, counted, modelled, wholeNumber(options.top))}\n`)
    const first = modelled[0]?.kernels[0]
    if (options.listing && first?.inner) console.log(`${listing(first.kernel, first.inner.address)}\n`)
  }
  if (options.json) console.log(JSON.stringify(results))
}

const program = new Command('bench:arm64').description(
  'Exact instruction counts under emulation and modelled cycles (llvm-mca 22) of kernels for arm64. A model, without caches.',
)

function commandFor(name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addOption(new Option('--compiler <name>', 'cross compiler').choices(['g++', 'clang']).default('g++'))
    .option('--tune <processor>', 'compile for this one instead of each processor’s own choice')
    .option('--flag <flags...>', 'more flags for the compiler, to try: --flag=-fno-schedule-insns')
    .option('--processors <names>', 'comma-separated', processors.map(({ name: one }) => one).join(','))
    .option('--top <count>', 'kernels to show', '25')
    .option('--listing', 'print the inner loop of the kernel that takes most instructions')
    .option('--json', 'one JSON array, an object for each compilation')
}

commandFor('contraction', 'One product of matrices, packing included.')
  .argument('[m]', 'rows', '128')
  .argument('[n]', 'columns', '768')
  .argument('[k]', 'length of the sums', '768')
  .option('--transposed', 'the weight is stored [out, in]')
  .action((m: string, n: string, k: string, options: CommonOptions & { transposed?: true }) =>
    report(contractionCase([wholeNumber(m), wholeNumber(n), wholeNumber(k)], options.transposed === true, profile), options),
  ) // prettier-ignore

commandFor('gradient', 'The gradient of a weight: a product whose broadcast operand lies along the rows of the result.')
  .argument('[m]', 'rows', '768')
  .argument('[n]', 'columns', '768')
  .argument('[k]', 'tokens', '128')
  .action((m: string, n: string, k: string, options: CommonOptions) =>
    report(weightGradientCase([wholeNumber(m), wholeNumber(n), wholeNumber(k)], profile), options),
  )

commandFor('attention', 'Causal attention, forward.')
  .argument('[tokens]', 'length of the sequence', '256')
  .argument('[heads]', 'heads', '4')
  .argument('[width]', 'width of a head', '64')
  .action((tokens: string, heads: string, width: string, options: CommonOptions) =>
    report(attentionCase([wholeNumber(tokens), wholeNumber(heads), wholeNumber(width)], profile), options),
  )

interface StepOptions extends CommonOptions {
  readonly layers: string
  readonly width: string
  readonly heads: string
  readonly vocabulary: string
  readonly length: string
  readonly checkpoints: 'none' | 'every'
}

commandFor('step', 'A LoRA step of a GPT-2 with random weights; by default small enough for seconds.')
  .option('--layers <count>', 'layers', '2')
  .option('--width <count>', 'width of the model', '96')
  .option('--heads <count>', 'heads', '3')
  .option('--vocabulary <count>', 'tokens in the vocabulary', '1003')
  .option('--length <tokens>', 'tokens of the sequence', '48')
  .addOption(
    new Option('--checkpoints <which>', 'layers that are computed again').choices(['none', 'every']).default('none'),
  )
  .action((options: StepOptions) => {
    const { checkpoints } = options
    const [layers, width, heads] = [wholeNumber(options.layers), wholeNumber(options.width), wholeNumber(options.heads)]
    const [vocabulary, length] = [wholeNumber(options.vocabulary), wholeNumber(options.length)]
    return report(stepCase({ layers, width, heads, vocabulary, length, checkpoints }, profile), options)
  })

await program.parseAsync()
