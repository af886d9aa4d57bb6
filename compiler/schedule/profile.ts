// What the schedule may know of a device: vector width, register tile, caches. Numbers only; an instruction set's
// spelling is the backend's business.

/** Register tile of a contraction: `rows` broadcast values times `vectors` vectors. */
export interface RegisterTile {
  readonly rows: number
  readonly vectors: number
}

export interface ScheduleProfile {
  readonly name: string
  /** float32 lanes of a vector register: 4, 8 or 16. */
  readonly lanes: number
  /**
   * `laneRegisters`: vector registers that a tile may fill where a multiply-add takes its broadcast value from one lane of a
   * vector; absent where it cannot.
   */
  readonly tile: RegisterTile & { readonly laneRegisters?: number }
  /** Bytes of the cache that one core has to itself and that a packed block should leave half free. */
  readonly privateCache: number
  /** Threads that a launch should be able to feed. */
  readonly threads: number
}
