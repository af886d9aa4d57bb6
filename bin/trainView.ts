// How a run shows: a progress bar on a terminal, plain lines elsewhere, JSON lines for machines; at the end the curve and
// where the results are. Starts nothing.

import { SingleBar } from 'cli-progress'
import type { DecisionFigures } from '../train/energy.ts'
import { lossCurveText } from '../train/lossCurve.ts'
import type { OpenedRun, PreparedRun, RunObserver, RunResult } from '../train/run.ts'
import type { StepFigures } from '../train/trainer.ts'
import type { HeldOutFigures } from '../train/watch.ts'
import { CompilingProgress } from './compilingProgress.ts'
import type { Interruption } from './interruption.ts'
import { clock, exitCodes, mebibytes, shownPath } from './output.ts'
import type { Output } from './output.ts'
import { plannedLines } from './planView.ts'

/** A log is read later: a line now and then is enough. */
const LINE_MILLISECONDS = 1000

/** Shows a run as it goes. */
export class TrainView implements RunObserver {
  readonly #output: Output
  readonly #interruption: Interruption
  readonly #bar: SingleBar | undefined
  #isDrawn = false
  #steps = 0
  #seconds = 0
  #tokens = 0
  #saidAt = -Infinity
  /** What the last evaluation showed, behind the training loss. */
  #heldOut = ''
  /** Why nothing is computed now. */
  #standing = ''
  #heldAt: number | undefined
  #hasRested = false
  #planning: CompilingProgress | undefined

  constructor(output: Output, interruption: Interruption, terminal: NodeJS.WriteStream = process.stdout) {
    this.#output = output
    this.#interruption = interruption
    const isTerminal = terminal.isTTY && !output.isJson
    this.#bar = isTerminal
      ? new SingleBar({
          format:
            '{bar} {value}/{total}  loss {loss}{heldOut}  {rate} tokens/s  peak {peak} MiB  {left} left{standing}',
          barsize: 24,
          barCompleteChar: '█',
          barIncompleteChar: '░',
          hideCursor: true,
          clearOnComplete: false,
          stream: terminal,
          // Ctrl-C is ours.
          gracefulExit: false,
        })
      : undefined
  }

  note(sentence: string): void {
    this.#output.say(sentence)
    this.#output.event('note', { message: sentence })
  }

  prepared(about: PreparedRun): void {
    const { examples, heldOut, truncated, dropped, steps } = about
    const cut = truncated > 0 ? `, ${truncated} cut to the batch length` : ''
    const left = dropped > 0 ? `, ${dropped} left out as nothing to learn remained` : ''
    const held = heldOut > 0 ? `, ${heldOut} held out` : ''
    this.#output.say(`${shownPath(about.model)}: ${examples} examples${cut}${left}${held}, ${steps} steps`)
    this.#output.event('prepared', about)
  }

  planning(...[attempt]: Parameters<NonNullable<RunObserver['planning']>>): void {
    this.#planning ??= new CompilingProgress(this.#output, performance.now())
    this.#planning.planning(attempt)
  }

  planned(...[certificate, microBatches]: Parameters<NonNullable<RunObserver['planned']>>): void {
    this.#planning?.end()
    for (const line of plannedLines(certificate, microBatches)) this.#output.say(line)
    this.#output.event('planned', { certificate })
  }

  compiling(toolchain: string): void {
    this.#output.say(`compiling with ${toolchain} …`)
    this.#output.event('compiling', { toolchain })
  }

