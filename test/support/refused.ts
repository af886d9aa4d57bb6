// For `assert.throws` and `assert.rejects`: that what is thrown is a mistake of the user's with this code and sentence.

import assert from 'node:assert/strict'
import { UserError } from '../../compiler/diagnostic.ts'

export function refusedWith(code: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof UserError, `a UserError, not ${String(error)}`)
    assert.equal(error.code, code)
    assert.match(error.sentence, pattern)
    return true
  }
}
