// The wasm driver and run-time, with Node alone; and what is the same wherever a program runs: first values, and which
// inputs are ids.

import assert from 'node:assert/strict'
import { describeDevice } from './driverSuite.ts'

describe('wasm session', function () {
  // The first compilation of a process starts clang.
  this.timeout(120_000)
  describeDevice('wasm', [1, 2, 4])
  void assert
})
