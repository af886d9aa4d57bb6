// PyTorch's logits of models and adapters as a Python process gives them, which is started once: loading its libraries
// takes longer than a small model. Knows no tool chain. Needs the Python oracle (`.venv`, or HEDDLE_ORACLE_PYTHON).

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { LogitFingerprint } from './oracle.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface LogitQuestion {
  readonly modelDirectory: string
  /** Whose `tokens` are continued. */
  readonly batchFile: string
  readonly adapterDirectory?: string
}

interface Answering {
  readonly child: ChildProcessWithoutNullStreams
  readonly lines: AsyncIterator<string>
  /** What it complained about. */
  said: string
}

export class OracleProcess {
  #answering: Answering | undefined

  #start(): Answering {
    const python = process.env['HEDDLE_ORACLE_PYTHON'] ?? join(root, '.venv/bin/python')
    assert.ok(existsSync(python), `${python} is missing; npm run setup:full makes it`)
    const child = spawn(python, [join(root, 'tools/oracle/check_logits.py')])
    const answering = { child, lines: createInterface(child.stdout)[Symbol.asyncIterator](), said: '' }
    child.stderr.setEncoding('utf8').on('data', (text: string) => (answering.said += text))
    // A question to a process that has ended is told by its missing answer.
    child.stdin.on('error', () => {})
    return answering
  }

  /** One question at a time; one that the oracle refuses throws what it says and ends it, and the next starts it anew. */
  async logits({ modelDirectory, batchFile, adapterDirectory }: LogitQuestion): Promise<LogitFingerprint> {
    const answering = (this.#answering ??= this.#start())
    const { child, lines } = answering
    child.stdin.write(
      `${JSON.stringify([modelDirectory, batchFile, ...(adapterDirectory === undefined ? [] : [adapterDirectory])])}\n`,
    )
    const { value, done } = await lines.next()
    if (done !== true) return JSON.parse(value) as LogitFingerprint
    this.#answering = undefined
    await ended(child)
    throw new Error(`the oracle gives no logits of ${adapterDirectory ?? modelDirectory}: ${answering.said}`)
  }

  async close(): Promise<void> {
    const child = this.#answering?.child
    this.#answering = undefined
    if (!child) return
    child.stdin.end()
    await ended(child)
  }
}

async function ended(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('close', resolve))
}
