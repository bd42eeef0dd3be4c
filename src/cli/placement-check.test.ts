import { expect, it } from 'vitest'

import { placementRow } from './placement-check.ts'

it('the check reports the placement of the weights, and a faster one if there is one', () => {
  expect(placementRow({ ok: true, text: '18.8 GB repacked' })).toEqual({
    name: 'weights',
    status: 'ok',
    found: '18.8 GB repacked',
  })
  expect(placementRow({ ok: true, text: '20.8 GB as stored', better: 'more disk' })).toEqual({
    name: 'weights',
    status: 'warn',
    found: '20.8 GB as stored',
    fix: 'Faster: more disk.',
  })
  expect(placementRow({ ok: false, text: 'the numeric library ended its process' })).toMatchObject({ status: 'warn' })
})
