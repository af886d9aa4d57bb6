// What the certificate says of a program's tables, against what the host's compiler makes of them.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { programSources } from '../../backends/neon/driver/index.ts'
import { structBytes, tableBytes } from '../../backends/neon/emit/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { runProgram } from '../../backends/neon/toolchain/native.ts'
import type { Source } from '../../backends/neon/toolchain/index.ts'
import { hostDevice } from '../../devices/index.ts'
import { storedStep } from '../../bench/storage/plan.ts'
import { lineProgram } from '../neon/runtimeProgram.ts'

describe("a program's tables", function () {
  this.timeout(600_000)

  it('have structs of as many bytes as the certificate counts', async () => {
    const chain = await chooseToolChain('host')
    const types = Object.keys(structBytes).map((name) => (name === 'extent' ? 'int64_t' : `heddle_${name}`))
    const text = `#include "heddle_program.h"\n#include <stdio.h>\nint main() { ${types.map((type) => `printf("%zu ", sizeof(${type}));`).join(' ')} }\n`
    const headers = (await programSources(lineProgram, chain)).filter(({ name }) => name.endsWith('.h'))
    const sources: Source[] = [...headers, { name: 'program.cpp', text }]
    const path = await chain.compile(sources, { output: 'executable', optimise: 'light' })
    const { output } = await runProgram(path, [])
    assert.deepEqual(output.trim().split(' ').map(Number), Object.values(structBytes))
  })

  it('grow a program by what the certificate says, within a tenth', async () => {
    const chain = await chooseToolChain('host')
    const device = hostDevice(chain.isa.name)
    const built = await Promise.all(
      [110 * 2 ** 20, undefined].map(async (memory) => {
        const { compiled } = storedStep({ model: 'qwen2', targets: 'attention', length: 64, threads: 1, memory }, device) // prettier-ignore
        const path = await chain.compile(await programSources(compiled.program, chain), { output: 'executable', optimise: 'light' }) // prettier-ignore
        return { planned: tableBytes(compiled.program), bytes: readFileSync(path).length }
      }),
    )
    const [large, small] = built.sort((one, other) => other.planned - one.planned)
    assert.ok(large && small)
    const [planned, real] = [large.planned - small.planned, large.bytes - small.bytes]
    console.log(`      planned ${planned} bytes of ${large.planned}, real ${real}`)
    assert.ok(Math.abs(real - planned) <= 0.1 * planned + 4096)
  })
})
