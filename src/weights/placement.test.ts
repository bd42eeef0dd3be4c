import { describe, expect, it } from 'vitest'

import { type PlacementFacts, placeWeights } from './placement.ts'

/** Qwen3-Omni-30B-A3B in 4 bits on a machine of 24 GB. */
const facts: PlacementFacts = {
  stored: 20.8e9,
  repackable: 18.8e9,
  repacked: 18.8e9,
  unquantised: 0,
  working: 0.256e9,
  available: 22e9,
  cache: { directory: '/cache', exists: false, free: 60e9 },
  repack: true,
}
const cache = facts.cache!
const { cache: _cache, ...factsWithoutCache } = facts

describe('the placement of weights', () => {
  it('is repacked and cached when there is enough memory and disk', () => {
    expect(placeWeights(facts)).toEqual({
      kind: 'repacked-now',
      weights: 20.8e9,
      chosen: '18.8 GB repacked for this processor at this start, kept in /cache for the next ones',
    })
  })

  it('is mapped from the cache, also when the disk is full', () => {
    expect(placeWeights({ ...facts, cache: { ...cache, exists: true, free: 0 } })).toEqual({
      kind: 'repacked-cached',
      weights: 20.8e9,
      chosen: '18.8 GB repacked for this processor, mapped from /cache',
    })
  })

  it('leaves 2 GB of disk free', () => {
    const kinds = [20.79e9, 20.8e9].map(
      (free) => placeWeights({ ...facts, available: 30e9, cache: { ...cache, free } }).kind,
    )
    expect(kinds).toEqual(['repacked-in-memory', 'repacked-now'])
  })

  it('is repacked in memory when it cannot be cached and 1 GB of memory stays free', () => {
    const need = 20.8e9 + 0.256e9
    const placed = [need + 0.99e9, need + 1e9].map((available) => placeWeights({ ...factsWithoutCache, available }))
    expect(placed.map(({ kind }) => kind)).toEqual(['stored', 'repacked-in-memory'])
    expect(placed[0]?.faster).toBe(
      'weights repacked for this processor: they take a folder to keep them in, or 22.1 GB of memory, 22.0 GB is available',
    )
    expect(placed[1]).toMatchObject({
      chosen: '18.8 GB repacked for this processor in memory, again at each start',
      faster: 'repacked weights kept on disk, for the start: they take a folder to keep them in',
    })
    expect(placeWeights({ ...facts, available: 40e9, cache: { ...cache, free: 5e9 } }).faster).toBe(
      'repacked weights kept on disk, for the start: they take 20.8 GB of disk in /cache, 5.0 GB is free',
    )
  })

  it('is as stored when repacked weights are larger and do not fit in memory', () => {
    const amx = { ...facts, repacked: 21e9, cache: { ...cache, exists: true } }
    expect(placeWeights({ ...amx, available: 23.5e9 }).kind).toBe('repacked-cached')
    expect(placeWeights({ ...amx, available: 23.2e9 })).toEqual({
      kind: 'stored',
      weights: 20.8e9,
      chosen: '20.8 GB as stored',
      faster: 'weights repacked for this processor: they take 23.3 GB of memory, 23.2 GB is available',
    })
  })

  it('recommends to convert a checkpoint in 16 bits', () => {
    const folder = { ...facts, repackable: 0, repacked: 0, unquantised: 19e9 }
    expect(placeWeights(folder).faster).toBe(
      'omniserve convert --quantize q8_0, for the 19.0 GB of weights in 16 bits or more',
    )
    expect(placeWeights({ ...folder, unquantised: 1e9 }).faster).toBeUndefined()
    expect(placeWeights({ ...facts, repack: false, unquantised: 19e9 }).faster).toMatch(
      /switched off; omniserve convert/,
    )
  })

  it('is as stored when nothing can be repacked, as on a GPU', () => {
    expect(placeWeights({ ...facts, repackable: 0, repacked: 0 })).toEqual({
      kind: 'stored',
      weights: 20.8e9,
      chosen: '20.8 GB as stored',
    })
  })

  it('is as stored when repacking is disabled, and says so', () => {
    expect(placeWeights({ ...facts, repack: false })).toMatchObject({ kind: 'stored', faster: expect.any(String) })
  })
})
