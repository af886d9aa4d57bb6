// The loss of a run as a picture: an SVG with axes, and a few lines for a terminal. Knows numbers only.

// oxlint-disable-next-line typescript/triple-slash-reference -- the package has no types of its own to import
/// <reference path="./asciichart.d.ts" />
import asciichart from 'asciichart'

export interface LossPoint {
  readonly step: number
  readonly loss: number
}

const WIDTH = 720
const HEIGHT = 400
const margin = { left: 64, right: 16, top: 40, bottom: 48 } as const
/** More points than pixels show nothing more. */
const MOST_POINTS = 1200

/** The second curve, where records were held out, and the point of it whose weights were kept. */
export interface HeldOutCurve {
  readonly points: readonly LossPoint[]
  /** Its step. */
  readonly best?: number
}

const STYLE = [
  'text{font:12px system-ui,sans-serif;fill:#333}',
  '.title{font-size:15px;font-weight:600}',
  '.grid{stroke:#e4e4e4}',
  '.axis{stroke:#666}',
  '.loss{fill:none;stroke:#0b5fa5;stroke-width:1.8;stroke-linejoin:round}',
  '.end{fill:#0b5fa5}',
  '.heldout{fill:none;stroke:#c2410c;stroke-width:1.8;stroke-linejoin:round;stroke-dasharray:6 3}',
  '.point{fill:#c2410c}',
  '.best{fill:none;stroke:#c2410c;stroke-width:1.8}',
].join('')

/**
 * An SVG document. `title` is any text; it is escaped. At least one point; a second curve, dashed, and a legend where
 * records were held out.
 */
