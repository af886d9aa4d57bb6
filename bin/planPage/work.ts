// Where a step's work is, as counted and modelled: by kind of kernel, and the kernels that have most of it.

import { h } from './element.ts'
import type { VNode } from './element.ts'
import { totalBytes } from '../../compiler/plan/explain.ts'
import type { FunctionReport, KernelReport } from '../../compiler/plan/explain.ts'
import { scaled, subjectOf } from '../explainView.ts'
import { bytesText, secondsText, shareBar } from './charts.ts'

interface Work {
  readonly launches: number
  /** Predicted. */
  readonly seconds: number
  readonly executed: number
  readonly moved: number
}

const SHOWN_KERNELS = 14

export function workSection(functions: readonly FunctionReport[], seconds: ReadonlyMap<string, number>): VNode[] {
  const kernels = functions.flatMap((fn) =>
    fn.kernels.map((kernel) => ({ kernel, fn: fn.name, ...workOf(kernel, seconds.get(kernel.kernel) ?? 0) })),
  )
  if (kernels.length === 0) return []
  const kinds = new Map<string, Work>()
  for (const { kernel, launches, seconds, executed, moved } of kernels) {
    const sum = kinds.get(kernel.kind) ?? { launches: 0, seconds: 0, executed: 0, moved: 0 }
    kinds.set(kernel.kind, {
      launches: sum.launches + launches,
      seconds: sum.seconds + seconds,
      executed: sum.executed + executed,
      moved: sum.moved + moved,
    })
  }
  const total = sumOf(kernels)
  const rows = [...kinds].sort(([, a], [, b]) => b.seconds - a.seconds)
  const bar = (title: string, of: (work: Work) => number): VNode[] => [
    h('h3', {}, title),
    shareBar(rows.map(([label, work]) => ({ label, value: of(work) })), of(total)),
  ] // prettier-ignore
  const heaviest = kernels.toSorted((a, b) => b.seconds - a.seconds || b.moved - a.moved).slice(0, SHOWN_KERNELS)
  const head = ['kernel', 'launches', 'predicted', 'share', 'multiply-adds', 'moved', 'passes', 'computes']
  return [
    h('h2', {}, 'Where the time goes'),
    h('p', {}, 'Counted from the loops at full length: time as above, without waiting for storage; bytes by the model of one private cache. A call of each function; nothing was run.'), // prettier-ignore
    ...bar(`${secondsText(total.seconds)} of computing, predicted`, ({ seconds }) => seconds),
    ...bar(`multiply-adds, ${scaled(total.executed)} executed`, ({ executed }) => executed),
    ...bar(`bytes moved, ${bytesText(total.moved)}`, ({ moved }) => moved),
    h(
      'ul',
      { class: 'key' },
      ...rows.map(([kind, work], place) =>
        h(
          'li',
          {},
          h('i', { class: `part${place}` }),
          `${kind}: ${work.launches} launches, ${secondsText(work.seconds)}, ${scaled(work.executed)} multiply-adds, ${bytesText(work.moved)}`,
        ),
      ),
    ),
    h('h3', {}, `the ${heaviest.length} kernels with most of it, of ${kernels.length}`),
    h(
      'div',
      { class: 'scroll' },
      h(
        'table',
        {},
        h('tr', {}, ...head.map((text, column) => h('th', { class: column > 0 && column < 7 ? 'n' : '' }, text))),
        ...heaviest.map(({ kernel, fn, launches, seconds, executed, moved }) =>
          h(
            'tr',
            {},
            h('td', {}, h('code', {}, `${fn} · ${kernel.kernel}`)),
            h('td', { class: 'n' }, String(launches)),
            h('td', { class: 'n' }, secondsText(seconds)),
            h('td', { class: 'n' }, `${((100 * seconds) / Math.max(Number.MIN_VALUE, total.seconds)).toFixed(1)} %`),
            h('td', { class: 'n' }, scaled(executed)),
            h('td', { class: 'n' }, bytesText(moved)),
            h('td', { class: 'n' }, kernel.passes.toFixed(2)),
            h('td', { class: 'what' }, subjectOf(kernel, 60)),
          ),
        ),
      ),
    ),
  ]
}

function workOf(kernel: KernelReport, seconds: number): Work {
  const { launches } = kernel
  return {
    launches,
    seconds: launches * seconds,
    executed: launches * kernel.executed,
    moved: launches * totalBytes(kernel.moved),
  }
}

function sumOf(all: readonly Work[]): Work {
  const sum = (of: (work: Work) => number): number => all.reduce((total, work) => total + of(work), 0)
  return {
    launches: sum(({ launches }) => launches),
    seconds: sum(({ seconds }) => seconds),
    executed: sum(({ executed }) => executed),
    moved: sum(({ moved }) => moved),
  }
}
