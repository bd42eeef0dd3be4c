/** The device that the tests of this room and of `src/nn` run on: the CPU, or what `OMNISERVE_TEST_DEVICE` names. */

import type { DeviceKind } from './library.ts'

const named = process.env['OMNISERVE_TEST_DEVICE']

export const testDevice: DeviceKind = named === 'vulkan' || named === 'cuda' || named === 'metal' ? named : 'cpu'

/** Loosens a limit on devices that compute in lower precision. */
export function deviceLimit(limit: number): number {
  return testDevice === 'cpu' ? limit : Math.max(limit * 100, 2e-3)
}
