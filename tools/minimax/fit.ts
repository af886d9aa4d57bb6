// Prints the polynomial coefficients that compiler/graph/math.ts holds: `node --import tsx tools/minimax/fit.ts`.
// The test of math.ts fits again and compares, so that the committed numbers are the generator's.

import { pathToFileURL } from 'node:url'
import { PROBLEMS } from './functions.ts'
import { minimax, minimaxFloat32 } from './remez.ts'

/** All coefficients, constant term first, as exact float32 values. */
export function fitAll(): Record<string, readonly number[]> {
  return Object.fromEntries(
    Object.entries(PROBLEMS).map(([name, problem]) => [name, minimaxFloat32(problem).coefficients]),
  )
}

function print(): void {
  for (const [name, problem] of Object.entries(PROBLEMS)) {
    const free = minimax(problem)
    const rounded = minimaxFloat32(problem)
    console.log(
      `// ${name}: greatest error ${rounded.error.toExponential(2)} (${free.error.toExponential(2)} unrounded)`,
    )
    console.log(`${name}: [${rounded.coefficients.join(', ')}],`)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) print()
