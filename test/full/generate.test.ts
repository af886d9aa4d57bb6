// 64 tokens of every architecture, greedily and with a repetition penalty, alone and with an adapter left unmerged, token
// for token as transformers and PEFT continue the prompt.

import assert from 'node:assert/strict'
import { greedy } from '../../generate/sampling.ts'
import { continueText, fixture, openText } from '../generate/fixture.ts'

/** Its definition is a test of its own, which continues it too. */
const elsewhere = new Set(['olmo2-small'])

describe('texts that transformers continues', function () {
  this.timeout(300_000)
  for (const { model, prompt, ...wanted } of fixture.texts.filter(({ model }) => !elsewhere.has(model))) {
    it(model, async () => {
      const chunk = 8
      const size = { toolchain: 'host', length: chunk, kept: 80 } as const
      const plain = await openText(model, size)
      try {
        const count = wanted.greedy.length
        assert.equal(count, 64)
        assert.deepEqual(await continueText(plain, { prompt, count, chunk }), wanted.greedy)
        await plain.call('clear', { seq: 1, context: 80 })
        const sampling = { ...greedy, repetitionPenalty: fixture.penalty }
        assert.deepEqual(await continueText(plain, { prompt, count, chunk, sampling }), wanted.penalised)
      } finally {
        await plain.close()
      }
      const adapted = await openText(model, { ...size, adapter: true })
      try {
        assert.deepEqual(await continueText(adapted, { prompt, count: 64, chunk }), wanted.adapter)
      } finally {
        await adapted.close()
      }
    })
  }
})
