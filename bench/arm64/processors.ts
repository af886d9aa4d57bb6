// The processors that cycles are modelled for, as llvm-mca 22 knows them. Data only; how many multiply-adds each can
// start is asked of the model itself (`issueLimit`), not written here.

export interface Processor {
  /** What llvm-mca calls it. A name without a schedule of its own would silently be given another core's. */
  readonly name: string
  /** For people. */
  readonly standsFor: string
  /** What its program is compiled for, unless the caller says otherwise: the tool chain's choice, or its own. */
  readonly tune: string
}

/** What `chooseToolChain('arm64')` compiles for. */
export const shippedTune = 'cortex-a76'

export const processors: readonly Processor[] = [
  { name: 'neoverse-n1', standsFor: 'Cortex-A76 to A78', tune: shippedTune },
  { name: 'cortex-x1', standsFor: 'Cortex-X1', tune: shippedTune },
  { name: 'cortex-x2', standsFor: 'Cortex-X2', tune: shippedTune },
  { name: 'cortex-a55', standsFor: 'Cortex-A55, in order', tune: 'cortex-a55' },
  { name: 'cortex-a510', standsFor: 'Cortex-A510, in order', tune: 'cortex-a55' },
]
