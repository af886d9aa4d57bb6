// npm run bench:storage: what it costs to leave weights in a file. The same step with everything in memory, then through a pacer
// at one bandwidth after another, all in one run; peak memory beside what the certificate promised.

import { Command, Option } from 'commander'
import type { Pace } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { bytesOf } from '../../bin/bytes.ts'
import { storageRate } from '../../compiler/plan/rates.ts'
import { timetables } from '../../compiler/plan/timetable.ts'
import { hostDevice } from '../../devices/index.ts'
import { predictionRates } from '../../train/storage.ts'
import { storedStep } from './plan.ts'
import type { StoredStep } from './plan.ts'
import { runStored } from './step.ts'
import type { StoredRun } from './step.ts'

interface Options {
  readonly model: string
  readonly targets: 'attention' | 'all' | 'full'
  readonly length: string
  readonly threads: string
  readonly memory: number
  readonly rates: string
  readonly latency: string
  readonly writeShare: string
  readonly steps: string
  readonly inMemory: boolean
  readonly enforce?: true
  readonly json?: true
}

const command = new Command('bench:storage')
  .description('A step with weights in memory, and with weights read, and written, through a pacer while it runs.')
  .option('--model <name>', 'gpt2, qwen2, gemma3, gemma3-1b, qwen3-4b', 'qwen2')
  .addOption(
    new Option('--targets <which>', 'adapters on attention (q, k, v, o) or all linear layers, or full fine-tuning')
      .choices(['attention', 'all', 'full'])
      .default('attention'),
  )
  .option('--length <tokens>', 'tokens of the sequence', '256')
  .option('--threads <count>', 'threads', '1')
  .option('--memory <size>', 'what the whole process may hold', bytesOf, 110 * 2 ** 20)
  .option('--rates <list>', 'MB a second in requests of 1 MiB, one run each', '2000,500,80')
  .option('--write-share <share>', 'bandwidth of writing, by that of reading', '0.6')
  .option('--latency <microseconds>', 'of one request, which the bandwidth has in it', '100')
  .option('--steps <count>', 'steps of each; the best is kept', '2')
  .option('--no-in-memory', 'without the run that has all weights in memory')
  .option('--enforce', 'the system gives the process no more (ulimit -d)')
  .option('--json', 'one JSON object')
  .parse()
const options = command.opts<Options>()
const [length, threads, steps] = [Number(options.length), Number(options.threads), Number(options.steps)]
const latency = Number(options.latency) * 1e-6
const chain = await chooseToolChain('host')
const device = hostDevice(chain.isa.name)

const measure = ({ enforce, ...step }: StoredStep & { enforce: boolean }, pace?: Pace): Promise<StoredRun> =>
  runStored(step, { chain, threads, steps, ...(pace ? { pace } : {}), ...(enforce ? { limit: options.memory } : {}) })

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
const say = (line: string): void => void (options.json ?? console.log(line))
const { model, targets, memory } = options
const common = { model, targets, length, threads }
const titles = { attention: 'LoRA on q, k, v, o', all: 'LoRA on all linear layers', full: 'all weights' }
const whole = storedStep({ ...common, memory: undefined }, device)
say(`${whole.shape.title}, ${titles[targets]}, 1×${length}, ${threads} thread(s), every layer recomputed`)
const inMemory = options.inMemory ? await measure({ ...whole, enforce: false }) : undefined
if (inMemory) {
  say(
    `weights in memory    ${inMemory.seconds.toFixed(2)} s   peak ${mebibytes(inMemory.peakBytes)} MiB, promised ${mebibytes(whole.certificate.peakBytes)}`,
  )
}
// As a device's profile says it: a plan that expects faster computing reads too late.
const predicted = [...timetables(whole.compiled, predictionRates(device, threads)).values()].reduce(
  (sum, { end }) => sum + end,
  0,
)
const slowness = inMemory ? inMemory.seconds / predicted : 1
const runs: object[] = []
for (const rate of options.rates.split(',').map(Number)) {
  const [reading, writing] = [rate * 1e6, rate * 1e6 * Number(options.writeShare)]
  const [read, write] = [storageRate(reading, latency), storageRate(writing, latency)]
  const step = storedStep({ ...common, memory, read, write, slowness }, device)
  const { certificate } = step
  const measured = await measure(
    { ...step, enforce: options.enforce ?? false },
    { ...read, writeBytesPerSecond: write.bytesPerSecond },
  )
  const { storage } = certificate
  const moved = (key: 'readBytes' | 'writtenBytes'): number =>
    (storage?.[key] ?? 0) + (storage?.state?.update[key] ?? 0)
  const storageSeconds = moved('readBytes') / reading + moved('writtenBytes') / writing
  const least = Math.max(inMemory?.seconds ?? 0, storageSeconds)
  runs.push({ rate, ...measured, certificate, storageSeconds, price: measured.seconds / least })
  say(
    `${String(rate).padStart(5)} MB/s            ${measured.seconds.toFixed(2)} s   ${(measured.seconds / least).toFixed(2)} × max(compute, ${storageSeconds.toFixed(2)} s of storage)` +
      `   peak ${mebibytes(measured.peakBytes)} MiB, promised ${mebibytes(certificate.peakBytes)} (${((measured.peakBytes / certificate.peakBytes - 1) * 100).toFixed(1)} %)` +
      `${inMemory && Object.is(measured.losses.at(-1), inMemory.losses.at(-1)) ? ', the same loss' : ''}`,
  )
}
if (options.json) console.log(JSON.stringify({ ...common, memory, inMemory, runs }))
