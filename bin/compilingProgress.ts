// Says beside a plan which program is being compiled, once it takes more than two seconds: one line on a terminal, a line
// now and then elsewhere, events for machines. Knows no command.

import type { Output } from './output.ts'

/** Nobody wonders before, nor reads more often. */
const MILLISECONDS = 2000

export class CompilingProgress {
  readonly #output: Output
  readonly #terminal: NodeJS.WriteStream
  #saidAt: number
  #isShown = false
  #told = ''

  /** `since`: when whoever waits began to. */
  constructor(output: Output, since: number, terminal: NodeJS.WriteStream = process.stderr) {
    this.#output = output
    this.#terminal = terminal
    this.#saidAt = since
  }

  tell(what: string, done: number): void {
    // A line that is written over may change as often as it likes once it is there.
    if (performance.now() - this.#saidAt < MILLISECONDS && !this.#isShown) return
    const line = `compiling for ${what}, ${done} tried before it`
    // A change of the recipe may ask for several programs.
    if (line === this.#told) return
    this.#told = line
    this.#saidAt = performance.now()
    this.#output.event('progress', { title: what, done })
    if (this.#output.isJson) return
    this.#isShown = this.#terminal.isTTY
    this.#terminal.write(this.#isShown ? `\r\u001B[K${line}` : `${line}\n`)
  }

  /** Gives the line back. */
  end(): void {
    if (this.#isShown) this.#terminal.write('\r\u001B[K')
    this.#isShown = false
  }
}
