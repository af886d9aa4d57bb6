// Counts of the arm64 benchmark where they are made: against arithmetic on a program whose every instruction is known,
// against the emulator's own log, and against the multiply-adds of a contraction. Cycles against what llvm-mca must say.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { neon } from '../../backends/neon/isa/neon.ts'
import { attentionCase, contractionCase, stepCase } from '../../bench/arm64/cases.ts'
import { countCase } from '../../bench/arm64/count.ts'
import { CycleModel, issueLimit } from '../../bench/arm64/cycles.ts'
import { disassemble } from '../../bench/arm64/disassembly.ts'
import { countingLauncher, parseCounts, perInstruction, totalInstructions } from '../../bench/arm64/emulator.ts'
import { modelCase } from '../../bench/arm64/model.ts'
import { processors } from '../../bench/arm64/processors.ts'
import { asJson, asText, totalsOf } from '../../bench/arm64/report.ts'
import type { Totals } from '../../bench/arm64/report.ts'
import { executed, stretchesOf } from '../../bench/arm64/stretches.ts'

const profile = { name: 'arm64', lanes: neon.lanes, tile: neon.tiles, privateCache: 1 << 19, threads: 1 }

const [outer, inner] = [37, 1009]
/** Two nested loops, a jump that is taken every other time, a call, and the end; no library. */
const assembly = `
.text
.globl _start
_start:
  mov x0, #${outer}
outer:
  mov x1, #${inner}
inner:
  fmla v0.4s, v1.4s, v2.4s
  tbz x1, #0, even
  add x2, x2, #1
even:
  subs x1, x1, #1
  b.ne inner
  bl leaf
  subs x0, x0, #1
  b.ne outer
  mov x0, #0
  mov x8, #94
  svc #0
.type leaf, %function
leaf:
  ret
`
const odd = Math.ceil(inner / 2)
const expected = 1 + outer * (1 + inner * 4 + odd + 4) + 3

function mustRun(command: string, operands: readonly string[]): { stderr: string } {
  const ran = spawnSync(command, operands, { encoding: 'utf8', env: { PATH: process.env['PATH'] }, maxBuffer: 1 << 28 })
  assert.equal(ran.status, 0, `${command}: ${ran.stderr.slice(-400)}`)
  return ran
}

