// The native driver and run-time with the host's own compiler.

import assert from 'node:assert/strict'
import { openSession } from '../../backends/neon/driver/index.ts'
import { describeDevice } from '../neon/driverSuite.ts'

describe('native session on the host', () => {
  describeDevice('host', [1, 2, 4])
  void assert
  void openSession
})
