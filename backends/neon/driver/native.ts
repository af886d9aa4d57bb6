// A compiled program as a child process, driven over its standard input and output (`runtime/heddle_main.h`). Knows the
// commands, not what any function computes.

import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { InternalError, UserError } from '../../../compiler/diagnostic.ts'
import { storageFailure } from './device.ts'
import type { Device, DeviceOptions, Run, RunResult } from './device.ts'
import { DecisionReader, energyUse, governCommand } from './governor.ts'
import type { Decision, EnergyUse, GovernorPolicy } from './governor.ts'
import { ReplyReader } from './replies.ts'
import type { Reply } from './replies.ts'
import type { SessionStats } from './session.ts'

/** What is kept of standard error: enough for a last line. */
const KEPT_ERROR_TEXT = 4096

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
}

/**
 * Starts an executable made by a native tool chain and opens its session. `launcher` stands in front of the path (an
 * emulator). UserError HD711 when a frozen file cannot be read or the state file not be made, HD715 when threads or memory
 * are refused; InternalError when the process dies.
 */
export async function openNativeDevice(
  path: string,
  launcher: readonly string[],
  options: DeviceOptions,
): Promise<Device> {
  for (const { path: file } of filesOf(options)) {
    if (/[\n\0]/.test(file)) throw new UserError('HD711', 'the file name holds a line break', { place: { file } })
  }
  const process = new ProgramProcess(path, launcher, options.signal)
  try {
    const lines = options.frozen.map(({ offset, bytes, path: file }) => `${offset} ${bytes} ${file}\n`)
    if (options.stored) lines.push(`${options.stored.path}\n`)
    const { bytesPerSecond = 0, latencySeconds = 0, writeBytesPerSecond = bytesPerSecond } = options.pace ?? {}
    const pace = [bytesPerSecond, latencySeconds * 1e6, writeBytesPerSecond].map(Math.round).join(' ')
    const opening = `open ${options.threads} ${options.profile ? 1 : 0} ${options.frozen.length} ${pace}\n${lines.join('')}`
    const reply = await process.ask(opening)
    if (reply.fields['ok'] !== true) throw refusal(reply, options)
    return new NativeDevice(process, Number(reply.fields['bytes']), options)
  } catch (error) {
    await process.end()
    throw error
  }
}

function filesOf({ frozen, stored }: DeviceOptions): { readonly path: string }[] {
  return stored ? [...frozen, stored] : [...frozen]
}

function refusal(reply: Reply, options: DeviceOptions): Error {
  const message = String(reply.fields['message'])
  if (reply.fields['code'] === 'file') {
    const file = filesOf(options).find((range) => message.startsWith(`${range.path}: `))?.path
    if (file === undefined) return new UserError('HD711', `a weight file cannot be read: ${message}`)
    return new UserError('HD711', message.slice(file.length + 2), { place: { file } })
  }
  if (reply.fields['code'] === 'refused') return new UserError('HD715', message)
  return new InternalError(`the compiled program did not open: ${message}`)
}

class NativeDevice implements Device {
  readonly memoryBytes: number
  readonly #process: ProgramProcess
  readonly #files: Pick<DeviceOptions, 'frozen' | 'stored'>

  constructor(process: ProgramProcess, memoryBytes: number, files: Pick<DeviceOptions, 'frozen' | 'stored'>) {
    this.#process = process
    this.#files = files
    this.memoryBytes = memoryBytes
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    this.#expectOk(await this.#process.ask(`write ${bytes.byteLength} ${name}\n`, bytes))
  }

  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.#expectOk(await this.#process.ask(`read ${name}\n`)).payload
  }

  async output(fn: string, name: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.#expectOk(await this.#process.ask(`output ${fn} ${name}\n`)).payload
  }

  run(run: Run, sizes: readonly number[]): Promise<RunResult> {
    if ('settle' in run) return this.#result('settle\n')
    const what = 'call' in run ? `call ${run.call}` : `step ${run.step}`
    return this.#result(`${what} ${sizes.join(' ')}\n`)
  }

  resume(): Promise<RunResult> {
    return this.#result('resume\n')
  }

  pauseAfter(launches: number): void {
    this.#process.tell(`pause ${launches}\n`)
  }

  async govern(policy: GovernorPolicy | undefined, tell: (decision: Decision) => void): Promise<void> {
    const decisions = new DecisionReader()
    this.#process.hear((fields) => tell(decisions.read(fields)))
    this.#expectOk(await this.#process.ask(governCommand(policy)))
  }

  async energy(): Promise<EnergyUse> {
    return energyUse(this.#expectOk(await this.#process.ask('energy\n')).fields)
  }

  finish(): void {
    this.#process.tell('finish now\n')
  }

  async stats(): Promise<SessionStats> {
    const { fields } = this.#expectOk(await this.#process.ask('stats\n'))
    const kernels = fields['kernels'] as { name: string; launches: number; microseconds: number }[]
    const [inAll, inCalls] = [fields['allocations'], fields['callAllocations']]
    return {
      residentBytes: Number(fields['residentBytes']),
      peakBytes: Number(fields['peakBytes']),
      allocations: typeof inAll === 'number' && typeof inCalls === 'number' ? { inAll, inCalls } : undefined,
      kernels,
    }
  }

  async keep(): Promise<{ version: number; slot: 0 | 1; sum: string }> {
    const { fields } = this.#expectOk(await this.#process.ask('keep\n'))
    return { version: Number(fields['version']), slot: fields['slot'] === 1 ? 1 : 0, sum: String(fields['sum']) }
  }

  close(): Promise<void> {
    return this.#process.end()
  }

  async #result(command: string): Promise<RunResult> {
    const { fields } = await this.#process.ask(command)
    if (fields['ok'] !== true) {
      if (fields['code'] === 'storage') return { status: 'storageFailed', error: this.#storageFailure(fields) }
      return { status: 'refused', message: String(fields['message']) }
    }
    if (fields['status'] === 'notFinite') return { status: 'notFinite', value: String(fields['value']) }
    const { status } = fields
    return { status: status === 'paused' || status === 'abandoned' ? status : 'ok' }
  }

  #expectOk(reply: Reply): Reply {
    const { fields } = reply
    if (fields['ok'] === true) return reply
    if (fields['code'] === 'storage') throw this.#storageFailure(fields)
    throw new InternalError(`the compiled program refused: ${String(fields['message'])}`)
  }

  /** Frozen tensors are told by their number, the state file by one below. */
  #storageFailure({ message, file }: Reply['fields']): UserError {
    const { frozen, stored } = this.#files
    const path = file === -1 ? stored?.path : frozen[Number(file)]?.path
    const moved = { path: path ?? '', holds: file === -1 ? 'states' : 'weights' } as const
    return storageFailure(String(message), path === undefined ? undefined : moved)
  }
}

