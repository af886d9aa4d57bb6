// What the command line and tests need of running programs.

export type { FrozenRange, Pace } from './device.ts'
export { batteryMargin, ceilingMargin, gates, usualLook } from './governor.ts'
export type { Decision, EnergyUse, Gate, GovernorPolicy, Reading, Standing } from './governor.ts'
export { initialData } from './initial.ts'
export { stateFileBytes } from './stateFile.ts'
export { buildProgram, openSession, programSources } from './open.ts'
export type { BuildOptions, SessionOptions } from './open.ts'
export { Abandoned } from './session.ts'
export type {
  KeptState, KeptValue, KernelStats, Session, SessionDescription, SessionStats, Sizes, StepOutcome, TensorData, ValueDescription,
} from './session.ts' // prettier-ignore
