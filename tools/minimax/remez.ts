// Weighted minimax polynomials in double precision (Remez exchange), and their rounding to float32 coefficients.
// Knows nothing of the functions being fitted.

/** A function to approximate by Σ cₖ xᵏ on [from, to] so that the greatest |weight·(polynomial − target)| is least. */
export interface Problem {
  readonly from: number
  readonly to: number
  readonly degree: number
  target(x: number): number
  weight(x: number): number
}

export interface Fit {
  /** Constant term first. */
  readonly coefficients: readonly number[]
  /** The greatest weighted error on the sampling grid. */
  readonly error: number
}

const GRID_POINTS = 1500
const EXCHANGES = 30

export function evaluate(coefficients: readonly number[], x: number): number {
  let sum = 0
  for (let k = coefficients.length - 1; k >= 0; k--) sum = sum * x + (coefficients[k] as number)
  return sum
}

/** The fit with unrestricted coefficients. */
export function minimax(problem: Problem): Fit {
  const basis = Array.from({ length: problem.degree + 1 }, (_, power) => power)
  return exchange(sample(problem), basis, [])
}

/**
 * The fit whose coefficients are all float32: the constant term is rounded first and the others fitted again around
 * it, and so on upwards; then single steps of one unit in the last place are taken while they help.
 */
export function minimaxFloat32(problem: Problem): Fit {
  const grid = sample(problem)
  const fixed: number[] = []
  while (fixed.length <= problem.degree) {
    const free = Array.from({ length: problem.degree + 1 - fixed.length }, (_, index) => fixed.length + index)
    const { coefficients } = exchange(grid, free, fixed)
    fixed.push(Math.fround(coefficients[fixed.length] as number))
  }
  return descend(grid, fixed)
}

interface Sample {
  readonly x: number
  readonly target: number
  readonly weight: number
}

/** Chebyshev-spaced points, both ends included: errors gather at the ends. */
function sample(problem: Problem): Sample[] {
  const { from, to } = problem
  return Array.from({ length: GRID_POINTS }, (_, index) => {
    const x = (from + to) / 2 - ((to - from) / 2) * Math.cos((Math.PI * index) / (GRID_POINTS - 1))
    return { x, target: problem.target(x), weight: problem.weight(x) }
  })
}

function weightedError(coefficients: readonly number[], point: Sample): number {
  return point.weight * (evaluate(coefficients, point.x) - point.target)
}

function greatestError(coefficients: readonly number[], grid: readonly Sample[]): number {
  let greatest = 0
  for (const point of grid) greatest = Math.max(greatest, Math.abs(weightedError(coefficients, point)))
  return greatest
}

/** Remez: solve for an error that alternates on a reference, move the reference to the extrema, until it is level. */
function exchange(grid: readonly Sample[], free: readonly number[], fixed: readonly number[]): Fit {
  const count = free.length + 1
  let reference = Array.from({ length: count }, (_, index) => {
    const position = (1 - Math.cos((Math.PI * (index + 0.5)) / count)) / 2
    return grid[Math.round((Math.acos(1 - 2 * position) / Math.PI) * (grid.length - 1))] as Sample
  })
  let best: Fit = { coefficients: [], error: Infinity }
  for (let round = 0; round < EXCHANGES; round++) {
    const coefficients = solveReference(reference, free, fixed)
    const error = greatestError(coefficients, grid)
    if (error < best.error) best = { coefficients, error }
    const extrema = alternatingExtrema(grid, coefficients, count)
    if (extrema === undefined) break
    const least = Math.min(...extrema.map((point) => Math.abs(weightedError(coefficients, point))))
    reference = extrema
    if (least > error * (1 - 1e-6)) break
  }
  return best
}

function solveReference(reference: readonly Sample[], free: readonly number[], fixed: readonly number[]): number[] {
  const rows = reference.map((point, index) => [
    ...free.map((power) => point.weight * point.x ** power),
    index % 2 === 0 ? 1 : -1,
    point.weight * (point.target - evaluate(fixed, point.x)),
  ])
  return [...fixed, ...solve(rows).slice(0, free.length)]
}

/** The greatest error of each run of one sign; of more runs than wanted, the consecutive ones with the greatest least. */
function alternatingExtrema(grid: readonly Sample[], coefficients: readonly number[], count: number) {
  const runs: { point: Sample; error: number }[] = []
  for (const point of grid) {
    const error = weightedError(coefficients, point)
    const last = runs[runs.length - 1]
    if (last === undefined || last.error > 0 !== error > 0) runs.push({ point, error })
    else if (Math.abs(error) > Math.abs(last.error)) runs[runs.length - 1] = { point, error }
  }
  while (runs.length > count) {
    const first = Math.abs((runs[0] as { error: number }).error)
    const last = Math.abs((runs[runs.length - 1] as { error: number }).error)
    if (first < last) runs.shift()
    else runs.pop()
  }
  return runs.length === count ? runs.map((run) => run.point) : undefined
}

/** Gaussian elimination with partial pivoting on rows that carry their right-hand side last. */
function solve(rows: number[][]): number[] {
  const size = rows.length
  const at = (row: number, column: number): number => (rows[row] as number[])[column] as number
  for (let column = 0; column < size; column++) {
    let pivot = column
    for (let row = column + 1; row < size; row++) {
      if (Math.abs(at(row, column)) > Math.abs(at(pivot, column))) pivot = row
    }
    const pivotRow = rows[pivot] as number[]
    rows[pivot] = rows[column] as number[]
    rows[column] = pivotRow
    for (let row = column + 1; row < size; row++) {
      const factor = at(row, column) / at(column, column)
      const target = rows[row] as number[]
      for (let k = column; k <= size; k++) target[k] = at(row, k) - factor * at(column, k)
    }
  }
  const solution = Array.from({ length: size }, () => 0)
  for (let row = size - 1; row >= 0; row--) {
    let sum = at(row, size)
    for (let k = row + 1; k < size; k++) sum -= at(row, k) * (solution[k] as number)
    solution[row] = sum / at(row, row)
  }
  return solution
}

/** Steps of one float32 unit in one or two coefficients at a time, while the greatest error falls. */
function descend(grid: readonly Sample[], start: readonly number[]): Fit {
  let coefficients = [...start]
  let error = greatestError(coefficients, grid)
  const steps = coordinateSteps(start.length)
  for (let improved = true; improved;) {
    improved = false
    for (const step of steps) {
      const candidate = coefficients.map((value, power) => neighbour(value, step[power] as number))
      const candidateError = greatestError(candidate, grid)
      if (candidateError >= error) continue
      coefficients = candidate
      error = candidateError
      improved = true
    }
  }
  return { coefficients, error }
}

function coordinateSteps(size: number): number[][] {
  const steps: number[][] = []
  for (let first = 0; first < size; first++) {
    for (let second = first; second < size; second++) {
      for (const a of [-1, 1]) {
        for (const b of first === second ? [0] : [-1, 1]) {
          const step = Array.from({ length: size }, () => 0)
          step[second] = b
          step[first] = a
          steps.push(step)
        }
      }
    }
  }
  return steps
}

const floatView = new Float32Array(1)
const intView = new Int32Array(floatView.buffer)

/** The float32 `steps` units in the last place further from zero (nearer when negative). */
function neighbour(value: number, steps: number): number {
  floatView[0] = value
  intView[0] = (intView[0] as number) + steps
  return floatView[0] as number
}
