/**
 * The device that tests run on: the CPU, or the one in `OMNISERVE_TEST_DEVICE`; and error limits for it.
 *
 * `testing/vulkan.sh` sets it for Mesa's software driver. A GPU that does not use half precision
 * (`GGML_VK_DISABLE_F16=1`, as with `--gpu-precision exact`) has the limits of the CPU.
 */

import type { DeviceKind } from './library.ts'

const requested = process.env['OMNISERVE_TEST_DEVICE']

export const testDevice: DeviceKind =
  requested === 'vulkan' || requested === 'cuda' || requested === 'metal' ? requested : 'cpu'

/** Whether the device computes products of f32 in f32. */
export const exactDevice: boolean = testDevice === 'cpu' || process.env['GGML_VK_DISABLE_F16'] !== undefined

/** `limit` on the CPU and on exact devices, else `half`: by default a hundred times as much. */
export function deviceLimit(limit: number, half = Math.max(limit * 100, 2e-3)): number {
  return exactDevice ? limit : half
}
