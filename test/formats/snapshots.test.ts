// Directories of snapshots: whatever operation is the last one, what can be read afterwards is the old snapshot or the
// new one, whole; full disks and hostile files are refused in one sentence.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { readTensorF32, openSafetensors } from '../../formats/safetensors.ts'
import { SnapshotDirectory } from '../../formats/snapshots.ts'
import type { TensorSource } from '../../formats/snapshots.ts'
import type { WriteOptions } from '../../formats/files.ts'
import { killedFiles, systemError, tracedFiles } from '../support/tracedFiles.ts'

describe('snapshots', () => {
  let base = ''
  let made = 0
  before(() => (base = fs.mkdtempSync(path.join(os.tmpdir(), 'heddle-snapshots-'))))
  after(() => fs.rmSync(base, { recursive: true, force: true }))
  const fresh = (): string => path.join(base, String(made++))

  /** Two tensors of odd sizes that hold the number. */
  const tensors = (number: number): TensorSource[] =>
    [7, 33].map((length) => ({
      name: `values/${length}`,
      dtype: 'F32',
      shape: [length],
      read: async () => new Uint8Array(new Float32Array(length).fill(number).buffer),
    }))

  async function save(dir: string, number: number, options: WriteOptions = {}): Promise<void> {
    const snapshots = new SnapshotDirectory(dir, options)
    snapshots.newest()
    await saveWith(snapshots, number)
  }

  async function saveWith(snapshots: SnapshotDirectory, number: number): Promise<void> {
    snapshots.commit(number, { number }, [await snapshots.writePart('values', number, tensors(number))])
  }

  /** The number of the newest one, whose tensors are read and held against it. */
  function newest(dir: string): number | undefined {
    const snapshots = new SnapshotDirectory(dir)
    const { snapshot, damaged } = snapshots.newest()
    assert.deepEqual(damaged, [])
    if (!snapshot) return undefined
    assert.deepEqual(snapshot.content, { number: snapshot.number })
    const [part] = snapshot.parts
    assert.ok(part)
    for (const [name, entry] of openSafetensors(snapshots.pathOf(part)).tensors) {
      const values = readTensorF32(entry)
      assert.equal(`values/${values.length}`, name)
      assert.ok(values.every((value) => value === snapshot.number))
    }
    return snapshot.number
  }

  it('are there after they were committed; the one before stays, older ones go', async () => {
    const dir = fresh()
    assert.equal(newest(dir), undefined)
    for (const number of [3, 9, 10, 11]) {
      await save(dir, number)
      assert.equal(newest(dir), number)
    }
    assert.deepEqual(fs.readdirSync(dir).sort(), [
      'step-10.json',
      'step-11.json',
      'values-10.safetensors',
      'values-11.safetensors',
    ])
  })

  it('sync a file before it gets its name, and the name before anything relies on it', async () => {
    const dir = fresh()
    const { operations, trace } = tracedFiles()
    await save(dir, 1, operations)
    await save(dir, 2, operations)
    const shown = trace.map((line) => line.replaceAll(dir, '').replaceAll(/\.\d+\.[0-9a-f]{8}\.tmp/g, '.tmp'))
    const one = (name: string): string[] => [`sync /.${name}.tmp`, `rename /.${name}.tmp /${name}`, 'syncDirectory ']
    const written = (number: number): string[] => [
      `open /.values-${number}.safetensors.tmp`,
      ...Array.from({ length: 3 }, () => `write /.values-${number}.safetensors.tmp`),
      ...one(`values-${number}.safetensors`),
      `open /.step-${number}.json.tmp`,
      `write /.step-${number}.json.tmp`,
      ...one(`step-${number}.json`),
    ]
    assert.deepEqual(shown, [...written(1), ...written(2)])
  })

  it('are whole, the old one or the new one, wherever a process was killed', async () => {
    const { trace, operations } = tracedFiles()
    const whole = fresh()
    for (const number of [1, 2, 3]) await save(whole, number, number === 3 ? operations : {})
    assert.ok(trace.length >= 14 && trace.some((line) => line.startsWith('remove')))
    const found: (number | undefined)[] = []
    for (let at = 0; at < trace.length; at++) {
      const dir = fresh()
      for (const number of [1, 2]) await save(dir, number)
      await assert.rejects(save(dir, 3, killedFiles(at).operations))
      found.push(newest(dir))
      // And the next one may be saved, behind which nothing is left of the dead one.
      await save(dir, 4)
      assert.equal(newest(dir), 4)
      assert.equal(fs.readdirSync(dir).length, 4, fs.readdirSync(dir).join(', '))
    }
    const renamed = trace.findIndex((line) => /^rename .*step-3\.json$/.test(line))
    assert.deepEqual(
      found,
      trace.map((_, at) => (at <= renamed ? 2 : 3)),
    )
  })

  it('stay as they were when the disk is full, which is said in one sentence', async () => {
    const { trace, operations } = tracedFiles()
    const whole = fresh()
    await save(whole, 1)
    await save(whole, 2, operations)
    for (let at = 0; at < trace.length; at++) {
      const dir = fresh()
      await save(dir, 1)
      const { operations: full } = tracedFiles(at, () => {
        throw systemError('ENOSPC')
      })
      await assert.rejects(save(dir, 2, full), (error) => {
        assert.ok(error instanceof UserError)
        assert.match(error.sentence, /^HD405 \S+ the disk is full, the state saved after step 1 is unchanged$/)
        return true
      })
      assert.ok([1, 2].includes(newest(dir) ?? NaN))
      assert.ok(fs.readdirSync(dir).every((name) => !name.endsWith('.tmp')))
    }
  })

  it('that are damaged are passed over with a reason each', async () => {
    const dir = fresh()
    await save(dir, 1)
    const harms: Record<string, [RegExp, (manifest: string) => void]> = {
      missing: [/^HD401 .*values-2\.safetensors the file does not exist$/, (file) => fs.rmSync(values(file))],
      short: [/it has 8 bytes, but \d+ were saved/, (file) => fs.truncateSync(values(file), 8)],
      flipped: [/its checksum is not the one that was saved/, (file) => flip(values(file), 40)],
      'half a manifest': [/^HD402 .* is not JSON/, (file) => fs.truncateSync(file, 50)],
      'an edited manifest': [/its checksum is not that of its content/, (file) => flip(file, 21)],
      'a path that leads out': [
        /HD412 .*(checksum|not the description)/,
        (file) => fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('values-2', '../values-2')),
      ],
      'a list': [/HD402 .* a JSON object was expected/, (file) => fs.writeFileSync(file, '[]')],
      'an empty object': [/HD412/, (file) => fs.writeFileSync(file, '{}')],
      'a directory': [/HD401/, (file) => (fs.rmSync(file), fs.mkdirSync(file))],
    }
    const values = (manifest: string): string => path.join(path.dirname(manifest), 'values-2.safetensors')
    const flip = (file: string, at: number): void => {
      const bytes = fs.readFileSync(file)
      bytes[at] = (bytes[at] as number) ^ 1
      fs.writeFileSync(file, bytes)
    }
    for (const [name, [sentence, harm]] of Object.entries(harms)) {
      const copy = fresh()
      fs.cpSync(dir, copy, { recursive: true })
      await save(copy, 2)
      harm(path.join(copy, 'step-2.json'))
      const { snapshot, damaged } = new SnapshotDirectory(copy).newest()
      assert.equal(snapshot?.number, 1, name)
      assert.equal(damaged.length, 1, name)
      assert.match(damaged[0]?.reason.sentence ?? '', sentence, name)
    }
  })

  it('keep parts of the one before, and drop what belongs to none', async () => {
    const dir = fresh()
    const snapshots = new SnapshotDirectory(dir)
    const best = await snapshots.writePart('best', 1, tensors(1))
    snapshots.commit(2, { number: 2 }, [best])
    const better = await snapshots.writePart('best', 3, tensors(3))
    assert.ok(fs.existsSync(snapshots.pathOf(best)))
    snapshots.commit(4, { number: 4 }, [better])
    assert.ok(fs.existsSync(snapshots.pathOf(best)), 'the one before needs it')
    snapshots.commit(5, { number: 5 }, [better])
    assert.deepEqual(fs.readdirSync(dir).sort(), ['best-3.safetensors', 'step-4.json', 'step-5.json'])
  })
})
