// What a search may choose among: everything fits registers and scratch, nothing comes twice, the rule's is the first; what
// does not fit is passed over; and whichever is chosen, numbers have the same bits.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { fitsRegisters, fitsTile, tileScratch } from '../../compiler/schedule/tileLimits.ts'
import type { ScheduleProfile, TileChoice } from '../../compiler/schedule/profile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { tileCandidates } from '../../compiler/schedule/tileCandidates.ts'
import { chooseTile, ruledTile } from '../../compiler/schedule/tileChoice.ts'
import { tileName } from '../../compiler/schedule/tileNest.ts'
import type { TileNest } from '../../compiler/schedule/tileNest.ts'
import { instructionSets } from '../../backends/neon/isa/index.ts'
import { scheduleProfile } from '../../devices/device.ts'
import { expected, firstDifference, launch, smallProfile } from './launch.ts'
import { training } from './trainings.ts'

type Parts = Partial<Pick<TileNest, 'transposes' | 'packBroadcast' | 'neighbours' | 'grid'>>

function nestOf(mBound: number, nBound: number, kBound: number, parts: Parts = {}): TileNest {
  return {
    accumulator: 'acc', n: 'n', nBound, vectorOperand: 1, m: 'm', mBound, k: ['k'], kBounds: [kBound], kBound,
    between: [], transposes: false, readable: false, packBroadcast: 'no', neighbours: 'k', grid: { others: 1 }, ...parts,
  } // prettier-ignore
}

const profiles = Object.values(instructionSets).flatMap((isa): ScheduleProfile[] =>
  [1, 4].map((threads) => scheduleProfile({ name: isa.name, isa: isa.name, cores: 4, privateCache: 1 << 20 }, threads)),
)

const someNest = fc
  .record({
    sizes: fc.tuple(
      fc.integer({ min: 1, max: 600 }),
      fc.integer({ min: 1, max: 4000 }),
      fc.integer({ min: 1, max: 4000 }),
    ),
    transposes: fc.boolean(),
    packBroadcast: fc.constantFrom<TileNest['packBroadcast']>('no', 'yes', 'contiguous'),
    neighbours: fc.constantFrom<TileNest['neighbours']>('k', 'm', 'none'),
    grid: fc.constantFrom(undefined, { others: 1 }, { others: 12 }),
  })
  .map(({ sizes: [m, n, k], ...parts }) => nestOf(m, n, k, parts))

describe('the choices that a search tries', () => {
  it('fit registers and scratch, differ, and begin with the rule', () => {
    fc.assert(
      fc.property(someNest, fc.constantFrom(...profiles), (nest, profile) => {
        const [first, ...others] = tileCandidates(nest, profile, 24)
        assert.deepEqual(first, ruledTile(nest, profile))
        assert.ok(others.length < 24)
        assert.equal(new Set([first, ...others].map((choice) => JSON.stringify(choice))).size, others.length + 1)
        for (const choice of others) {
          assert.ok(fitsTile(choice, nest, profile), JSON.stringify(choice))
          assert.ok(tileScratch(choice, nest, profile).packed <= profile.privateCache / 2)
        }
      }),
    )
  })

  it('are many where a nest is large: other shapes, chains, blocks and pieces', () => {
    for (const profile of profiles) {
      const choices = tileCandidates(nestOf(128, 3072, 768), profile, 24)
      assert.equal(choices.length, 24, profile.name)
      for (const key of ['rows', 'vectors', 'panels', 'steps'] as const) {
        assert.ok(new Set(choices.map((choice) => choice[key])).size > 1, `${profile.name} ${key}`)
      }
    }
  })

  it("take no more registers than an instruction set's own tiles", () => {
    for (const profile of profiles) {
      const nest = nestOf(512, 512, 512, { neighbours: 'none' })
      for (const shape of [profile.tile, ...(profile.otherTiles ?? [])]) assert.ok(fitsRegisters(shape, nest, profile))
      const { rows, vectors } = profile.tile
      assert.ok(!fitsRegisters({ rows: rows + 1, vectors: vectors + 1 }, nest, profile))
      assert.ok(!fitsRegisters({ rows: 1, vectors: 2 * rows * vectors }, nest, profile))
    }
  })
})

