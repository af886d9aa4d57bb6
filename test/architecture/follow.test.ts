// docs/pipeline.md shows what the stages print today.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { followedPage, followedStages } from '../../tools/docs/follow.ts'
import { root } from './sources.ts'

describe('docs/pipeline.md', () => {
  const page = readFileSync(join(root, 'docs/pipeline.md'), 'utf8')

  it('shows what every stage prints', () => {
    const now = followedPage(page, followedStages())
    assert.equal(now, page, 'node --import tsx tools/docs/follow.ts rewrites it')
  })

  it('would notice a stage that prints something else', () => {
    const stages = new Map([...followedStages(), ['neon', 'nothing']])
    assert.notEqual(followedPage(page, stages), page)
    assert.throws(() => followedPage(page, new Map([...stages, ['other', '']])), /no block for 'other'/)
    assert.throws(() => followedPage(page, new Map()), /asks for a stage/)
  })
})
