// Where an operator changes something, and how that place is called in tables. Knows no operator.

import { Node } from 'ts-morph'
import type { SourceFile } from 'ts-morph'
import type { Edit } from './mutation.ts'

/** Lists the places of a file where it can say something else. */
export type Operator = (source: SourceFile) => Edit[]

export function replace(node: Node, text: string, what: string): Edit {
  return { what, start: node.getStart(), end: node.getEnd(), text }
}

/** One line, short enough for a table. */
export function brief(node: Node): string {
  const text = node.getText().replaceAll(/\s+/g, ' ')
  return text.length > 64 ? `${text.slice(0, 61)}...` : text
}

/** The name of whatever declares the code: for telling places apart. */
export function ownerOf(node: Node): string {
  const names: string[] = []
  for (let at: Node | undefined = node; at; at = at.getParent()) {
    if (
      Node.isFunctionDeclaration(at) ||
      Node.isMethodDeclaration(at) ||
      Node.isVariableDeclaration(at) ||
      Node.isPropertyAssignment(at) ||
      Node.isClassDeclaration(at)
    ) {
      names.unshift(at.getName() ?? '')
    }
  }
  return names.slice(-2).join('.')
}

/** Adds a number where a file has the same mutation twice. */
export function numbered(edits: readonly Edit[]): Edit[] {
  const seen = new Map<string, number>()
  return edits.map((edit) => {
    const count = (seen.get(edit.what) ?? 0) + 1
    seen.set(edit.what, count)
    return count === 1 ? edit : { ...edit, what: `${edit.what} (${count})` }
  })
}