/** Instructions by the emulator's own log: the length of each block as it is translated, and each execution. */
function loggedInstructions(path: string): number {
  const { stderr } = mustRun('qemu-aarch64', ['-cpu', 'max', '-d', 'exec,nochain,in_asm', path])
  const lengths = new Map<string, number>()
  let start: string | undefined
  let sum = 0
  for (const line of stderr.split('\n')) {
    if (line.startsWith('IN:')) start = undefined
    const [, at] = /^0x([0-9a-f]{8,16}): {2}[0-9a-f]{8} /.exec(line) ?? []
    if (at !== undefined) {
      start ??= at.padStart(16, '0')
      lengths.set(start, (lengths.get(start) ?? 0) + 1)
    }
    const [, ran] = /^Trace .*\[[0-9a-f]+\/([0-9a-f]{16})\//.exec(line) ?? []
    if (ran !== undefined) sum += lengths.get(ran) ?? NaN
  }
  return sum
}

describe('arm64 benchmark under emulation', function () {
  this.timeout(240_000)
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-counts-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('counts a known program to the instruction, as the emulator’s own log does', async () => {
    const [source, path, output] = ['loops.S', 'loops', 'blocks'].map((name) => join(folder, name)) as [string, string, string]
    await writeFile(source, assembly)
    mustRun('aarch64-linux-gnu-g++-12', ['-nostdlib', '-static', source, '-o', path])
    const [command, ...operands] = await countingLauncher(output)
    mustRun(command ?? '', [...operands, path])
    const blocks = parseCounts(await readFile(output, 'utf8'))
    assert.equal(totalInstructions(blocks), expected)
    assert.equal(loggedInstructions(path), expected)

    const counts = perInstruction(blocks)
    const functions = await disassemble(path)
    const stretches = functions.flatMap((fn) => stretchesOf(fn, counts))
    assert.equal(executed(stretches), expected, 'no executed instruction is lost between blocks and stretches')
    const body = stretches.find(({ multiplyAdds }) => multiplyAdds > 0)
    assert.equal(body?.executions, outer * inner)
    assert.equal(body?.instructions.length, 2)
  }) // prettier-ignore

  it('finds each multiply-add of a contraction, twice the same, with either compiler', async () => {
    const [m, n, k] = [16, 48, 40] as const
    const counted = await countCase(contractionCase([m, n, k], false, profile), { compiler: 'g++', tune: 'cortex-a76' })
    const again = await countCase(contractionCase([m, n, k], false, profile), { compiler: 'g++', tune: 'cortex-a76' })
    const clang = await countCase(contractionCase([m, n, k], false, profile), { compiler: 'clang', tune: 'cortex-a76' })
    for (const each of [counted, clang]) {
      const totals = totalsOf(each.kernels)
      assert.equal(totals.useful, m * n * k)
      // Tiles of 8 × 8 leave no edge.
      assert.equal(totals.executed, m * n * k)
      assert.ok(totals.instructions > totals.executed / 4 && totals.instructions < totals.executed)
      assert.ok(each.elsewhere > 0)
    }
    assert.deepEqual(
      again.kernels.map(({ instructions }) => instructions),
      counted.kernels.map(({ instructions }) => instructions),
    )
  })

  it('tells what masks leave out from what edges add', async () => {
    const counted = await countCase(attentionCase([320, 1, 48], profile), {
      compiler: 'g++',
      tune: 'cortex-a76',
      optimise: 'light',
    })
    const totals = totalsOf(counted.kernels)
    assert.equal(totals.useful, 2 * 320 * 320 * 48)
    assert.ok(totals.executed < totals.useful, 'blocks above the diagonal are not computed')
  })

  it('keeps what a step recomputes apart from what it needs', async () => {
    const sizes = { layers: 1, width: 32, heads: 2, vocabulary: 67, length: 17 }
    const totals = async (checkpoints: 'none' | 'every'): Promise<Totals> =>
      totalsOf(
        (
          await countCase(stepCase({ ...sizes, checkpoints }, profile), {
            compiler: 'g++',
            tune: 'cortex-a76',
            optimise: 'light',
          })
        ).kernels,
      )
    const kept = await totals('none')
    const every = await totals('every')
    assert.equal(every.useful, kept.useful)
    assert.ok(every.recomputed > kept.recomputed)
    assert.ok(every.instructions > kept.instructions)
    // 2 F + 3 A + 3 R and the targets' own logits, but for the first layer's input, whose gradient goes nowhere.
    const { layers, width, vocabulary, length } = sizes
    const frozen = length * (layers * 12 * width * width + vocabulary * width)
    const attention = 2 * length * length * width * layers
    const adapters = length * layers * 8 * 16 * width
    const nowhere = length * (3 * width * width + 8 * width)
    assert.equal(kept.useful, 2 * frozen + 3 * attention + 3 * adapters + length * width - nowhere)
  })
})

describe('arm64 benchmark: modelled cycles', function () {
  this.timeout(120_000)

  it('knows every processor, none by another one’s tables', async () => {
    const limits = await Promise.all(processors.map(({ name }) => issueLimit(name)))
    // Where llvm-mca has no tables for a processor it takes those of one that starts one multiply-add a cycle.
    for (const [place, limit] of [2, 4, 4, 2, 2].entries()) {
      assert.ok(Math.abs((limits[place] ?? 0) - limit) < 0.02 * limit, `${processors[place]?.name}: ${limits[place]}`)
    }
  })

  it('takes as long for a chain as its latency, and refuses what it was not given', async () => {
    const model = new CycleModel('neoverse-n1')
    const [chain, free] = ['fadd v0.4s, v0.4s, v1.4s', 'fadd v0.4s, v1.4s, v2.4s']
    await model.learn([chain, free, chain])
    assert.ok(Math.abs(model.cycles(chain) - 2) < 0.05, `${model.cycles(chain)}`)
    assert.ok(Math.abs(model.cycles(free) - 0.5) < 0.05, `${model.cycles(free)}`)
    assert.throws(() => model.cycles('nop'), /not given/)
    await assert.rejects(model.learn(['no such instruction']), /llvm-mca-22 for neoverse-n1 ended/)
  })

  it('keeps the inner loop of a contraction within a tenth of the issue limit, and at 1.10 on a core in order', async () => {
    for (const transposed of [false, true]) {
      const what = contractionCase([64, 64, 256], transposed, profile)
      for (const [tune, names] of [['cortex-a76', ['neoverse-n1', 'cortex-x1']], ['cortex-a55', ['cortex-a55']]] as const) {
        const counted = await countCase(what, { compiler: 'g++', tune })
        const totals = totalsOf(counted.kernels)
        assert.ok((4 * totals.instructions) / totals.useful < 1.45, `${totals.instructions} for ${totals.useful}`)
        for (const name of names) {
          const { limit, kernels: [kernel] } = await modelCase(counted, name)
          const inner = kernel?.inner
          assert.ok(inner && inner.spills === 0 && inner.share > 0.95, name)
          const least = name === 'cortex-a55' ? 1.1 / limit : 0.9
          assert.ok(inner.shareOfLimit >= least, `${name}: ${inner.shareOfLimit}`)
        }
      }
    }
  }) // prettier-ignore

  it('adds up to tables that say they are a model', async () => {
    const what = contractionCase([16, 24, 40], true, profile)
    const counted = await countCase(what, { compiler: 'g++', tune: 'cortex-a76' })
    const modelled = await modelCase(counted, 'neoverse-n1')
    const cycles = modelled.kernels.reduce((sum, each) => sum + each.cycles, 0)
    const useful = 16 * 24 * 40
    // No faster than the issue limit, no slower than one instruction after another through the whole pipeline.
    assert.ok(cycles > useful / 4 / modelled.limit && cycles < 10 * totalsOf(counted.kernels).instructions, `${cycles}`)
    assert.match(
      asText(what.name, counted, [modelled], 5),
      /contraction_0 [^]*a model[^]*No Arm processor was measured/,
    )
    assert.match(JSON.stringify(asJson(what.name, counted, [modelled])), /"note":"[^"]*a model/)
  })
})
