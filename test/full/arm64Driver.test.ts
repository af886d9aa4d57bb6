// The same run-time, cross-compiled for arm64 and emulated: the bits of the oracle there as well.

import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { describeDevice } from '../neon/driverSuite.ts'
import { StoredFiles, StoredRun } from '../support/storedRun.ts'

describe('native session on emulated arm64', function () {
  this.timeout(120_000)
  describeDevice('arm64', [1, 3])

  it('trains what is in storage, and keeps it', async () => {
    const files = new StoredFiles()
    const run = await StoredRun.open(files, await chooseToolChain('arm64'), { threads: 3 })
    try {
      await run.trainAndKeep()
    } finally {
      await run.session.close()
      files.remove()
    }
  })
})
