// Says one thing after another wrongly (the sign of a derivative rule, a mask, the order of a reduction, a constant, a
// guard of the scheduler, a comparison) in a copy of the repository and looks whether a test notices. Exits with 1 when
// one does not.

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import { equivalence, staleEquivalences } from './mutate/equivalent.ts'
import { allMutations } from './mutate/groups.ts'
import { idOf } from './mutate/mutation.ts'
import type { Mutation } from './mutate/mutation.ts'
import { Workspace } from './mutate/workspace.ts'

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')

function positive(text: string): number {
  const value = Number(text)
  if (value > 0) return value
  throw new InvalidArgumentError('a positive number is wanted.')
}

interface Options {
  readonly list?: true
  readonly group?: readonly string[]
  readonly match?: string
  readonly every: number
  readonly minutes: number
  readonly jobs: number
}

const given = new Command('npm run mutate --')
  .description(
    'Tries mutations of the compiler one by one and says which no test noticed; exits with 1 if there are any.',
  )
  .option('--list', 'print the mutations and try none')
  .option('--group <name...>', 'only these groups')
  .option('--match <text>', 'only mutations whose line in the list has this text')
  .option('--every <n>', 'each nth mutation of each file, and say how many were left out', positive, 1)
  .option('--minutes <m>', 'begin no mutation after so long, and say how many were left out', positive, Infinity)
  .option('--jobs <n>', 'how many at once', positive, availableParallelism())
  .parse()
  .opts<Options>()

function everyNth(mutations: readonly Mutation[], step: number): Mutation[] {
  const seen = new Map<string, number>()
  return mutations.filter(({ group, file }) => {
    const place = seen.get(`${group} ${file}`) ?? 0
    seen.set(`${group} ${file}`, place + 1)
    return place % step === 0
  })
}

function describe({ group, file, line, what }: Mutation): string {
  return `${group.padEnd(12)} ${file}:${line}  ${what}`
}

/** The mutations of a copy of the repository that the options choose. */
function choose(folder: string): Mutation[] {
  const all = allMutations(folder)
  const stale = staleEquivalences(all)
  if (stale.length > 0) throw new Error(`equivalent.ts lists what is no longer there:\n  ${stale.join('\n  ')}`)
  const { group: wanted, match } = given
  const matching = all.filter((one) => (!wanted || wanted.includes(one.group)) && (!match || idOf(one).includes(match)))
  if (matching.length === 0) throw new Error('nothing to mutate')
  return everyNth(matching, Math.round(given.every))
}

async function main(): Promise<number> {
  if (given.list) {
    const listed = choose(root)
    for (const one of listed) console.log(describe(one))
    console.log(`${listed.length} mutations`)
    return 0
  }
  const deadline = performance.now() + given.minutes * 60_000
  const jobs = Math.round(given.jobs)
  const workspaces = [new Workspace(root)]
  const [first] = workspaces as [Workspace]
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      for (const workspace of workspaces) workspace.remove()
      process.exit(1)
    })
  }
  try {
    // In the copy, so that an edit of the checkout meanwhile moves nothing.
    const chosen = choose(first.folder)
    while (workspaces.length < Math.min(jobs, chosen.length)) workspaces.push(new Workspace(first))
    return await tryAll(chosen, workspaces, deadline)
  } finally {
    for (const workspace of workspaces) workspace.remove()
  }
}

/** At once in each; when one fails the others still end what they are at, so that nothing runs in a removed folder. */
async function eachWorkspace(
  workspaces: readonly Workspace[],
  work: (workspace: Workspace) => Promise<void>,
): Promise<void> {
  const ended = await Promise.allSettled(workspaces.map(work))
  for (const one of ended) if (one.status === 'rejected') throw one.reason
}

async function tryAll(
  chosen: readonly Mutation[],
  workspaces: readonly Workspace[],
  deadline: number,
): Promise<number> {
  // What fails without a mutation cannot notice one.
  const suites = new Map(chosen.map(({ tests }) => [tests.join(' '), tests]))
  const limits = new Map<string, number>()
  // Those of many files take longest; begun last they would keep the other workspaces waiting.
  const untried = [...suites].sort(([, one], [, other]) => other.length - one.length)
  await eachWorkspace(workspaces, async (workspace) => {
    for (let next = untried.shift(); next; next = untried.shift()) {
      const [suite, tests] = next
      const { isKilled, because, seconds } = await workspace.test(tests)
      if (isKilled) throw new Error(`${suite} fails as the code is: ${because}`)
      console.log(`passes as the code is (${seconds.toFixed(0)} s): ${suite}`)
      // A mutation may make a loop endless; slowness alone must not look like a failure.
      limits.set(suite, 60 + 2 * workspaces.length * seconds)
    }
  })
  const waiting = [...chosen]
  const counts = { killed: 0, equivalent: 0, survived: [] as Mutation[] }
  await eachWorkspace(workspaces, async (workspace) => {
    while (performance.now() < deadline) {
      const mutation = waiting.shift()
      if (!mutation) return
      const reason = equivalence(mutation)
      if (reason !== undefined) {
        counts.equivalent++
        console.log(`equivalent  ${describe(mutation)}\n            ${reason}`)
        continue
      }
      const { isKilled, seconds, because } = await workspace.try(mutation, limits.get(mutation.tests.join(' ')) ?? 0)
      if (isKilled) counts.killed++
      else counts.survived.push(mutation)
      const verdict = isKilled ? 'killed  ' : 'SURVIVED'
      console.log(
        `${verdict} ${seconds.toFixed(1).padStart(5)} s  ${describe(mutation)}${isKilled ? `  [${because.slice(0, 60)}]` : ''}`,
      )
    }
  })
  const { killed, equivalent, survived } = counts
  console.log(
    `\n${killed} killed, ${survived.length} survived, ${equivalent} equivalent, ${waiting.length} not tried for lack of time`,
  )
  for (const one of survived) console.log(`survived: ${describe(one)}`)
  return survived.length > 0 ? 1 : 0
}

process.exitCode = await main()
