// PyTorch beside our own steps: a process that makes one step when it is told to, so that both take turns. Where it is
// not installed, or does not know the model, that is said and nothing is compared.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { InternalError } from '../../compiler/diagnostic.ts'

export interface TorchSettings {
  /** As `config.json` states it. */
  readonly config: Readonly<Record<string, unknown>>
  /** All parameters are trained without it. */
  readonly lora:
    | { readonly rank: number; readonly alpha: number; readonly targets: readonly string[]; readonly rslora: boolean }
    | undefined
  readonly sequences: number
  readonly length: number
  readonly accumulate: number
  readonly threads: number
  readonly clip: number | undefined
}

export interface Torch {
  /** Makes one optimizer step; its seconds. */
  step(): Promise<number>
  close(): void
}

const script = fileURLToPath(new URL('./torch_step.py', import.meta.url))
const LONGEST_REASON = 300

/** Pythons that may have PyTorch, the most explicit first. */
function pythons(): string[] {
  const stated = process.env['HEDDLE_ORACLE_PYTHON']
  const besides = ['.venv/bin/python', fileURLToPath(new URL('../../.venv/bin/python', import.meta.url))]
  return [...(stated === undefined ? [] : [stated]), ...besides.filter((path) => existsSync(path)), 'python3']
}

/** A process that is ready to step, or why there is none. `signal` kills it. */
export async function openTorch(
  settings: TorchSettings,
  signal?: AbortSignal,
): Promise<Torch | { readonly why: string }> {
  const given = JSON.stringify({ ...settings, lora: settings.lora ?? null, clip: settings.clip ?? null })
  let why = 'there is no Python'
  for (const python of pythons()) {
    const opened = await open(python, given, signal)
    if (!('why' in opened)) return opened
    why = opened.why
    // Another Python may have what this one lacks; none would know a model that this one's transformers does not.
    if (!/ModuleNotFoundError|ImportError|cannot be started/.test(why)) break
  }
  return { why }
}

async function open(python: string, given: string, signal?: AbortSignal): Promise<Torch | { readonly why: string }> {
  const child = spawn(python, [script, given], { stdio: ['pipe', 'pipe', 'pipe'], ...(signal ? { signal } : {}) })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4096)
  })
  // A write to a child that died; its end shows when the lines end.
  child.stdin.on('error', () => {})
  let notStarted: string | undefined
  child.on('error', (error) => {
    notStarted = `${python} cannot be started: ${error.message}`
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const reason = (): string =>
    notStarted ?? (said.trim().split('\n').at(-1) ?? 'it ended').replace(/[^\x20-\x7e]+/g, ' ').slice(0, LONGEST_REASON)
  const next = async (): Promise<string | undefined> => {
    const line = await lines.next()
    return line.done === true ? undefined : line.value
  }
  if ((await next()) !== 'ready') {
    child.kill('SIGKILL')
    return { why: reason() }
  }
  return {
    step: async () => {
      child.stdin.write('\n')
      const seconds = Number(await next())
      if (seconds > 0) return seconds
      throw new InternalError(`PyTorch's step failed: ${reason()}`)
    },
    close: () => {
      child.kill('SIGKILL')
    },
  }
}
