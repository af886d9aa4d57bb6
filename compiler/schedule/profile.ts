// What the schedule may know of a device: vector width, register tile, caches. Numbers only; an instruction set's
// spelling is the backend's business.

export interface ScheduleProfile {
  readonly name: string
  /** float32 lanes of a vector register: 4, 8 or 16. */
  readonly lanes: number
  /** Register tile of a contraction: `rows` broadcast values times `vectors` vectors. */
  readonly tile: { readonly rows: number; readonly vectors: number }
  /** Bytes of the cache that one core has to itself and that a packed block should leave half free. */
  readonly privateCache: number
  /** Threads that a launch should be able to feed. */
  readonly threads: number
}
