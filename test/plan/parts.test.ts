// Launches cut into parts, on kernels written by hand: which rows each part needs, which of them it writes anew, and when a
// launch is not cut.

import assert from 'node:assert/strict'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { cutLaunch } from '../../compiler/plan/parts.ts'
import type { StreamedArgument } from '../../compiler/plan/parts.ts'

/** Each part as its iterations and what it needs of each argument: from, bytes, and `new` where it reads nothing of them. */
function cut(text: string, shardBytes: number, bytes: readonly number[]): string[] {
  const streamed = bytes.flatMap((all, argument): StreamedArgument[] =>
    all === 0 ? [] : [{ argument, tensor: { space: 'stored', index: argument }, bytes: all }],
  )
  return cutLaunch(parseKernel(text), streamed, shardBytes).map(({ begin, end, uses }) => {
    const needs = uses.map(({ argument, tensor, from, bytes: some, isWritten, isFresh }) => {
      assert.equal(tensor.index, argument)
      return `${argument} ${isFresh ? 'new' : isWritten ? 'changed' : 'read'} ${from} ${some}`
    })
    return `${begin}…${end}: ${needs.join(', ')}`
  })
}

/** d[r, c] of 10 rows of 4 numbers made of x, by rows. */
const byRows = (access: string, value: string, rows = 10): string => `
kernel k {
  read x0: f32[10:4, 4:1]
  ${access} d1: f32[10:4, 4:1]
  grid r in ${rows} {
    serial c in 4 {
      d1[r, c] = ${value}
    }
  }
}`

const sums = byRows('update', 'add(x0[r, c], d1[r, c])')

describe('parts of a launch', () => {
  it('take as many iterations as fill a range, and the rest', () => {
    assert.deepEqual(cut(sums, 48, [0, 160]), [
      '0…3: 1 changed 0 48',
      '3…6: 1 changed 48 48',
      '6…9: 1 changed 96 48',
      '9…10: 1 changed 144 16',
    ])
    assert.equal(cut(sums, 47, [0, 160]).length, 5)
    assert.equal(cut(sums, 80, [160, 160])[1], '5…10: 0 read 80 80, 1 changed 80 80')
  })

  it('are all of it where that is no more than a range, or where one iteration needs as much', () => {
    assert.deepEqual(cut(sums, 160, [0, 160]), ['0…10: 1 changed 0 160'])
    assert.equal(cut(sums, 159, [0, 160]).length, 2)
    const again = `
kernel k {
  read x0: f32[4:1]
  write d1: f32[10:4, 4:1]
  grid r in 10 {
    serial c in 4 {
      d1[r, c] = x0[c]
    }
  }
}`
    assert.deepEqual(cut(again, 8, [16, 0]), ['0…10: 0 read 0 16'])
    // Of another tensor there is something to gain.
    assert.equal(cut(again, 16, [16, 160]).length, 10)
    assert.equal(cut(again, 16, [16, 160])[2], '2…3: 0 read 0 16, 1 new 32 16')
    assert.deepEqual(cut(`
kernel k {
  update d0: f32[8:1]
  d0[3] = add(d0[3], d0[5])
}`, 4, [32]), ['0…1: 0 changed 12 12']) // prettier-ignore
  })

  it('have an iteration each where one of them needs more than a range', () => {
    assert.deepEqual(cut(sums, 8, [0, 160]).slice(0, 2), ['0…1: 1 changed 0 16', '1…2: 1 changed 16 16'])
  })

  it('read nothing of what is only written, where all of that is', () => {
    assert.deepEqual(cut(byRows('write', 'x0[r, c]'), 80, [0, 160]), ['0…5: 1 new 0 80', '5…10: 1 new 80 80'])
    assert.deepEqual(cut(byRows('write', 'x0[r, c]'), 160, [160, 160]), ['0…10: 0 read 0 160, 1 new 0 160'])
    // The last two rows stay as they are: whoever writes back what is there must have it.
    assert.deepEqual(cut(byRows('write', 'x0[r, c]', 8), 64, [0, 160]), ['0…4: 1 changed 0 64', '4…8: 1 changed 64 64'])
  })

  it('may come from the end of a tensor to its begin', () => {
    const backwards = sums.replaceAll('[r, c]', '[9 - r, c]')
    assert.deepEqual(cut(backwards, 80, [0, 160]), ['0…5: 1 changed 80 80', '5…10: 1 changed 0 80'])
  })

  it('do not change what others have', () => {
    const columns = `
kernel k {
  read x0: f32[10:4, 4:1]
  update d1: f32[10:4, 4:1]
  grid c in 4 {
    serial r in 10 {
      d1[r, c] = add(x0[r, c], d1[r, c])
    }
  }
}`
    // From the first row to the last, whichever column.
    assert.deepEqual(cut(columns, 148, [0, 160]), ['0…4: 1 changed 0 160'])
    // What is only read may be read twice.
    assert.deepEqual(cut(columns, 148, [160, 0]), [
      '0…1: 0 read 0 148',
      '1…2: 0 read 4 148',
      '2…3: 0 read 8 148',
      '3…4: 0 read 12 148',
    ])
    assert.deepEqual(cut(columns, 148, [160, 160]), ['0…4: 0 read 0 160, 1 changed 0 160'])
  })
})
