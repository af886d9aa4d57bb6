// The run-time's own check of frozen tensors, behind the driver's back: whoever else opens a program (an application
// with the C interface) has no driver that would have looked before.

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildProgram } from '../../backends/neon/driver/open.ts'
import { openWasmDevice } from '../../backends/neon/driver/wasm.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { InternalError } from '../../compiler/diagnostic.ts'
import { lineProgram, tableSize } from './runtimeProgram.ts'

describe('frozen tensors of another size', function () {
  // The first compilation of a process starts clang.
  this.timeout(120_000)
  let folder = ''
  let module = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-frozen-'))
    await writeFile(join(folder, 'weights.bin'), new Uint8Array(8 * tableSize))
    module = await buildProgram(lineProgram, await chooseToolChain('wasm'), { optimise: 'light' })
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** Opens a session and closes it again. */
  const open = async (bytes: number): Promise<void> => {
    const device = await openWasmDevice(module, lineProgram, {
      threads: 1,
      profile: false,
      frozen: [{ path: join(folder, 'weights.bin'), offset: 0, bytes }],
    })
    await device.close()
  }

  for (const bytes of [4, 4 * tableSize - 4, 4 * tableSize + 4, 8 * tableSize]) {
    it(`are refused by the run-time itself: ${bytes} bytes instead of ${4 * tableSize}`, async () => {
      await assert.rejects(open(bytes), (error) => {
        assert.ok(error instanceof InternalError, String(error))
        assert.match(error.message, new RegExp(`frozen tensor 'table' has ${bytes} bytes; the program reads 76$`))
        return true
      })
    })
  }

  it('are opened at their own size', () => open(4 * tableSize))
})