export function lossCurveSvg(
  points: readonly LossPoint[],
  title: string,
  heldOut: HeldOutCurve = { points: [] },
): string {
  const shown = thinned(points, MOST_POINTS)
  const measured = thinned(heldOut.points, MOST_POINTS)
  const best = heldOut.points.find((point) => point.step === heldOut.best)
  const all = [...shown, ...measured, ...(best ? [best] : [])]
  const steps = domainOf(all.map((point) => point.step))
  const losses = domainOf(all.map((point) => point.loss))
  const x = scale(steps, margin.left, WIDTH - margin.right)
  const y = scale(losses, HEIGHT - margin.bottom, margin.top)
  const line = (curve: readonly LossPoint[]): string =>
    curve.map(({ step, loss }) => `${coordinate(x(step))},${coordinate(y(loss))}`).join(' ')
  const circle = (kind: string, { step, loss }: LossPoint, radius: number): string =>
    `<circle class="${kind}" cx="${coordinate(x(step))}" cy="${coordinate(y(loss))}" r="${radius}"/>`
  const last = shown.at(-1) as LossPoint
  const bottom = HEIGHT - margin.bottom
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-labelledby="title">`,
    `<title id="title">${escaped(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text class="title" x="${margin.left}" y="24">${escaped(title)}</text>`,
    ...ticksOf(losses, 6).flatMap((tick) => [
      `<line class="grid" x1="${margin.left}" x2="${WIDTH - margin.right}" y1="${coordinate(y(tick))}" y2="${coordinate(y(tick))}"/>`,
      `<text x="${margin.left - 8}" y="${coordinate(y(tick) + 4)}" text-anchor="end">${tickText(tick)}</text>`,
    ]),
    ...ticksOf(steps, 8)
      .filter(Number.isInteger)
      .flatMap((tick) => [
        `<line class="axis" x1="${coordinate(x(tick))}" x2="${coordinate(x(tick))}" y1="${bottom}" y2="${bottom + 5}"/>`,
        `<text x="${coordinate(x(tick))}" y="${bottom + 18}" text-anchor="middle">${tickText(tick)}</text>`,
      ]),
    `<line class="axis" x1="${margin.left}" x2="${WIDTH - margin.right}" y1="${bottom}" y2="${bottom}"/>`,
    `<line class="axis" x1="${margin.left}" x2="${margin.left}" y1="${margin.top}" y2="${bottom}"/>`,
    `<text x="${(margin.left + WIDTH - margin.right) / 2}" y="${HEIGHT - 10}" text-anchor="middle">optimizer step</text>`,
    `<text transform="rotate(-90)" x="${-(margin.top + bottom) / 2}" y="16" text-anchor="middle">loss (nats per token)</text>`,
    `<polyline class="loss" points="${line(shown)}"/>`,
    circle('end', last, 3),
    ...(measured.length > 0
      ? [
          `<polyline class="heldout" points="${line(measured)}"/>`,
          // Markers of many evaluations would hide the curve.
          ...(measured.length <= 100 ? measured.map((point) => circle('point', point, 2.5)) : []),
          ...(best ? [circle('best', best, 6)] : []),
          ...legend(best),
        ]
      : []),
    '</svg>',
    '',
  ].join('\n')
}

/** In the upper right corner, where a loss that falls leaves room. */
function legend(best: LossPoint | undefined): string[] {
  const left = WIDTH - margin.right - 220
  const rows = [
    {
      mark: (y: number) => `<line class="loss" x1="${left}" x2="${left + 24}" y1="${y}" y2="${y}"/>`,
      text: 'training',
    },
    {
      mark: (y: number) => `<line class="heldout" x1="${left}" x2="${left + 24}" y1="${y}" y2="${y}"/>`,
      text: 'held out',
    },
    ...(best
      ? [
          {
            mark: (y: number) => `<circle class="best" cx="${left + 12}" cy="${y}" r="6"/>`,
            text: `best: ${best.loss.toFixed(4)} after step ${best.step}`,
          },
        ]
      : []),
  ]
  const y = (row: number): number => margin.top + 14 + 18 * row
  return [
    `<rect x="${left - 10}" y="${margin.top}" width="230" height="${18 * rows.length + 10}" fill="#fff" fill-opacity="0.85"/>`,
    ...rows.flatMap(({ mark, text }, row) => [mark(y(row)), `<text x="${left + 32}" y="${y(row) + 4}">${text}</text>`]),
  ]
}

/** The curve in characters, at most `columns` wide and 12 lines high. At least one point. */
export function lossCurveText(points: readonly LossPoint[], columns: number): string {
  // The axis takes fourteen columns at most; one point alone is no line.
  const losses = thinned(points, Math.max(2, columns - 14)).map((point) => point.loss)
  const [only = 0] = losses
  return asciichart.plot(losses.length === 1 ? [only, only] : losses, { height: 10 })
}

/** At most `most` points, each the mean of its neighbours, so that single outliers do not decide the picture. */
function thinned(points: readonly LossPoint[], most: number): LossPoint[] {
  if (points.length <= most) return [...points]
  return Array.from({ length: most }, (_, index) => {
    const part = points.slice(
      Math.floor((index * points.length) / most),
      Math.floor(((index + 1) * points.length) / most),
    )
    const mean = (value: (point: LossPoint) => number): number =>
      part.reduce((sum, point) => sum + value(point), 0) / part.length
    return { step: mean((point) => point.step), loss: mean((point) => point.loss) }
  })
}

interface Domain {
  readonly low: number
  readonly high: number
}

function domainOf(values: readonly number[]): Domain {
  let low = Infinity
  let high = -Infinity
  for (const value of values) {
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  // A single value still needs a width to be drawn in.
  return high > low ? { low, high } : { low: low - 0.5, high: high + 0.5 }
}

function scale({ low, high }: Domain, from: number, to: number): (value: number) => number {
  return (value) => from + ((value - low) / (high - low)) * (to - from)
}

/** Round numbers inside a domain, about `count` of them: multiples of 1, 2 or 5 times a power of ten. */
export function ticksOf({ low, high }: Domain, count: number): number[] {
  const rough = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10)
  const ticks: number[] = []
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++)
    ticks.push(Number((index * step).toPrecision(12)))
  return ticks
}

function tickText(value: number): string {
  return String(Number(value.toPrecision(6)))
}

function coordinate(value: number): string {
  return value.toFixed(1)
}

function escaped(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  // XML 1.0 has no place for control characters, not even escaped.
  return text
    .replace(/[\p{Cc}\uFFFE\uFFFF]|\p{Surrogate}/gu, ' ')
    .replace(/[&<>"]/g, (character) => entities[character] ?? '')
}
