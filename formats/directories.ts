// Making a directory with those above it, one by one. Node's own way (`recursive`) says of a read-only file system that nothing
// is there, and never comes back from /proc (20.20). Raises the system's own errors; knows nothing of what goes into it.

import fs from 'node:fs'
import path from 'node:path'

/**
 * Makes a directory and those above it that are missing; returns what was made, the uppermost first. Errors: those of `mkdir`.
 * ENOENT means that the directory above is there and takes none; EEXIST, that what is in the way is no directory.
 */
export function makeDirectories(directory: string, mode = 0o777): string[] {
  const missing: string[] = []
  let above = path.resolve(directory)
  for (; !fs.existsSync(above) && above !== path.dirname(above); above = path.dirname(above)) missing.unshift(above)
  if (missing.length === 0) missing.push(above)
  return missing.filter((one) => makeOne(one, mode))
}

/** Whether it was made; somebody else may have been faster. */
function makeOne(directory: string, mode: number): boolean {
  try {
    fs.mkdirSync(directory, { mode })
    return true
  } catch (error) {
    if (isDirectory(directory)) return false
    throw error
  }
}

function isDirectory(file: string): boolean {
  try {
    return fs.statSync(file).isDirectory()
  } catch {
    return false
  }
}

/** Whether something new may stand in a directory that is there, found out by doing it: permissions do not say all. Errors: as above. */
export function tryDirectory(directory: string): void {
  fs.rmdirSync(fs.mkdtempSync(path.join(directory, '.heddle-')))
}
