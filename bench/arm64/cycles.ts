// Cycles of stretches by llvm-mca 22: what a processor's tables say of a stretch that follows itself again and again, with
// every load in the first cache and every jump foreseen. A model, not a measurement. Knows no program.

import { spawn } from 'node:child_process'

const model = 'llvm-mca-22'

/** Enough that filling and draining the pipeline vanish. */
const iterations = 200
/** Instructions of one run of the model: its output is a few hundred bytes for each. */
const batchInstructions = 20_000

interface Answer {
  readonly CodeRegions: readonly {
    readonly Name: string
    readonly SummaryView: { readonly Iterations: number; readonly TotalCycles: number }
  }[]
}

/** Modelled cycles of one pass through a text, cached by it; the layers of a model share most. */
export class CycleModel {
  readonly #processor: string
  readonly #known: Map<string, number> = new Map()

  constructor(processor: string) {
    this.#processor = processor
  }

  /** Asks the model for all of these that are not known yet. */
  async learn(texts: Iterable<string>): Promise<void> {
    let batch: string[] = []
    let size = 0
    for (const text of new Set(texts)) {
      if (this.#known.has(text)) continue
      batch.push(text)
      size += text.split('\n').length
      if (size < batchInstructions) continue
      await this.#ask(batch)
      batch = []
      size = 0
    }
    if (batch.length > 0) await this.#ask(batch)
  }

  /** Cycles of a text that was learnt. */
  cycles(text: string): number {
    const known = this.#known.get(text)
    if (known === undefined) throw new Error('a stretch was not given to the model')
    return known
  }

  async #ask(texts: readonly string[]): Promise<void> {
    const assembly = texts
      .map((text, index) => `# LLVM-MCA-BEGIN s${index}\n${text}\n# LLVM-MCA-END s${index}\n`)
      .join('')
    const answer = await runModel(this.#processor, assembly)
    for (const { Name, SummaryView } of answer.CodeRegions) {
      const text = texts[Number(Name.slice(1))]
      if (text !== undefined) this.#known.set(text, SummaryView.TotalCycles / SummaryView.Iterations)
    }
    const missing = texts.find((text) => !this.#known.has(text))
    if (missing !== undefined) throw new Error(`${model} left out: ${missing.slice(0, 200)}`)
  }
}

/**
 * Vector multiply-adds that the model lets a processor start in a cycle when nothing else is asked of it: enough
 * independent ones that latency hides.
 */
export async function issueLimit(processor: string): Promise<number> {
  const chains = Array.from({ length: 30 }, (_, index) => `fmla v${index}.4s, v30.4s, v31.4s`)
  const cycles = new CycleModel(processor)
  const text = chains.join('\n')
  await cycles.learn([text])
  return chains.length / cycles.cycles(text)
}

function runModel(processor: string, assembly: string): Promise<Answer> {
  const operands = [
    '-mtriple=aarch64',
    `-mcpu=${processor}`,
    `-iterations=${iterations}`,
    '-json',
    '-instruction-info=false',
    '-resource-pressure=false',
  ]
  return new Promise((resolve, reject) => {
    const child = spawn(model, operands, { stdio: ['pipe', 'pipe', 'pipe'] })
    const parts: Buffer[] = []
    let said = ''
    child.stdout.on('data', (part: Buffer) => parts.push(part))
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      if (said.length < 4096) said += part
    })
    // Its end says more than a pipe that broke.
    child.stdin.on('error', () => {})
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(Buffer.concat(parts).toString('utf8')) as Answer)
      else reject(new Error(`${model} for ${processor} ended with ${code}: ${said.trim()}`))
    })
    child.stdin.end(assembly)
  })
}
