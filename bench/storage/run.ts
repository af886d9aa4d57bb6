// npm run bench:storage: what it costs to leave weights in a file. The same step with everything in memory, then through a pacer
// at one bandwidth after another, all in one run; peak memory beside what the certificate promised.

import type { Pace } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { storageRate } from '../../compiler/plan/rates.ts'
import { timetables } from '../../compiler/plan/timetable.ts'
import { hostDevice } from '../../devices/index.ts'
import { predictionRates } from '../../train/storage.ts'
import { storageOptions } from './options.ts'
import { storedStep } from './plan.ts'
import type { StoredStep } from './plan.ts'
import { priceOf, priceText } from './price.ts'
import { runStored } from './step.ts'
import type { StoredRun } from './step.ts'

const options = storageOptions(process.argv)
const { length, threads, steps, latency } = options
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
for (const rate of options.rates) {
  const [reading, writing] = [rate * 1e6, rate * 1e6 * options.writeShare]
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
  const price = priceOf(measured.seconds, storageSeconds, inMemory?.seconds)
  runs.push({ rate, ...measured, certificate, storageSeconds, ...price })
  say(
    `${String(rate).padStart(5)} MB/s            ${measured.seconds.toFixed(2)} s   ${priceText(price, storageSeconds)}` +
      `   peak ${mebibytes(measured.peakBytes)} MiB, promised ${mebibytes(certificate.peakBytes)} (${((measured.peakBytes / certificate.peakBytes - 1) * 100).toFixed(1)} %)` +
      `${inMemory && Object.is(measured.losses.at(-1), inMemory.losses.at(-1)) ? ', the same loss' : ''}`,
  )
}
if (options.json) console.log(JSON.stringify({ ...common, memory, inMemory, runs }))