describe('a choice that was found', () => {
  const nest = nestOf(128, 3072, 768)
  const [profile] = profiles as [ScheduleProfile]
  const rule = ruledTile(nest, profile)
  const chosen = (choice: TileChoice) => chooseTile(nest, { ...profile, choices: { [tileName(nest)]: choice } })

  it('is taken where it fits', () => {
    const choice = { ...rule, panels: rule.panels === 1 ? 2 : 1 }
    assert.deepEqual(chosen(choice), { ...choice, packs: true, from: 'search' })
    assert.deepEqual(chooseTile(nestOf(128, 3072, 769), profile).from, 'rule')
    // A search knows nothing of budgets: what it found holds where the result goes to storage by its rows.
    assert.deepEqual(chooseTile({ ...nest, shardRows: 27 }, { ...profile, choices: { [tileName(nest)]: choice } }), { ...choice, packs: true, from: 'search' }) // prettier-ignore
  })

  it('is passed over where it would spill, take huge scratch, or is no choice', () => {
    for (const change of [
      { rows: 40 },
      { rows: 129 },
      { vectors: 30 },
      { panels: 1 << 20 },
      { panels: 200, steps: 768 },
      { steps: 769 },
      { steps: 0 },
      { pieces: 129 },
      { rows: 1.5 },
      { rows: -1 },
      { panels: Number.NaN },
    ]) {
      // prettier-ignore
      assert.deepEqual(chosen({ ...rule, ...change }), { ...rule, packs: true, from: 'rule' }, JSON.stringify(change))
    }
  })

  it('belongs to the name of a nest, which says how its operands lie', () => {
    const names = [
      nest, nestOf(129, 3072, 768), nestOf(128, 3072, 768, { transposes: true }), nestOf(128, 3072, 768, { neighbours: 'm' }),
      nestOf(128, 3072, 768, { neighbours: 'none' }), nestOf(128, 3072, 768, { packBroadcast: 'yes' }),
      nestOf(128, 3072, 768, { packBroadcast: 'contiguous' }), nestOf(128, 3072, 768, { grid: { others: 2 } }),
    ].map(tileName) // prettier-ignore
    assert.equal(new Set(names).size, names.length)
    for (const name of names) assert.match(name, /^\d[\da-z ]{0,99}$/)
  })

  for (const dtype of ['f32', 'bf16'] as const) {
    it(`changes no bit of a training step with weights in ${dtype}`, () => {
      const { graph, values, extents } = training({ model: 'gpt2', adaptation: 'full', length: 11, dtype })
      const fn = graph.functions.find(({ name }) => name === 'accumulate')
      assert.ok(fn)
      const small = smallProfile(4)
      const ruled = scheduleFunction(graph, fn, small)
      const wanted = expected(graph, fn, values, extents)
      const nests = ruled.regions.flatMap(({ tiles }) => tiles.map((tile) => tile.nest))
      for (const place of dtype === 'f32' ? [3, 15] : [8]) {
        const choices = Object.fromEntries(
          nests.map((one) => {
            const candidates = tileCandidates(one, small, 24)
            return [tileName(one), candidates[place % candidates.length] as TileChoice]
          }),
        )
        const scheduled = scheduleFunction(graph, fn, { ...small, choices })
        const searched = scheduled.regions.flatMap(({ tiles }) =>
          tiles.filter(({ chosen: by }) => by.from === 'search'),
        )
        assert.ok(searched.length > 10)
        assert.equal(firstDifference(launch({ graph, scheduled, values, extents, stage: 'kernel' }), wanted), undefined)
      }
    })
  }
})
