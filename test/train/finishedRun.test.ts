// A run that has made all its steps writes its result again from its last state; and the room on a disk that one needs which keeps
// what it trains in a file.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { refuseWithoutRoom, roomFor } from '../../train/diskRoom.ts'
import { nothingLeft } from '../../train/finishedRun.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { runTraining } from '../../train/run.ts'
import type { RunObserver, RunOptions, RunResult } from '../../train/run.ts'
import type { SavedState } from '../../train/runState.ts'
import { tinyProject, writeRecipe } from '../bin/support.ts'
import { hashOfResult, metricsOf } from '../support/preparedRun.ts'

const MEBIBYTE = 2 ** 20

describe('a run that has made all its steps', function () {
  this.timeout(240_000)

  for (const [title, more] of [
    ['its last weights', {}],
    ['its best ones', { evaluate: '{ share: 0.3, every: 1 }', optimizer: 'adamW({ rate: constant(3) })' }],
  ] as const) {
    it(`writes ${title} from its state when it is resumed, without a program`, async () => {
      const dir = tinyProject()
      writeRecipe(dir, 'recipe.ts', { batch: '{ sequences: 2, length: 24, steps: 3 }', ...more })
      const loaded = await loadRecipe(path.join(dir, 'recipe.ts'))
      const out = path.join(dir, 'out')
      const train = (options: Partial<RunOptions>, observer: RunObserver = {}): Promise<RunResult> => {
        return runTraining(loaded, { toolchain: 'wasm', out, optimise: 'light', ...options }, observer)
      }
      const made = await train({})
      const [hash, lines] = [hashOfResult(out), metricsOf(out)]
      for (const name of ['adapter', 'loss.svg']) fs.rmSync(path.join(out, name), { recursive: true })
      const finishing: number[] = []
      const refuse = (): never => assert.fail('a program was made')
      const observer = { finishing: (step: number) => void finishing.push(step), compiling: refuse, opened: refuse }
      const again = await train({ resume: true }, observer)
      assert.deepEqual(again, made)
      assert.deepEqual([hashOfResult(out), metricsOf(out)], [hash, lines])
      assert.ok(fs.existsSync(path.join(out, 'loss.svg')))
      assert.deepEqual(finishing, [3])
      if ('evaluate' in more) assert.ok(made.best && made.best.step < 3, 'the last weights are not the best')
      // With more steps there is something left.
      assert.equal((await train({ resume: true, steps: 4 })).steps, 4)
    })
  }

  it('has neither a step nor an evaluation left', () => {
    const evaluate = { every: 2, patience: 2 } as Parameters<typeof nothingLeft>[1]
    const left = (step: number, evaluated?: number, waited = 0): boolean => {
      const watch = evaluated === undefined ? null : { evaluated, waited, best: { step: 1, loss: 1 } }
      return !nothingLeft({ progress: { step, micro: step }, watch }, watch ? evaluate : undefined, 5)
    }
    assert.deepEqual([left(0), left(4), left(5)], [true, true, false])
    assert.deepEqual([left(5, 4), left(5, 5), left(4, 4)], [true, false, true])
    assert.deepEqual([left(4, 4, 2), left(4, 2, 2)], [false, true])
  })
})

describe('the room that a run needs on a disk', () => {
  const state = { fileBytes: 300 * MEBIBYTE, resultBytes: 50 * MEBIBYTE } as Parameters<typeof refuseWithoutRoom>[1] &
    object
  const after = (step: number, isKept = true): SavedState => {
    return { progress: { step, micro: step }, values: isKept ? { kept: {}, path: '' } : {} } as unknown as SavedState
  }

  it('is for the file and the result, which comes where the file before was when there are states enough', () => {
    assert.equal(roomFor(state, 40), 350 * MEBIBYTE)
    assert.equal(roomFor(state, 40, after(10)), 300 * MEBIBYTE)
    assert.equal(roomFor(state, 40, after(38)), 300 * MEBIBYTE)
    assert.equal(roomFor(state, 40, after(39)), 350 * MEBIBYTE)
    assert.equal(roomFor(state, 40, after(10, false)), 350 * MEBIBYTE)
  })

  it('is asked for before the run', () => {
    const given = (free: number, asked: typeof state | undefined = state): void => {
      refuseWithoutRoom('out', asked, 40, undefined, () => free * MEBIBYTE)
    }
    given(350)
    assert.throws(() => given(349), (error) => {
      return error instanceof UserError && error.sentence === 'HD837 out what is trained and its result need 350 MiB of disk here; 349 MiB are free; make room, or give another --out'
    }) // prettier-ignore
    refuseWithoutRoom('out', undefined, 40, undefined, () => 0)
    refuseWithoutRoom('.', { ...state, fileBytes: 0, resultBytes: 1 }, 40, undefined)
  })
})
