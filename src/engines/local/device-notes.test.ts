import { expect, it } from 'vitest'

import { platformWarning } from '../../tensor/index.ts'
import { deviceNotes } from './device-notes.ts'

it('says why auto took no GPU, and which platforms are not tested', () => {
  expect(deviceNotes({ kind: 'cpu', skipped: [] }, platformWarning('linux', 'x64'))).toEqual([])
  const skipped = [
    { device: 'cuda', reason: 'no package' },
    { device: 'vulkan', reason: 'no driver' },
  ] as const
  const [untested, chosen] = deviceNotes({ kind: 'cpu', skipped }, platformWarning('darwin', 'arm64'))
  expect(untested).toMatch(/not tested on darwin arm64.*ggml 0\.23\.0/)
  expect(chosen).toBe('--device auto selected cpu. Not selected: cuda: no package; vulkan: no driver')
})
