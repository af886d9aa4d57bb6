// What moves between memory and storage while a program runs, asked of the run-time's C interface with storage that tells what
// it was asked for, is slow, or fails: order, waiting, calls that are given up, damaged tables. Needs a host compiler.

import assert from 'node:assert/strict'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Program, RangeTransfer } from '../../compiler/plan/program.ts'
import { count, storedProgram } from '../neon/storedProgram.ts'
import { golden } from '../support/golden.ts'
import { storedProbe } from '../support/storedProbe.ts'
import type { Probe } from '../support/storedProbe.ts'

/** The ids that the probe gives. */
const ids = Array.from({ length: count }, (_, t) => (t * t) % 7)

/** Places of which each begins a run of ids that count up by one, with the length of the run; of those that `isWanted`. */
function runs(isWanted: (place: number) => boolean): { id: number; length: number }[] {
  const found: { id: number; length: number }[] = []
  let next = -1
  ids.forEach((id, place) => {
    const last = found.at(-1)
    if (!isWanted(place)) return
    if (last && place === next && id === last.id + last.length) last.length++
    else found.push({ id, length: 1 })
    next = place + 1
  })
  return found
}

/** What storage is told in a step, by the tables: rows are all asked for before the first one is moved. */
function told({ functions, values }: Program): string[] {
  const nameOf = (tensor: RangeTransfer['tensor']): string => {
    const value = values.find(
      ({ place }) => 'index' in place && place.space === tensor.space && place.index === tensor.index,
    )
    return value?.name ?? ''
  }
  const rowsOf = (
    kind: string,
    tensor: RangeTransfer['tensor'],
    rowBytes: number,
    isWanted: (place: number) => boolean,
  ) => {
    const places = runs(isWanted).map(({ id, length }) => `${nameOf(tensor)} ${id * rowBytes} ${length * rowBytes}`)
    return [...places.map((place) => `ask ${place}`), ...places.map((place) => `${kind} ${place}`)]
  }
  const isFirst = (place: number): boolean => ids.indexOf(ids[place] ?? -1) === place
  return functions.flatMap(({ transfers = [], rows = [], updates }) => [
    // Neighbours that are equal are read once.
    ...rows.flatMap(({ tensor, rowBytes }) => rowsOf('read', tensor, rowBytes, (place) => ids[place] !== ids[place - 1])), // prettier-ignore
    ...(updates ? ['begin update 0 0'] : []),
    ...transfers.flatMap((transfer) => {
      const { kind, from, bytes } = transfer
      if (kind === 'keep') return [`write carried ${from} ${bytes}`]
      const { tensor, rows: named } = transfer
      return named ? rowsOf(kind, tensor, named.rowBytes, isFirst) : [`${kind} ${nameOf(tensor)} ${from} ${bytes}`]
    }),
    ...(updates ? ['end update 0 0'] : []),
  ])
}

/** What may fail of it. */
const requests = (program: Program): string[] => told(program).filter((line) => !line.startsWith('ask '))

describe('transfers', function () {
  this.timeout(300_000)
  let probe: Probe
  before(async () => {
    probe = await storedProbe(await chooseToolChain('host'))
  })

  it('are made in their order, rows at their first occurrence only, neighbours at once', async () => {
    assert.ok(runs(() => true).some(({ length }) => length > 1))
    assert.ok(told(storedProgram).some((line) => line.startsWith('ask grad/')))
    assert.deepEqual(await probe('log'), [...told(storedProgram), '0'])
  })

  it('are waited for by whatever needs them, however slow they are', async () => {
    const [expected] = await probe('steps', '1')
    for (let turn = 0; turn < 3; turn++) assert.deepEqual(await probe('steps', '2', 'slow'), [expected])
  })

  it('that fail end the call, and an update that fails all that could follow', async () => {
    const asked = requests(storedProgram)
    const begin = asked.indexOf('begin update 0 0')
    const lines = await probe('fail', String(asked.length + 1))
    // The first step is done then, and the second one's first request fails.
    assert.equal(lines.pop(), '0 idle new, 5 ')
    lines.forEach((line, number) => {
      const [outcome, stands, next = ''] = line.split(', ', 3)
      assert.equal(outcome, `5 ${number > begin ? 'updating' : 'idle'} request ${number} failed`)
      assert.equal(stands, 'stands')
      assert.match(next, number < begin ? /^0 $/ : /^3 an update was begun and never finished: /)
    })
  })

  it('are left behind when a call is given up or the session is closed', async () => {
    const left = await probe('abandon')
    assert.deepEqual(
      left.map((line) => line.split(' ').slice(0, 3).join(' ')),
      ['1 0 0', '2 0 0', '3 0 0', '4 0 0', '5 1 0', '6 1 3', '7 1 3'],
    )
    assert.deepEqual(await probe('close'), ['1 0 0', '2 0 0', '3 0 0', '4 0 0', '5 1 0', '6 1 0', '7 1 0'])
  })

  it('of ids without a row are refused before anything is asked of storage', async () => {
    const refusals = ids.slice(0, 4).flatMap((_, index) => {
      const id = [19, -1, 2147483647, -2147483648][index]
      return [`3 there is no row ${id}; ids go from 0 to 18, 0 requests`, '0']
    })
    const nothing = '3 the program has tensors in storage while it runs, and nothing was given to reach them with'
    const view = "3 'weight' is in storage: it lies nowhere in memory"
    assert.deepEqual(await probe('refusals'), [view, ...refusals, nothing, nothing, nothing])
  })

  it('by a damaged table are refused, each for its reason', async () => {
    golden('neon/damaged-tables.txt', `${(await probe('faults')).join('\n')}\n`)
  })
})
