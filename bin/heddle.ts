// The command line: names, options and help of the commands. What they do is in `commands/`.

import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../compiler/diagnostic.ts'
import { bytesOf } from './bytes.ts'
import { count, numberAbove, positiveInteger, threadCount, threadCounts } from './numbers.ts'
import { exitCodes, reportError } from './output.ts'

const packageFile = new URL('../package.json', import.meta.url)
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }

/** Runs a command whose module is loaded only now: `--help` need not wait for a compiler. */
type Run = (...operands: never[]) => Promise<number>

function dutyCycle(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= 0.01 && value <= 1) return value
  throw new InvalidArgumentError('It is from 0.01 to 1, all of the time.')
}

function temperature(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= 0 && value <= 1000) return value
  throw new InvalidArgumentError('It is from 0, always the likeliest token, to 1000.')
}

function profileFile(text: string): string {
  if (text.endsWith('.json')) return text
  throw new InvalidArgumentError('It ends in .json, so that --device takes it.')
}

function stopString(text: string, others: readonly string[] = []): readonly string[] {
  if (text === '') throw new InvalidArgumentError('It has at least one character.')
  return [...others, text]
}

const toolchain = (): Option =>
  new Option('--toolchain <name>', 'what compiles the kernels')
    .choices(['auto', 'host', 'wasm', 'arm64'])
    .default('auto')
const threads = (): Option => new Option('--threads <n>', 'threads; one per core unless stated').argParser(threadCount)
const optimise = (): Option =>
  new Option('--optimise <how>', 'light compiles sooner and runs slower, to the same numbers')
    .choices(['full', 'light'])
    .default('full')
const device = (): Option =>
  new Option('--device <name>', 'a device profile: a name that `heddle devices` lists, or a .json file')
const memory = (): Option =>
  new Option(
    '--memory <size>',
    'what the whole process may hold, such as 110MiB; what the device states unless given',
  ).argParser((text: string) => bytesOf(text))
const json = (): Option => new Option('--json', 'print JSON lines')

/** What is wrong with the words of a command line, as other mistakes are told. */
function usageError({ code, message }: CommanderError): UserError {
  if (code === 'commander.help') return new UserError('HD809', 'no command was given', { mend: 'see heddle --help' })
  return new UserError('HD809', message.replace(/^error: /, '').replace(/\s+/g, ' '))
}

