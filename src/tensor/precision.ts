/**
 * How precisely a GPU computes: `fast` as its driver prefers, in half precision where that is faster; `exact` in f32
 * throughout.
 *
 * In: a device and a precision. Out: the environment that the library reads when it opens the device (ggml-vulkan.cpp).
 * It is read once per process, so one process computes in one precision. The CPU always computes in f32.
 */

import { TensorLibraryError } from './errors.ts'
import type { DeviceKind } from './library.ts'

export type GpuPrecision = 'exact' | 'fast'

/** Products with f16 or 8-bit sums, and matrix instructions that have no f32 form. */
const exactVulkan: Readonly<Record<string, string>> = {
  GGML_VK_DISABLE_F16: '1',
  GGML_VK_DISABLE_BFLOAT16: '1',
  GGML_VK_DISABLE_COOPMAT: '1',
  GGML_VK_DISABLE_COOPMAT2: '1',
  GGML_VK_DISABLE_DOT2: '1',
  GGML_VK_DISABLE_INTEGER_DOT_PRODUCT: '1',
}

/**
 * Variables that a process must have for this precision. Throws {@link TensorLibraryError} for a device that has no
 * exact mode.
 */
export function precisionEnvironment(device: DeviceKind, precision: GpuPrecision): Readonly<Record<string, string>> {
  if (precision === 'fast' || device === 'cpu') return {}
  if (device === 'vulkan') return exactVulkan
  throw new TensorLibraryError(`device ${device} has no exact precision: use --gpu-precision fast, or vulkan or cpu`)
}
