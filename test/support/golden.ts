// Golden files: expected text under `test/goldens`. A missing one fails; `UPDATE=1` writes what the code gives now.

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../goldens', import.meta.url))

/** Compares `actual` with `test/goldens/<path>`. Line ends are `\n` on every system. */
export function golden(path: string, actual: string): void {
  const file = resolve(root, path)
  assert.ok(file.startsWith(root + sep), `golden '${path}' lies outside test/goldens`)
  if (process.env['UPDATE'] === '1') {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, actual)
    return
  }
  assert.ok(existsSync(file), `golden 'test/goldens/${path}' is missing; UPDATE=1 writes it`)
  const expected = readFileSync(file, 'utf8').replaceAll('\r\n', '\n')
  assert.equal(actual, expected, `golden 'test/goldens/${path}' differs; if that is meant, UPDATE=1 rewrites it`)
}
