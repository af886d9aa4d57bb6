// A LoRA step of GPT-2 124M (r = 8, 1×128, random weights) on the host: its peak resident memory against the plan's
// certificate, and no allocation on the step's path. Needs a host compiler and half a gigabyte of disk and of memory.

import assert from 'node:assert/strict'
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { openSession } from '../../backends/neon/driver/index.ts'
import type { FrozenRange, Session } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { hostDevice, scheduleProfile } from '../../devices/index.ts'
import { certify } from '../../train/certificate.ts'
import type { Certificate } from '../../train/certificate.ts'
import { compileGpt2 } from '../memory/gpt2Sizes.ts'
import { withFunctions } from '../support/trainCase.ts'

const threads = 2
const length = 128
const vocabulary = 50257

/** One file with random frozen tensors, one after another; the same numbers every time. */
async function writeFrozen(path: string, program: Program): Promise<FrozenRange[]> {
  const ranges: FrozenRange[] = []
  let end = 0
  for (const { role, bytes } of program.values) {
    if (role !== 'frozen') continue
    ranges.push({ path, offset: end, bytes })
    end += bytes
  }
  const block = new Float32Array(1 << 20)
  let state = 1
  for (let place = 0; place < block.length; place++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    block[place] = (state / 2 ** 31) * 0.035
  }
  const file = createWriteStream(path)
  for (let left = end; left > 0; left -= block.byteLength) {
    const part = new Uint8Array(block.buffer, 0, Math.min(left, block.byteLength))
    if (!file.write(part)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'finish')
  return ranges
}

describe('GPT-2 124M, one LoRA step', function () {
  this.timeout(1_500_000)
  let folder = ''
  let session: Session
  let certificate: Certificate
  const losses: number[] = []

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-memory-'))
    const chain = await chooseToolChain('host')
    const device = hostDevice(chain.isa.name)
    const sizes = { width: 768, heads: 12, layers: 12, vocabulary, positions: 1024, length, mode: 'lora' } as const
    const compiled = compileGpt2(sizes, scheduleProfile(device, threads))
    const program = withFunctions(compiled.program, ['accumulate', 'measure', 'apply'])
    certificate = certify({ program, arenas: compiled.arenas }, { device, threads, memoryBudget: device.memoryBudget })
    const frozen = await writeFrozen(join(folder, 'frozen.bin'), program)
    session = await openSession(program, { toolchain: chain, threads, frozen, countAllocations: true })
    const ids = (factor: number): Int32Array => Int32Array.from({ length }, (_, place) => (place * factor) % vocabulary)
    await session.write('tokens', ids(7919))
    await session.write('targets', ids(104729))
    await session.write('weights', new Float32Array(length).fill(1))
    for (let step = 0; step < 3; step++) {
      assert.deepEqual(await session.step({ seq: length }, step === 1 ? 'more' : 'last'), { status: 'ok' })
      losses.push((await session.read('report/loss'))[0] ?? NaN)
    }
  })
  after(async () => {
    await session?.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('trains', () => {
    assert.ok(
      losses.every((loss) => Number.isFinite(loss) && loss > 5 && loss < 20),
      losses.join(),
    )
    assert.ok((losses[2] ?? NaN) < (losses[0] ?? NaN), losses.join())
  })

  // Weights as stored + state + arena + inputs + scratch of every thread + what the device profile states for the
  // run-time itself: exactly what `heddle plan` prints.
  it('stays within 5 % of the certificate', async () => {
    const { peakBytes } = await session.stats()
    const off = peakBytes / certificate.peakBytes - 1
    console.log(
      `      measured ${peakBytes} bytes, planned ${certificate.peakBytes} (${(100 * off).toFixed(2)} %): ${JSON.stringify(certificate.parts)}`,
    )
    assert.ok(Math.abs(off) < 0.05, `measured ${peakBytes} bytes, planned ${JSON.stringify(certificate.parts)}`)
    const planned = certificate.peakBytes - certificate.parts.weights - certificate.parts.runtime
    const given = session.describe().memoryBytes
    assert.ok(Math.abs(given / planned - 1) < 0.01, `the session has ${given} bytes, the plan says ${planned}`)
  })

  it('allocates nothing during its steps', async () => {
    const { allocations } = await session.stats()
    assert.ok(allocations, 'the build does not count')
    assert.equal(allocations.inCalls, 0)
    assert.ok(allocations.inAll > 0, 'the counter counts nothing')
  })
})