/** Runs the command line on operands as a shell gives them (without node and the script); returns the exit code. */
export async function main(operands: readonly string[]): Promise<number> {
  let code: number = exitCodes.ok
  // Not a question of a command's options: these may be what is wrong.
  const isJson = operands.includes('--json')
  // Commander hands over operands, then options, then itself.
  const action =
    (load: () => Promise<Run>) =>
    async (...given: unknown[]): Promise<void> => {
      const options = given.at(-2) as { readonly json?: boolean }
      try {
        const run = await load()
        code = await run(...(given.slice(0, -1) as never[]))
      } catch (error) {
        code = reportError(error, options.json === true)
      }
    }

  const program = new Command('heddle')
    .description('Compiles a typed model and a fine-tuning recipe into training kernels, and trains.')
    .version(version)
    .addHelpText(
      'after',
      `
Examples:
  $ heddle check recipe.ts
  $ heddle plan recipe.ts --device phone-8gb
  $ heddle train recipe.ts --out runs/first
  $ heddle generate recipe.ts --adapter runs/first/adapter --prompt 'How did I sleep?'

heddle help COMMAND says more of each.`,
    )
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, '')),
      writeErr: (text) => isJson || process.stderr.write(text),
    })

  program
    .command('check')
    .description('type-check a recipe, evaluate it and build its graph; says every problem in one sentence')
    .argument('<recipe>', 'a TypeScript file that exports a recipe')
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle check recipe.ts
  $ heddle check recipe.ts --json`,
    )
    .action(action(async () => (await import('./commands/check.ts')).check))

  program
    .command('data')
    .description('show what a recipe trains on: examples token by token, lengths, what is learnt, what is cut')
    .argument('<recipe>', 'a TypeScript file that exports a recipe')
    .addOption(new Option('--examples <n>', 'how many examples to show').argParser(count).default(3))
    .addOption(json())
    .action(action(async () => (await import('./commands/data.ts')).data))

  program
    .command('plan')
    .description('compile up to the memory plan: does it fit, and what takes how much')
    .argument('<recipe>', 'a TypeScript file that exports a recipe')
    .addOption(device())
    .option('--all', 'every device profile beside the others, each with its own memory and threads unless stated')
    .option(
      '--html <file>',
      'write the plan as a page: memory over predicted time, what each buffer is, what is moved, where the time goes',
    )
    .addOption(threads())
    .addOption(memory())
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle plan recipe.ts
  $ heddle plan recipe.ts --device phone-8gb --memory 500MiB --html plan.html
  $ heddle plan recipe.ts --all`,
    )
    .action(action(async () => (await import('./commands/plan.ts')).plan))

  program
    .command('explain')
    .description(
      'what each kernel of the program computes, how often memory is passed over, and which directives it has',
    )
    .argument('<recipe>', 'a TypeScript file that exports a recipe')
    .addOption(device())
    .option('--kernel <name>', 'one kernel in full')
    .option('--source', 'with --kernel: its kernel IR and its C++')
    .addOption(json())
    .action(action(async () => (await import('./commands/explain.ts')).explain))

  program
    .command('build')
    .description('compile to an executable or a WebAssembly module')
    .argument('<recipe>', 'a TypeScript file that exports a recipe')
    .addOption(device())
    .addOption(threads())
    .addOption(memory())
    .addOption(toolchain())
    .option('--dump <directory>', 'write the graph after each pass, the kernels and the C++ there')
    .addOption(optimise())
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle build recipe.ts --dump stages
  $ heddle build recipe.ts --toolchain arm64 --device phone-8gb --threads 4`,
    )
    .action(action(async () => (await import('./commands/build.ts')).build))

  program
    .command('train')
    .description('train a recipe and save the adapter or the model')
    .argument('<recipe>', 'a TypeScript file that exports a recipe')
    .addOption(toolchain())
    .addOption(threads())
    .addOption(device())
    .addOption(memory())
    .option('--out <directory>', 'where results go; runs/NAME unless the recipe or this says so')
    .addOption(new Option('--steps <n>', "optimizer steps, instead of the recipe's").argParser(positiveInteger))
    .option('--resume', 'go on from the state that was saved last; begin where there is none')
    .addOption(
      new Option('--duty-cycle <share>', "share of the time that is computed, instead of the recipe's").argParser(
        dutyCycle,
      ),
    )
    .option(
      '--system-root <directory>',
      'where /sys and /proc are found, for the limits of the recipe; / unless stated',
    )
    .addOption(optimise())
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle train recipe.ts --out runs/first
  $ heddle train recipe.ts --out runs/first --resume
  $ heddle train recipe.ts --memory 500MiB --threads 2 --steps 10 --json`,
    )
    .action(action(async () => (await import('./commands/train.ts')).train))

  program
    .command('generate')
    .description('continue a text, with the likeliest tokens unless told to draw them')
    .argument('<model-or-recipe>', 'a model directory, a Hugging Face id, or a recipe file')
    .requiredOption('--prompt <text>', 'the text to continue')
    .option('--chat', "the prompt is a user's message in the model's chat template")
    .option('--system <text>', "the system's message of the chat")
    .addOption(new Option('--tokens <n>', 'most tokens to add').argParser(positiveInteger).default(64))
    .addOption(
      new Option('--temperature <t>', 'draw tokens; low is likely, 1 is as the model says').argParser(temperature),
    )
    .addOption(
      new Option('--top-k <k>', 'draw, at temperature 1 unless stated, among the k likeliest').argParser(
        positiveInteger,
      ),
    )
    .addOption(
      new Option('--top-p <p>', 'draw among the likeliest tokens that make up this probability').argParser(
        numberAbove(0, 1),
      ),
    )
    .addOption(
      new Option('--repetition-penalty <r>', 'above 1, tokens that are there already are less likely').argParser(
        numberAbove(0, Infinity),
      ),
    )
    .addOption(new Option('--seed <n>', 'draw the same tokens again').argParser(count))
    .addOption(
      new Option('--stop <text...>', 'strings that end the text; they are left out of it').argParser(stopString),
    )
    .option('--adapter <directory>', 'a LoRA adapter in the layout of PEFT')
    .option('--weights <directory>', 'a model directory read in place of the stated one, such as runs/NAME/model')
    .option('--recompute', 'keep no keys and values: every token computes the whole text again, to the same bits')
    .addOption(toolchain())
    .addOption(threads())
    .addOption(optimise())
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle generate recipe.ts --adapter runs/recipe/adapter --prompt 'How did I sleep?'
  $ heddle generate ./model --chat --system 'Answer briefly.' --prompt 'What is a heddle?'
  $ heddle generate ./model --prompt 'Once' --temperature 0.8 --top-p 0.95 --seed 7 --stop 'The end' --json`,
    )
    .action(action(async () => (await import('./commands/generate.ts')).generate))

  program
    .command('eval')
    .description('perplexity of texts and accuracy on benchmarks, without and with an adapter')
    .argument('<model-or-recipe>', 'a model directory, a Hugging Face id, or a recipe file')
    .option(
      '--task <name=file...>',
      'a benchmark in its published file: mmlu, arc_easy, arc_challenge, hellaswag, piqa, qnli',
    )
    .option('--labels <file>', "PIQA's answers")
    .option('--text <file...>', 'a text whose perplexity is wanted')
    .option('--adapter <directory>', 'a LoRA adapter in the layout of PEFT, compared with the model alone')
    .option('--weights <directory>', 'a model directory read in place of the stated one, such as runs/NAME/model')
    .addOption(new Option('--shots <n>', 'worked examples before each question').argParser(count).default(0))
    .option('--examples <name=file...>', 'where the worked examples of a benchmark come from')
    .addOption(new Option('--limit <n>', 'only the first questions of each file').argParser(positiveInteger))
    .addOption(new Option('--length <n>', 'tokens of a window; at most 1,024 unless stated').argParser(positiveInteger))
    .addOption(
      new Option('--stride <n>', 'tokens between windows; half a window unless stated').argParser(positiveInteger),
    )
    .addOption(toolchain())
    .addOption(threads())
    .addOption(optimise())
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle eval ./model --text wiki.test.raw --stride 512
  $ heddle eval recipe.ts --adapter runs/recipe/adapter --task arc_easy=ARC-Easy-Test.jsonl
  $ heddle eval ./model --task mmlu=anatomy_test.csv --shots 5 --examples mmlu=anatomy_dev.csv --json`,
    )
    .action(action(async () => (await import('./commands/eval.ts')).evaluate))

  program
    .command('bench')
    .description('time a recipe on random batches: step and kernels as shares of what this machine is measured to do')
    .argument('<recipe>', 'a TypeScript file that exports a recipe')
    .addOption(new Option('--steps <n>', 'rounds; each times one optimizer step').argParser(positiveInteger).default(8))
    .addOption(
      new Option('--threads <list>', 'numbers of threads, one after the other: 1,2')
        .argParser(threadCounts)
        .default([1], '1'),
    )
    .addOption(toolchain())
    .option('--no-torch', 'no PyTorch beside it, even where it is installed')
    .option('--against <file>', 'an earlier result: how many times as fast the step and each kernel are now')
    .option('--out <file>', 'write the result there, for --against')
    .option('--search', 'find faster schedules for the multiply-adds instead, and keep them for this machine')
    .addOption(
      new Option('--seconds <n>', 'with --search: begin nothing after so many').argParser(positiveInteger).default(60),
    )
    .addOption(
      new Option('--candidates <n>', 'with --search: most schedules of a nest that are tried')
        .argParser(positiveInteger)
        .default(16),
    )
    .addOption(optimise())
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle bench recipe.ts --threads 1,2 --out before.json
  $ heddle bench recipe.ts --threads 1,2 --against before.json
  $ heddle bench recipe.ts --threads 1,2 --search --seconds 300`,
    )
    .action(action(async () => (await import('./commands/bench.ts')).bench))

  program
    .command('devices')
    .description('list device profiles: this machine, those that come with the compiler, and files')
    .argument('[files...]', 'profiles in .json files, listed as well')
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  $ heddle devices
  $ heddle devices this-machine.json --json`,
    )
    .action(action(async () => (await import('./commands/devices.ts')).devices))

  program
    .command('profile')
    .description('measure this machine (rates, memory, storage, power) and write a profile that --device takes')
    .addOption(new Option('--out <file>', 'where the profile goes').argParser(profileFile).default('this-machine.json'))
    .option(
      '--folder <directory>',
      'whose storage is timed, by a temporary file of 512 MiB; where such files go unless stated',
    )
    .option('--quick', 'seconds and 32 MiB rather than a minute, for numbers that are good for a look')
    .addOption(
      new Option('--toolchain <name>', 'what compiles the kernels').choices(['auto', 'host', 'wasm']).default('auto'),
    )
    .addOption(json())
    .addHelpText(
      'after',
      `
Without a C++ compiler rates are those of WebAssembly, and storage is left out, with the reason.

Examples:
  $ heddle profile --out laptop-2.json --folder ~/models
  $ heddle plan recipe.ts --device laptop-2.json`,
    )
    .action(action(async () => (await import('./commands/profile.ts')).profile))

  program
    .command('new')
    .description('write the definition of an architecture nobody has written yet, as far as its config.json tells')
    .argument('<config>', 'a config.json, or the directory it is in')
    .option('--out <file>', 'where the definition goes; MODEL_TYPE.ts unless stated')
    .addOption(json())
    .action(action(async () => (await import('./commands/new.ts')).newModel))

  program
    .command('demo')
    .description('fine-tune the bundled health model and show its answers before and after')
    .addOption(toolchain())
    .addOption(threads())
    .option('--out <directory>', 'where results go; runs/demo unless stated')
    .addOption(optimise())
    .addOption(json())
    .action(action(async () => (await import('./demo.ts')).demo))

  try {
    await program.parseAsync(operands, { from: 'user' })
  } catch (error) {
    // Commander has said what was wrong, unless machines listen, or has printed the help that was asked for.
    if (!(error instanceof CommanderError)) code = reportError(error, isJson)
    else if (!isJson || error.exitCode === exitCodes.ok) code = error.exitCode
    else code = reportError(usageError(error), isJson)
  }
  return code
}
