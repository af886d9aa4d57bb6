// Runs passes in order: verifies the graph after each, times it, and shows what changed to whoever asks. Knows no pass.

import { InternalError } from '../diagnostic.ts'
import { Provenance } from '../graph/node.ts'
import type { Graph } from '../graph/node.ts'
import { printGraph } from '../graph/print.ts'
import { verifyGraph } from '../graph/verify.ts'
import type { Pass } from './pass.ts'

export interface RunOptions {
  /** Names and places, carried from node to node. */
  readonly provenance?: Provenance
  /** Checks the graph after every pass; on unless stated. */
  readonly verify?: boolean
  /** Given each stage that changed something, as text: what `--dump` and HEDDLE_DEBUG show. */
  readonly dump?: (text: string) => void
}

export interface PassReport {
  readonly name: string
  /** Wall-clock time of the pass itself. */
  readonly milliseconds: number
}

export interface PassesRun {
  readonly graph: Graph
  readonly reports: readonly PassReport[]
}

/**
 * The graph after all passes. With `dump`, each stage prints a head line and those of its sections (axes, declarations,
 * functions) that differ from the stage before; a stage that changed nothing prints its head line alone.
 *
 * @throws InternalError naming the pass, when the verifier refuses what it made; UserError as the passes state
 */
export function runPasses(graph: Graph, passes: readonly Pass[], options: RunOptions = {}): PassesRun {
  const { provenance = new Provenance(), verify = true, dump } = options
  const reports: PassReport[] = []
  let current = graph
  let shown = dump ? sectionsOf(current, provenance) : []
  for (const pass of passes) {
    const start = performance.now()
    current = pass.run(current, { provenance })
    const milliseconds = performance.now() - start
    reports.push({ name: pass.name, milliseconds })
    if (verify) verified(current, pass)
    if (!dump) continue
    const sections = sectionsOf(current, provenance)
    dump(difference(pass, milliseconds, shown, sections))
    shown = sections
  }
  return { graph: current, reports }
}

function verified(graph: Graph, pass: Pass): void {
  try {
    verifyGraph(graph)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new InternalError(`after pass '${pass.name}': ${why}`, { cause: error })
  }
}

/** Axes, declarations, then a section for each function. */
function sectionsOf(graph: Graph, provenance: Provenance): string[] {
  return printGraph(graph, provenance).trimEnd().split('\n\n')
}

function difference(pass: Pass, milliseconds: number, before: readonly string[], after: readonly string[]): string {
  const known = new Set(before)
  const changed = after.filter((section) => !known.has(section))
  const head = `// ${pass.name}: ${pass.summary} (${milliseconds.toFixed(1)} ms)`
  return `${[changed.length === 0 ? `${head}, nothing changed` : head, ...changed].join('\n\n')}\n`
}
