// What the arm64 benchmark makes of counts and disassembly, without an emulator: hand-written text in, numbers out.

import assert from 'node:assert/strict'
import { attentionCase, contractionCase } from '../../bench/arm64/cases.ts'
import { kernelIndex } from '../../bench/arm64/count.ts'
import { multiplyAdds, parseInstruction } from '../../bench/arm64/disassembly.ts'
import type { Instruction } from '../../bench/arm64/disassembly.ts'
import { parseCounts, perInstruction, totalInstructions } from '../../bench/arm64/emulator.ts'
import { executed, executedMultiplyAdds, stretchesOf } from '../../bench/arm64/stretches.ts'
import { workOf } from '../../bench/arm64/work.ts'

const profile = { name: 'test', lanes: 4, tile: { rows: 8, vectors: 3 }, privateCache: 1 << 19, threads: 1 }

function instruction(line: string): Instruction {
  const parsed = parseInstruction(line)
  assert.ok(parsed, line)
  return parsed
}

/** As llvm-objdump 22 writes it. */
const loop = [
  '  1000:      \tmov\tx0, #0x0                   // =0',
  '  1004:      \tfmla\tv0.4s, v1.4s, v2.s[1]',
  '  1008:      \tfmadd\ts3, s1, s2, s3',
  '  100c:      \tcbz\tx1, 0x1018 <kernel_3_x+0x18>',
  '  1010:      \tsubs\tx0, x0, #0x1',
  '  1014:      \tb.ne\t0x1004 <kernel_3_x+0x4>',
  '  1018:      \tret',
  '  101c:      \tfmul\tv0.4s, v1.4s, v2.4s',
].map(instruction)

describe('arm64 benchmark: disassembly', () => {
  it('reads addresses, targets and comments', () => {
    assert.deepEqual(loop[0], { address: 0x1000, text: 'mov x0, #0x0', target: undefined })
    assert.deepEqual(loop[5], { address: 0x1014, text: 'b.ne elsewhere', target: 0x1004 })
    assert.deepEqual(instruction('  40:\ttbz\tw3, #0x2, 0x80 <a(b<c>)+0x40>'), {
      address: 0x40,
      text: 'tbz w3, #0x2, elsewhere',
      target: 0x80,
    })
    assert.equal(parseInstruction('0000000000401000 <kernel_3_x>:'), undefined)
    assert.equal(parseInstruction(''), undefined)
  })

  it('counts the lanes of multiply-adds', () => {
    const lanes = (text: string): number => multiplyAdds({ address: 0, text, target: undefined })
    assert.equal(lanes('fmla v0.4s, v1.4s, v2.4s'), 4)
    assert.equal(lanes('fmls v10.4s, v1.4s, v2.s[3]'), 4)
    assert.equal(lanes('fmla v0.2s, v1.2s, v2.2s'), 2)
    assert.equal(lanes('fmla s0, s1, v2.s[1]'), 1)
    assert.equal(lanes('fmadd s0, s1, s2, s3'), 1)
    assert.equal(lanes('fmul v0.4s, v1.4s, v2.4s'), 0)
    assert.equal(lanes('mla v0.4s, v1.4s, v2.4s'), 0)
  })

  it('knows the kernel of a mangled name', () => {
    assert.equal(kernelIndex('_ZN16heddle_generatedL16kernel_12_rows_3EPKiPKPvPhll'), 12)
    assert.equal(kernelIndex('_ZN16heddle_generatedL16kernel_12_rows_3EPKiPKPvPhll.part.0'), 12)
    assert.equal(kernelIndex('main'), undefined)
    assert.equal(kernelIndex('my_kernel_3_'), undefined)
  })
})

describe('arm64 benchmark: counts', () => {
  it('adds up blocks that overlap', () => {
    const blocks = parseCounts('1000 6 1\n1004 5 9\n1018 1 1\n2000 3 0\nend\n')
    assert.equal(totalInstructions(blocks), 6 + 45 + 1)
    const counts = perInstruction(blocks)
    assert.deepEqual(
      [...counts.keys()].sort((a, b) => a - b),
      [0x1000, 0x1004, 0x1008, 0x100c, 0x1010, 0x1014, 0x1018],
    )
    assert.equal(counts.get(0x1000), 1)
    assert.equal(counts.get(0x1014), 10)
  })

  it('refuses counts that are torn or strange', () => {
    assert.throws(() => parseCounts('1000 6 1\n'), /did not finish/)
    assert.throws(() => parseCounts(''), /did not finish/)
    assert.throws(() => parseCounts('1000 6\nend\n'), /wrote '1000 6'/)
  })

  it('cuts stretches at changes of the count and at jumps backward, and loses nothing', () => {
    const counts = perInstruction(parseCounts('1000 6 1\n1004 5 9\n1018 1 1\nend\n'))
    const stretches = stretchesOf({ symbol: 'kernel_3_x', instructions: loop }, counts)
    assert.deepEqual(
      stretches.map(({ instructions, executions, isLoop }) => [instructions.length, executions, isLoop]),
      [
        [1, 1, false],
        [5, 10, true],
        [1, 1, false],
      ],
    )
    assert.equal(executed(stretches), 52)
    assert.equal(executedMultiplyAdds(stretches), 50)
    assert.equal(stretches[1]?.vectorMultiplyAdds, 1)
  })

  it('cuts behind a jump backward even where counts are alike', () => {
    const counts = perInstruction(parseCounts('1000 6 1\n1018 1 1\nend\n'))
    const stretches = stretchesOf({ symbol: 'kernel_3_x', instructions: loop }, counts)
    assert.deepEqual(
      stretches.map(({ instructions }) => instructions.length),
      [6, 1],
    )
  })
})

describe('arm64 benchmark: work', () => {
  it('is every place of a product times what is summed over', () => {
    const { program, scheduled, called } = contractionCase([5, 7, 11], true, profile)
    const [work] = workOf(program, scheduled, called).values()
    assert.equal(work?.useful, 5 * 7 * 11)
    assert.equal(work?.recomputed, 0)
    assert.equal(work?.launches, 1)
  })

  it('counts both products of attention once, whatever is masked', () => {
    const { program, scheduled, called } = attentionCase([65, 3, 16], profile)
    const work = [...workOf(program, scheduled, called).values()]
    const sum = (of: 'useful' | 'recomputed'): number => work.reduce((total, each) => total + each[of], 0)
    assert.equal(sum('useful'), 2 * 65 * 65 * 3 * 16)
    assert.equal(sum('recomputed'), 0)
  })
})
