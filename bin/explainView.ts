// How a program's kernels show: a table for each function that fits a hundred columns, and one kernel in full. Knows what
// a report holds, not how it was found.

import type { FunctionReport, KernelReport } from '../compiler/plan/explain.ts'
import { passesOf, totalBytes } from '../compiler/plan/explain.ts'
import { formatPlace } from '../compiler/diagnostic.ts'
import { mebibytes, shownPlace } from './output.ts'
import { choiceText } from './searchView.ts'

/** Columns of a terminal that everything fits. */
export const WIDTH = 100

/** `1.23 G`: three digits and a power of a thousand. */
export function scaled(value: number): string {
  const units = ['', ' k', ' M', ' G', ' T', ' P']
  const power = value < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3))
  const digits = value / 1000 ** power
  const places = power === 0 ? 0 : digits < 10 ? 2 : digits < 100 ? 1 : 0
  return `${digits.toFixed(places)}${units[power]}`
}

/** Columns as wide as they must be; those in `left` begin at the left. Nothing is wider than a terminal. */
export function tableLines(rows: readonly (readonly string[])[], left: ReadonlySet<number> = new Set([0])): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows.map((row) =>
    cut(
      row
        .map((cell, column) =>
          left.has(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    ),
  )
}

function cut(line: string): string {
  return line.length <= WIDTH ? line : `${line.slice(0, WIDTH - 1)}…`
}

/**
 * What a kernel computes, in `width` characters: the names of its values, else what it writes or the weight it reads, and
 * the first line that they come from. Of a long name the end tells layers and weights apart.
 */
export function subjectOf({ results, kind, arguments: given }: KernelReport, width: number): string {
  const names = [...new Set(results.flatMap((result) => result.names))]
  const declared = given.filter(({ value }) => value.includes('.') || value.includes('/'))
  const written = declared.find(({ access }) => access !== 'read')
  const [first = written ? `${kind} to ${written.value}` : declared[0] ? `${kind} of ${declared[0].value}` : kind] =
    names
  const [place] = results.flatMap((result) => result.places)
  const where = place ? ` ${fileName(place.file)}:${place.line ?? 1}` : ''
  const more = names.length > 1 ? ` +${names.length - 1}` : ''
  return `${ending(first, width - more.length - where.length)}${more}${where}`
}

/** Text of at most `width` characters: of a longer one the end. */
export function ending(text: string, width: number): string {
  return text.length <= width ? text : `…${text.slice(text.length - Math.max(1, width - 1))}`
}

function fileName(file: string): string {
  return file.split(/[/\\]/).at(-1) ?? file
}

export function functionLines(report: FunctionReport): string[] {
  const { name, launches, kernels, compulsory, moved, multiplyAdds } = report
  const head = ['kernel', 'launches', 'mult-adds', 'least MiB', 'passes', 'ma/byte', 'tile', 'computes']
  const rows = kernels.map((kernel) => [
    kernel.kernel,
    String(kernel.launches),
    scaled(kernel.launches * kernel.multiplyAdds),
    mebibytes(kernel.launches * totalBytes(kernel.compulsory)),
    kernel.passes.toFixed(2),
    kernel.intensity.toFixed(1),
    kernel.tile ? `${kernel.tile.rows}×${kernel.tile.columns}` : '-',
    subjectOf(kernel, 28),
  ])
  return [
    `${name}: ${launches} launches of ${kernels.length} kernels, ${scaled(multiplyAdds)} multiply-adds`,
    `  ${mebibytes(totalBytes(compulsory))} MiB must move, ${mebibytes(totalBytes(moved))} MiB move by the model: ` +
      `${passesOf(moved, compulsory).toFixed(2)} passes over memory`,
    ...tableLines([head, ...rows], new Set([0, 7])),
  ]
}

/** One kernel: what it computes, every argument, packing, tile, directives. Figures of one launch. */
export function kernelLines(report: KernelReport): string[] {
  const { kernel, kind, launches, multiplyAdds, executed, compulsory, moved } = report
  const of = (bytes: { readonly read: number; readonly written: number }): string[] => [
    kibibytes(bytes.read),
    kibibytes(bytes.written),
  ]
  const head = ['argument', 'stands for', 'type', 'KiB read', 'written', 'moved in', 'out', 'passes']
  const rows = report.arguments.map((one) => [
    one.name,
    ending(one.value, 28),
    `${one.dtype} ${one.access}`,
    ...of(one.compulsory),
    ...of(one.moved),
    one.passes.toFixed(2),
  ])
  const lines = [
    `${kernel}: ${kind}, ${launches} ${launches === 1 ? 'launch' : 'launches'}; what follows is of one`,
    ...computedLines(report),
    `${scaled(multiplyAdds)} multiply-adds of contractions, ${scaled(executed)} executed in all; ` +
      `${report.intensity.toFixed(1)} for each byte that must move`,
    `${mebibytes(totalBytes(compulsory))} MiB must move, ${mebibytes(totalBytes(moved))} MiB move by the model: ` +
      `${report.passes.toFixed(2)} passes`,
    ...tableLines([head, ...rows], new Set([0, 1, 2])).map((line) => `  ${line}`),
    `register tile: ${report.tile ? `${report.tile.rows} rows of ${report.tile.columns}` : 'none'}; scratch of a thread: ${kibibytes(report.scratchBytes)} KiB`,
    ...report.choices.map((choice) => `${choice.name}: ${choiceText(choice)}, ${chosenBy(choice)}`),
    ...report.packing.map(({ into, bytes, from, words }) => {
      const work = words.length === 0 ? 'copied as it is' : `worked out by ${words.join(', ')}`
      return `packed into ${into}, ${kibibytes(bytes)} KiB: ${from.join(', ')}, ${work}`
    }),
    ...(report.packing.length === 0 ? ['nothing is packed'] : []),
    report.directives.length === 0 ? 'no directives' : 'directives:',
    ...report.directives.map((directive) => `  ${directive}`),
  ]
  return lines.map(cut)
}

function chosenBy({ from, packs }: KernelReport['choices'][number]): string {
  return from === 'search' ? 'found by a search' : packs ? 'by the rule' : 'read in place, by the rule'
}

function computedLines({ results }: KernelReport): string[] {
  const shown = new Set<string>()
  for (const { fn, names, places } of results) {
    const place = shownPlace(places[0])
    const where = place ? ` at ${formatPlace(place)}` : ''
    shown.add(`  ${fn}: ${names.join(', ') || 'values without a name'}${where}`)
  }
  return [...shown]
}

function kibibytes(bytes: number): string {
  return (bytes / 1024).toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })
}
