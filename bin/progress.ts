// Work that takes a while: a bar on a terminal, a line now and then elsewhere, events for machines. Knows no command.

import { SingleBar } from 'cli-progress'
import type { Output } from './output.ts'

/** A log is read later: a line now and then is enough. */
const LINE_MILLISECONDS = 2000

export class Progress {
  readonly #output: Output
  readonly #bar: SingleBar | undefined
  #title = ''
  #saidAt = performance.now()

  constructor(output: Output, terminal: NodeJS.WriteStream = process.stdout) {
    this.#output = output
    this.#bar =
      terminal.isTTY && !output.isJson
        ? new SingleBar({
            format: '{bar} {value}/{total}  {title}',
            barsize: 24,
            barCompleteChar: '█',
            barIncompleteChar: '░',
            hideCursor: true,
            clearOnComplete: true,
            gracefulExit: false,
            stream: terminal,
          })
        : undefined
  }

  update(title: string, done: number, all: number): void {
    if (this.#bar) {
      if (this.#title !== title) this.#bar.start(all, done, { title })
      else this.#bar.update(done)
      this.#title = title
      if (done === all) this.end()
      return
    }
    if (performance.now() - this.#saidAt < LINE_MILLISECONDS) return
    this.#saidAt = performance.now()
    this.#output.say(`${title}: ${done} of ${all}`)
    this.#output.event('progress', { title, done, all })
  }

  /** Gives the terminal back. */
  end(): void {
    if (this.#title !== '') this.#bar?.stop()
    this.#title = ''
  }
}
