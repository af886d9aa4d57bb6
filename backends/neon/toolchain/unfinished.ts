// What a compilation would leave behind if this process ended in the middle of it: a compiler that runs on, a folder of
// work. Knows neither compilers nor folders.

import { constants } from 'node:os'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
type Signal = (typeof SIGNALS)[number]

/** In the order in which they began; undone from the last to the first. */
const unfinished = new Set<{ readonly undo: () => void }>()

/**
 * Calls `undo`, which must not wait for anything, if this process ends or is interrupted before the function that is
 * returned is called.
 */
export function undoAtExit(undo: () => void): () => void {
  if (unfinished.size === 0) listen()
  const one = { undo }
  unfinished.add(one)
  return () => {
    if (unfinished.delete(one) && unfinished.size === 0) unlisten()
  }
}

function listen(): void {
  process.on('exit', undoAll)
  for (const signal of SIGNALS) process.on(signal, endBy)
}

function unlisten(): void {
  process.off('exit', undoAll)
  for (const signal of SIGNALS) process.off(signal, endBy)
}

/** Node would end at once, without a word to anybody; whoever else listens decides whether to end, and does it himself. */
function endBy(signal: Signal): void {
  if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal])
}

function undoAll(): void {
  for (const { undo } of [...unfinished].reverse()) {
    try {
      undo()
    } catch {
      // The others have to be undone all the same, and there is nobody left to tell.
    }
  }
  unfinished.clear()
}
