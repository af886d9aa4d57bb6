// Which keys of an object literal its place does not know, and which it needs: where generic parameters fail to be
// inferred, the checker speaks of types instead. Knows no operation of the language.

import ts from 'typescript'

export interface KeyProblem {
  /** Position in the file. */
  readonly start: number
  readonly sentence: string
}

/** What is wrong with the keys of the object literals that stand as arguments of the call around a position. */
export function keyProblems(checker: ts.TypeChecker, file: ts.SourceFile, position: number): KeyProblem[] {
  const call = callAround(file, position)
  return (call?.arguments ?? []).flatMap((argument) =>
    ts.isObjectLiteralExpression(argument) ? problemsOf(checker, file, argument) : [],
  )
}

/** The key that was probably meant by one that is not there. */
export function nearest(key: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((name) => ({ name, distance: distance(key.toLowerCase(), name.toLowerCase()) }))
    .filter((one) => one.distance <= Math.min(2, key.length / 2))
    .sort((a, b) => a.distance - b.distance)
  return best?.name
}

/** The key whose assignment begins at a position. */
export function propertyAt(file: ts.SourceFile, position: number): string | undefined {
  let found: string | undefined
  const visit = (node: ts.Node): void => {
    if (position < node.getStart(file) || position >= node.end) return
    if (ts.isPropertyAssignment(node) && node.name.getStart(file) === position) found = node.name.getText(file)
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

function callAround(file: ts.SourceFile, position: number): ts.CallExpression | undefined {
  let found: ts.CallExpression | undefined
  const visit = (node: ts.Node): void => {
    if (position < node.getStart(file) || position >= node.end) return
    if (ts.isCallExpression(node)) found = node
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

function problemsOf(checker: ts.TypeChecker, file: ts.SourceFile, literal: ts.ObjectLiteralExpression): KeyProblem[] {
  const wanted = checker.getContextualType(literal)
  if (!wanted || wanted.isUnion() || literal.properties.some(ts.isSpreadAssignment)) return []
  const properties = wanted.getProperties()
  if (properties.length === 0) return []
  const known = properties.map((property) => property.name)
  const given = literal.properties.flatMap(({ name }) =>
    name && (ts.isIdentifier(name) || ts.isStringLiteral(name))
      ? [{ start: name.getStart(file), text: name.text }]
      : [],
  )
  const free = known.filter((name) => !given.some(({ text }) => text === name))
  const unknown = given
    .filter(({ text }) => !known.includes(text))
    .map(({ start, text }) => ({ start, sentence: unknownKey(text, nearest(text, free)) }))
  if (unknown.length > 0) return unknown
  return properties
    .filter((property) => (property.flags & ts.SymbolFlags.Optional) === 0 && free.includes(property.name))
    .map(({ name }) => ({ start: literal.getStart(file), sentence: `the key '${name}' is missing` }))
}

/** The sentence for a key that is not known where it stands. */
export function unknownKey(key: string, near: string | undefined): string {
  return `there is no key '${key}' here${near === undefined ? '' : `; did you mean '${near}'?`}`
}

/** Insertions, deletions, substitutions and swaps of neighbours that make one word of another (Damerau 1964). */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const at = (up: number, left: number): number => (up === 0 ? row : (rows[i - up] as number[]))[j - left] as number
      let best = Math.min(at(1, 0) + 1, at(0, 1) + 1, at(1, 1) + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, at(2, 2) + 1)
      row.push(best)
    }
    rows.push(row)
  }
  return rows[a.length]?.[b.length] ?? 0
}
