// One run at a time in a directory: two would remove each other's states. A file says which process is at it; one that its
// process left behind by dying holds nobody up. Linux tells processes with one number apart by when they began.

import fs from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { UserError } from '../compiler/diagnostic.ts'
import { systemCode, writeFailure } from '../formats/files.ts'

const NAME = 'running.json'
const MOST_BYTES = 1024

const holderSchema = z.object({ process: z.number().int().positive(), began: z.string().nullable() })

/** Directories that this process holds. */
const held = new Set<string>()

/**
 * Takes a directory for a run; what comes back gives it free.
 *
 * @throws UserError HD835 when another run is at it, HD405 when it cannot be written
 */
export function holdDirectory(out: string): () => void {
  const file = path.join(fs.realpathSync(out), NAME)
  const text = `${JSON.stringify({ process: process.pid, began: beganOf(process.pid) })}\n`
  for (;;) {
    try {
      fs.writeFileSync(file, text, { flag: 'wx' })
      held.add(file)
      return () => {
        held.delete(file)
        fs.rmSync(file, { force: true })
      }
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw writeFailure(file, error, 'nothing was begun')
    }
    const holder = holderOf(file)
    if (holder !== undefined) {
      throw new UserError('HD835', `another run is at work here (process ${holder})`, {
        place: { file: out },
        mend: `wait for its end, or give another --out; if there is none, remove ${NAME}`,
      })
    }
    fs.rmSync(file, { force: true })
  }
}

/** The living process that a file names; undefined where there is none. */
function holderOf(file: string): number | undefined {
  let text: string
  try {
    if (fs.statSync(file).size > MOST_BYTES) return undefined
    text = fs.readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
  const read = holderSchema.safeParse(parsed(text))
  if (!read.success) return undefined
  const { process: id, began } = read.data
  if (id === process.pid) return held.has(file) ? id : undefined
  return isAlive(id) && beganOf(id) === began ? id : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isAlive(id: number): boolean {
  try {
    process.kill(id, 0)
    return true
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

/** When a process began, in the system's ticks; null where the system does not say. */
function beganOf(id: number): string | null {
  try {
    const stat = fs.readFileSync(`/proc/${id}/stat`, 'utf8')
    // The name before it may hold anything, brackets too.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
