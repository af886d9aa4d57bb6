// Drawings of a plan as SVG: every buffer at its offset over its life, live bytes by kind, reads, shares as bars. Scales
// and shapes are d3's; colours are the page's, by class.

import { scaleLinear } from 'd3-scale'
import { area, curveStepAfter, stack } from 'd3-shape'
import { h } from './element.ts'
import type { VNode } from './element.ts'
import { formatPlace } from '../../compiler/diagnostic.ts'
import { bufferKinds } from '../../train/planDetails.ts'
import type { BufferKind, FunctionDetails, PlacedBuffer, PlannedMove } from '../../train/planDetails.ts'
import { mebibytes, shownPlace } from '../output.ts'

const WIDTH = 1120
const LEFT = 76
const RIGHT = 12
const AXIS = 34
const TOP = 24

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

function launchScale({ launches, buffers }: FunctionDetails): Scale {
  const last = buffers.reduce((most, buffer) => Math.max(most, buffer.last + 1), launches.length)
  return scaleLinear([0, Math.max(1, last)], [LEFT, WIDTH - RIGHT])
}

function svg(height: number, label: string, ...children: (VNode | null)[]): VNode {
  const box = { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': label }
  return h('div', { class: 'chart' }, h('svg', box, ...children))
}

/** Byte and launch axes around a drawing whose floor lies at `floor`. */
function axes(x: Scale, y: Scale, floor: number, backward: number | undefined): VNode {
  const bytes = byteTicks(y).map((tick) =>
    h(
      'g',
      {},
      h('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      h('text', { class: 'tick', x: LEFT - 8, y: y(tick) + 4, 'text-anchor': 'end' }, tickText(tick, y)),
    ),
  )
  const launches = x
    .ticks(10)
    .filter(Number.isInteger)
    .map((tick) => h('text', { class: 'tick', x: x(tick), y: floor + 16, 'text-anchor': 'middle' }, String(tick)))
  const title = h('text', { class: 'tick', x: WIDTH - RIGHT, y: floor + 31, 'text-anchor': 'end' }, 'launch')
  return h('g', {}, ...bytes, ...launches, title, backward === undefined ? null : turn(x, floor, backward))
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

function turn(x: Scale, floor: number, backward: number): VNode {
  const at = x(backward)
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
export function memoryMap(fn: FunctionDetails): VNode {
  const height = 380
  const floor = height - AXIS
  const x = launchScale(fn)
  const y = byteScale(fn.peak, floor)
  const rectangles = fn.buffers.map((buffer) => {
    const { first, last, offset, bytes, kind } = buffer
    const box = {
      class: `buffer ${kind}`,
      x: rounded(x(first)),
      y: rounded(y(offset + bytes)),
      width: rounded(x(last + 1) - x(first)),
      height: rounded(Math.max(0.4, y(offset) - y(offset + bytes))),
    }
    return h('rect', box, h('title', {}, bufferText(buffer, fn)))
  })
  const bound = y(fn.lowerBound)
  return svg(
    height,
    `buffers of ${fn.name} by offset and launch`,
    axes(x, y, floor, fn.backward),
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
export function liveCurve(fn: FunctionDetails, room: number): VNode {
  const height = 240
  const floor = height - AXIS
  const x = launchScale(fn)
  const rows = liveRows(fn)
  // A line that lies far above says so in words rather than press the curve flat.
  const isNear = room > 0 && room <= fn.peak * 1.6
  const y = byteScale(isNear ? Math.max(fn.peak, room) : fn.peak, floor)
  const layers = stack<LiveRow, BufferKind>().keys(bufferKinds)(rows)
  const shape = area<(typeof layers)[number][number]>()
    .x((point) => rounded(x(point.data.launch)))
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
    axes(x, y, floor, undefined),
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

/** Reads or writes: a bar for each from when it may begin to what waits for it, with a mark there. */
export function moveLane(fn: FunctionDetails, moves: readonly PlannedMove[]): VNode {
  const x = launchScale(fn)
  const lanes: number[] = []
  const bars = moves
    .toSorted((a, b) => a.from - b.from)
    .map(({ kind, tensor, bytes, from, until }) => {
      const free = lanes.findIndex((end) => end <= from)
      const lane = free < 0 ? lanes.length : free
      lanes[lane] = until
      const y = 4 + lane * 14
      return h(
        'g',
        {},
        h(
          'rect',
          { class: kind, x: rounded(x(from)), y, width: rounded(Math.max(1, x(until) - x(from))), height: 10 },
          h('title', {}, `${tensor}\n${bytesText(bytes)}, ${kind} from ${from} on, done by ${until}`),
        ),
        h('line', { class: 'moment', x1: x(until), x2: x(until), y1: y - 1, y2: y + 11 }),
      )
    })
  return svg(4 + lanes.length * 14 + 6, `${fn.name} and storage`, ...bars)
}

/** Parts of a whole, side by side, each as wide as its share. */
export function shareBar(parts: readonly { readonly label: string; readonly value: number }[], whole: number): VNode {
  const pieces = parts
    .map((part, place) => ({ ...part, place, share: (100 * part.value) / Math.max(1, whole) }))
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