function killed(): UserError {
  return new UserError('HD718', 'the compiled program was killed, perhaps because memory ran out', {
    mend: 'what was saved is whole: go on with --resume, with a smaller --memory where memory ran out',
  })
}

/** The child: commands in, replies out in the same order, and what is left when it dies. */
class ProgramProcess {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #waiting: Waiting[] = []
  readonly #ended: Promise<void>
  #listener: (fields: Reply['fields']) => void = () => {}
  #errorText = ''
  #failure: Error | undefined
  #isEnding = false

  constructor(path: string, launcher: readonly string[], signal: AbortSignal | undefined) {
    const [emulator, ...operands] = launcher
    const command = emulator ?? path
    this.#child = spawn(command, emulator === undefined ? [] : [...operands, path], { stdio: ['pipe', 'pipe', 'pipe'] })
    const reader = new ReplyReader((reply) => this.#take(reply))
    this.#child.stdout.on('data', (chunk: Buffer) => {
      const problem = reader.take(chunk)
      if (problem !== undefined)
        this.#kill(new InternalError(`the compiled program said something strange: ${problem}`))
    })
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#errorText = (this.#errorText + chunk.toString('utf8')).slice(-KEPT_ERROR_TEXT)
    })
    // A write to a child that died; its end is reported by 'close'.
    this.#child.stdin.on('error', () => {})
    const abort = (): void => this.#kill(signal?.reason instanceof Error ? signal.reason : new Error('aborted'))
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted === true) abort()
    this.#ended = new Promise((resolve) => {
      this.#child.on('error', (error) => {
        this.#fail(new InternalError(`the compiled program cannot be started: ${error.message}`, { cause: error }))
        resolve()
      })
      this.#child.on('close', (code, killedBy) => {
        signal?.removeEventListener('abort', abort)
        const how = killedBy === null ? `ended with code ${code}` : `was ended by ${killedBy}`
        const lastLine = this.#errorText.trim().split('\n').at(-1) ?? ''
        const said = `the compiled program ${how}${lastLine === '' ? '' : `: ${lastLine}`}`
        // Nobody but the system, or somebody, ends a program so: most often because memory ran out.
        this.#fail(killedBy === 'SIGKILL' ? killed() : new InternalError(said))
        resolve()
      })
    })
  }

  /** From now on, what the program says unasked is told to `listener`. */
  hear(listener: (fields: Reply['fields']) => void): void {
    this.#listener = listener
  }

  /** Sends a command, with the bytes that follow it, and waits for its reply. */
  ask(command: string, payload?: Uint8Array): Promise<Reply> {
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#isEnding) return Promise.reject(new InternalError('the session is closed'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#child.stdin.write(command)
      if (payload && payload.byteLength > 0) this.#child.stdin.write(payload)
    })
  }

  /** Sends a command that has no reply. */
  tell(command: string): void {
    if (!this.#failure && !this.#isEnding) this.#child.stdin.write(command)
  }

  /** Closes the child's input, which ends it at the next kernel boundary, and waits for its end. */
  end(): Promise<void> {
    if (!this.#isEnding) {
      this.#isEnding = true
      this.#child.stdin.end()
    }
    return this.#ended
  }

  /** Replies come in the order of their commands; lines with `event` answer nothing. */
  #take(reply: Reply): void {
    if (!('event' in reply.fields)) {
      this.#waiting.shift()?.resolve(reply)
      return
    }
    try {
      this.#listener(reply.fields)
    } catch (error) {
      this.#kill(error instanceof Error ? error : new InternalError(String(error)))
    }
  }

  #kill(reason: Error): void {
    this.#fail(reason)
    this.#child.kill('SIGKILL')
  }

  /** The first reason is the one that counts. */
  #fail(reason: Error): void {
    this.#failure ??= reason
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
  }
}
