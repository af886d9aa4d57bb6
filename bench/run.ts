// npm run bench: rates beside the machine's measured peak, all taken in turns in one run. Ratios are what counts.

import { Command, InvalidArgumentError, Option } from 'commander'
import { chooseToolChain } from '../backends/neon/toolchain/index.ts'
import type { ToolChainPreference } from '../backends/neon/toolchain/index.ts'
import { hostDevice, scheduleProfile, wasmDevice } from '../devices/index.ts'
import { peakProgram } from '../evaluate/speed/machine.ts'
import { bestRates, runnerOf } from '../evaluate/speed/runner.ts'
import { openTorch } from '../evaluate/speed/torch.ts'
import { attentionProgram } from './attention.ts'
import { native128 } from './native128.ts'
import { contractionProgram } from './programs.ts'
import { shapes } from './shapes.ts'
import { loraRank, modelStep } from './step.ts'

/** Rows, columns, terms, and whether the weight is stored with its columns first. */
type Product = readonly [number, number, number, boolean]

const usualProducts: readonly Product[] = [
  [512, 3072, 768, false],
  [512, 3072, 768, true],
  [128, 3072, 768, false],
  [128, 768, 3072, true],
  [512, 512, 512, false],
]

function products(text: string): Product[] {
  return text.split(',').map((one) => {
    const [m = 0, n = 0, k = 0, ...rest] = one.split('x').map(Number)
    if (rest.length > 0 || !(m > 0 && n > 0 && k > 0)) throw new InvalidArgumentError(`'${one}' is no product such as 256x768x4864.`) // prettier-ignore
    return [m, n, k, false]
  })
}

interface Options {
  readonly toolchain: ToolChainPreference | 'native128'
  readonly threads: string
  readonly turns: string
  readonly steps: string
  readonly length: string
  readonly model: string
  readonly adapt: 'lora' | 'full'
  readonly checkpoints: 'none' | 'every'
  readonly json?: true
  readonly products?: readonly Product[]
  readonly torch: boolean
  readonly step: boolean
  readonly attention?: string
}

const command = new Command('bench')
  .description('Contractions and a whole step of a model at its real shapes, as a share of the measured vector peak.')
  .option('--toolchain <name>', 'auto, host, wasm, or native128: the host with the vectors that wasm has', 'auto')
  .option('--threads <count>', 'threads', '1')
  .option('--turns <count>', 'rounds of contractions; the best is kept', '40')
  .option('--steps <count>', 'training steps; the best is kept', '8')
  .option('--length <tokens>', 'tokens of the sequence', '128')
  .addOption(new Option('--model <name>', 'whose step is taken').choices(Object.keys(shapes)).default('gpt2'))
  .option('--adapt <how>', 'lora or full', 'lora')
  .option('--checkpoints <which>', 'none or every: layers whose values are worked out again', 'none')
  .option('--products <list>', 'contractions of so many rows, columns and terms: 256x768x4864,…', products)
  .option('--no-step', 'contractions only')
  .option(
    '--attention <lengths>',
    'causal attention of 12 heads of 64 with so many tokens, forward and with its backward pass',
  )
  .option('--no-torch', 'without PyTorch beside it')
  .option('--json', 'one JSON object')

command.parse()
const options = command.opts<Options>()
const threads = Number(options.threads)
const chain = options.toolchain === 'native128' ? await native128() : await chooseToolChain(options.toolchain)
const device = chain.isa.name === 'wasmRelaxed' ? wasmDevice() : hostDevice(chain.isa.name)
const profile = { ...scheduleProfile(device, threads), lanes: chain.isa.lanes }
const session = { toolchain: chain, threads }

const peakRunner = await runnerOf('peak', peakProgram(profile), session)
const runners = [peakRunner]
for (const [m, n, k, transposed] of options.products ?? usualProducts) {
  const name = `contraction ${m}×${n}×${k}${transposed ? ', weight stored [out, in]' : ''}`
  runners.push(await runnerOf(name, contractionProgram(m, n, k, transposed, profile), session))
}
for (const length of (options.attention ?? '').split(',').filter(Boolean).map(Number)) {
  for (const isWhole of [false, true]) {
    const name = `attention of ${length} tokens, ${isWhole ? 'forward and backward' : 'forward'}`
    // So many that asking the program takes no time beside them.
    const shape = { sequences: Math.ceil(2048 / length), length, heads: 12, width: 64 }
    runners.push(await runnerOf(name, attentionProgram(shape, isWhole, profile), session))
  }
}
const rates = await bestRates(runners, Number(options.turns))
const results: Record<string, number> = Object.fromEntries(rates)
const extra: Record<string, number> = {}
if (options.step) {
  const { model, adapt, checkpoints } = options
  const step = await modelStep(model, { adapt, length: Number(options.length), checkpoints }, profile, session)
  await step.run()
  const both = await bestRates([peakRunner, step], Number(options.steps))
  results.peak = Math.max(results.peak ?? 0, both.get('peak') ?? 0)
  results[step.name] = both.get(step.name) ?? 0
  const stats = await step.session.stats()
  extra['compile (s, C++ aside)'] = step.compileMilliseconds / 1000
  extra['peak memory (MiB)'] = stats.peakBytes / 2 ** 20
  extra['step (s)'] = step.operations / (results[step.name] ?? 1) / 1e9
  await step.close()
  const torch = options.torch ? await torchSeconds(Number(options.length), threads, Number(options.steps)) : undefined
  if (torch !== undefined) extra['PyTorch step (s)'] = torch
}
for (const runner of runners) await runner.close()
report()

/** Best step of PyTorch, where it is installed. */
async function torchSeconds(length: number, threadCount: number, steps: number): Promise<number | undefined> {
  const shape = shapes[options.model]
  if (!shape) return undefined
  const lora =
    options.adapt === 'full' ? undefined : { rank: loraRank, alpha: 16, targets: shape.targets, rslora: false }
  const batch = { sequences: 1, length, accumulate: 1 }
  const torch = await openTorch({ config: shape.config, lora, ...batch, threads: threadCount, clip: 1 })
  if ('why' in torch) return undefined
  try {
    let best = Number.POSITIVE_INFINITY
    for (let step = 0; step < steps; step++) best = Math.min(best, await torch.step())
    return best
  } finally {
    torch.close()
  }
}

function report(): void {
  const peak = results.peak ?? 1
  if (options.json) {
    const shares = Object.fromEntries(
      Object.entries(results).map(([name, rate]) => [name, { gflops: rate, share: rate / peak }]),
    )
    console.log(JSON.stringify({ toolchain: chain.describe(), isa: chain.isa.name, threads, rates: shares, extra }))
    return
  }
  console.log(`${chain.describe()}, ${threads} thread${threads === 1 ? '' : 's'}`)
  for (const [name, rate] of Object.entries(results)) {
    console.log(
      `  ${name.padEnd(52)} ${rate.toFixed(1).padStart(7)} GFLOP/s ${((rate / peak) * 100).toFixed(0).padStart(4)} % of peak`,
    )
  }
  for (const [name, value] of Object.entries(extra)) console.log(`  ${name.padEnd(52)} ${value.toFixed(2).padStart(7)}`)
}
