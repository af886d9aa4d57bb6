// One element of the page. The renderer escapes every text and attribute that goes through here.

import { h as create } from 'preact'
import type { ComponentChild, VNode } from 'preact'

export type { VNode } from 'preact'

export function h(
  tag: string,
  attributes: Readonly<Record<string, unknown>>,
  ...children: readonly ComponentChild[]
): VNode {
  return create(tag, attributes, ...children)
}
