/**
 * The device that tests run on: the CPU, or what `OMNISERVE_TEST_DEVICE` names, and the limits that hold there.
 *
 * `testing/vulkan.sh` sets it for Mesa's software driver. A GPU is exact where ggml does not use half precision
 * (`GGML_VK_DISABLE_F16=1`, as `--gpu-precision exact` does): then every limit is the CPU's.
 */

import type { DeviceKind } from './library.ts'

const named = process.env['OMNISERVE_TEST_DEVICE']

export const testDevice: DeviceKind = named === 'vulkan' || named === 'cuda' || named === 'metal' ? named : 'cpu'

/** Whether products of f32 are computed in f32. */
export const exactDevice: boolean = testDevice === 'cpu' || process.env['GGML_VK_DISABLE_F16'] !== undefined

/** A limit on the CPU and on exact devices; elsewhere `half`, by default a hundred times as much. */
export function deviceLimit(limit: number, half = Math.max(limit * 100, 2e-3)): number {
  return exactDevice ? limit : half
}
