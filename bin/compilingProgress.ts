// Says beside a plan which program is being compiled, once it takes more than two seconds: one line on a terminal, a line
// now and then elsewhere, events for machines. Knows no command.

import type { Attempt } from '../train/compileRecipe.ts'
import type { Output } from './output.ts'

/** Nobody wonders before, nor reads more often. */
const MILLISECONDS = 2000

const places: Readonly<Record<Attempt['storage'], string>> = {
  none: 'with all of it in memory',
  frozen: 'with frozen weights in their files',
  trained: 'with what is trained in a file as well',
  least: 'with as little in memory as goes',
}

export class CompilingProgress {
  readonly #output: Output
  readonly #terminal: NodeJS.WriteStream
  #saidAt: number
  #isShown = false
  #told = ''
  #planned = 0

  /** `since`: when whoever waits began to. */
  constructor(output: Output, since: number, terminal: NodeJS.WriteStream = process.stderr) {
    this.#output = output
    this.#terminal = terminal
    this.#saidAt = since
  }

  /** A change of the recipe, and how many were tried before it. */
  tell(what: string, done: number): void {
    // A line that is written over may change as often as it likes once it is there.
    if (performance.now() - this.#saidAt < MILLISECONDS && !this.#isShown) return
    this.#say(`compiling for ${what}, ${done} tried before it`, { title: what, done })
  }

  /** One of the programs that the recipe itself may become. A terminal has the line at once: until that is planned nothing can be said. */
  planning({ storage }: Attempt): void {
    if (performance.now() - this.#saidAt < MILLISECONDS && !this.#terminal.isTTY) return
    this.#say(`planning ${places[storage]} …`, { title: places[storage], done: this.#planned })
    this.#planned++
  }

  #say(line: string, event: { readonly title: string; readonly done: number }): void {
    // A change of the recipe may ask for several programs.
    if (line === this.#told) return
    this.#told = line
    this.#saidAt = performance.now()
    this.#output.event('progress', event)
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
