// Frozen tensors of a native program: where in memory they lie. A tensor that begins at no multiple of its element is
// copied, since reading it in place is undefined in C++ and traps on some processors, while x86 says nothing; any other
// is mapped, so that a model's weights are not held twice. Needs the host's compiler.

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openNativeDevice } from '../../backends/neon/driver/native.ts'
import { buildProgram } from '../../backends/neon/driver/open.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Source, ToolChain } from '../../backends/neon/toolchain/index.ts'
import { runProgram } from '../../backends/neon/toolchain/native.ts'
import { InternalError } from '../../compiler/diagnostic.ts'
import { lineProgram, tableSize } from '../neon/runtimeProgram.ts'

/** Opens PATH OFFSET BYTES ELEMENT as the run-time does; prints where it lies within a page, and the sum of its bytes. */
const probe = `#include <stdio.h>
#include <stdlib.h>
#include "heddle_frozen.h"

int main(int count, char** words) {
  if (count != 5) return 2;
  char text[HEDDLE_MESSAGE_BYTES];
  const heddle::Text message(text, HEDDLE_MESSAGE_BYTES);
  heddle_frozen frozen;
  if (!heddle::open_range(words[1], atoll(words[2]), atoll(words[3]), atoll(words[4]), &frozen, message)) {
    puts(text);
    return 1;
  }
  unsigned long sum = 0;
  for (int64_t index = 0; index < frozen.bytes; index++) sum += static_cast<const unsigned char*>(frozen.data)[index];
  const long page = sysconf(_SC_PAGESIZE);
  printf("%ld %ld %ld %lu\\n", page, static_cast<long>(reinterpret_cast<uintptr_t>(frozen.data) % page),
         static_cast<long>(frozen.bytes), sum);
  return 0;
}
`

describe('frozen tensors in memory', function () {
  this.timeout(120_000)
  let folder = ''
  let file = ''
  let program = ''
  let host: ToolChain
  const bytes = Uint8Array.from({ length: 20_011 }, (_, index) => (index * 37 + 11) % 251)

  before(async () => {
    host = await chooseToolChain('host')
    folder = await mkdtemp(join(tmpdir(), 'heddle-frozen-'))
    file = join(folder, 'weights.bin')
    await writeFile(file, bytes)
    const names = ['heddle.h', 'heddle_program.h', 'heddle_platform.h', 'heddle_text.h', 'heddle_files.h', 'heddle_frozen.h'] // prettier-ignore
    const headers = names.map(async (name): Promise<Source> => {
      return { name, text: await readFile(new URL(`../../backends/neon/runtime/${name}`, import.meta.url), 'utf8') }
    })
    const sources = [...(await Promise.all(headers)), { name: 'probe.cpp', text: probe }]
    program = await host.compile(sources, { output: 'executable', optimise: 'light' })
  })
  after(() => rm(folder, { recursive: true, force: true }))

  for (const element of [2, 4]) {
    for (const offset of [0, 1, 2, 3, 4, 6, 4095, 4096, 4097, 4098, 5002]) {
      const isAligned = offset % element === 0
      it(`of ${element}-byte elements at byte ${offset} are ${isAligned ? 'mapped' : 'copied'}`, async () => {
        const length = 12_000
        const { code, output } = await runProgram(program, [file, `${offset}`, `${length}`, `${element}`])
        assert.equal(code, 0, output)
        const [page = 0, place = 0, found, sum] = output.trim().split(' ').map(Number)
        assert.equal(found, length)
        assert.equal(sum, bytes.subarray(offset, offset + length).reduce((total, byte) => total + byte, 0)) // prettier-ignore
        assert.equal(place % element, 0, 'elements are read where they may be')
        // A mapped file lies as it does on the disk; a copy begins with a page.
        assert.equal(place, isAligned ? offset % page : 0)
      })
    }
  }

  it('must have the size that the program reads, by the run-time itself as well', async () => {
    const path = await buildProgram(lineProgram, host, { optimise: 'light' })
    for (const size of [4 * tableSize - 4, 4 * tableSize + 4]) {
      const frozen = [{ path: file, offset: 0, bytes: size }]
      const opening = openNativeDevice(path, host.launcher, { threads: 1, profile: false, frozen }).then((device) =>
        // What should not have opened must not keep this process alive either.
        device.close(),
      )
      await assert.rejects(opening, (error) => {
        assert.ok(error instanceof InternalError, String(error))
        assert.match(error.message, new RegExp(`frozen tensor 'table' has ${size} bytes; the program reads 76`))
        return true
      })
    }
  })
})
