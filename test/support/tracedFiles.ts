// File operations that count themselves and end badly at the one that a test names: with an error of the system, or as if
// the process had been killed there. Only for tests.

import { fileOperations } from '../../formats/staging.ts'
import type { FileOperations } from '../../formats/staging.ts'

export interface TracedFiles {
  readonly operations: FileOperations
  /** What was done, in order: `write /tmp/…`. */
  readonly trace: readonly string[]
}

/**
 * The system's operations, told of in `trace`. Before operation number `at` (from 0) is done, `end` is called; a write has
 * put half of its bytes on the disk by then. What `end` throws comes out of the operation.
 */
export function tracedFiles(at = Infinity, end: () => void = () => undefined): TracedFiles {
  const trace: string[] = []
  const names = new Map<number, string>()
  const count = (what: string): boolean => trace.push(what) - 1 === at
  const before = (what: string): void => {
    if (count(what)) end()
  }
  return {
    trace,
    operations: {
      open: (path) => {
        before(`open ${path}`)
        const descriptor = fileOperations.open(path)
        names.set(descriptor, path)
        return descriptor
      },
      write: (descriptor, bytes, from) => {
        if (!count(`write ${names.get(descriptor)}`)) return fileOperations.write(descriptor, bytes, from)
        fileOperations.write(descriptor, bytes.subarray(0, from + ((bytes.byteLength - from) >> 1)), from)
        end()
        return bytes.byteLength - from
      },
      sync: (descriptor) => {
        before(`sync ${names.get(descriptor)}`)
        fileOperations.sync(descriptor)
      },
      rename: (from, to) => {
        before(`rename ${from} ${to}`)
        fileOperations.rename(from, to)
      },
      remove: (path) => {
        before(`remove ${path}`)
        fileOperations.remove(path)
      },
      syncDirectory: (directory) => {
        before(`syncDirectory ${directory}`)
        fileOperations.syncDirectory(directory)
      },
    },
  }
}

/** An error as the system gives it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made up by a test`), { code })
}

/** Operations that do nothing any more once one of them was reached: what a killed process leaves on the disk. */
export function killedFiles(at: number): TracedFiles {
  let isDead = false
  const killed = systemError('EKILLED')
  const { operations, trace } = tracedFiles(at, () => {
    isDead = true
    throw killed
  })
  const alive = <Operands extends unknown[], Result>(operation: (...operands: Operands) => Result) => {
    return (...operands: Operands): Result => {
      if (isDead) throw killed
      return operation(...operands)
    }
  }
  return {
    trace,
    operations: {
      open: alive(operations.open),
      write: alive(operations.write),
      sync: alive(operations.sync),
      rename: alive(operations.rename),
      remove: alive(operations.remove),
      syncDirectory: alive(operations.syncDirectory),
    },
  }
}
