// A plan as one page that needs nothing else: no script, no network, every word escaped by the renderer.

import { h } from './element.ts'
import type { VNode } from './element.ts'
import { renderToString } from 'preact-render-to-string'
import type { FunctionReport } from '../../compiler/plan/explain.ts'
import type { JointReport } from '../../compiler/pipeline.ts'
import type { Timetable } from '../../compiler/plan/timetable.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import type { Certificate } from '../../train/certificate.ts'
import type { DeviceFit, FittingChange } from '../../train/fitting.ts'
import { bufferKinds } from '../../train/planDetails.ts'
import type { FunctionDetails, LayerDetails, SingleNeed } from '../../train/planDetails.ts'
import { jointText } from '../checkpointView.ts'
import { mebibytes } from '../output.ts'
import { certificateRows, changeText, checkpointsText, needText, recordsText, storageLines } from '../planView.ts'
import { bytesText, kindNames, liveCurve, memoryMap, secondsText, shareBar, workLanes } from './charts.ts'
import { style } from './style.ts'
import { workSection } from './work.ts'

export interface PlanPage {
  /** Model, adaptation and batch in a line. */
  readonly subject: string
  /** Of a step. */
  readonly microBatches: number
  readonly device: DeviceProfile
  readonly threads: number
  readonly certificate: Certificate
  readonly checkpoints: DeviceFit['checkpoints']
  /** Where recomputation and weights that stay were planned together. */
  readonly joint?: JointReport | undefined
  readonly functions: readonly FunctionDetails[]
  readonly layers: readonly LayerDetails[]
  readonly need: SingleNeed | undefined
  readonly changes: readonly FittingChange[]
  /** Empty unless devices were compared. */
  readonly devices: readonly DeviceFit[]
  readonly kernels: readonly FunctionReport[]
  /** By the name of a function. */
  readonly timetables: ReadonlyMap<string, Timetable>
  /** What one launch of a kernel is predicted to take, by its name. */
  readonly kernelSeconds: ReadonlyMap<string, number>
  /** Whose figures the predictions are by. */
  readonly predictedBy: string
}

