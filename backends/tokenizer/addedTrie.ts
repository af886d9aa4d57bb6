// Added tokens as tries of their bytes, one for those that are looked for in the text as written and one for those behind
// the normalizer, and the names by which they are asked for. Knows no section's place.

import { UserError } from '../../compiler/diagnostic.ts'
import type { Place } from '../../compiler/diagnostic.ts'
import type { Definition } from './definition.ts'
import { EMPTY } from './hashing.ts'

/** A node's number has 24 bits. */
const MOST_SOUGHT_BYTES = 1 << 22

interface Node {
  readonly edges: Map<number, Node>
  id: number
}

export interface AddedTrie {
  readonly roots: { readonly written: number; readonly normalized: number }
  /** First edge and token id or `EMPTY` of each node; a last row ends the last node's edges. */
  readonly nodes: Uint32Array
  /** Byte in the lowest eight bits, goal above; ascending bytes in a node. */
  readonly edges: Uint32Array
  /** Token id, first byte in `text`, number of bytes. */
  readonly names: Uint32Array
  readonly text: Uint8Array
}

/** UserError HD432 when the tokens are too long together. */
export function addedTrie({ added }: Definition, place: Place): AddedTrie {
  const encoder = new TextEncoder()
  const roots: Record<'written' | 'normalized', Node> = {
    written: { edges: new Map(), id: EMPTY },
    normalized: { edges: new Map(), id: EMPTY },
  }
  const names: number[] = []
  const texts: Uint8Array[] = []
  let length = 0
  let soughtBytes = 0
  for (const { content, id, matches, sought: text } of added) {
    const name = encoder.encode(content)
    names.push(id, length, name.length)
    texts.push(name)
    length += name.length
    const sought = encoder.encode(text)
    soughtBytes += sought.length
    if (soughtBytes > MOST_SOUGHT_BYTES) {
      throw new UserError('HD432', 'the added tokens are too long together', { place })
    }
    if (sought.length > 0) insert(roots[matches], sought, id)
  }
  const nodes: Node[] = [roots.written, roots.normalized]
  const rows: number[] = []
  const edges: number[] = []
  // Breadth first; the list grows while it is walked.
  for (const node of nodes) {
    rows.push(edges.length, node.id)
    for (const [byte, goal] of [...node.edges].sort((a, b) => a[0] - b[0])) {
      edges.push(byte + (nodes.push(goal) - 1) * 256)
    }
  }
  rows.push(edges.length, EMPTY)
  return {
    roots: { written: 0, normalized: 1 },
    nodes: Uint32Array.from(rows),
    edges: Uint32Array.from(edges),
    names: Uint32Array.from(names),
    text: Buffer.concat(texts),
  }
}

function insert(root: Node, bytes: Uint8Array, id: number): void {
  let node = root
  for (const byte of bytes) {
    let next = node.edges.get(byte)
    if (!next) {
      next = { edges: new Map(), id: EMPTY }
      node.edges.set(byte, next)
    }
    node = next
  }
  node.id = id
}
