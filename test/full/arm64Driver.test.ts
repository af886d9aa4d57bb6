// The same run-time, cross-compiled for arm64 and emulated: the bits of the oracle there as well.

import { describeDevice } from '../neon/driverSuite.ts'

describe('native session on emulated arm64', function () {
  this.timeout(120_000)
  describeDevice('arm64', [1, 3])
})
