// What the schedule may know of a device: vector width, register tile, caches. Numbers only; an instruction set's
// spelling is the backend's business.

/** Register tile of a contraction: `rows` broadcast values times `vectors` vectors. */
export interface TileShape {
  readonly rows: number
  readonly vectors: number
}

/** What a schedule chooses for one multiply-add nest; no bit depends on any of it. */
export interface TileChoice extends TileShape {
  /** Panels of `vectors` vectors that are packed together. */
  readonly panels: number
  /** Steps of the chain that a packed block holds: all of them, or pieces. */
  readonly steps: number
  /** Pieces of the broadcast direction that go to threads. */
  readonly pieces: number
}

export interface ScheduleProfile {
  readonly name: string
  /** float32 lanes of a vector register: 4, 8 or 16. */
  readonly lanes: number
  /**
   * `laneRegisters`: vector registers that a tile may fill where a multiply-add takes its broadcast value from one lane of a
   * vector; absent where it cannot.
   */
  readonly tile: TileShape & { readonly laneRegisters?: number }
  /** Other shapes that fit the registers, for products that the first one does not divide. */
  readonly otherTiles?: readonly TileShape[]
  /** Bytes of the cache that one core has to itself and that a packed block should leave half free. */
  readonly privateCache: number
  /** Whether memory is to be asked for what is packed next, because the processor does not foresee far strides. */
  readonly fetchesAhead?: boolean
  /** What a search found best, by the name of the nest; a rule chooses for all others. */
  readonly choices?: Readonly<Record<string, TileChoice>>
  /**
   * Frozen tensors above so many bytes come by ranges of their rows while a kernel runs: it then walks those rows outermost.
   * Absent where all lie in memory.
   */
  readonly shardBytes?: number
  /** Trained values and the optimizer's do as well, and go back the same way. */
  readonly shardsState?: boolean
  /** Rows of a block of scores go together, those among them that a mask leaves nothing: a workgroup's invocations meet. */
  readonly wholeBlocks?: boolean
  /** Threads that a launch should be able to feed. */
  readonly threads: number
}
