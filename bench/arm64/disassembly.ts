// The instructions of a program's functions, as llvm-objdump 22 prints them. Knows no counts and no cycles.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface Instruction {
  readonly address: number
  /** For an assembler: targets of jumps are replaced by a name. */
  readonly text: string
  /** Where it may jump to, when that is written in it. */
  readonly target: number | undefined
}

export interface MachineFunction {
  readonly symbol: string
  readonly instructions: readonly Instruction[]
}

const disassembler = 'llvm-objdump-22'

/** All functions of an executable, in the order of their addresses. */
export async function disassemble(path: string): Promise<readonly MachineFunction[]> {
  const child = spawn(disassembler, ['-d', '--no-show-raw-insn', path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  // Its rejection is awaited below; until then it must not count as unhandled.
  ended.catch(() => {})
  const functions: { symbol: string; instructions: Instruction[] }[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    const header = /^[0-9a-f]{16} <(.+)>:$/.exec(line)
    if (header?.[1] !== undefined) functions.push({ symbol: header[1], instructions: [] })
    const instruction = parseInstruction(line)
    if (instruction) functions.at(-1)?.instructions.push(instruction)
  }
  const code = await ended
  if (code !== 0) throw new Error(`${disassembler} ended with ${code}`)
  return functions
}

/** A line of the disassembler; undefined for anything but an instruction. */
export function parseInstruction(line: string): Instruction | undefined {
  const [, address, written] = /^\s*([0-9a-f]+):\s+(\S.*)$/.exec(line) ?? []
  if (address === undefined || written === undefined) return undefined
  const text = written.replace(/\s*\/\/.*$/, '').replaceAll(/\s+/g, ' ')
  const [, target] = /(?:^|[ ,])0x([0-9a-f]+) <[^>]*>+/.exec(text) ?? []
  return {
    address: Number.parseInt(address, 16),
    text: text.replace(/0x[0-9a-f]+ <.*$/, 'elsewhere'),
    target: target === undefined ? undefined : Number.parseInt(target, 16),
  }
}

/** Multiply-adds that an instruction does: its lanes for the vector forms, one for the scalar ones. */
export function multiplyAdds({ text }: Instruction): number {
  const [, mnemonic, lanes] = /^(\S+)(?: v\d+\.(\d+)[a-z])?/.exec(text) ?? []
  if (mnemonic === 'fmadd' || mnemonic === 'fmsub' || mnemonic === 'fnmadd' || mnemonic === 'fnmsub') return 1
  if (mnemonic !== 'fmla' && mnemonic !== 'fmls') return 0
  // By element, `fmla s0, s1, v2.s[1]`, there is one.
  return lanes === undefined ? 1 : Number(lanes)
}

/** Jumps that never go on to the next instruction. */
export function endsPath({ text }: Instruction): boolean {
  return /^(?:b|br|ret|udf)(?: |$)/.test(text)
}

/** Jumps on a condition, or without one. Calls are not among them: they come back. */
export function jumps({ text }: Instruction): boolean {
  return /^(?:b|br|ret|b\.\w+|bc\.\w+|cbz|cbnz|tbz|tbnz)(?: |$)/.test(text)
}