  opened(about: OpenedRun): void {
    this.#interruption.stepsBegin(about.step)
    if (about.step > 0) this.#output.say(`resuming after step ${about.step}`)
    this.#output.say(
      `training on ${about.threads} ${about.threads === 1 ? 'thread' : 'threads'}; Ctrl-C saves and stops`,
    )
    this.#output.event('opened', about)
  }

  finishing(step: number): void {
    this.#interruption.stepsBegin(step)
    this.#output.say(`all steps were made, the last of them step ${step}: only the result is written`)
    this.#output.event('finishing', { step })
  }

  step(figures: StepFigures, total: number): void {
    this.#steps++
    this.#seconds += figures.seconds
    this.#tokens += figures.tokens
    const shown = {
      loss: figures.loss.toFixed(4),
      heldOut: this.#heldOut,
      rate: Math.round(this.#tokens / this.#seconds).toLocaleString('en'),
      peak: mebibytes(figures.peak_bytes),
      standing: this.#standing,
      left: clock((this.#seconds / this.#steps) * (total - figures.step)),
    }
    this.#output.event('step', figures)
    if (this.#bar) {
      if (!this.#isDrawn) this.#bar.start(total, 0, shown)
      this.#isDrawn = true
      this.#bar.update(figures.step, shown)
    } else if (figures.step === total || performance.now() - this.#saidAt >= LINE_MILLISECONDS) {
      this.#saidAt = performance.now()
      this.#output.say(
        `step ${figures.step}/${total}  loss ${shown.loss}${this.#heldOut}  ${shown.rate} tokens/s  peak ${shown.peak} MiB  ${shown.left} left`,
      )
    }
  }

  evaluated(figures: HeldOutFigures): void {
    const { step, heldout_loss: loss, best } = figures
    this.#heldOut = `  held out ${loss.toFixed(4)}${best ? ' (best)' : ''}`
    this.#output.event('evaluated', figures)
    if (this.#bar) this.#bar.update({ heldOut: this.#heldOut })
    else this.#output.say(`step ${step}  held-out loss ${loss.toFixed(4)}${best ? ', the best so far' : ''}`)
  }

  decided(figures: DecisionFigures): void {
    const { decision, reasons, rest_seconds: rest = 0, look_seconds: look = 0 } = figures
    this.#output.event('energy', figures)
    this.#interruption.held(decision === 'hold')
    const seconds = rest.toFixed(1)
    const words = { run: '', rest: `resting ${seconds} s`, hold: `held: ${reasons.join('; ')}` }[decision]
    this.#standing = words === '' ? '' : `  ${words}`
    const heldAt = this.#heldAt
    this.#heldAt = decision === 'hold' ? (heldAt ?? performance.now()) : undefined
    if (this.#bar && this.#isDrawn) {
      this.#bar.update({ standing: this.#standing })
      return
    }
    if (decision === 'hold') this.#output.say(`${words}; looks again every ${look} s`)
    else if (heldAt !== undefined) this.#output.say(`goes on after ${clock((performance.now() - heldAt) / 1000)}`)
    // A log need not say it every ten seconds.
    if (decision === 'rest' && !this.#hasRested) this.#output.say(`${words}, and again and again: the duty cycle`)
    this.#hasRested ||= decision === 'rest'
  }

  stateSaved(step: number): void {
    this.#interruption.saved(step)
    this.#output.event('state', { step })
  }

  resultSaved(directory: string): void {
    this.#interruption.resultSaved(shownPath(directory))
  }

  /** Gives the terminal back, however the run ended. */
  end(): void {
    if (this.#isDrawn) this.#bar?.stop()
    this.#isDrawn = false
  }
}

/** Prints the end of a run and returns the exit code; `interrupted` is that of a run which was stopped. */
export function tellResult(result: RunResult, output: Output, interrupted: number = exitCodes.interrupted): number {
  const { outcome, figures, steps, total, saved, best, metrics, curve } = result
  const paths = [saved, metrics, curve].flatMap((file) => (file === undefined ? [] : [shownPath(file)]))
  const first = figures[0]
  const last = figures.at(-1)
  if (outcome === 'early') {
    output.say(`stopped early after step ${steps} of ${total}: the held-out loss did not improve any more`)
  }
  if (first && last) {
    output.say(`\n${lossCurveText(figures, Math.min(100, process.stdout.columns ?? 80))}\n`)
    output.say(`loss ${first.loss.toFixed(4)} → ${last.loss.toFixed(4)}; saved ${paths.join(', ')}`)
  }
  if (best)
    output.say(
      `what was saved is from after step ${best.step}, where the held-out loss was lowest: ${best.loss.toFixed(4)}`,
    )
  output.event('end', {
    outcome,
    steps,
    total,
    saved: saved ?? null,
    best: best ?? null,
    metrics: metrics ?? null,
    curve: curve ?? null,
  })
  if (outcome !== 'stopped') return exitCodes.ok
  const sentence =
    saved === undefined
      ? 'stopped before the first step; nothing was saved'
      : `stopped after step ${steps} of ${total}; what was trained is in ${shownPath(saved)}, and --resume goes on`
  process.stderr.write(`${sentence}\n`)
  return interrupted
}