export function planPage(page: PlanPage): string {
  const title = `Plan: ${page.subject}`
  const body = h(
    'main',
    {},
    ...head(page),
    ...changes(page),
    ...memory(page),
    ...layers(page),
    ...devices(page),
    ...workSection(page.kernels, page.kernelSeconds),
    h('footer', {}, `device: ${page.device.source}`),
  )
  const html = h(
    'html',
    { lang: 'en' },
    h(
      'head',
      {},
      h('meta', { charset: 'utf-8' }),
      h('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
      h('meta', { 'http-equiv': 'Content-Security-Policy', content: "default-src 'none'; style-src 'unsafe-inline'" }),
      h('title', {}, title),
      h('style', { dangerouslySetInnerHTML: { __html: style } }),
    ),
    h('body', {}, body),
  )
  return `<!doctype html>\n${renderToString(html)}\n`
}

function head({ subject, microBatches, device, certificate, threads, checkpoints, need }: PlanPage): VNode[] {
  const { fits, peakBytes, budgetBytes } = certificate
  const rows = certificateRows(certificate, threads)
  const whole = Math.max(peakBytes, budgetBytes)
  const at = (100 * budgetBytes) / whole
  const free = budgetBytes - peakBytes
  return [
    h('h1', {}, subject),
    h('p', {}, `on ${device.title} · ${threads} threads · ${checkpointsText[checkpoints]} for the backward pass`),
    h(
      'div',
      { class: `verdict ${fits ? 'fits' : 'over'}` },
      h('b', {}, fits ? 'Fits' : 'Does not fit'),
      h('span', {}, `peak ${mebibytes(peakBytes)} MiB of ${mebibytes(budgetBytes)} MiB`),
      h('span', {}, fits ? `${mebibytes(free)} MiB free` : `${mebibytes(-free)} MiB too much`),
    ),
    h(
      'div',
      { class: 'budgetline' },
      shareBar(rows.map(({ label, bytes }) => ({ label, value: bytes })), whole),
      fits ? h('span', {}) : h('i', { style: `left:${at.toFixed(2)}%`, title: 'budget' }),
    ),
    h(
      'ul',
      { class: 'key' },
      ...rows.map(({ label, bytes }, place) =>
        h('li', {}, h('i', { class: `part${place}` }), `${label} `, h('b', {}, bytesText(bytes))),
      ),
    ),
    ...(need ? [h('p', {}, sentence(needText(need)))] : []),
    ...storageLines(certificate, microBatches).map((line) => h('p', {}, sentence(line))),
  ] // prettier-ignore
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`
}

function changes({ certificate, changes }: PlanPage): VNode[] {
  if (certificate.fits) return []
  const rows = changes.map((change) => [
    [changeText(change), recordsText(change)].filter((text) => text !== undefined).join(': '),
    `${mebibytes(change.peakBytes)} MiB`,
    `${mebibytes(change.budgetBytes)} MiB`,
  ])
  return [
    h('h2', {}, 'What would make it fit'),
    changes.length === 0
      ? h('p', {}, 'No change of one thing alone makes it fit.')
      : table(['change', 'peak', 'budget'], rows, new Set([1, 2])),
  ]
}

function memory({ functions, certificate, timetables, predictedBy }: PlanPage): VNode[] {
  const { arena } = certificate.parts
  const room = certificate.budgetBytes - (certificate.peakBytes - arena)
  // The one with most launches is what a person comes for.
  const sorted = functions
    .filter(({ buffers }) => buffers.length > 0)
    .toSorted((a, b) => b.launches.length - a.launches.length)
  const drawings = (fn: FunctionDetails): VNode[] => {
    const timetable = timetables.get(fn.name)
    if (!timetable) return []
    return [
      h('h3', {}, 'every buffer at its offset, for as long as it lives; the dashed line is the lower bound'),
      memoryMap(fn, timetable),
      h('h3', {}, scheduleText(timetable)),
      workLanes(fn, timetable),
      h('h3', {}, 'live bytes'),
      liveCurve(fn, timetable, room),
    ]
  }
  return [
    h('h2', {}, 'Memory over time'),
    h('p', {}, `Times are predicted by ${predictedBy}: no kernel is faster than its operations or its bytes; nothing was run.`),
    h(
      'ul',
      { class: 'key' },
      ...bufferKinds.map((kind) => h('li', {}, h('i', { class: kind }), kindNames[kind])),
    ),
    ...sorted.flatMap((fn, place) => {
      const gap = fn.lowerBound === 0 ? 0 : (fn.peak / fn.lowerBound - 1) * 100
      const launches = certificate.functions.find(({ name }) => name === fn.name)?.launches ?? fn.launches.length
      const parts = fn.launches.length > launches ? ` in ${fn.launches.length} parts` : ''
      const line = `${launches} launches${parts}, ${fn.buffers.length} buffers in ${bytesText(fn.peak)}, ${gap.toFixed(2)} % above the lower bound`
      return place === 0
        ? [h('p', {}, h('code', {}, fn.name), ` · ${line}`), ...drawings(fn)]
        : [h('details', {}, h('summary', {}, h('code', {}, fn.name), ` · ${line}`), ...drawings(fn))]
    }),
  ] // prettier-ignore
}

function scheduleText({ end, stallSeconds, moves }: Timetable): string {
  const of = (wanted: 'read' | 'write', what: string): string => {
    const some = moves.filter(({ kind }) => kind === wanted)
    const bytes = some.reduce((sum, move) => sum + move.bytes, 0)
    return some.length === 0 ? '' : `; ${some.length} ${what} storage, ${bytesText(bytes)}`
  }
  const waiting = stallSeconds > 0 ? `, ${secondsText(stallSeconds)} of it waiting` : ''
  return `${secondsText(end)}${waiting}${of('read', 'reads from')}${of('write', 'writes to')}`
}

const layerText = {
  none: 'Every layer keeps what its backward pass reads.',
  every: 'Every layer keeps its input and computes the rest again when its backward pass comes.',
  chosen: 'Each layer keeps what was chosen for the budget and computes the rest again when its backward pass comes.',
} as const

function layers({ layers, checkpoints, joint }: PlanPage): VNode[] {
  if (layers.length === 0) return []
  const most = layers.reduce((largest, { kept, again }) => Math.max(largest, kept, again), 1)
  const bar = (kind: 'kept' | 'again', bytes: number): VNode =>
    h(
      'td',
      { class: 'bar' },
      h('div', { style: `width:${((100 * bytes) / most).toFixed(2)}%;background:var(--${kind})` }),
    )
  return [
    h('h2', {}, 'Checkpoints'),
    h('p', {}, layerText[checkpoints]),
    ...(joint ? [h('p', {}, sentence(jointText(joint)))] : []),
    h(
      'div',
      { class: 'scroll' },
      h(
        'table',
        {},
        h('tr', {}, ...['layer', 'decision'].map((text) => h('th', {}, text)), h('th', { class: 'n' }, 'kept'), h('th', {}), h('th', { class: 'n' }, 'computed again'), h('th', {})),
        ...layers.map(({ layer, kept, again }) =>
          h(
            'tr',
            {},
            h('td', {}, String(layer)),
            h('td', {}, again > 0 ? 'recomputed' : 'kept'),
            h('td', { class: 'n' }, bytesText(kept)),
            bar('kept', kept),
            h('td', { class: 'n' }, bytesText(again)),
            bar('again', again),
          ),
        ),
      ),
    ),
  ] // prettier-ignore
}

function devices({ devices }: PlanPage): VNode[] {
  if (devices.length === 0) return []
  const rows = devices.map(({ device, certificate, checkpoints }) => [
    `${device.name}: ${device.title}`,
    h('span', { class: certificate.fits ? 'good' : 'bad' }, certificate.fits ? 'fits' : 'does not fit'),
    `${mebibytes(certificate.peakBytes)} MiB`,
    `${mebibytes(certificate.budgetBytes)} MiB`,
    checkpointsText[checkpoints],
  ])
  return [
    h('h2', {}, 'Devices'),
    table(['device', '', 'peak', 'budget', 'backward pass'], rows, new Set([2, 3])),
  ] // prettier-ignore
}

export function table(
  head: readonly string[],
  rows: readonly (readonly (VNode | string)[])[],
  numbers: ReadonlySet<number>,
): VNode {
  const kind = (column: number): { class: string } => ({ class: numbers.has(column) ? 'n' : 'what' })
  return h(
    'div',
    { class: 'scroll' },
    h(
      'table',
      {},
      h('tr', {}, ...head.map((text, column) => h('th', kind(column), text))),
      ...rows.map((row) => h('tr', {}, ...row.map((cell, column) => h('td', kind(column), cell)))),
    ),
  )
}
