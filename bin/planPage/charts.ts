// Drawings of a plan as SVG over predicted time: every buffer at its offset over its life, live bytes by kind, what computes and
// what is moved, shares as bars. Scales and shapes are d3's; colours are the page's, by class.

import { scaleLinear } from 'd3-scale'
import { area, curveStepAfter, stack } from 'd3-shape'
import { h } from './element.ts'
import type { VNode } from './element.ts'
import { formatPlace } from '../../compiler/diagnostic.ts'
import { bufferKinds } from '../../train/planDetails.ts'
import type { Timetable } from '../../compiler/plan/timetable.ts'
import type { BufferKind, FunctionDetails, PlacedBuffer } from '../../train/planDetails.ts'
import { mebibytes, shownPlace } from '../output.ts'

const WIDTH = 1120
const LEFT = 76
const RIGHT = 12
const AXIS = 34
const TOP = 24
/** Room behind the last moment for values that outlive the function. */
const OUTPUT_WIDTH = 6

export const kindNames: Readonly<Record<BufferKind, string>> = {
  kept: 'kept for the backward pass',
  forward: 'passing by, forward',
  again: 'computed again',
  backward: 'passing by, backward',
  streamed: 'a range of what is in storage',
}

/** Bytes with the unit that suits them. */
export function bytesText(bytes: number): string {
  if (bytes >= 1 << 20) return `${mebibytes(bytes)} MiB`
  return bytes >= 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${bytes} B`
}

type Scale = ReturnType<typeof scaleLinear<number, number>>

/** Where moments are across a drawing: what is to be brought out at the end lives behind the last. */
class Clock {
  readonly seconds: Scale
  readonly #begins: readonly number[]
  readonly #end: number

  constructor({ begins, end }: Timetable) {
    this.#begins = begins
    this.#end = end
    this.seconds = scaleLinear([0, Math.max(Number.MIN_VALUE, end)], [LEFT, WIDTH - RIGHT - OUTPUT_WIDTH])
  }

  at(moment: number): number {
    const beyond = Math.min(1, Math.max(0, moment - this.#begins.length))
    return this.seconds(this.#begins[moment] ?? this.#end) + beyond * OUTPUT_WIDTH
  }
}

function svg(height: number, label: string, ...children: (VNode | null)[]): VNode {
  const box = { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': label }
  return h('div', { class: 'chart' }, h('svg', box, ...children))
}

/** Axes of bytes and of time around a drawing whose floor lies at `floor`. */
function axes(clock: Clock, y: Scale, floor: number, backward: number | undefined): VNode {
  const bytes = byteTicks(y).map((tick) =>
    h(
      'g',
      {},
      h('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      h('text', { class: 'tick', x: LEFT - 8, y: y(tick) + 4, 'text-anchor': 'end' }, tickText(tick, y)),
    ),
  )
  return h('g', {}, ...bytes, timeAxis(clock, floor), backward === undefined ? null : turn(clock, floor, backward))
}

function timeAxis({ seconds }: Clock, floor: number): VNode {
  const ticks = seconds
    .ticks(10)
    .map((tick) => h('text', { class: 'tick', x: seconds(tick), y: floor + 16, 'text-anchor': 'middle' }, secondsText(tick))) // prettier-ignore
  const title = h('text', { class: 'tick', x: WIDTH - RIGHT, y: floor + 31, 'text-anchor': 'end' }, 'predicted time')
  return h('g', {}, ...ticks, title)
}

/** Seconds with the unit that suits them. */
export function secondsText(seconds: number): string {
  const [unit, name] = seconds >= 1 ? [1, 's'] : seconds >= 1e-3 ? [1e-3, 'ms'] : [1e-6, 'µs']
  return seconds === 0 ? '0' : `${Number((seconds / unit).toPrecision(3))} ${name}`
}

function unitOf(most: number): readonly [bytes: number, name: string] {
  return most >= 1 << 20 ? [1 << 20, 'MiB'] : most >= 1024 ? [1024, 'KiB'] : [1, 'B']
}

/** Round numbers of the unit that suits the whole axis. */
function byteTicks(y: Scale): number[] {
  const most = y.domain()[1] ?? 0
  const [unit] = unitOf(most)
  return scaleLinear([0, most / unit], [0, 1])
    .ticks(5)
    .map((tick) => tick * unit)
}

function tickText(tick: number, y: Scale): string {
  const [unit, name] = unitOf(y.domain()[1] ?? 0)
  return tick === 0 ? '0' : `${Number((tick / unit).toPrecision(3))} ${name}`
}

function turn(clock: Clock, floor: number, backward: number): VNode {
  const at = clock.at(backward)
  return h(
    'g',
    {},
    h('line', { class: 'turn', x1: at, x2: at, y1: 4, y2: floor }),
    h('text', { class: 'tick', x: at + 5, y: 14 }, 'backward pass →'),
  )
}

function byteScale(most: number, floor: number): Scale {
  return scaleLinear([0, Math.max(1, most)], [floor, TOP])
}

/** Every buffer as a rectangle: its life across, its bytes upwards from its offset. */
export function memoryMap(fn: FunctionDetails, table: Timetable): VNode {
  const height = 380
  const floor = height - AXIS
  const clock = new Clock(table)
  const y = byteScale(fn.peak, floor)
  const rectangles = fn.buffers.map((buffer) => {
    const { first, last, offset, bytes, kind } = buffer
    const box = {
      class: `buffer ${kind}`,
      x: rounded(clock.at(first)),
      y: rounded(y(offset + bytes)),
      width: rounded(Math.max(0.3, clock.at(last + 1) - clock.at(first))),
      height: rounded(Math.max(0.4, y(offset) - y(offset + bytes))),
    }
    return h('rect', box, h('title', {}, bufferText(buffer, fn)))
  })
  const bound = y(fn.lowerBound)
  return svg(
    height,
    `buffers of ${fn.name} by offset and time`,
    axes(clock, y, floor, fn.backward),
    h('g', {}, ...rectangles),
    h('line', { class: 'bound', x1: LEFT, x2: WIDTH - RIGHT, y1: bound, y2: bound }),
  )
}

function bufferText(
  { label, bytes, first, last, offset, layer, place, kind }: PlacedBuffer,
  fn: FunctionDetails,
): string {
  const shown = shownPlace(place)
  return [
    `${label}${layer === undefined ? '' : `, layer ${layer}`}`,
    `${bytesText(bytes)} at ${bytesText(offset)}`,
    `launches ${first} to ${last}: ${fn.launches[first] ?? 'output'} … ${fn.launches[last] ?? 'output'}`,
    kindNames[kind],
    ...(shown ? [formatPlace(shown)] : []),
  ].join('\n')
}

/** Live bytes by kind, one on the other, against what the arena may have before the budget is spent. */
export function liveCurve(fn: FunctionDetails, table: Timetable, room: number): VNode {
  const height = 240
  const floor = height - AXIS
  const clock = new Clock(table)
  const rows = liveRows(fn)
  // A line that lies far above says so in words rather than press the curve flat.
  const isNear = room > 0 && room <= fn.peak * 1.6
  const y = byteScale(isNear ? Math.max(fn.peak, room) : fn.peak, floor)
  const layers = stack<LiveRow, BufferKind>().keys(bufferKinds)(rows)
  const shape = area<(typeof layers)[number][number]>()
    .x((point) => rounded(clock.at(point.data.launch)))
    .y0((point) => rounded(y(point[0])))
    .y1((point) => rounded(y(point[1])))
    .curve(curveStepAfter)
  const areas = layers.map((layer) => h('path', { class: layer.key, d: shape(layer) ?? '' }, h('title', {}, kindNames[layer.key]))) // prettier-ignore
  const line = { x1: LEFT, x2: WIDTH - RIGHT, y1: y(room), y2: y(room) }
  const words = `${bytesText(Math.max(0, room))} are left for the arena by the budget`
  const caption = isNear ? { y: y(room) - 5 } : { y: 14 }
  return svg(
    height,
    `live bytes of ${fn.name} by kind`,
    axes(clock, y, floor, undefined),
    h('g', {}, ...areas),
    isNear ? h('line', { class: 'budget', ...line }) : null,
    h('text', { class: 'tick strong', x: WIDTH - RIGHT - 4, 'text-anchor': 'end', ...caption }, isNear ? words : `${words} ↑`), // prettier-ignore
  )
}

type LiveRow = Record<BufferKind, number> & { readonly launch: number }

/** Live bytes at every launch, and once after the last. */
export function liveRows({ buffers, launches }: Pick<FunctionDetails, 'buffers' | 'launches'>): LiveRow[] {
  const end = buffers.reduce((most, { last }) => Math.max(most, last + 1), launches.length)
  const rows = Array.from({ length: end + 1 }, (_, launch) => ({
    launch,
    kept: 0,
    forward: 0,
    again: 0,
    backward: 0,
    streamed: 0,
  }))
  for (const { kind, bytes, first, last } of buffers) {
    for (let launch = first; launch <= last; launch++) (rows[launch] as LiveRow)[kind] += bytes
  }
  return rows
}

interface Bar {
  readonly kind: 'computing' | 'waiting' | 'read' | 'write'
  readonly begin: number
  readonly end: number
  readonly bytes: number
  readonly count: number
  readonly what: string
}

const LANE = 20
/** Bars that are narrower, and as close to their neighbours, are drawn with them. */
const NARROW = 0.7

/** What computes and what is moved beside it: one lane each, since one thread moves everything. */
export function workLanes(fn: FunctionDetails, table: Timetable): VNode {
  const { seconds } = new Clock(table)
  const kinds = ['read', 'write'] as const
  const moved = kinds
    .map((kind) => table.moves.filter((move) => move.kind === kind))
    .filter((moves) => moves.length > 0)
    .map((moves) => moves.map((move): Bar => ({ ...move, count: 1, what: move.tensor })))
  const lanes = [computingBars(fn, table), ...moved]
  const floor = lanes.length * LANE
  const drawn = lanes.flatMap((bars, lane) => [
    h('text', { class: 'tick', x: LEFT - 8, y: lane * LANE + 14, 'text-anchor': 'end' }, laneNames[bars[0]?.kind ?? 'computing']), // prettier-ignore
    ...together(bars, NARROW / (seconds(1) - seconds(0))).map((bar) => {
      const width = Math.max(0.4, seconds(bar.end) - seconds(bar.begin))
      const box = { class: bar.kind, x: rounded(seconds(bar.begin)), y: lane * LANE + 3, width: rounded(width), height: LANE - 6 } // prettier-ignore
      return h('rect', box, h('title', {}, barText(bar)))
    }),
  ])
  return svg(floor + AXIS, `what ${fn.name} computes and moves over time`, timeAxis(new Clock(table), floor), ...drawn)
}

const laneNames = { computing: 'computing', waiting: 'computing', read: 'reading', write: 'writing' } as const

/** Moments, and gaps between them in which nothing computes. */
function computingBars({ launches }: FunctionDetails, { begins, seconds, end }: Timetable): Bar[] {
  const bars: Bar[] = []
  let before = 0
  const wait = (until: number, what: string): void => {
    if (until > before) bars.push({ kind: 'waiting', begin: before, end: until, bytes: 0, count: 1, what })
  }
  begins.forEach((begin, moment) => {
    const what = launches[moment] ?? ''
    wait(begin, what)
    before = begin + (seconds[moment] ?? 0)
    bars.push({ kind: 'computing', begin, end: before, bytes: 0, count: 1, what })
  })
  wait(end, 'what is to be written until the end')
  return bars
}

/** Bars of one kind that nobody could tell apart are one. */
function together(bars: readonly Bar[], narrow: number): Bar[] {
  const merged: Bar[] = []
  for (const bar of bars) {
    const last = merged.at(-1)
    const isNear =
      last && bar.begin - last.end < narrow && Math.min(bar.end - bar.begin, last.end - last.begin) < narrow
    if (isNear && last.kind === bar.kind) {
      merged[merged.length - 1] = {
        ...last,
        end: bar.end,
        bytes: last.bytes + bar.bytes,
        count: last.count + bar.count,
      }
    } else merged.push(bar)
  }
  return merged
}

const barVerbs = { computing: 'computing', waiting: 'waiting for', read: 'reading', write: 'writing' } as const

function barText({ kind, begin, end, bytes, count, what }: Bar): string {
  const more = count > 1 ? ` … and ${count - 1} more` : ''
  const amount = bytes > 0 ? `, ${bytesText(bytes)}` : ''
  return `${barVerbs[kind]} ${what}${more}${amount}\nfrom ${secondsText(begin)} to ${secondsText(end)}`
}

/** Parts of a whole, side by side, each as wide as its share. */
export function shareBar(parts: readonly { readonly label: string; readonly value: number }[], whole: number): VNode {
  const pieces = parts
    .map((part, place) => ({ ...part, place, share: (100 * part.value) / (whole > 0 ? whole : 1) }))
    .filter(({ share }) => share > 0)
  return h(
    'div',
    { class: 'shares' },
    ...pieces.map(
      ({ label, share, place }) =>
      h('span', { class: `share part${place}`, style: `width:${share.toFixed(3)}%`, title: `${label}: ${share.toFixed(1)} %` }), // prettier-ignore
    ),
  )
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}
