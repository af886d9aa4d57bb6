// What `npm run bench:storage` is asked: its options, and refusing what cannot be one before anything is compiled.

import { Command, InvalidArgumentError, Option } from 'commander'
import { bytesOf } from '../../bin/bytes.ts'
import { numberAbove, positiveInteger, threadCount } from '../../bin/numbers.ts'
import { shapes } from '../shapes.ts'

export interface StorageBenchOptions {
  readonly model: string
  readonly targets: 'attention' | 'all' | 'full'
  /** Tokens of the sequence. */
  readonly length: number
  readonly threads: number
  /** Bytes of the whole process. */
  readonly memory: number
  /** MB a second. */
  readonly rates: readonly number[]
  /** Seconds of one request. */
  readonly latency: number
  /** Bandwidth of writing, by that of reading. */
  readonly writeShare: number
  readonly steps: number
  readonly inMemory: boolean
  readonly enforce?: true
  readonly json?: true
}

const rate = numberAbove(0, 1e6)

function ratesOf(text: string): number[] {
  return text.split(',').map(rate)
}

function secondsOf(microseconds: string): number {
  const value = Number(microseconds)
  if (microseconds.trim() !== '' && value >= 0 && value <= 1e6) return value * 1e-6
  throw new InvalidArgumentError('It is from 0 to 1,000,000.')
}

function storageCommand(): Command {
  return new Command('bench:storage')
    .description('A step with weights in memory, and with weights read, and written, through a pacer while it runs.')
    .addOption(new Option('--model <name>', 'whose real shapes').choices(Object.keys(shapes)).default('qwen2'))
    .addOption(
      new Option('--targets <which>', 'adapters on attention (q, k, v, o) or all linear layers, or full fine-tuning')
        .choices(['attention', 'all', 'full'])
        .default('attention'),
    )
    .addOption(new Option('--length <tokens>', 'tokens of the sequence').argParser(positiveInteger).default(256))
    .addOption(new Option('--threads <count>', 'threads').argParser(threadCount).default(1))
    .option('--memory <size>', 'what the whole process may hold', bytesOf, 110 * 2 ** 20)
    .addOption(
      new Option('--rates <list>', 'MB a second in requests of 1 MiB, one run each')
        .argParser(ratesOf)
        .default([2000, 500, 80], '2000,500,80'),
    )
    .addOption(
      new Option('--write-share <share>', 'bandwidth of writing, by that of reading')
        .argParser(numberAbove(0, 1000))
        .default(0.6),
    )
    .addOption(
      new Option('--latency <microseconds>', 'of one request, which the bandwidth has in it')
        .argParser(secondsOf)
        .default(1e-4, '100'),
    )
    .addOption(new Option('--steps <count>', 'steps of each; the best is kept').argParser(positiveInteger).default(2))
    .option('--no-in-memory', 'without the run that has all weights in memory: what computing takes is not known then')
    .option('--enforce', 'the system gives the process no more (ulimit -d)')
    .option('--json', 'one JSON object')
}

/** The options of a command line, which is `process.argv`. `prepare` may change how the command ends. */
export function storageOptions(operands: readonly string[], prepare?: (command: Command) => void): StorageBenchOptions {
  const command = storageCommand()
  prepare?.(command)
  return command.parse([...operands]).opts<StorageBenchOptions>()
}
