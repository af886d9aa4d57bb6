// Few runs in which every two choices of different kinds occur together. Only for tests.

export type Choices = Readonly<Record<string, readonly (string | number)[]>>
export type Chosen<C extends Choices> = { readonly [K in keyof C]: C[K][number] }

/** Greedily, so the same choices always give the same runs; the first values of every kind are the first run. */
export function pairwise<const C extends Choices>(choices: C): Chosen<C>[] {
  const kinds = Object.entries<readonly (string | number)[]>(choices)
  const all = kinds.reduce<Record<string, string | number>[]>(
    (runs, [kind, values]) => runs.flatMap((run) => values.map((value) => ({ ...run, [kind]: value }))),
    [{}],
  )
  const pairs = (run: Record<string, string | number>): string[] => {
    const parts = kinds.map(([kind]) => `${kind} ${run[kind]}`)
    return parts.flatMap((one, place) => parts.slice(place + 1).map((other) => `${one}, ${other}`))
  }
  const open = new Set(all.flatMap(pairs))
  const gain = (run: Record<string, string | number>): number => pairs(run).filter((pair) => open.has(pair)).length
  const runs: Record<string, string | number>[] = []
  while (open.size > 0) {
    const best = all.reduce((most, run) => (gain(run) > gain(most) ? run : most))
    pairs(best).forEach((pair) => open.delete(pair))
    runs.push(best)
  }
  return runs as Chosen<C>[]
}

/** Does all pieces of work, two at a time: the machines that run these tests have two cores. */
export async function twoAtATime<T>(work: readonly T[], run: (piece: T) => Promise<void>): Promise<void> {
  const left = [...work]
  const worker = async (): Promise<void> => {
    for (let piece = left.shift(); piece !== undefined; piece = left.shift()) await run(piece)
  }
  await Promise.all([worker(), worker()])
}
