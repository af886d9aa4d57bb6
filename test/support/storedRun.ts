// Sessions on the hand-made program with values in storage, each with a state file of its own, beside the oracle of what they
// should hold. Only for tests.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSession } from '../../backends/neon/driver/index.ts'
import type { KeptState, Session, SessionOptions } from '../../backends/neon/driver/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { checkKept, keptIdentity, readKept } from '../../formats/keptStates.ts'
import { baseValues, firstState, storedBatch, storedProgram, storedStep } from '../neon/storedProgram.ts'
import type { StoredState } from '../neon/storedProgram.ts'

/** A folder with the frozen tensor, and names of state files that are not there yet. */
export class StoredFiles {
  readonly folder = mkdtempSync(join(tmpdir(), 'heddle-stored-'))
  readonly frozen = [{ path: join(this.folder, 'base.bin'), offset: 4, bytes: baseValues.byteLength }]
  #count = 0

  constructor() {
    const header = Uint8Array.of(1, 2, 3, 4)
    writeFileSync(join(this.folder, 'base.bin'), Buffer.concat([header, new Uint8Array(baseValues.buffer)]))
  }

  next(): string {
    return join(this.folder, `states-${this.#count++}`)
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export class StoredRun {
  readonly session: Session
  readonly path: string
  /** What the session should hold. */
  state: StoredState
  #batches = 0

  private constructor(session: Session, path: string, state: StoredState) {
    this.session = session
    this.path = path
    this.state = state
  }

  /** A session with the first state written. */
  static async open(
    files: StoredFiles,
    toolchain: ToolChain,
    options: SessionOptions = {},
    program: Program = storedProgram,
  ): Promise<StoredRun> {
    const path = options.stored?.path ?? files.next()
    const common = { toolchain, optimise: 'light', threads: 1, frozen: files.frozen, stored: { path } } as const
    const run = new StoredRun(await openSession(program, { ...common, ...options }), path, firstState())
    await run.write(run.state)
    return run
  }

  async write({ weight, moment, embedding, step }: StoredState): Promise<void> {
    await this.session.write('weight', weight)
    await this.session.write('moment/weight', moment)
    await this.session.write('embedding', embedding)
    await this.session.write('step', Float32Array.of(step))
    this.state = { weight, moment, embedding, step }
  }

  /** What the next step ends with. */
  nextState(): StoredState {
    return storedStep(this.state, [storedBatch(this.#batches), storedBatch(this.#batches + 1)])
  }

  /** Two micro-batches; the oracle's state follows where the step is done. */
  async step(): Promise<void> {
    const state = this.nextState()
    const batches = [storedBatch(this.#batches++), storedBatch(this.#batches++)]
    for (const [index, batch] of batches.entries()) {
      await this.session.write('ids', batch.ids)
      await this.session.write('x', batch.x)
      assert.deepEqual(await this.session.step({}, index === 1 ? 'last' : 'more'), { status: 'ok' })
    }
    this.state = state
  }

  /** Three steps, a value from outside, and what is kept of all that. */
  async trainAndKeep(): Promise<void> {
    for (let step = 0; step < 3; step++) await this.step()
    await this.write({ ...this.state, step: 9 })
    assertKept(await this.session.keep(), this.state)
    await this.assertHolds()
  }

  async assertHolds(state: StoredState = this.state): Promise<void> {
    assert.deepEqual(await this.session.read('weight'), state.weight)
    assert.deepEqual(await this.session.read('moment/weight'), state.moment)
    assert.deepEqual(await this.session.read('embedding'), state.embedding)
    assert.deepEqual(await this.session.read('step'), Float32Array.of(state.step))
  }
}

/** Reads a kept state back from its file; where its sum is known, every byte is held against it. */
export function assertKept(
  { file, version, sum, values }: Omit<KeptState, 'sum'> & Partial<KeptState>,
  state: StoredState,
): void {
  if (sum !== undefined) checkKept(file, { version, identity: keptIdentity(file) }, sum)
  const read = (name: string): unknown => {
    const entry = values.find((value) => value.name === name)
    assert.ok(entry, name)
    return readKept(file, { version, identity: keptIdentity(file) }, entry)
  }
  assert.deepEqual(read('weight'), state.weight)
  assert.deepEqual(read('moment/weight'), state.moment)
  assert.deepEqual(read('embedding'), state.embedding)
  assert.deepEqual(read('step'), Float32Array.of(state.step))
}
